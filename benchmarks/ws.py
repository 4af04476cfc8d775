"""One WebSocket client connection of protocol 2 in JSON, with as little work per frame as Python allows.

May import: asyncio, msgspec, agentcom.protocol.frames.
"""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import cast

import msgspec

from agentcom.protocol.frames import Frame, OutboundFrame

_decode = msgspec.json.Decoder(OutboundFrame).decode
_encode = msgspec.json.Encoder().encode

OnFrame = Callable[[OutboundFrame], None]
OnClose = Callable[[str], None]


class Socket(asyncio.Protocol):
    """Use `await connect(...)`. `on_frame` gets each frame of the hub, `on_close` why it ended, once."""

    def __init__(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self._on_frame, self._on_close = on_frame, on_close
        self._buffer = b""
        self._parts: list[bytes] = []
        self._upgraded = False
        self._closed = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def send(self, *frames: Frame) -> None:
        """All in one write. Frames to a closed socket are dropped: `on_close` has said so."""
        if self.transport is not None and not self._closed:
            self.transport.write(b"".join([client_frame(1, _encode(frame)) for frame in frames]))

    def close(self) -> None:
        if self.transport is not None and not self._closed:
            self.transport.write(client_frame(8, struct.pack("!H", 1000)))
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._upgraded and not self._take_upgrade():
            return
        while (frame := server_frame(self._buffer)) is not None:
            opcode, final, payload, size = frame
            self._buffer = self._buffer[size:]
            self._on_raw(opcode, final, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc or 'end of stream'}")

    def _take_upgrade(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self._end(f"upgrade refused: {head.splitlines()[0].decode(errors='replace')}")
            return False
        self._upgraded, self._buffer = True, rest
        self.opened.set_result(None)
        return True

    def _on_raw(self, opcode: int, final: bool, payload: bytes) -> None:
        if opcode in (0, 1, 2):
            self._parts.append(payload)
            if final:
                whole, self._parts = b"".join(self._parts), []
                self._on_frame(_decode(whole))
        elif opcode == 8:
            code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self._end(f"closed by the hub: {code} {payload[2:].decode(errors='replace')}")
        elif opcode == 9 and self.transport is not None:
            self.transport.write(client_frame(10, payload))

    def _end(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(reason))
        self._on_close(reason)


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A final, masked frame. The mask is zero: it protects proxies, and loopback has none."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BBI", 0x80 | opcode, 0x80 | size, 0) + payload
    if size < 65_536:
        return struct.pack("!BBHI", 0x80 | opcode, 0xFE, size, 0) + payload
    return struct.pack("!BBQI", 0x80 | opcode, 0xFF, size, 0) + payload


def server_frame(data: bytes) -> tuple[int, bool, bytes, int] | None:
    """(opcode, final, payload, bytes used) of the first whole frame, or None."""
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(data) < start:
            return None
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0] & 0x0F, bool(data[0] & 0x80), data[start : start + size], start + size


async def connect(host: str, port: int, on_frame: OnFrame, on_close: OnClose) -> Socket:
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: Socket(on_frame, on_close), host, port)
    assert socket.transport is not None
    nonce = base64.b64encode(os.urandom(16)).decode()
    socket.transport.write(
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: agentcom.v2.json\r\n\r\n".encode()
    )
    await socket.opened
    return socket
