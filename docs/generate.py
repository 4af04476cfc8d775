"""Writes the reference pages that are made from the code: `make docs`. A test fails when one is out of date.

Each page is a function without arguments that returns its text; `PAGES` names them.
"""

import ast
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from agentcom import config, exit_codes, keeping
from agentcom.cli import admin, connect, exits
from agentcom.cli import main as agentcom
from agentcom.core import routes, transitions
from agentcom.protocol import errors, frames, rows, schema
from sidecar import cli as sidecar_cli

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Made by `make docs` from {}; do not edit. -->\n"
WIDTH = 100
HELP = ["-h", "--help"]


def table(*head: str, rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(_cell(cell) for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# --- settings ---------------------------------------------------------------------------------------


def settings() -> str:
    said = _field_notes(ROOT / "agentcom" / "config.py")
    parts = [
        NOTE.format("agentcom/config.py"),
        "# Settings of the hub\n",
        "Defaults, then a TOML file (`--config`, or `AGENTCOM_CONFIG`), then the environment, then `--set "
        "key=value`: the later wins. An unknown key stops the start. In the environment `lease.accept_s` "
        "is `AGENTCOM_LEASE__ACCEPT_S`; in a file it is `accept_s` under `[lease]`. Times are seconds.\n",
    ]
    top = [(field.name, field.type, field.default) for field in msgspec.structs.fields(config.Config)]
    plain = [(n, t, d) for n, t, d in top if not _is_section(t)]
    parts.append(table("key", "default", "values", "meaning", rows=_settings_rows("", "Config", plain, said)))
    for name, kind, _ in (each for each in top if _is_section(each[1])):
        fields = [(f.name, f.type, f.default) for f in msgspec.structs.fields(kind)]
        rows = _settings_rows(f"{name}.", kind.__name__, fields, said)
        parts += [f"## {name}\n", table("key", "default", "values", "meaning", rows=rows)]
    return "\n".join(parts)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, config.Section)


def _settings_rows(
    prefix: str, owner: str, fields: list[tuple[str, Any, Any]], said: dict[tuple[str, str], str]
) -> Iterator[tuple[str, ...]]:
    for name, kind, default in fields:
        yield f"`{prefix}{name}`", f"`{_literal(default)}`", type_text(kind), said.get((owner, name), "")


def _literal(value: Any) -> str:
    return msgspec.json.encode(value).decode().strip('"')


def _field_notes(path: Path) -> dict[tuple[str, str], str]:
    """What stands behind `#:` on the lines of each class's fields, or right above them."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    return {
        (cls.name, node.target.id): _note(lines, node)
        for cls in ast.walk(ast.parse(text))
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _note(lines: list[str], node: ast.AnnAssign) -> str:
    if behind := " ".join(lines[node.lineno - 1 : node.end_lineno]).partition("#:")[2]:
        return behind.strip()
    above = map(str.strip, reversed(lines[: node.lineno - 1]))
    notes = itertools.takewhile(lambda line: line.startswith("#:"), above)
    return " ".join(note.removeprefix("#:").strip() for note in reversed([*notes]))


# --- types as people read them --------------------------------------------------------------------------


def type_text(kind: Any) -> str:
    return _describe(msgspec.inspect.type_info(kind))


def _describe(info: Any) -> str:
    match info:
        case msgspec.inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in info.values)
        case msgspec.inspect.UnionType():
            kinds = [_describe(each) for each in info.types if not isinstance(each, msgspec.inspect.NoneType)]
            return " or ".join(kinds) + (" or null" if len(kinds) < len(info.types) else "")
        case msgspec.inspect.ListType():
            bounds = _bounds(info.min_length, info.max_length).removeprefix(", ")
            return f"list{f' ({bounds})' if bounds else ''} of {_describe(info.item_type)}"
        case msgspec.inspect.VarTupleType():
            return f"list of {_describe(info.item_type)}"
        case msgspec.inspect.StructType():
            return f"`{info.cls.__name__}`"
        case msgspec.inspect.StrType():
            return "text" + (
                f" like `{info.pattern}`" if info.pattern else _bounds(info.min_length, info.max_length)
            )
        case msgspec.inspect.IntType():
            return "whole number" + _bounds(info.ge, info.le)
        case msgspec.inspect.FloatType():
            low = f", more than {info.gt:g}" if info.gt is not None else ""
            return f"number{low}{_bounds(info.ge, info.le)}"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.DictType() | msgspec.inspect.AnyType() | msgspec.inspect.RawType():
            return "object"
    raise TypeError(f"the docs have no words for {info}")


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f", {low:,g} to {high:,g}" if high < 1e6 else f", {low:,} to {high:,}"
    if high is not None:
        return f", at most {high:,}"
    return f", at least {low:,}" if low else ""


# --- frames ---------------------------------------------------------------------------------------------


def frames_page() -> str:
    parts = [
        NOTE.format("agentcom/protocol/frames.py"),
        "# Frames of protocol 2\n",
        "One WebSocket at `/ws`, subprotocol `agentcom.v2.json` (text frames) or `agentcom.v2.msgpack` "
        "(binary). Every frame is an object with `type`. Unknown fields are ignored, wrong types refused "
        "by an `error` with the `path` of the field. A client may put `id` on any frame; the answer "
        "carries it as `re`. The same as JSON Schema: "
        "[frames.schema.json](frames.schema.json), which a hub serves at `/schema/frames.json`.\n",
        "## From a client\n",
        *(_struct(each, each.__struct_config__.tag) for each in get_args(frames.InboundFrame)),
        "## From the hub\n",
        *(_struct(each, each.__struct_config__.tag) for each in get_args(frames.OutboundFrame)),
        "## Parts of frames\n",
        *(_struct(each, each.__name__) for each in _PARTS),
        "## Close codes\n",
        table(
            "code",
            "meaning",
            rows=((str(n), name.replace("_", " ")) for name, n in frames.CLOSE_CODES.items()),
        ),
    ]
    return "\n".join(parts)


def frames_json() -> str:
    return json.dumps(schema.frames_schema(), indent=1, ensure_ascii=False) + "\n"


_PARTS = (
    frames.Resume, frames.HeldTask, frames.ClientInfo, frames.TaskResult, frames.Check, frames.Verdict,
    frames.Abort, frames.Previous, frames.Present,
)  # fmt: skip


def _struct(kind: Any, name: Any) -> str:
    own = (kind.__doc__ or "").strip()
    # msgspec gives a Struct without a docstring none; a base's own would describe the base
    said = f"{own}\n" if own and own != (kind.__base__.__doc__ or "").strip() else ""
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in ("id", "re")]
    rows = ((f"`{f.encode_name}`", _describe_field(f.type), "yes" if f.required else "") for f in fields)
    body = table("field", "type", "required", rows=rows) if fields else "No fields of its own.\n"
    return "\n".join(part for part in (f"### {name}\n", said, body) if part)


def _describe_field(kind: Any) -> str:
    return type_text(kind)


# --- HTTP -----------------------------------------------------------------------------------------------


def http() -> str:
    shown: dict[str, Any] = {}
    parts = [
        NOTE.format("agentcom/core/routes.py"),
        "# HTTP API\n",
        "JSON in and out, but where an answer says otherwise. The token is `Authorization: Bearer`. *Who*: the roles "
        "that may ask; `owner` is an agent, for a task it submitted, holds or held last; everyone needs no token. "
        "With `compat.v1` agents may read the lists marked `compat` too. Errors are those of [error "
        "codes](errors.md). `GET /schema` is the OpenAPI description.\n",
        table("route", "who", "what", rows=(_route_row(route) for route in routes.offered(chaos=True))),
        *(_route(route, shown) for route in routes.offered(chaos=True)),
        "## Parts\n",
    ]
    return "\n".join([*parts, *_parts(shown)])


def _route_row(route: routes.Route) -> tuple[str, ...]:
    who = sorted(route.roles, key=("agent", "operator", "admin").index) or ["everyone"]
    extra = [name for name, has in (("owner", route.owner), ("compat", route.compat)) if has]
    return f"`{route.method} {route.path}`", ", ".join([*who, *extra]), route.summary


def _route(route: routes.Route, shown: dict[str, Any]) -> str:
    parts = [f"## {route.method} {route.path}\n", f"{route.summary}\n"]
    for title, kind in (("Query", route.query), ("Body", route.body)):
        if kind is not None:
            parts += [f"{title}:\n", _fields(kind, shown)]
    other = f" as `{route.media}`" if route.media != routes.JSON else ""
    if _is_struct(route.answer):
        parts.append(f"Answers {route.status}{other} with:\n\n{_fields(route.answer, shown)}")
    else:
        parts.append(f"Answers {route.status}{other}.\n")
    return "\n".join(parts)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _fields(kind: Any, shown: dict[str, Any]) -> str:
    fields = msgspec.structs.fields(kind)
    for field in fields:
        shown.update({each.__name__: each for each in _structs_in(msgspec.inspect.type_info(field.type))})
    rows = ((f"`{f.encode_name}`", type_text(f.type), "yes" if f.required else "") for f in fields)
    return table("field", "type", "required", rows=rows) if fields else "No fields.\n"


def _structs_in(info: Any) -> Iterator[Any]:
    if isinstance(info, msgspec.inspect.StructType):
        yield info.cls
    for name in ("item_type", "value_type"):
        if hasattr(info, name):
            yield from _structs_in(getattr(info, name))
    for each in getattr(info, "types", ()):
        yield from _structs_in(each)


def _parts(shown: dict[str, Any]) -> Iterator[str]:
    """What the tables above name, each once, with what they name in turn."""
    done: set[str] = set()
    while todo := sorted(set(shown) - done):
        for name in todo:
            done.add(name)
            yield f"### {name}\n\n{_fields(shown[name], shown)}"


# --- states of a task ---------------------------------------------------------------------------------


def task_states() -> str:
    means = ((f"`{phase}`", _kind_of(phase), said) for phase, said in transitions.MEANS.items())
    return "\n".join(
        (
            NOTE.format("agentcom/core/transitions.py"),
            "# States of a task\n",
            "A step that is not in the tables is refused with `invalid_state`. Moving a task to another lane, setting "
            "it apart because nobody may have it, and progress change no state. A final task is removed for its age "
            "in the end (`retention` in the [settings](settings.md#retention)). Why this is safe when agents "
            "disappear: [leases and generations](../explanation/leases-and-generations.md).\n",
            f"```mermaid\n{transitions.mermaid()}\n```\n",
            "## States\n",
            table("state", "kind", "meaning", rows=means),
            "A submitted task is `queued`, or `scheduled` when its `not_before` lies ahead.\n",
            "## Steps\n",
            table("step", "from", "to", "who", "when", rows=_steps()),
        )
    )


def _kind_of(phase: rows.Phase) -> str:
    return "held" if phase in rows.HELD else "final" if phase in rows.FINAL else "open"


def _steps() -> Iterator[tuple[str, ...]]:
    for step, (who, when) in transitions.CAUSE.items():
        arrows = [(phase, row[step]) for phase, row in transitions.NEXT.items() if step in row]
        before = ", ".join(f"`{phase}`" for phase, _ in arrows)
        after = ", ".join(dict.fromkeys(f"`{to}`" for _, to in arrows))
        yield f"`{step}`", before, after, who, when


# --- errors ---------------------------------------------------------------------------------------------


def errors_page() -> str:
    rows = (
        (f"`{code}`", str(status), "the caller, later" if code in errors.CALLER_LATER else "the caller")
        for code, status in errors.STATUS.items()
    )
    return "\n".join(
        (
            NOTE.format("agentcom/protocol/errors.py"),
            "# Error codes\n",
            "An HTTP error is `{error, message, path?, retry_after_ms?}`, an `error` frame carries the "
            "same. `code` is stable; `message` is for people and may change. After `unavailable` or a "
            "dropped connection the outcome is unknown: send the request again with the same idempotency "
            "key.\n",
            table("code", "HTTP status", "who acts", rows=rows),
        )
    )


# --- command line ---------------------------------------------------------------------------------------


def cli() -> str:
    parts = [
        NOTE.format("the programs' own help"),
        "# Command line\n",
        "The hub is `--hub`, else `AGENTCOM_HUB`, else `http://127.0.0.1:4000`. The token is the content "
        "of `--token-file`, else `AGENTCOM_TOKEN`, else, for a hub on this machine, what a hub started in "
        "this folder has left in `agentcom-data/admin.token`. No secret is ever an argument. With `--json` "
        "a command prints JSON on stdout, and an error as an object on stderr; only options and arguments that "
        "cannot be read are told in text. Where nothing listens yet, `agentcom submit` and `agentcom smoke` wait up "
        f"to {connect.STARTING_S:g} s for a hub to start.\n",
        "## Exit codes\n",
        _exit_codes(exits.MEANING),
        "`agentcom hub` may also end by itself, with one of these. A keeper (see [how to run a "
        "hub](../how-to/run-a-hub.md)) starts a hub again that ended so or was killed, unless it never served; "
        "when that happens more than "
        f"{keeping.INTENSITY} times within {keeping.PERIOD_S / 60:g} minutes, it ends with the hub's last "
        "code, or with 128 and the number of the signal. After 0, 1 and 2 it ends at once.\n",
        _exit_codes(exit_codes.MEANING),
    ]
    for name, command in _PROGRAMS.items():
        parts += [f"## {name}\n", *_helps(command, name)]
    return "\n".join(parts)


def _exit_codes(meaning: dict[int, str]) -> str:
    return table("code", "meaning", rows=((str(code), said) for code, said in meaning.items()))


_PROGRAMS = {"agentcom": agentcom.main, "agentcom-admin": admin.main, "agentcom-sidecar": sidecar_cli.main}


def _helps(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=HELP
    )
    if not isinstance(command, click.Group):
        yield f"### {name}\n\n```text\n{command.get_help(context)}\n```\n"
        return
    for each in command.list_commands(context):
        found = command.get_command(context, each)
        assert found is not None, f"{name} lists {each} and does not have it"
        yield from _helps(found, f"{name} {each}")


# --- log events -----------------------------------------------------------------------------------------

_EVENT = re.compile(r"^[a-z][a-z_]*\.[a-z][a-z_]*$")
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


def log_events() -> str:
    found = sorted(set(_events()))
    return "\n".join(
        (
            NOTE.format("the calls in the code"),
            "# Log events\n",
            "One JSON object a line on stderr; `event` is one of these, the ids are fields. debug: each "
            "step; info: what a user did or got; warning: it went on, look at it; error: something of ours "
            "ended or gave up.\n",
            table("event", "level", "from", "fields", rows=iter(found)),
        )
    )


def _events() -> Iterator[tuple[str, ...]]:
    for top in ("agentcom", "actors", "supervisors", "sidecar"):
        for path in sorted((ROOT / top).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if event := _event(node):
                    yield (f"`{event[0]}`", event[1], f"`{module}`", event[2])


def _event(node: ast.AST) -> tuple[str, str, str] | None:
    match node:
        case ast.Call(
            func=ast.Attribute(attr=level), args=[ast.Constant(value=str(name)), *_], keywords=keywords
        ) if level in _LEVELS and _EVENT.match(name):
            names = sorted(keyword.arg for keyword in keywords if keyword.arg)
            return name, "error" if level == "exception" else level, ", ".join(f"`{n}`" for n in names)
    return None


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "http.md": http,
    "frames.md": frames_page,
    "errors.md": errors_page,
    "task-states.md": task_states,
    "cli.md": cli,
    "log-events.md": log_events,
    "frames.schema.json": frames_json,
}


def main() -> int:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        print(f"docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
