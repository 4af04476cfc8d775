"""What lies between clients and edge: connections that carry frames in order, and requests that each go their own way.

Unrealistic: a message crosses whole or not at all, and nothing is ever corrupted (TCP sees to both).
"""

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from hubsim.agenda import Agenda

QUICK_S, SLOW_S = 0.001, 0.15
PROTOCOL_ERROR = 1006


class End(Protocol):
    """A client's side of a line."""

    token: str
    codec: str

    def received(self, line: "Line", data: bytes) -> None: ...
    def ended(self, line: "Line", code: int) -> None: ...


class Pipe:
    """One direction: what was sent first arrives first."""

    def __init__(self, net: "Network") -> None:
        self._net = net
        self._last_at = 0.0
        self.silent = False
        self.slower_s = 0.0

    def send(self, call: Callable[..., None], *args: Any) -> None:
        if self.silent:
            self._net.seen["lost on a line"] += 1
            return
        now = self._net.agenda.clock.monotonic()
        at = max(self._last_at, now + self._net.latency() + self.slower_s)
        self._last_at = at
        self._net.agenda.after(at - now, self._arrive, call, args)

    def _arrive(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.silent:
            call(*args)


class Line:
    """One connection of a client. `conn` is what the edge calls it, once it is accepted."""

    def __init__(self, net: "Network", client: End) -> None:
        self.client = client
        self.conn = ""
        self.to_hub, self.to_client = Pipe(net), Pipe(net)
        self._net = net

    def dial(self) -> None:
        self._net.lines.append(self)
        self.to_hub.send(lambda: self._net.edge().accept(self))

    def say(self, data: bytes) -> None:
        self.to_hub.send(lambda: self._net.edge().heard(self, data))

    def hang_up(self) -> None:
        """The client closes; the hub learns of it as of everything else."""
        self.to_client.silent = True
        self.to_hub.send(lambda: self._net.edge().ended(self, 1000))
        self._net.forget(self)

    def cut(self, *, lose: bool) -> None:
        """The connection fails: what is on its way to the client is lost, and what it said if `lose`."""
        self.to_client.silent = True
        if lose:
            self.to_hub.silent = True
            self.to_hub = Pipe(self._net)
        self.to_hub.send(lambda: self._net.edge().ended(self, PROTOCOL_ERROR))
        self._net.agenda.after(self._net.latency(), self.client.ended, self, PROTOCOL_ERROR)
        self._net.forget(self)

    def go_silent(self) -> None:
        """Half-open: nothing crosses any more, and nobody is told."""
        self.to_hub.silent = self.to_client.silent = True
        self._net.forget(self)


class Network:
    """All lines and requests. `edge` finds the edge of the hub's present life."""

    def __init__(self, agenda: Agenda, draw: Random, seen: "Counter[str]", edge: Callable[[], Any]) -> None:
        self.agenda, self.seen, self.edge = agenda, seen, edge
        self.lines: list[Line] = []
        self.mishaps: deque[tuple[str, float]] = deque()  #: each befalls one of the next requests
        self._draw = draw
        self._asked = self._newest = 0

    def latency(self) -> float:
        return self._draw.uniform(QUICK_S, SLOW_S if self._draw.random() < 0.2 else 0.01)

    def forget(self, line: Line) -> None:
        if line in self.lines:
            self.lines.remove(line)

    def request(self, send: Callable[[Callable[[Any], None]], None], answered: Callable[[Any], None]) -> None:
        """`send` hands it to the edge; `answered` gets the answer, None for a broken connection, or nothing, ever."""
        mishap, size = self.mishaps.popleft() if self.mishaps else ("", 0.0)
        if mishap:
            self.seen[mishap] += 1
        if mishap == "drop_request":
            return
        self._asked += 1
        back = (lambda _: None) if mishap == "drop_answer" else answered
        delay = self.latency() + (size if mishap == "delay_request" else 0.0)
        self.agenda.after(delay, self._arrived, self._asked, send, back)
        if mishap == "duplicate_request":
            self.agenda.after(self.latency() + size, self._arrived, self._asked, send, back)

    def _arrived(self, number: int, send: Callable[..., None], answered: Callable[[Any], None]) -> None:
        if number < self._newest:
            self.seen["reorder"] += 1
        self._newest = max(self._newest, number)
        send(lambda answer: self.agenda.after(self.latency(), answered, answer))
