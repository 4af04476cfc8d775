"""WebSockets: bytes in to the gateway, bytes out in order, a bound on what waits to be sent.

May import: agentcom.{core, protocol}, agentcom.web.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from agentcom.core.messages import ConnClosed, ConnOpened, FrameIn
from agentcom.protocol.frames import CLOSE_CODES, Goodbye
from agentcom.web.reading import bearer, peer_of
from agentcom.web.server import ABORT

Codec = Literal["json", "msgpack"]
CODECS: dict[str, Codec] = {"agentcom.v2.json": "json", "agentcom.v2.msgpack": "msgpack"}
_encode: dict[str, Callable[[Any], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}

ABORT_S = 5.0
"""How long a peer that is to be closed may take to read what it was already sent."""


class Socket:
    """One connection's way out: a queue, and one task that empties it."""

    __slots__ = ("abort", "closing", "codec", "conn", "queue", "size", "wake")

    def __init__(self, conn: str, codec: Codec, abort: Callable[[], None]) -> None:
        self.conn, self.codec, self.abort = conn, codec, abort
        self.queue: deque[bytes] = deque()
        self.size = 0
        self.closing: tuple[int, str] | None = None
        self.wake = asyncio.Event()

    def put(self, data: bytes) -> None:
        self.queue.append(data)
        self.size += len(data)
        self.wake.set()

    def close(self, code: int, reason: str) -> None:
        """After what is queued."""
        self.closing = (code, reason)
        self.wake.set()

    async def write(self, send: Callable[[Any], Any]) -> None:
        """Runs as the socket's task: sends in order, closes at the end."""
        kind = "text" if self.codec == "json" else "bytes"
        while True:
            while self.queue:
                data = self.queue.popleft()
                await send({"type": "websocket.send", kind: data.decode() if kind == "text" else data})
                self.size -= len(data)
            if self.closing is not None:
                code, reason = self.closing
                await send({"type": "websocket.close", "code": code, "reason": reason[:120]})
                return
            self.wake.clear()
            await self.wake.wait()


class Sockets:
    """All connections of this edge. `tell` reaches the gateway."""

    def __init__(self, max_outbox_bytes: int, tell: Callable[[Any], None]) -> None:
        self._max = max_outbox_bytes
        self._tell = tell
        self._all: dict[str, Socket] = {}
        self._incarnation = 0
        self._opened = 0
        self._refusing = True
        self._empty = asyncio.Event()

    def open_under(self, incarnation: int) -> None:
        """Take connections; their ids carry this incarnation of the gateway."""
        self._incarnation, self._refusing = incarnation, False

    def refuse(self) -> None:
        self._refusing = True

    def close_all(self, code: int, reason: str, retry_after_ms: int) -> None:
        """Say goodbye to everyone and take nobody new."""
        self._refusing = True
        goodbye = Goodbye(reason=reason, retry_after_ms=retry_after_ms)
        encoded = {codec: encode(goodbye) for codec, encode in _encode.items()}
        for one in self._all.values():
            if one.closing is None:
                one.put(encoded[one.codec])
                self._close(one, code, reason)

    async def gone(self, timeout_s: float) -> None:
        """Wait until every socket is closed; abort who stays."""
        self._empty.clear()
        if self._all:
            try:
                await asyncio.wait_for(self._empty.wait(), timeout_s)
            except TimeoutError:
                for one in list(self._all.values()):
                    one.abort()

    def write(self, conn: str, data: bytes) -> None:
        one = self._all.get(conn)
        if one is None or one.closing is not None:
            return
        if one.size + len(data) > self._max:
            self._overflow(one)
        else:
            one.put(data)

    def close(self, conn: str, code: int, reason: str) -> None:
        one = self._all.get(conn)
        if one is not None and one.closing is None:
            self._close(one, code, reason)

    def _overflow(self, one: Socket) -> None:
        """Too slow: drop what waits. Its mailbox and its tasks' rows keep all that matters."""
        one.queue.clear()
        code = CLOSE_CODES["outbox_full"]
        self._close(one, code, "too slow: the outbox is full")
        self._tell(ConnClosed(one.conn, code))

    def _close(self, one: Socket, code: int, reason: str) -> None:
        one.close(code, reason)
        asyncio.get_running_loop().call_later(ABORT_S, one.abort)

    async def serve(self, edge: Any, scope: Any, receive: Any, send: Any) -> None:
        """One connection, from its handshake to its end."""
        await receive()  # websocket.connect
        offered = next((name for name in scope["subprotocols"] if name in CODECS), None)
        if offered is None:
            await _reject(send, 400, "offer the subprotocol agentcom.v2.json or agentcom.v2.msgpack")
        elif self._refusing:
            await _reject(send, 503, "the hub is restarting or stopping")
        else:
            await send({"type": "websocket.accept", "subprotocol": offered})
            await self._converse(self._open(edge, offered, scope), receive, send)

    def _open(self, edge: Any, offered: str, scope: Any) -> Socket:
        self._opened += 1
        conn, codec = f"{self._incarnation}.{self._opened}", CODECS[offered]
        one = Socket(conn, codec, scope["extensions"][ABORT]["abort"])
        self._all[conn] = one
        token = bearer(scope["headers"])
        self._tell(ConnOpened(conn, edge, codec, peer_of(scope), token))
        return one

    async def _converse(self, one: Socket, receive: Any, send: Any) -> None:
        writer = asyncio.get_running_loop().create_task(one.write(send))
        code = 1006
        try:
            code = await self._listen(one, receive)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._forget(one, code)

    async def _listen(self, one: Socket, receive: Any) -> int:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return int(event.get("code") or 1006)
            text = event.get("text")
            data = event.get("bytes") if text is None else text.encode()
            if one.closing is None:
                self._tell(FrameIn(one.conn, data))

    def _forget(self, one: Socket, code: int) -> None:
        del self._all[one.conn]
        self._tell(ConnClosed(one.conn, one.closing[0] if one.closing else code))
        if one.closing is None:  # what it did not read must not stay in memory for ever
            asyncio.get_running_loop().call_later(ABORT_S, one.abort)
        if not self._all:
            self._empty.set()


async def _reject(send: Any, status: int, message: str) -> None:
    """Refuse the upgrade with an HTTP answer."""
    code = "unavailable" if status == 503 else "bad_frame"
    body = msgspec.json.encode({"error": code, "message": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
