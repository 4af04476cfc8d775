"""The gateway's one decision: a message from the edge, a lane, an agent or the directory, and what follows.

Sans-I/O: sockets are the edge's, rows are read through `rows`, and nothing is ever written. HTTP is in
`gateway_http`, sessions in `gateway_sessions`, new tasks in `submitting`.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from typing import Any

from agentcom.core import gateway_http, gateway_sessions, submitting, v1_sessions
from agentcom.core.decision import Now, Output
from agentcom.core.directory_limits import override_of
from agentcom.core.gateway_state import Rows, State
from agentcom.core.messages import (
    Condition,
    ConnClosed,
    ConnOpened,
    Deliver,
    EndSession,
    Fault,
    FrameIn,
    HttpIn,
    HubStopping,
    LimitChanged,
    PresenceNews,
    Reply,
    RepoChanged,
    SubjectRevoked,
    Tick,
    TokenChanged,
    ToSession,
)


def decide(state: State, message: Any, now: Now, rows: Rows) -> list[Output]:
    """What to send, in order. A message this does not know is a bug of its sender and raises."""
    return _HANDLERS[type(message)](state, message, now, rows)


def on_up(state: State, name: str, rows: Rows) -> list[Output]:
    state.up.add(name)
    if name == "presence":
        return gateway_sessions.on_presence_up(state)
    if name == "channels":
        return gateway_sessions.on_channels_up(rows)
    return gateway_sessions.on_directory_up(state, rows) if name == "directory" else []


def on_down(state: State, name: str) -> list[Output]:
    state.up.discard(name)
    state.conditions.pop(name, None)
    if name == "agents":
        return gateway_sessions.on_agents_down(state)
    return submitting.on_lane_down(state, name) + _unanswered(state, name)


def _unanswered(state: State, name: str) -> list[Output]:
    lost = [request for request, question in state.questions.items() if question.name == name]
    fault = Fault("unavailable", "the part that answers this is restarting", retry_after_ms=1_000)
    return [output for request in lost for output in state.answered(request, fault)]


def _frame(state: State, msg: FrameIn, now: Now, rows: Rows) -> list[Output]:
    session = state.sessions.get(msg.conn)
    if session is not None and session.v1 is not None:
        return v1_sessions.on_frame(state, session, msg.data, now, rows)
    return gateway_sessions.on_frame(state, msg, now, rows)


def _to_session(state: State, msg: ToSession, now: Now, rows: Rows) -> list[Output]:
    session = state.sessions.get(msg.conn)
    if session is not None and session.v1 is not None:
        return v1_sessions.on_to_session(state, session, msg.frame, now, rows)
    return gateway_sessions.on_to_session(state, msg)


def on_deliver(state: State, msg: Deliver) -> list[Output]:
    session = state.sessions.get(msg.conn)
    if session is None:
        return []
    if session.v1 is not None:
        return v1_sessions.on_deliver(state, session, msg)
    return gateway_sessions.on_deliver(state, session, msg)


def _presence(state: State, news: PresenceNews, _now: Now, _rows: Rows) -> list[Output]:
    return gateway_sessions.on_presence(state, news) + v1_sessions.on_presence(state, news)


def _tick(state: State, _message: Tick, now: Now, rows: Rows) -> list[Output]:
    for said in [each for each in state.conditions.values() if _is_over(each, now)]:
        _condition(state, said, now, rows)
    return gateway_sessions.on_tick(state, now) + v1_sessions.on_tick(state, now)


def _repos_changed(state: State, _message: RepoChanged, _now: Now, _rows: Rows) -> list[Output]:
    state.default_repo = None
    return []


def _limit_changed(state: State, changed: LimitChanged, _now: Now, rows: Rows) -> list[Output]:
    state.limits.override(changed.subject, override_of(rows, changed.subject))
    return []


def _is_over(said: Condition, now: Now) -> bool:
    return 0 < said.until_ms <= now.ms


def _condition(state: State, said: Condition, now: Now, _rows: Rows) -> list[Output]:
    counts = not _is_over(said, now)
    if counts and (said.facts or said.alerts):
        state.conditions[said.name] = said
    else:
        state.conditions.pop(said.name, None)
    if counts and said.alerts:
        state.fired.setdefault(said.name, now.ms)
    else:
        state.fired.pop(said.name, None)
        state.acknowledged.discard(said.name)
    return []


def _stopping(state: State, _message: HubStopping, _now: Now, _rows: Rows) -> list[Output]:
    state.draining = True
    return []


Handler = Callable[[State, Any, Now, Rows], list[Output]]

_HANDLERS: dict[type, Handler] = {
    HttpIn: gateway_http.on_request,
    FrameIn: _frame,
    ToSession: _to_session,
    Deliver: lambda state, msg, now, rows: on_deliver(state, msg),
    PresenceNews: _presence,
    EndSession: lambda state, msg, now, rows: gateway_sessions.on_end_session(state, msg),
    ConnOpened: lambda state, msg, now, rows: gateway_sessions.on_opened(state, msg, now),
    ConnClosed: lambda state, msg, now, rows: gateway_sessions.on_closed(state, msg),
    TokenChanged: lambda state, msg, now, rows: gateway_sessions.on_token_changed(state, msg, rows),
    SubjectRevoked: lambda state, msg, now, rows: gateway_sessions.on_revoked(state, msg),
    Reply: lambda state, msg, now, rows: submitting.on_lane_reply(state, msg.request, msg.body),
    Tick: _tick,
    HubStopping: _stopping,
    RepoChanged: _repos_changed,
    LimitChanged: _limit_changed,
    Condition: _condition,
}
