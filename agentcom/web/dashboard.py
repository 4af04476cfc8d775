"""`/ws/dashboard`: the older hub's socket for dashboards, behind a login.

It only asks what HTTP offers, again and again, with the token or login it was opened with: so a revoked one ends it,
and rates and roles are the routes' own. First a `snapshot`, then `events`; agents and alerts are compared from look to
look.
May import: agentcom.{core, protocol}, agentcom.web.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agentcom.core.answers import Answer
from agentcom.protocol.dashboard import DashboardState, HubEvents
from agentcom.protocol.live_views import AgentView
from agentcom.web.reading import Head

PATH = "/ws/dashboard"
MOST = 64
"""Dashboards that may be open: each asks several times a second."""
EVENTS_S = 0.25
LOOK_S = 2.0
"""How often agents and alerts are looked at."""
LONGEST = 4_096
"""Bytes of a request."""
CLOSE_LOGIN, CLOSE_TOO_MANY, CLOSE_BAD = 4401, 1013, 1008

Ask = Callable[[str, dict[str, str]], Awaitable[Answer]]
_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True):
    """What a page may send. `type` is request_snapshot, retry_task or acknowledge_alert."""

    type: str
    task_id: str = ""
    rule_id: str = ""


_request = msgspec.json.Decoder(Request)


class Ended(Exception):
    """The socket is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Dashboards:
    """All that are open on this edge."""

    def __init__(self) -> None:
        self._open = 0

    async def serve(self, ask: Ask, receive: Any, send: Any) -> None:
        """One, until it ends. `ask` asks a route as whoever opened it."""
        await receive()
        await send({"type": "websocket.accept"})
        if self._open == MOST:
            await send(
                {"type": "websocket.close", "code": CLOSE_TOO_MANY, "reason": "too many dashboards are open"}
            )
            return
        self._open += 1
        try:
            await _Dashboard(ask, receive, send).run()
        except Ended as end:
            with contextlib.suppress(OSError, RuntimeError):  # it went away by itself meanwhile
                await send({"type": "websocket.close", "code": end.code, "reason": end.reason})
        finally:
            self._open -= 1


class _Dashboard:
    def __init__(self, ask: Ask, receive: Any, send: Any) -> None:
        self._ask, self._receive, self._send = ask, receive, send
        self._seq = 0
        self._agents: dict[str, AgentView] = {}
        self._alerts: dict[str, Any] = {}

    async def run(self) -> None:
        """Ends with its first part that ends."""
        await self._snapshot()
        parts = [asyncio.ensure_future(part()) for part in (self._listen, self._follow, self._look)]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    # --- what it is told -------------------------------------------------------------------------------

    async def _say(self, **fields: Any) -> None:
        await self._send({"type": "websocket.send", "text": _encode(fields).decode()})

    async def _get(self, route: str, **args: str) -> Any:
        """None when it is not to be had right now. Raises `Ended` when it never will be."""
        answer = await self._ask(route, args)
        if answer.status in (401, 403):
            raise Ended(CLOSE_LOGIN, "log in as an operator or administrator")
        return answer.body if answer.status == 200 else None

    async def _snapshot(self) -> None:
        state: DashboardState | None = await self._get("dashboard.get")
        if state is None:
            return
        self._seq = self._seq or state.seq
        self._remember(state)
        await self._say(type="snapshot", data=state, alerts=state.alerts)

    def _remember(self, state: DashboardState) -> None:
        self._agents = {agent.agent_id: agent for agent in state.agents if agent.connected_ms}
        self._alerts = {alert.rule_id: alert for alert in state.alerts}

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVENTS_S)
            told: HubEvents | None = await self._get("dashboard.events", after=str(self._seq))
            if told is None:
                continue
            self._seq = told.seq
            if told.gap:
                await self._snapshot()
            elif told.events:
                await self._say(type="events", data=told.events)

    async def _look(self) -> None:
        """Agents and alerts are in no journal."""
        while True:
            await asyncio.sleep(LOOK_S)
            state: DashboardState | None = await self._get("dashboard.get")
            if state is not None:
                agents, alerts = self._agents, self._alerts
                self._remember(state)
                changes = [*_agent_events(agents, self._agents), *_alert_events(alerts, self._alerts)]
                if changes:
                    await self._say(type="events", data=changes)

    # --- what it asks ----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while (event := await self._receive())["type"] == "websocket.receive":
            data = event.get("text") or ""
            if len(data) > LONGEST:
                raise Ended(CLOSE_BAD, "the frame is too big")
            try:
                await self._asked(_request.decode(data))
            except msgspec.DecodeError as error:
                await self._say(type="error", error="bad_frame", message=str(error))

    async def _asked(self, request: Request) -> None:
        match request.type:
            case "request_snapshot":
                await self._snapshot()
            case "retry_task":
                done = await self._do("task.retry", "requeued", task_id=request.task_id)
                await self._say(type="retry_result", task_id=request.task_id, status=done)
            case "acknowledge_alert":
                done = await self._do("alert.acknowledge", "acknowledged", rule_id=request.rule_id)
                await self._say(type="alert_ack_result", rule_id=request.rule_id, status=done)
            case _:
                await self._say(type="error", error="unknown_type", message="not a request of dashboards")

    async def _do(self, route: str, well: str, **args: str) -> str:
        """`well`, or the code of what was wrong."""
        answer = await self._ask(route, args)
        return well if answer.status < 300 else str(answer.body.error)


def _agent_events(before: dict[str, AgentView], now: dict[str, AgentView]) -> list[dict[str, Any]]:
    joined = [{"type": "agent_joined", "agent": now[name]} for name in now.keys() - before.keys()]
    left = [{"type": "agent_left", "agent_id": name} for name in before.keys() - now.keys()]
    changed = [
        {"type": "status_changed", "agent": now[name]}
        for name in now.keys() & before.keys()
        if now[name] != before[name]
    ]
    return [*joined, *left, *changed]


def _alert_events(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    fired = [{"type": "alert_fired", "alert": now[name]} for name in now.keys() - before.keys()]
    cleared = [{"type": "alert_cleared", "rule_id": name} for name in before.keys() - now.keys()]
    seen = [
        {"type": "alert_acknowledged", "rule_id": name}
        for name in now.keys() & before.keys()
        if now[name].acknowledged and not before[name].acknowledged
    ]
    return [*fired, *cleared, *seen]


def reader(head: Head) -> Head:
    """As whoever opened the socket. Its page was of this host, as its Origin told, so that writes need no more."""
    return head._replace(csrf=None)
