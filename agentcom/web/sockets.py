"""WebSockets: frames in to the gateway, frames out in order, a bound on what waits to be sent.

No task and no queue for each connection: what a peer sends is told as it is parsed, and what waits to be sent waits in
the transport. May import: agentcom.{core, protocol}, agentcom.web.{proxies, reading}.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from agentcom.core.messages import ConnClosed, ConnOpened, FrameIn, Several
from agentcom.protocol.frames import CLOSE_CODES, Goodbye
from agentcom.web.proxies import Proxies
from agentcom.web.reading import Head

Codec = Literal["json", "msgpack", "v1"]
CODECS: dict[str, Codec] = {"agentcom.v2.json": "json", "agentcom.v2.msgpack": "msgpack", "": "v1"}
"""By subprotocol; a client that offers none speaks protocol 1."""
_encode: dict[str, Callable[[Any], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}

ABORT_S = 5.0
"""How long a peer that is to be closed may take to read what it was already sent."""
MOST_AT_ONCE = 8
"""Frames of one read that go to the gateway as one message; more would keep its other mail waiting."""
CROWDED = 2_000
"""Mail that waits for the gateway; above it nothing more is read from sockets."""


AGAIN_S = 0.005
"""How long a crowded gateway is left alone before its sockets are read again."""
READ_AT_ONCE = 64
"""Sockets that are then read again together, before it is looked again."""


class Wire(Protocol):
    """The connection under a socket."""

    def send_frame(self, data: bytes, *, text: bool) -> None: ...

    def waiting(self) -> int:
        """Bytes that the peer has not taken yet."""

    def end(self, code: int, reason: str) -> None:
        """Say that this is the end; the peer's answer, or time, ends the connection."""

    def abort(self) -> None:
        """End it now, if it is still there."""


class Refusal(NamedTuple):
    """Why an upgrade is refused, as an HTTP answer."""

    status: int
    body: bytes
    retry_after_s: int = 0


class Socket:
    """One open connection."""

    __slots__ = ("closing", "codec", "conn", "heard", "tell", "wire")

    def __init__(self, conn: str, codec: Codec, wire: Wire, tell: Callable[[Any], None]) -> None:
        self.conn, self.codec, self.wire, self.tell = conn, codec, wire, tell
        self.closing: tuple[int, str] | None = None
        self.heard: list[FrameIn] = []  #: and not told yet

    def received(self, data: bytes) -> None:
        """A whole message of the peer. After our close nothing it says counts."""
        if self.closing is None:
            self.heard.append(FrameIn(self.conn, data))
            if len(self.heard) == MOST_AT_ONCE:
                self.pass_on()

    def pass_on(self) -> None:
        """Tell what was received. Called after each read: what came together goes on together."""
        if self.heard:
            heard, self.heard = self.heard, []
            self.tell(heard[0] if len(heard) == 1 else Several(tuple(heard)))

    def send(self, data: bytes) -> None:
        self.wire.send_frame(data, text=self.codec != "msgpack")

    def close(self, code: int, reason: str) -> None:
        """After what is already sent; whoever does not read that is cut off."""
        self.closing = (code, reason)
        self.wire.end(code, reason[:120])
        asyncio.get_running_loop().call_later(ABORT_S, self.wire.abort)


class Sockets:
    """All connections of this edge. `tell` reaches the gateway, `mail` is how much waits for it."""

    def __init__(
        self, edge: Any, max_outbox_bytes: int, tell: Callable[[Any], None], mail: Callable[[], int]
    ) -> None:
        self._edge = edge
        self._max = max_outbox_bytes
        self._tell = tell
        self._mail = mail
        self._all: dict[str, Socket] = {}
        self._incarnation = 0
        self._opened = 0
        self._refusing = True
        self._empty = asyncio.Event()
        self._proxies = Proxies("")
        self._origins: frozenset[str] = frozenset()
        self._most = 1 << 30
        self._takes_v1 = False
        self._paused: deque[Callable[[], None]] = deque()  #: how to read on, the longest paused first
        self._looking = False

    def admit(self, proxies: Proxies, origins: str, most: int, *, v1: bool) -> None:
        """Whose word on others is believed, which sites' pages may connect, how many sockets there may be, and whether
        clients of protocol 1 are served.
        """
        self._proxies, self._most, self._takes_v1 = proxies, most, v1
        self._origins = frozenset(
            one.strip().rstrip("/").lower() for one in origins.split(",") if one.strip()
        )

    def open_under(self, incarnation: int) -> None:
        """Take connections; their ids carry this incarnation of the gateway."""
        self._incarnation, self._refusing = incarnation, False

    def refuse(self) -> None:
        self._refusing = True

    @property
    def is_crowded(self) -> bool:
        """The gateway is behind: peers had better wait in their own sockets."""
        return self._mail() > CROWDED

    def once_quiet(self, read_on: Callable[[], None]) -> None:
        """Call it when the gateway has caught up. One timer for all: under load those that wait are many."""
        self._paused.append(read_on)
        if not self._looking:
            self._look_again()

    def _look_again(self) -> None:
        self._looking = True
        asyncio.get_running_loop().call_later(AGAIN_S, self._read_on)

    def _read_on(self) -> None:
        self._looking = False
        if not self.is_crowded:
            for _ in range(min(READ_AT_ONCE, len(self._paused))):
                self._paused.popleft()()
        if self._paused and not self._looking:
            self._look_again()

    # --- connections come and go ---------------------------------------------------------------------

    def choose(self, offered: Iterable[str], head: Head) -> str | Refusal:
        """The subprotocol of a new connection ("" for protocol 1), or why there will be none."""
        names = list(offered)
        chosen = next((name for name in names if name and name in CODECS), None)
        if chosen is None and self._takes_v1 and not names:
            chosen = ""
        if chosen is None:
            return _refusal(400, "bad_frame", "offer the subprotocol agentcom.v2.json or agentcom.v2.msgpack")
        if not self.welcomes(head):
            return _refusal(403, "forbidden", "pages of other hosts may not connect; see hub.allowed_origins")
        if self._refusing:
            return _refusal(503, "unavailable", "the hub is restarting or stopping", retry_after_s=1)
        if len(self._all) >= self._most:
            return _refusal(503, "overloaded", "too many sessions are open", retry_after_s=5)
        return chosen

    def welcomes(self, head: Head) -> bool:
        """A browser names the page that connects; no other client does. A page of this host is ours."""
        origin, host = head.origin.lower(), head.host.lower()
        return not origin or origin in self._origins or origin.partition("://")[2] == host

    def open(self, wire: Wire, chosen: str, peer: str, head: Head) -> Socket:
        self._opened += 1
        one = Socket(f"{self._incarnation}.{self._opened}", CODECS[chosen], wire, self._tell)
        self._all[one.conn] = one
        via = self._proxies.via(peer, "", head.forwarded_for, "")
        token = head.token if head.csrf is None else ""  # a login is not for agents
        self._tell(ConnOpened(one.conn, self._edge, one.codec, via.peer, token, head.forwarded))
        return one

    def lost(self, one: Socket, code: int) -> None:
        """Its connection is gone. The code is ours when we ended it."""
        del self._all[one.conn]
        self._tell(ConnClosed(one.conn, one.closing[0] if one.closing else code))
        if not self._all:
            self._empty.set()

    async def gone(self, timeout_s: float) -> None:
        """Wait until every socket is closed; abort who stays."""
        self._empty.clear()
        if self._all:
            try:
                await asyncio.wait_for(self._empty.wait(), timeout_s)
            except TimeoutError:
                for one in list(self._all.values()):
                    one.wire.abort()

    # --- what the gateway says -----------------------------------------------------------------------

    def write(self, conn: str, data: bytes) -> None:
        one = self._all.get(conn)
        if one is None or one.closing is not None:
            return
        if one.wire.waiting() + len(data) > self._max:
            self._overflow(one)
        else:
            one.send(data)

    def close(self, conn: str, code: int, reason: str) -> None:
        one = self._all.get(conn)
        if one is not None and one.closing is None:
            one.close(code, reason)

    def __len__(self) -> int:
        return len(self._all)

    def close_all(self, code: int, reason: str, retry_after_ms: int, spread_s: float = 0.0) -> None:
        """Say goodbye to everyone and take nobody new. Each is told another time to come back, within `spread_s`."""
        self._refusing = True
        for one in list(self._all.values()):
            if one.closing is None:
                jitter_ms = int(random.uniform(0, spread_s) * 1000)  # noqa: S311 - no secret
                goodbye = Goodbye(reason=reason, retry_after_ms=retry_after_ms + jitter_ms)
                if one.codec in _encode:  # protocol 1 has no such frame
                    one.send(_encode[one.codec](goodbye))
                one.close(code, reason)

    def _overflow(self, one: Socket) -> None:
        """Too slow. Its mailbox and its tasks' rows keep all that matters."""
        code = CLOSE_CODES["policy" if one.codec == "v1" else "outbox_full"]
        one.close(code, "too slow: the outbox is full")
        self._tell(ConnClosed(one.conn, code))


def _refusal(status: int, code: str, message: str, retry_after_s: int = 0) -> Refusal:
    return Refusal(status, msgspec.json.encode({"error": code, "message": message}), retry_after_s)
