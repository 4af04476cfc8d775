"""HTTP connections: how many may be open, and how long one may keep the hub waiting.

Anybody who reaches the port can open them, without a token. uvicorn by itself waits for a request's head, and for a
peer that takes no answer, as long as that peer likes.
May import: agentcom.core.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from agentcom.core.messages import Fault

HEAD_S = 20.0
"""From a connection's opening, or a request's first byte, to the end of its head."""
TAKE_S = 60.0
"""A peer that has not made room for more of its answers in so long is cut off."""
SETTLED_S = 1.0
"""One that has said nothing for so long makes room for another, when there is no more."""

SLOW = Fault("bad_frame", f"the head of a request did not arrive within {HEAD_S:g} s")
FULL = Fault("overloaded", "too many connections are open", retry_after_ms=1_000)


class Peer(Protocol):
    """One connection."""

    def refuse(self, status: int, fault: Fault) -> None:
        """Say so and end; an answer that has begun is cut off."""

    def abort(self) -> None:
        """End it now; what was not sent is dropped."""


class Connections:
    """All open connections that are no WebSocket. `room` says how many there may be; `now` is in seconds."""

    def __init__(self, room: Callable[[], int], now: Callable[[], float]) -> None:
        self._room, self._now = room, now
        self._open: set[Peer] = set()
        self._asking: OrderedDict[Peer, float] = OrderedDict()  #: whose head is due, and since when
        self._idle: OrderedDict[Peer, float] = OrderedDict()  #: between two requests
        #: whose answers fill the way, as it does not take them
        self._full: OrderedDict[Peer, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, peer: Peer) -> bool:
        """False if there is no room, and nobody who could make some."""
        if len(self._open) >= self._room() and not self._make_room():
            return False
        self._open.add(peer)
        self.asks(peer)
        return True

    def asks(self, peer: Peer) -> None:
        """A request has begun."""
        self._idle.pop(peer, None)
        self._asking[peer] = self._now()
        self._asking.move_to_end(peer)

    def asked(self, peer: Peer) -> None:
        """Its head is complete: it is in work, also if the answer before was given while this head came."""
        self._asking.pop(peer, None)
        self._idle.pop(peer, None)

    def rests(self, peer: Peer) -> None:
        """Its answer is given."""
        self._idle[peer] = self._now()
        self._idle.move_to_end(peer)

    def full(self, peer: Peer) -> None:
        self._full.setdefault(peer, self._now())

    def takes(self, peer: Peer) -> None:
        self._full.pop(peer, None)

    def gone(self, peer: Peer) -> None:
        """Closed, or a WebSocket from here on."""
        self._open.discard(peer)
        for waiting in (self._asking, self._idle, self._full):
            waiting.pop(peer, None)

    def sweep(self) -> None:
        """End who keeps the hub waiting for too long."""
        now = self._now()
        for peer in _before(self._asking, now - HEAD_S):
            self._refuse(peer, 408, SLOW)
        for peer in _before(self._full, now - TAKE_S):
            self.gone(peer)
            peer.abort()

    def _make_room(self) -> bool:
        """Who opened a connection and then asked nothing goes first, then who has had an answer."""
        settled = self._now() - SETTLED_S
        for waiting in (self._asking, self._idle):
            peer = next(iter(waiting), None)
            if peer is not None and waiting[peer] <= settled:
                self._refuse(peer, 503, FULL)
                return True
        return False

    def _refuse(self, peer: Peer, status: int, fault: Fault) -> None:
        self.gone(peer)
        peer.refuse(status, fault)


def _before(waiting: OrderedDict[Peer, float], time: float) -> list[Peer]:
    """The longest waiting first."""
    found = []
    for peer, since in waiting.items():
        if since > time:
            break
        found.append(peer)
    return found
