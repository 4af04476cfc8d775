"""`agentcom-sidecar join|run|status|leave`.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 (of `run` only) the hub wants this agent no more.
May import: click, agentcom.{client, endpoint, logging, protocol}, sidecar's other modules.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click
from msgspec.structs import replace

from agentcom import logging
from agentcom.client import Hub
from agentcom.endpoint import is_token
from agentcom.protocol.bodies import Registered
from agentcom.protocol.errors import AgentComError, Refused
from sidecar import files, process
from sidecar import settings as sidecar_settings
from sidecar.connection import STATE, Sidecar
from sidecar.forge import ForgeFailed
from sidecar.inbox import Inbox
from sidecar.runner import Run
from sidecar.settings import BadSettings, Settings

HOME = Path("~/.agentcom-sidecar")
LOCK = "lock"
FAILED, UNWANTED = 1, 3


def _home(function: Callable[..., None]) -> Callable[..., None]:
    option = click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        default=HOME,
        envvar="AGENTCOM_SIDECAR_HOME",
        show_default=True,
        help="Where this sidecar keeps its settings, state and worktrees.",
    )
    return option(function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The process beside a Mind: takes tasks from a hub, hands back branches and pull requests."""


@main.command()
@click.argument("hub")
@click.argument("invite", default="")
@click.option("--agent-id", required=True, help="The agent's name on the hub.")
@click.option("--capability", "capabilities", multiple=True, help="What this agent can do; repeatable.")
@click.option("--mind", required=True, help="The Mind's command, one string; never run through a shell.")
@click.option("--token-file", type=click.File(), help="A token this agent has already: no registration.")
@click.option(
    "--ca-file", envvar="AGENTCOM_CA_FILE", default="", help="What signed the hub's certificate (PEM)."
)
@_home
def join(
    hub: str,
    invite: str,
    agent_id: str,
    capabilities: tuple[str, ...],
    mind: str,
    token_file: TextIO | None,
    ca_file: str,
    home: Path,
) -> None:
    """Register this agent with HUB and write its settings. Safe to repeat: it keeps token and instance."""
    with _refusing():
        home = _expanded(home)
        known = _known(home, hub, agent_id)
        settings = known or Settings(hub=hub.rstrip("/"), agent_id=agent_id, token="", mind=[])
        where = str(Path(ca_file).absolute()) if ca_file else settings.ca_file
        settings = replace(settings, capabilities=list(capabilities), mind=_argv(mind), ca_file=where)
        given = _token_in(token_file) if token_file else settings.token
        settings = replace(settings, token=given)
        sidecar_settings.check(settings)
        if not sidecar_settings.is_text(invite):
            raise BadSettings("INVITE is not UTF-8 text")
        sidecar_settings.save(
            home, settings
        )  # the hub tells a token once: first it is sure that we can keep it
        if not given:
            given = asyncio.run(_register(settings, invite)).token
            sidecar_settings.save(home, replace(settings, token=given))
    click.echo(f"{agent_id} joined {settings.hub}. Start it with: agentcom-sidecar run --home {home}")


def _expanded(home: Path) -> Path:
    try:
        return home.expanduser()
    except RuntimeError as exc:
        raise BadSettings(f"--home {home}: {exc}") from exc


def _argv(mind: str) -> list[str]:
    try:
        return shlex.split(mind)
    except ValueError as exc:
        raise BadSettings(f"--mind is no command: {exc}") from exc


def _token_in(file: TextIO) -> str:
    """What a header can carry; raises `BadSettings`."""
    try:
        token = file.read().strip()
    except UnicodeDecodeError as exc:
        raise BadSettings(f"--token-file {file.name} is not text: {exc}") from exc
    if not is_token(token):
        raise BadSettings(f"--token-file {file.name} holds no token: expected one word of ASCII letters")
    return token


def _known(home: Path, hub: str, agent_id: str) -> Settings | None:
    """What an earlier join of the same agent left; another agent's home is refused, unless it never got a token."""
    if not (home / sidecar_settings.FILE).exists():
        return None
    known = sidecar_settings.load(home)
    if (known.hub, known.agent_id) != (hub.rstrip("/"), agent_id):
        if not known.token:
            return None
        raise BadSettings(
            f"{home} belongs to {known.agent_id} of {known.hub}; `leave` it, or use another --home"
        )
    return known


async def _register(settings: Settings, invite: str) -> Registered:
    async with Hub(settings.hub, ca_file=settings.ca_file) as hub:
        return await hub.register(settings.agent_id, invite, settings.capabilities)


@main.command()
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--log-format", type=click.Choice(["json", "console"]), default="json")
@click.option("--takeover", is_flag=True, help="Replace another sidecar of this agent, even one that lives.")
@_home
def run(log_level: str, log_format: str, takeover: bool, home: Path) -> None:
    """Serve until SIGTERM or SIGINT. A Mind that is working goes on; the next `run` finds it."""
    logging.configure(level=log_level, format=log_format)
    with _refusing(refused=UNWANTED):
        home = _expanded(home)
        settings = sidecar_settings.load(home)
        if not settings.token:
            raise BadSettings(f"{home} has no token yet: its join did not come to its end; repeat it")
        sidecar_settings.check(settings)
        if not process.record(os.getpid())["started"]:
            raise BadSettings("a sidecar needs Linux's /proc to know its Mind from other processes")
        with _only_one(home):
            asyncio.run(_serve(Sidecar(home, settings, takeover=takeover)))


async def _serve(sidecar: Sidecar) -> None:
    serving = asyncio.create_task(sidecar.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_home
def status(as_json: bool, home: Path) -> None:
    """What this sidecar is, whether it runs, and what it holds."""
    with _refusing():
        home = _expanded(home)
        facts = _facts(home, sidecar_settings.load(home))
    if as_json:
        click.echo(json.dumps(facts))
        return
    state = f"runs (pid {facts['pid']})" if facts["running"] else "does not run"
    click.echo(f"{facts['agent_id']} of {facts['hub']} {state}; unsent reports: {facts['unsent']}")
    for task in facts["tasks"]:
        mind = "its Mind runs" if task["mind_alive"] else "no Mind runs"
        click.echo(f"  {task['task_id']} generation {task['generation']} {task['phase']}, {mind}")


def _facts(home: Path, settings: Settings) -> dict[str, Any]:
    saved = Inbox(home / STATE).read()
    owner = files.read_json(home / LOCK)
    return {
        "agent_id": settings.agent_id,
        "hub": settings.hub,
        "running": process.is_alive(owner),
        "pid": owner["pid"] if owner else None,
        "unsent": len(saved.reports),
        "tasks": [
            {
                "task_id": entry.assign.task_id,
                "generation": entry.generation,
                "phase": entry.phase,
                "mind_alive": Run(_folder(home, entry.assign.task_id, entry.assign.generation)).is_alive(),
            }
            for entry in saved.tasks
        ],
    }


def _folder(home: Path, task_id: str, generation: int) -> Path:
    return home / "runs" / files.safe_name(task_id) / str(generation)


@main.command()
@click.option("--force", is_flag=True, help="Even while it holds a task: the hub gives it to another agent.")
@_home
def leave(force: bool, home: Path) -> None:
    """Undo `join`: forget token and state. Worktrees and logs stay where they are."""
    with _refusing():
        home = _expanded(home)
        facts = _facts(home, sidecar_settings.load(home))
        if facts["running"]:
            raise BadSettings(f"it runs (pid {facts['pid']}); stop it first")
        if facts["tasks"] and not force:
            held = ", ".join(task["task_id"] for task in facts["tasks"])
            raise BadSettings(f"it holds {held}; `run` it to the end, or leave with --force")
        for name in (STATE, sidecar_settings.FILE):
            (home / name).unlink(missing_ok=True)
    click.echo(f"{facts['agent_id']} left {facts['hub']}; {home} keeps its worktrees and logs")


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """One sidecar a home: the lock is held for life and names its holder."""
    fd = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            owner = files.read_json(home / LOCK) or {}
            raise BadSettings(f"another sidecar runs here (pid {owner.get('pid')})") from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(process.record(os.getpid())).encode(), 0)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _refusing(*, refused: int = FAILED) -> Iterator[None]:
    """A refusal is a sentence (an object, with `--json`) and an exit code, not a traceback; `refused` is the code when
    it is the hub's.
    """
    try:
        yield
    except (AgentComError, BadSettings, ForgeFailed, ValueError, OSError) as exc:
        _refuse(exc, refused if isinstance(exc, Refused) else FAILED)


def _refuse(exc: Exception, code: int) -> NoReturn:
    if click.get_current_context().params.get("as_json"):
        click.echo(json.dumps({"error": "failed", "message": str(exc), "exit": code}), err=True)
    else:
        click.echo(f"agentcom-sidecar: {exc}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
