"""How every command reaches a hub: its address, its token, and what the exit code says.

A secret is read from the environment or a file, never from an argument, which every user can see.
May import: click, msgspec, agentcom.{cli, client, endpoint, protocol}.
"""

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from agentcom.cli import exits
from agentcom.cli.inputs import check_texts
from agentcom.client import Hub
from agentcom.endpoint import check_url, is_token, tls_of
from agentcom.protocol import errors

T = TypeVar("T")
Command = Callable[..., Any]

DEFAULT_HUB = "http://127.0.0.1:4000"
DEFAULT_TOKEN_FILE = Path("agentcom-data/admin.token")
"""Where a hub started in this folder leaves its admin token; tried for a hub on this machine only."""
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
STARTING_S = 10.0
"""What a hub may take from its start until it answers."""
LOOK_S = 0.1


class Link(NamedTuple):
    """One hub, as this command was told to reach it."""

    url: str
    token: str
    as_json: bool
    ca_file: str = ""
    token_file: Path | None = None

    def once_up(self) -> "Link":
        """The same hub, once it answers: where nothing listens yet it is waited for, and people are told. The token is
        read again, as a hub writes that of its folder before it answers.

        Raises `Failed` when still nothing listens after `STARTING_S`. Any other trouble is for the next call to meet.
        """
        try:
            asyncio.run(self._look_until_up())
        except errors.Unavailable as exc:
            raise self.failed(exc, exits.UNAVAILABLE) from exc
        return self._replace(token=read_token(self.token_file, self.url))

    async def _look_until_up(self) -> None:
        until = time.monotonic() + STARTING_S
        told = self.as_json
        async with Hub(self.url, retry_s=0, timeout_s=STARTING_S, ca_file=self.ca_file) as hub:
            while refusal := await _refusal(hub):
                if time.monotonic() > until:
                    raise refusal
                if not told:
                    click.echo(f"nothing listens at {self.url} yet; waiting for a hub to start", err=True)
                    told = True
                await asyncio.sleep(LOOK_S)

    def call(self, ask: Callable[[Hub], Awaitable[T]], *, retry_s: float = 3.0) -> T:
        """What the hub answers. A refusal, or a hub that is away, ends the command with a sentence."""
        try:
            return asyncio.run(self._ask(ask, retry_s))
        except errors.Refused as exc:
            raise self.failed(exc, exits.REFUSED) from exc
        except errors.Unavailable as exc:
            raise self.failed(exc, exits.UNAVAILABLE) from exc
        except msgspec.DecodeError as exc:
            said = f"what answers at {self.url} is no hub: {exc}"
            raise exits.Failed(said, exits.UNAVAILABLE, error="unavailable") from exc

    async def _ask(self, ask: Callable[[Hub], Awaitable[T]], retry_s: float) -> T:
        async with Hub(self.url, self.token, retry_s=retry_s, ca_file=self.ca_file) as hub:
            return await ask(hub)

    def failed(self, exc: errors.AgentComError, code: int) -> exits.Failed:
        sentence = exc.message + (f" (at {exc.path})" if exc.path else "") + _advice(exc, self)
        return exits.Failed(sentence, code, error=exc.code)

    def show(self, value: Any) -> None:
        """Print it as JSON, for programs."""
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def done(self, answer: Any, sentence: str) -> None:
        """Say that it was done: the sentence for people, the hub's answer for programs."""
        if self.as_json:
            self.show(answer)
        else:
            click.echo(sentence)


async def _refusal(hub: Hub) -> errors.Unavailable | None:
    """What came of asking where nothing listens; None when something does, whatever it says."""
    try:
        await hub.call("GET", "/ready")
    except errors.Unavailable as exc:
        return exc if _is_refused(exc) else None
    except (errors.Refused, msgspec.DecodeError):
        return None
    return None


def _is_refused(exc: BaseException | None) -> bool:
    """Every address of the hub's name refused the connection: the HTTP client hides that behind errors of its own."""
    if isinstance(exc, BaseExceptionGroup):
        return all(_is_refused(each) for each in exc.exceptions)
    return exc is not None and (
        isinstance(exc, ConnectionRefusedError) or _is_refused(exc.__cause__ or exc.__context__)
    )


def _advice(exc: errors.AgentComError, link: Link) -> str:
    if exc.code == "invalid_token" and not link.token:
        return "\nNo token was given: set AGENTCOM_TOKEN, or name a file with --token-file."
    if exc.code == "unavailable" and "no answer from" in exc.message:
        return "\nIs the hub running? Start one with `agentcom hub`, or set AGENTCOM_HUB."
    return ""


def read_token(token_file: Path | None, url: str) -> str:
    """The file's token, else AGENTCOM_TOKEN, else what a hub started in this folder has left."""
    if token_file is not None:
        return _token_in(token_file)
    if token := os.environ.get("AGENTCOM_TOKEN", "").strip():
        return _sendable(token, "AGENTCOM_TOKEN")
    if urlsplit(url).hostname in LOCAL and os.access(DEFAULT_TOKEN_FILE, os.R_OK):
        return _token_in(DEFAULT_TOKEN_FILE)
    return ""


def _token_in(file: Path) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise exits.Failed(f"cannot read the token file {file}: {exc}", exits.USAGE) from exc
    return _sendable(token, f"the token file {file}")


def _sendable(token: str, where: str) -> str:
    if not is_token(token):
        raise exits.Failed(f"{where} holds no token: expected one word of ASCII characters", exits.USAGE)
    return token


def on_hub(command: Command) -> Command:
    """Give a command `--hub`, `--token-file`, `--ca-file` and `--json`, and hand it the `Link` they make."""

    @click.option(
        "--hub", "hub_url", envvar="AGENTCOM_HUB", default=DEFAULT_HUB, show_default=True, help="Its URL."
    )
    @click.option(
        "--token-file", type=click.Path(dir_okay=False, path_type=Path), help="Instead of AGENTCOM_TOKEN."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.option(
        "--ca-file",
        envvar="AGENTCOM_CA_FILE",
        default="",
        help="What signed its certificate (PEM), for https.",
    )
    @functools.wraps(command)
    def wrapped(hub_url: str, token_file: Path | None, as_json: bool, ca_file: str, **arguments: Any) -> Any:
        check_texts(click.get_current_context(), arguments)
        try:
            check_url(hub_url)
        except ValueError as exc:
            raise exits.Failed(f"the hub's URL (--hub, AGENTCOM_HUB): {exc}", exits.USAGE) from exc
        try:
            tls_of(hub_url, ca_file)
        except OSError as exc:
            raise exits.Failed(f"cannot use the CA file {ca_file}: {exc}", exits.USAGE) from exc
        token = read_token(token_file, hub_url)
        return command(Link(hub_url.rstrip("/"), token, as_json, ca_file, token_file), **arguments)

    return wrapped
