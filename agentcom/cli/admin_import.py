"""`agentcom-admin import-tokens`: the identities of an older hub, taken over by the hashes of their tokens.

The file is that hub's `priv/tokens.json`: an object of tokens, each with its agent. Objects the other way round, and
lists of `{agent_id, token}`, are understood as well. Secrets are hashed here: none leaves this machine or is shown.
May import: click, msgspec, agentcom.cli.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from agentcom.cli import exits
from agentcom.cli.connect import Link, on_hub
from agentcom.protocol.tokens import token_hash

ROUTE = "/api/tokens/import"
AT_ONCE = 1_000
MOST_CHARACTERS = 256
MIN_CHARACTERS = 16
"""Shorter ones could be guessed from their hash."""

_AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SECRET = re.compile(r"[0-9a-fA-F]{32,256}")
_WORDS = {
    "imported": "imported", "known": "known already", "revoked": "revoked here before, and stay so",
    "conflict": "belong to somebody else here",
}  # fmt: skip


class Identity(NamedTuple):
    agent_id: str
    token: str


class Found(NamedTuple):
    """What a file says: identities in its order, and a sentence for each entry that is none."""

    identities: list[Identity]
    problems: list[str]


def read(content: bytes) -> Found:
    """Raises `ValueError` with a sentence if it is no such file at all."""
    try:
        said = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if isinstance(said, dict) and isinstance(said.get("tokens"), dict | list):
        said = said["tokens"]
    if not isinstance(said, dict | list):
        raise ValueError("expected an object of tokens and their agents")
    found = Found([], [])
    for n, (agent_id, token) in enumerate(_entries(said), 1):
        if why := _problem(agent_id, token):
            found.problems.append(f"entry {n} ({_name(agent_id)}): {why}")
        else:
            found.identities.append(Identity(agent_id, token))
    return found


def _entries(said: Any) -> Iterator[tuple[Any, Any]]:
    """(agent_id, token) of each, however it is written."""
    if isinstance(said, list):
        for one in said:
            yield (one.get("agent_id"), one.get("token")) if isinstance(one, dict) else (None, None)
        return
    for key, value in said.items():
        if isinstance(value, dict):
            yield value.get("agent_id"), key
        elif isinstance(value, list):
            yield from ((key, token) for token in value)
        elif isinstance(value, str) and _SECRET.fullmatch(value) and not _SECRET.fullmatch(key):
            yield key, value
        else:
            yield value, key


def _problem(agent_id: Any, token: Any) -> str:
    if not isinstance(agent_id, str) or not _AGENT_ID.fullmatch(agent_id):
        return "an agent's name has letters, digits, dots, dashes and underscores, at most 128"
    if not isinstance(token, str) or not token.isprintable():
        return "its token is not text"
    if not MIN_CHARACTERS <= len(token) <= MOST_CHARACTERS:
        return f"its token has {len(token)} characters; expected {MIN_CHARACTERS} to {MOST_CHARACTERS}"
    return ""


def _name(agent_id: Any) -> str:
    """What it may be called on a screen; never a token, which may stand where a name should."""
    named = isinstance(agent_id, str) and _AGENT_ID.fullmatch(agent_id) and not _SECRET.fullmatch(agent_id)
    return str(agent_id) if named else "no agent's name"


def body_of(identities: list[Identity]) -> dict[str, Any]:
    return {"tokens": [{"agent_id": one.agent_id, "token_hash": token_hash(one.token)} for one in identities]}


@click.command("import-tokens")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", "dry", is_flag=True, help="Only say what is in the file.")
@on_hub
def import_command(link: Link, file: Path, dry: bool) -> None:
    """Take over the agents of an older hub with their tokens, from its tokens.json.

    Its agents then connect here unchanged. The same file again changes nothing. Entries that cannot be taken over are
    named, all others are taken over.
    """
    found = _read(file, link)
    results: Counter[str] = Counter()
    problems = list(found.problems)
    for at in range(0, 0 if dry else len(found.identities), AT_ONCE):
        some = found.identities[at : at + AT_ONCE]
        answers = _send(link, body_of(some))
        results.update(answers)
        theirs = [one.agent_id for one, word in zip(some, answers, strict=True) if word == "conflict"]
        problems += [f"{agent_id}: this token belongs to somebody else here" for agent_id in theirs]
    _tell(link, found, results, problems, dry=dry)


def _read(file: Path, link: Link) -> Found:
    try:
        return read(file.read_bytes())
    except (OSError, ValueError) as error:
        raise exits.Failed(f"{file}: {error}", exits.USAGE) from error


def _send(link: Link, body: dict[str, Any]) -> list[str]:
    answer: dict[str, list[str]] = link.call(lambda hub: hub.call("POST", ROUTE, body))
    return answer["results"]


def _tell(link: Link, found: Found, results: Counter[str], problems: list[str], *, dry: bool) -> None:
    agents = len({one.agent_id for one in found.identities})
    if link.as_json:
        link.show(
            {"agents": agents, "tokens": len(found.identities), "results": results, "problems": problems}
        )
    else:
        said = f"{_counted(len(found.identities), 'token')} of {_counted(agents, 'agent')}"
        click.echo(f"{said}; nothing was changed" if dry else said)
        for word, count in results.items():
            click.echo(f"  {count} {_WORDS[word]}")
        for problem in problems:
            click.echo(f"not taken over: {problem}", err=True)
    if problems:
        raise SystemExit(exits.REFUSED)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


COMMANDS = (import_command,)
