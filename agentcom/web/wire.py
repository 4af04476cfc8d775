"""One WebSocket on uvicorn: the bytes of `websockets`' protocol core in, the edge's sockets told at once.

uvicorn hands each frame to an ASGI task through a queue and stops reading meanwhile; that costs several times what
the hub does with a frame. So frames of `/ws` take no such way. Any other path is uvicorn's and the application's.
May import: uvicorn, websockets, agentcom.web.{reading, sockets}.
"""

from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request, Response
from websockets.protocol import State

from agentcom.web.reading import Head, read_head
from agentcom.web.sockets import Refusal, Socket, Sockets

PATH = "/ws"
MOST_FRAGMENTS = 1_024
"""Of one message. Its size is bounded by itself, but fragments may be empty."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's handshake rules and shutdown; our own way in and out.

    No pings: the gateway closes what it has not heard a heartbeat of, which finds a half-open connection as well.
    """

    sockets: ClassVar[Sockets | None] = None
    socket: Socket | None = None

    # --- the handshake -------------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        if self.sockets is None or event.path.partition("?")[0] != PATH:
            super().handle_connect(event)
            return
        self.request, self.handshake_initiated, self.handshake_complete = event, True, True
        response = self.conn.accept(event)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            head = read_head((k.lower().encode(), v.encode()) for k, v in event.headers.raw_items())
            chosen = self.sockets.choose(_offered(event), head)
            if isinstance(chosen, str):
                self._open(self.sockets, response, chosen, head)
                return
            response = self._refused(chosen)
        self.close_sent = True
        self.conn.send_response(response)
        self._flush()
        self.transport.close()

    def _open(self, sockets: Sockets, response: Response, chosen: str, head: Head) -> None:
        if chosen:
            response.headers["Sec-WebSocket-Protocol"] = chosen
        self.conn.send_response(response)
        self._flush()
        peer = str(self.client[0]) if self.client else ""
        self.socket = sockets.open(self, chosen, peer, head)

    def _refused(self, why: Refusal) -> Response:
        response = self.conn.reject(HTTPStatus(why.status), why.body.decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        if why.retry_after_s:
            response.headers["Retry-After"] = str(why.retry_after_s)
        return response

    # --- in ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """What was read may hold several messages; the gateway gets them together."""
        super().data_received(data)
        if self.socket is None:
            return
        self.socket.pass_on()
        if len(self.frames) > MOST_FRAGMENTS:
            self.frames = []
            self.socket.close(1009, f"a message may have {MOST_FRAGMENTS} fragments")
        if self.sockets is None or self.read_paused or self.transport.is_closing():
            return
        if self.sockets.is_crowded:
            self.read_paused = True
            self.transport.pause_reading()
            self.sockets.once_quiet(self._read_again)

    def send_receive_event_to_app(self) -> None:
        """A whole message. Text need not be decoded here: whoever decodes the JSON sees that it is none."""
        if self.socket is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        self.socket.received(data)

    def _read_again(self) -> None:
        if not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.socket is not None and self.sockets is not None:
            received = self.conn.close_rcvd
            self.sockets.lost(self.socket, received.code if received else 1006)
            self.socket = None

    # --- out, as sockets.Wire says -------------------------------------------------------------------

    def send_frame(self, data: bytes, *, text: bool) -> None:
        """One whole message. Once the peer has begun to close it hears nothing more."""
        if self.conn.state is State.OPEN:
            self.transport.write(frame_head(len(data), text=text) + data)

    def waiting(self) -> int:
        return self.transport.get_write_buffer_size()

    def end(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            return
        self._flush()
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def abort(self) -> None:
        """What was not sent is dropped."""
        if not self.disconnected:
            self.transport.abort()

    def _flush(self) -> None:
        if output := self.conn.data_to_send():
            self.transport.write(b"".join(output))


def frame_head(length: int, *, text: bool) -> bytes:
    """RFC 6455, section 5.2, for a whole message of a server that has agreed to no extension: two bytes and the length.

    Written here because the library's way, made for every kind of frame, costs more than making what is in it.
    """
    first = 0x81 if text else 0x82
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def _offered(event: Request) -> list[str]:
    lines = event.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def protocol_for(sockets: Any) -> type[WebSocketProtocol]:
    """uvicorn makes protocols from a class and gives them nothing of ours: so the class carries it."""
    return type("WebSocketProtocol", (WebSocketProtocol,), {"sockets": sockets})
