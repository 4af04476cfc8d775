"""The edge: owns sockets and waiting requests, and nothing else. All meaning is the gateway's.

It is a port among actors: requests go to the gateway as `HttpIn`, sockets as `ConnOpened`, `FrameIn`, `ConnClosed`;
`Reply`, `FrameOut`, `CloseConn` and `Delegate` come back. The composition root tells it when the gateway is up.
May import: agentcom.{core, protocol, config, runtime}, agentcom.web.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import structlog

from agentcom.config import Config
from agentcom.core.answers import Answer, failed, finish
from agentcom.core.messages import (
    CloseConn,
    Delegate,
    Fault,
    FrameOut,
    HttpIn,
    HubStopping,
    NearLimit,
    Reply,
    Several,
)
from agentcom.core.routes import ROUTES
from agentcom.protocol.errors import AgentComError
from agentcom.protocol.metrics import Family, gauge
from agentcom.runtime import LoopSystemBase
from agentcom.web.app import make_app
from agentcom.web.connections import Connections
from agentcom.web.proxies import Proxies
from agentcom.web.reading import Head
from agentcom.web.server import make_server, started
from agentcom.web.sockets import Sockets
from agentcom.web.streams import Streams

log = structlog.get_logger()

PATIENT_S = 60.0
"""Requests that may take longer are not waited for when the hub stops."""
SWEEP_S = 1.0
RETRY_MS = 1_000
RECONNECTS_PER_S = 500
"""What a hub takes in its stride."""

RESTARTING = Fault("unavailable", "the hub is restarting this part; send it again", retry_after_ms=RETRY_MS)
TIMED_OUT = Fault(
    "unavailable", "no answer in time, the outcome is unknown; send it again", retry_after_ms=RETRY_MS
)
TOO_MANY = Fault("overloaded", "too many of your own requests are waiting", retry_after_ms=RETRY_MS)
OVERLOADED = Fault("overloaded", "too many requests are waiting", retry_after_ms=RETRY_MS)

Delegated = Callable[[str, dict[str, str]], Awaitable[Any]]


class Waiting(NamedTuple):
    future: asyncio.Future[Answer]
    route: str
    until: float
    client: str  #: who asked: its token, or its address


class Edge:
    """Make it on the hub's loop; `start` serves on a listening socket; `drain` ends it in order."""

    def __init__(self, base: LoopSystemBase, config: Config, delegate: Delegated) -> None:
        self.config = config
        self._loop = base.loop
        self._delegate = delegate
        self._port = base.open_port(self._receive)
        self._gateway: Any = None
        self._waiting: dict[int, Waiting] = {}
        self._near: dict[int, tuple[str, int]] = {}  #: waiting requests whose rate is nearly used up
        self._in_work: dict[str, int] = {}  #: waiting requests by client
        self._last_request = 0
        self._delegated: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self.proxies = Proxies(config.trusted_proxies)
        limits = config.limits
        self.sockets = Sockets(self._port.address, limits.max_outbox_bytes, self._tell, self._mail)
        self.sockets.admit(self.proxies, config.hub.allowed_origins, limits.max_sessions, v1=config.compat.v1)
        self.streams = Streams()
        self.connections = Connections(self._room, self._loop.time)
        self._server = make_server(
            make_app(self),
            self.connections,
            max_frame_bytes=limits.max_frame_bytes,
            sockets=self.sockets,
            tls=config.tls,
        )
        self.ended: asyncio.Task[None] | None = None
        """uvicorn's own task: when it is done and `drain` was not called, the hub ends."""

    async def start(self, listener: socket.socket) -> None:
        """Serve. Returns when connections are accepted."""
        self._sweep()
        self.ended = self._loop.create_task(self._server.serve(sockets=[listener]))
        await started(self._server, self.ended)

    # --- the gateway comes and goes ----------------------------------------------------------------

    def gateway_up(self, address: Any, incarnation: int) -> None:
        if self._gateway is not None:
            self.gateway_down()
        self._gateway = address
        self.sockets.open_under(incarnation)

    def gateway_down(self) -> None:
        """All that waited is told so; nothing new is taken until the next `gateway_up`."""
        self._gateway = None
        waiting, self._waiting = self._waiting, {}
        self._near.clear()
        self._in_work.clear()
        for one in waiting.values():
            _settle(one, failed(RESTARTING))
        self.sockets.close_all(1012, "the gateway restarts", RETRY_MS, self._spread_s())

    def _spread_s(self) -> float:
        """Over how long clients should come back, so that they do not all at once; well within their grace."""
        return min(len(self.sockets) / RECONNECTS_PER_S, self.config.lease.grace_s / 2)

    # --- requests ----------------------------------------------------------------------------------

    def ask(
        self, route: str, args: dict[str, str], head: Head, body: bytes, peer: str
    ) -> asyncio.Future[Answer]:
        """The gateway's answer, or why there is none; it always comes."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._gateway is None:
            future.set_result(failed(RESTARTING))
            return future
        client, limits = head.token or peer, self.config.limits
        theirs = self._in_work.get(client, 0)
        if len(self._waiting) >= limits.max_waiting_requests or theirs >= limits.max_waiting_per_client:
            future.set_result(failed(OVERLOADED if theirs < limits.max_waiting_per_client else TOO_MANY))
            return future
        self._in_work[client] = theirs + 1
        self._last_request = number = self._last_request + 1
        self._waiting[number] = Waiting(future, route, self._loop.time() + ROUTES[route].deadline_s, client)
        message = HttpIn(
            reply_to=self._port.address,
            request=number,
            route=route,
            args=args,
            token=head.token,
            body=body,
            peer=peer,
            forwarded=head.forwarded,
            csrf=head.csrf,
            url_token=head.url_token,
        )
        self._port.send(self._gateway, message)
        return future

    def _sweep(self) -> None:
        """Give up what waited too long."""
        self.connections.sweep()
        now = self._loop.time()
        for number, one in [item for item in self._waiting.items() if item[1].until <= now]:
            self._take(number)
            log.warning("request.unanswered", route=one.route)
            _settle(one, failed(TIMED_OUT))
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    # --- what actors say ---------------------------------------------------------------------------

    def _receive(self, message: Any, _sender: Any) -> None:
        kind = type(message)
        if kind is Reply:
            self._answer(message.request, message)
        elif kind is FrameOut:
            self.sockets.write(message.conn, message.data)
        elif kind is Several:
            for one in message.messages:
                self._receive(one, _sender)
        elif kind is CloseConn:
            self.sockets.close(message.conn, message.code, message.reason)
        elif kind is NearLimit:
            if message.request in self._waiting:
                self._near[message.request] = (message.tier, message.remaining)
        elif kind is Delegate:
            task = self._loop.create_task(self._run_delegate(message))
            self._delegated.add(task)
            task.add_done_callback(self._delegated.discard)

    def _answer(self, request: int, reply: Reply) -> None:
        near = self._near.get(request) if self._near else None
        one = self._take(request)
        if one is not None:
            answer = finish(one.route, reply)
            _settle(one, answer._replace(near=near) if near else answer)

    def _take(self, request: int) -> Waiting | None:
        """It waits no more."""
        one = self._waiting.pop(request, None)
        if one is not None:
            self._near.pop(request, None)
            left = self._in_work[one.client] - 1
            if left:
                self._in_work[one.client] = left
            else:
                del self._in_work[one.client]
        return one

    async def _run_delegate(self, asked: Delegate) -> None:
        try:
            body: Any = await self._delegate(asked.route, asked.args)
        except AgentComError as error:
            body = Fault(error.code, error.message, error.path, retry_after_ms=error.retry_after_ms)
        except Exception:
            log.exception("delegate.failed", route=asked.route)
            body = Fault("unavailable", "this failed inside the hub; its log says why")
        self._answer(asked.request, Reply(asked.request, body))

    async def figures(self) -> list[Family]:
        """What is not in the store."""
        mine = (("waiting_requests", "HTTP requests that wait for an answer.", len(self._waiting)),
                ("http_connections", "Open connections that are no WebSocket.", len(self.connections)),
                ("event_streams", "Open streams of GET /api/events.", len(self.streams)))  # fmt: skip
        found: list[Family] = await self._delegate("metrics.text", {})
        return [*found, *(gauge(*of) for of in mine)]

    def _room(self) -> int:
        """For HTTP: a share that sessions cannot take, and what they leave of theirs."""
        limits = self.config.limits
        return limits.max_http_connections + max(0, limits.max_sessions - len(self.sockets))

    def _mail(self) -> int:
        return 0 if self._gateway is None else self._port.depth_of(self._gateway)

    def _tell(self, message: Any) -> None:
        if self._gateway is not None:
            self._port.send(self._gateway, message)

    # --- the end -----------------------------------------------------------------------------------

    async def drain(self, deadline_s: float = 10.0) -> None:
        """Refuse submits, answer who waits, say goodbye, close with 1001, stop uvicorn. Each step has its share."""
        self._tell(HubStopping())
        self.sockets.refuse()
        await self.streams.end()
        waiting = [one.future for one in self._waiting.values() if ROUTES[one.route].deadline_s <= PATIENT_S]
        if waiting:
            await asyncio.wait(waiting, timeout=deadline_s / 2)
        self.sockets.close_all(1001, "the hub is stopping", RETRY_MS, self._spread_s())
        await self.sockets.gone(deadline_s / 4)
        self._server.stop()
        if self.ended is not None:
            await asyncio.wait([self.ended], timeout=deadline_s / 2)
        self._close()

    def _close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for one in self._waiting.values():
            _settle(one, failed(RESTARTING))
        self._waiting.clear()
        self._port.close()


def _settle(one: Waiting, answer: Answer) -> None:
    if not one.future.done():
        one.future.set_result(answer)
