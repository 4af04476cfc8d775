"""The hub's events for Python programs: told as they come, and taken up where they broke off.

May import: httpx, msgspec, agentcom.{answers, backoff, protocol}.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple

import httpx
import msgspec

from agentcom.answers import error, raise_for
from agentcom.backoff import delay_s
from agentcom.protocol import errors

Json = dict[str, Any]

PATH = "/api/events"
SILENT_S = 45.0
"""The hub says something every 15 s: one that is silent for so long is not there."""
BACK_S = 1.0
"""Mean time until it comes back to a hub that said goodbye."""


class Event(NamedTuple):
    """One server-sent event. An empty `name` has only an id, which still counts."""

    id: str
    name: str
    data: str


class Parser:
    """Bytes of a stream as they come, events as they are whole. An `id` counts until there is another one."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Lines end with a line feed: JSON may have other line breaks inside."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line:
                self._field(line.decode(errors="replace"))
            else:
                yield Event(self._id, self._name, "\n".join(self._data))
                self._name, self._data = "", []

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)


async def follow(http: httpx.AsyncClient, after: str | None, retry_s: float) -> AsyncGenerator[Json, None]:
    """Events for ever, each with its `id`: pass it as `after` to go on behind it another time.

    Raises `Refused` when this token may not (any more), or `after` is no place; `Unavailable` when the hub was away for
    longer than `retry_s`.
    """
    follower = _Follower(http, after, retry_s)
    while True:
        try:
            async with contextlib.aclosing(follower.one_connection()) as events:
                async for event in events:
                    yield event
        except errors.Unavailable as away:
            await follower.wait(away)
        else:
            await follower.wait(None)


class _Follower:
    def __init__(self, http: httpx.AsyncClient, after: str | None, retry_s: float) -> None:
        self._http, self._after, self._retry_s = http, after, retry_s
        self._rng = random.Random()  # noqa: S311  # jitter, not a secret
        self._attempt = 0
        self._heard = time.monotonic()

    async def one_connection(self) -> AsyncGenerator[Json, None]:
        """Until it ends."""
        try:
            async with self._http.stream(
                "GET", PATH, headers=self._headers(), timeout=httpx.Timeout(30.0, read=SILENT_S)
            ) as answer:
                if answer.status_code != 200:
                    raise_for(answer.status_code, await answer.aread())
                parser = Parser()
                async for chunk in answer.aiter_bytes():
                    self._attempt, self._heard = 0, time.monotonic()
                    for event in self._read(parser, chunk):
                        yield event
        except httpx.HTTPError as exc:
            said = f"GET {PATH}: no answer from {self._http.base_url} ({type(exc).__name__} {exc})"
            raise errors.Unavailable("unavailable", said) from exc

    def _headers(self) -> dict[str, str]:
        at = {} if self._after is None else {"Last-Event-ID": self._after}
        return {"Accept": "text/event-stream", **at}

    def _read(self, parser: Parser, chunk: bytes) -> Iterator[Json]:
        for event in parser.feed(chunk):
            if event.name == "error":
                body = msgspec.json.decode(event.data)
                raise error(body["error"], body["message"])
            self._after = event.id or self._after
            if event.name:
                yield {"id": event.id, **msgspec.json.decode(event.data)}

    async def wait(self, away: errors.Unavailable | None) -> None:
        """Before the next try. Raises what was said when it is too long already."""
        self._attempt += 1
        least_s = away.retry_after_ms / 1000 if away is not None else 0.0
        pause_s = delay_s(self._attempt, self._rng, base_s=BACK_S, cap_s=5.0, at_least_s=least_s)
        if away is not None and time.monotonic() + pause_s > self._heard + self._retry_s:
            raise away
        await asyncio.sleep(pause_s)
