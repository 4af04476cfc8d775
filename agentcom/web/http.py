"""One HTTP connection on uvicorn: its writes joined, and bounded in what it may keep the hub waiting for.

May import: uvicorn, agentcom.core, agentcom.web.{connections, cork, reading}.
"""

from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from agentcom.core.answers import failed
from agentcom.core.messages import Fault
from agentcom.web.connections import FULL, Connections
from agentcom.web.cork import Corked
from agentcom.web.reading import headers_of

HEAD_BYTES = 64 << 10
"""Of a request's line and headers, a chunked body's frames and trailers: all that is not body."""
FRAMED = 8
"""And so many bytes for each of its body: one alone in a chunk comes as six."""

LINGER_S = 1.0
"""What a refused peer still sends is thrown away so long: closed at once, TCP's reset may overtake the answer."""

TOO_LONG = Fault("too_large", f"what is not body may have {HEAD_BYTES} bytes in a request")


class HttpProtocol(HttpToolsProtocol):
    """A WebSocket that begins here goes on with the same transport.

    uvicorn's parser keeps a head, or a trailer, however long it becomes.
    """

    watched: ClassVar[Connections]
    message = 0  #: the n-th request here
    received = body = 0  #: bytes of it, but for the read that it began in
    refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        if not self.watched.opened(self):
            self.refuse(503, FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        self.watched.gone(self)
        super().connection_lost(exc)

    # --- in ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        before = self.message
        super().data_received(data)
        if self.message == before:
            self.received += len(data)
            if self.received > HEAD_BYTES + FRAMED * self.body:
                self.refuse(431, TOO_LONG)

    def on_message_begin(self) -> None:
        """What ASGI has no word for: to end a connection whose peer does not read."""
        self.message += 1
        self.received = self.body = 0
        self.watched.asks(self)
        super().on_message_begin()
        self.scope["abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        self.watched.asked(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.body += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.watched.rests(self)

    def handle_websocket_upgrade(self) -> None:
        self.watched.gone(self)
        super().handle_websocket_upgrade()

    # --- out -----------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.watched.full(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        self.watched.takes(self)
        super().resume_writing()

    # --- as connections.Peer says --------------------------------------------------------------------

    def refuse(self, status: int, fault: Fault) -> None:
        self.refused = True
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            self.transport.abort()
            return
        answer = failed(fault)
        body = msgspec.json.encode(answer.body)
        lines = [*headers_of(answer, len(body)), (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()


def http_protocol_for(watched: Connections) -> type[HttpProtocol]:
    """uvicorn makes protocols from a class and gives them nothing of ours: so the class carries it."""
    return type("HttpProtocol", (HttpProtocol,), {"watched": watched})
