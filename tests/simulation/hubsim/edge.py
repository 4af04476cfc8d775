"""The edge without sockets: to the gateway it says, and from it takes, what `agentcom.web` does.

Each hub life has one. What it hears from the gateway has left the hub, so the oracle judges it here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agentcom.core.answers import Answer, failed, finish
from agentcom.core.messages import (
    CloseConn,
    ConnClosed,
    ConnOpened,
    FrameIn,
    FrameOut,
    HttpIn,
    HubStopping,
    Reply,
    Several,
)  # fmt: skip
from agentcom.core.routes import ROUTES
from agentcom.protocol.frames import Goodbye
from agentcom.web.edge import RESTARTING, RETRY_MS, SWEEP_S, TIMED_OUT
from hubsim.agenda import Agenda
from hubsim.network import PROTOCOL_ERROR, Line
from hubsim.oracle import Oracle, Violation

_encode: dict[str, Callable[[Any], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}


class Waiting(NamedTuple):
    answered: Callable[[Answer | None], None]
    route: str
    args: dict[str, str]
    until: float


class SimEdge:
    def __init__(self, agenda: Agenda, oracle: Oracle) -> None:
        self._agenda, self._oracle = agenda, oracle
        self._port: Any = None
        self._gateway: Any = None
        self._incarnation = self._opened = self._last_request = 0
        self._lines: dict[str, Line] = {}
        self._waiting: dict[int, Waiting] = {}
        self._dead = False
        self.unanswered: list[str] = []  #: requests the backstop had to answer

    def open(self, base: Any) -> None:
        self._port = base.open_port(self._receive)
        self._sweep()

    # --- the gateway comes and goes ----------------------------------------------------------------

    def gateway_up(self, address: Any, incarnation: int) -> None:
        if self._gateway is not None:
            self.gateway_down()
        self._gateway, self._incarnation = address, incarnation

    def gateway_down(self) -> None:
        self._gateway = None
        self._settle_all(failed(RESTARTING))
        goodbye = Goodbye(reason="the gateway restarts", retry_after_ms=RETRY_MS)
        for conn, line in list(self._lines.items()):
            line.to_client.send(line.client.received, line, _encode[line.client.codec](goodbye))
            self._close(conn, 1012)

    def lost(self) -> None:
        """The process is gone, and every connection with it."""
        self._dead, self._gateway = True, None
        self._settle_all(None)
        for line in list(self._lines.values()):
            line.to_client.send(line.client.ended, line, PROTOCOL_ERROR)
        self._lines.clear()

    def stopping(self) -> None:
        self._tell(HubStopping())

    def _settle_all(self, answer: Answer | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.answered(answer)

    # --- clients -----------------------------------------------------------------------------------

    def ask(
        self, route: str, args: dict[str, str], token: str, body: bytes, answered: Callable[[Answer | None], None]
    ) -> None:  # fmt: skip
        if self._dead:
            answered(None)
            return
        if self._gateway is None:
            answered(failed(RESTARTING))
            return
        self._last_request = number = self._last_request + 1
        until = self._agenda.clock.monotonic() + ROUTES[route].deadline_s
        self._waiting[number] = Waiting(answered, route, args, until)
        self._tell(
            HttpIn(
                reply_to=self._port.address, request=number, route=route, args=args, token=token, body=body,
                peer="127.0.0.1",
            )
        )  # fmt: skip

    def accept(self, line: Line) -> None:
        if self._dead or self._gateway is None:
            line.to_client.send(line.client.ended, line, PROTOCOL_ERROR)
            return
        self._opened += 1
        line.conn = f"{self._incarnation}.{self._opened}"
        self._lines[line.conn] = line
        codec: Any = line.client.codec
        self._tell(ConnOpened(line.conn, self._port.address, codec, "127.0.0.1", line.client.token))

    def heard(self, line: Line, data: bytes) -> None:
        if self._lines.get(line.conn) is line:
            self._tell(FrameIn(line.conn, data))

    def ended(self, line: Line, code: int) -> None:
        if self._lines.get(line.conn) is line:
            del self._lines[line.conn]
            self._tell(ConnClosed(line.conn, code))

    def _tell(self, message: Any) -> None:
        if self._gateway is not None:
            self._port.send(self._gateway, message)

    # --- what actors say ---------------------------------------------------------------------------

    def _receive(self, message: Any, _sender: Any) -> None:
        """A port keeps its owner's exceptions to itself, so a verdict is handed on by the oracle."""
        if self._dead:
            return
        try:
            self._take(message)
        except Violation as verdict:
            self._oracle.broken.append(verdict)

    def _take(self, message: Any) -> None:
        match message:
            case Reply(request, _):
                self._answer(request, message)
            case FrameOut(conn, data):
                line = self._lines.get(conn)
                if line is not None:
                    self._oracle.told_frame(line.client, data)
                    line.to_client.send(line.client.received, line, data)
            case CloseConn(conn, code):
                self._close(conn, code)
            case Several(messages):
                for one in messages:
                    self._take(one)

    def _answer(self, request: int, reply: Reply) -> None:
        one = self._waiting.pop(request, None)
        if one is not None:
            answer = finish(one.route, reply)
            self._oracle.told_answer(one.route, one.args, answer)
            one.answered(answer)

    def _close(self, conn: str, code: int) -> None:
        line = self._lines.pop(conn, None)
        if line is not None:
            line.to_client.send(line.client.ended, line, code)
            self._tell(ConnClosed(conn, code))

    def _sweep(self) -> None:
        if self._dead:
            return
        now = self._agenda.clock.monotonic()
        for number, one in list(self._waiting.items()):
            if one.until <= now:
                del self._waiting[number]
                self.unanswered.append(one.route)
                one.answered(failed(TIMED_OUT))
        self._agenda.after(SWEEP_S, self._sweep)
