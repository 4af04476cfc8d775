"""GET /api/events: server-sent events, to whoever follows the hub.

Each stream only asks what the gateway answers, again and again, with the token it was opened with: so a revoked one
ends it, and rates and roles are the route's own. Each has a task of its own, and waits for its own reader: one that
does not read is ended, and takes the stream up again where it was.
May import: agentcom.{core, protocol}, structlog.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from agentcom.core.answers import Answer, failed
from agentcom.core.messages import Fault
from agentcom.protocol.bodies import ErrorBody
from agentcom.protocol.events import EventsTold

log = structlog.get_logger()

MOST = 64
"""Streams that may be open: each asks several times a second."""
LOOK_S = 0.25
AWAY_S = 1.0
"""Before it asks again, when the gateway could not answer."""
KEEP_ALIVE_S = 15.0
"""Something is sent so often, so that both sides and what is between them see that the other is there."""
SLOW_S = 30.0
"""Who takes so long to read what was sent reads no more."""
END_S = 0.5
"""Time for the last words when the hub stops."""
PIECE_BYTES = 1 << 16
"""Written at once: what is not read yet takes so much memory, and as much again."""
RETRY_MS = 1_000
"""After which a reader should come back."""

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that collects would tell all too late
    (b"x-content-type-options", b"nosniff"),
]
TOO_MANY = Fault("overloaded", "too many streams are open", retry_after_ms=5_000)
STOPPING = Fault("unavailable", "the hub is stopping", retry_after_ms=RETRY_MS)

Ask = Callable[[str | None], Awaitable[Answer]]
_encode = msgspec.json.Encoder().encode


def frame(event: str, data: Any, place: str = "") -> bytes:
    """One event. JSON has no line breaks of its own."""
    line = f"id: {place}\n".encode() if place else b""
    return line + b"event: " + event.encode() + b"\ndata: " + _encode(data) + b"\n\n"


class Streams:
    """All that are open on this edge."""

    def __init__(self, *, slow_s: float = SLOW_S, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self._slow_s, self._keep_alive_s = slow_s, keep_alive_s
        self._open: dict[asyncio.Task[Any], _Stream] = {}
        self._ending = False

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self, ask: Ask, after: str | None, receive: Any, send: Any, abort: Callable[[], None]
    ) -> Answer | None:
        """One, until it ends; or the answer that refuses it. `ask` asks as whoever opened it."""
        first = await ask(after)
        if first.status != 200:
            return first
        if self._ending or len(self._open) >= MOST:
            return failed(STOPPING if self._ending else TOO_MANY)
        task = asyncio.current_task()
        assert task is not None
        stream = self._open[task] = _Stream(ask, receive, send, abort, self._slow_s, self._keep_alive_s)
        try:
            await stream.run(first.body)
        finally:
            del self._open[task]
        return None

    async def end(self) -> None:
        """The hub stops: each ends after what it is saying; who does not read that is cut off."""
        self._ending = True
        streams = dict(self._open)
        for stream in streams.values():
            stream.over.set()
        if streams:
            _, late = await asyncio.wait(streams, timeout=END_S)
            for task in late:
                streams[task].abort()


class _Ended(Exception):
    """Whoever opened it may no more."""

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(body.error)
        self.body = body


class _Stream:
    def __init__(
        self,
        ask: Ask,
        receive: Any,
        send: Any,
        abort: Callable[[], None],
        slow_s: float,
        keep_alive_s: float,
    ) -> None:
        self._ask, self._receive, self._send, self.abort = ask, receive, send, abort
        self._slow_s, self._keep_alive_s = slow_s, keep_alive_s
        self._place = ""
        self._silent_until = 0.0
        self.over = asyncio.Event()

    async def run(self, first: EventsTold) -> None:
        listening = asyncio.ensure_future(self._listen())
        try:
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            at = "" if first.events else f"id: {first.place}\n"
            await self._write(f"retry: {RETRY_MS}\n{at}\n".encode())
            await self._follow(first)
        except _Ended as end:
            await self._write(frame("error", end.body))
        finally:
            listening.cancel()
        await self._write(b"", more=False)

    async def _listen(self) -> None:
        """Until whoever reads it went away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.over.set()

    async def _follow(self, told: EventsTold) -> None:
        while True:
            await self._tell(told)
            if not told.more:
                await self._pause(LOOK_S)
            if self.over.is_set():
                return
            told = await self._look()

    async def _tell(self, told: EventsTold) -> None:
        """Where it is follows also when nothing was to be told for long, so that its reader need not go back so far."""
        self._place = told.place
        piece = b""
        for one in told.events:
            piece += frame(one.event.type, one.event, one.place)
            if len(piece) >= PIECE_BYTES:
                await self._write(piece)
                piece = b""
        if asyncio.get_running_loop().time() >= self._silent_until:
            piece += f": here\nid: {self._place}\n\n".encode()
        if piece:
            await self._write(piece)

    async def _look(self) -> EventsTold:
        answer = await self._ask(self._place)
        if answer.status == 200:
            found: EventsTold = answer.body
            return found
        if answer.status in (401, 403):
            raise _Ended(answer.body)
        await self._pause(max(AWAY_S, answer.retry_after_ms / 1000))
        return EventsTold([], self._place)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        """Waits until what was written before is on its way. Nobody hears what is said after the end."""
        if self.over.is_set() and more:
            return
        self._silent_until = asyncio.get_running_loop().time() + self._keep_alive_s
        try:
            async with asyncio.timeout(self._slow_s):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            log.info("stream.slow", seconds=self._slow_s)
            self.over.set()
            self.abort()
        # what is written goes out at the end of the turn: only then is it seen to be too much
        await asyncio.sleep(0)
