"""What whoever watches the hub asks: its whole state, put together of what presence, the gateway and the rows know;
events; figures.

May import: agentcom.protocol, agentcom.core.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from agentcom.core.asked import Asked
from agentcom.core.decision import Now, Output
from agentcom.core.decoding import decode_query
from agentcom.core.gateway_state import SHELL, Rows, State
from agentcom.core.messages import AskPresence, Fault, Read
from agentcom.core.v1_http import alerts_shown
from agentcom.protocol import dashboard, metrics

MOST_AGENTS = 500
"""Agents in one answer; those that are here come first."""


def on_dashboard(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    return _ROUTES[asked.route.name](state, asked, now, rows)


def _state(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    def answered(body: Any) -> list[Output]:
        if isinstance(body, Fault):
            return asked.refuse(body)
        agents = sorted(body.agents, key=lambda agent: (not agent.connected_ms, agent.agent_id))
        known = dashboard.Known(
            now_ms=now.ms,
            uptime_ms=now.ms - state.since_ms,
            agents=agents[:MOST_AGENTS],
            agents_total=len(agents),
            alerts=alerts_shown(state, now, rows),
            parts={name: said.facts for name, said in state.conditions.items()},
        )
        return [_read(asked, known)]

    return [Output("presence", AskPresence(reply_to=state.me, request=state.asked("presence", answered)))]


def _events(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    query = decode_query(asked.route.query, asked.msg.args)
    return asked.refuse(query) if isinstance(query, Fault) else [_read(asked, query)]


def _figures(state: State, asked: Asked, now: Now, _rows: Rows) -> list[Output]:
    sessions = Counter("2" if session.v1 is None else "1" for session in state.sessions.values())
    known = metrics.Known(
        now_ms=now.ms,
        online=len({session.agent_id for session in state.sessions.values() if session.welcomed}),
        sessions={protocol: sessions[protocol] for protocol in ("1", "2")},
        alerts=sum(len(said.alerts) for said in state.conditions.values()),
        parts={name: said.facts for name, said in state.conditions.items()},
    )
    return [_read(asked, known)]


def _page(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    """Its bytes are the edge's; whether one may have them now is said here, as for everything."""
    return asked.reply(None)


def _read(asked: Asked, query: Any) -> Output:
    msg = asked.msg
    return Output(SHELL, Read(reply_to=msg.reply_to, request=msg.request, what=msg.route, query=query))


_ROUTES: dict[str, Callable[[State, Asked, Now, Rows], list[Output]]] = {
    "dashboard.get": _state,
    "dashboard.events": _events,
    "event.stream": _events,
    "metrics.text": _figures,
    "page.dashboard": _page,
    "page.script": _page,
    "page.style": _page,
    "page.worker": _page,
    "page.schema": _page,
    "page.frames": _page,
}
