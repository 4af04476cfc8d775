"""One keep-alive HTTP/1.1 connection that costs little: no redirects, no chunks, one request at a time.

May import: asyncio, msgspec.
"""

import asyncio
import re
from typing import NamedTuple, cast

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class Answer(NamedTuple):
    status: int
    body: bytes


class AnswerError(Exception):
    """The hub sent something this client cannot read."""


class Connection(asyncio.Protocol):
    """Use `await connect(...)`."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._buffer = b""
        self._waiting: asyncio.Future[Answer] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def post(self, path: bytes, body: bytes) -> "asyncio.Future[Answer]":
        """Send now; the answer comes by the future. Raises ConnectionError when the hub closed it."""
        assert self._waiting is None, "one request at a time"
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the hub closed the connection")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (path, self._head, len(body), body)
        )
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        if length is None:
            self._fail(AnswerError(f"no content-length in {self._buffer[:200]!r}"))
            return
        total = end + 4 + int(length[1])
        if len(self._buffer) >= total:
            answer = Answer(int(self._buffer[9:12]), self._buffer[end + 4 : total])
            self._buffer = self._buffer[total:]
            self._resolve(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"the hub closed the connection: {exc or 'end of stream'}"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _resolve(self, answer: Answer) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _fail(self, exc: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(exc)


async def connect(host: str, port: int, token: str) -> Connection:
    head = (
        f"host: {host}:{port}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        "accept: application/json\r\n"
    ).encode()
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(head), host, port)
    return connection
