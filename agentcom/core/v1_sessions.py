"""WebSocket sessions of protocol 1: order and limits as protocol 1 has them; meaning as `v1_translating` says.

To its agent's actor such a session is one of protocol 2 that never says what it holds. Order for each frame: size cap,
rate limit, decode and validate, identify first, tier, handle.
May import: agentcom.protocol, agentcom.core.
"""

import re
from collections.abc import Iterator
from typing import Any

from agentcom.core import v1_talk
from agentcom.core.decision import Now, Output
from agentcom.core.gateway_outputs import close, tell_closed, to_agent
from agentcom.core.gateway_sessions import begin, speaks_for
from agentcom.core.gateway_state import Rows, Session, State, standing_of
from agentcom.core.limits import Standing, ms
from agentcom.core.messages import (
    AskPresence,
    Deliver,
    Fault,
    FrameOut,
    Persona,
    PresenceNews,
    SessionFrame,
    SessionOpened,
    WatchPresence,
)
from agentcom.core.rates import Tier
from agentcom.core.v1_checking import check
from agentcom.core.v1_talk import encode, out
from agentcom.core.v1_translating import (
    FINAL,
    Pending,
    Question,
    Talk,
    dropped,
    generation_of,
    message_of,
    report_of,
    to_client,
)
from agentcom.protocol import frames, v1
from agentcom.protocol.rows import TaskState

INSTANCE = "protocol-1"
"""To the hub all clients of protocol 1 of one agent are the same: the newest connection counts."""
MOST_EARLY = 256
"""Frames kept for a client that does not wait for `identified`."""
MOST_SHARED = 256
"""Messages whose bytes are kept for others who get them too."""
RETELL_S = 5.0
"""A final report without an answer is told again."""

_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def on_frame(state: State, session: Session, data: bytes, now: Now, rows: Rows) -> list[Output]:
    session.last_s = now.mono
    if len(data) > state.rules.max_frame_bytes:
        return close(state, session, "too_big", "the frame is too big")
    if session.agent_id and (refusal := _over(state, session, "light", len(data), now)):
        return refusal
    frame = check(data)
    if isinstance(frame, v1.Error | v1.ValidationFailed):
        return _bad(state, session, frame, now)
    if type(frame) is v1.Identify:
        return _identify(state, session, frame, now, rows)
    if not session.agent_id:
        return _bad(state, session, v1.Error(error="not_identified", message="identify comes first"), now)
    tier = v1.TIERS[type(frame)]
    if tier != "light" and (refusal := _over(state, session, tier, len(data), now)):
        return refusal
    return [*_warning(state, session, tier, now), *_take(state, session, frame, now, rows)]


# --- limits ----------------------------------------------------------------------------------------


def _over(state: State, session: Session, tier: Tier, size: int, now: Now) -> list[Output]:
    """The refusal, if this comes too soon: the frame is dropped. Who does not listen is closed."""
    client = state.limits.of_agent(session.agent_id)
    wait = client.wait(tier, size, now.mono)
    if not wait:
        return []
    told = out(session, v1.RateLimited(retry_after_ms=ms(wait), tier=tier))
    if not client.bucket(tier).is_lost:
        return [told]
    return [told, *_cool_down(state, session, client.conduct.punish(now.mono))]


def _warning(state: State, session: Session, tier: Tier, now: Now) -> list[Output]:
    client = state.limits.of_agent(session.agent_id)
    bucket = client.bucket(tier)
    if not client.is_near(tier, now.mono) or not bucket.warns(now.mono):
        return []
    near = v1.RateLimitWarning(tier=tier, remaining=bucket.left(now.mono), capacity=bucket.burst)
    return [out(session, near)]


def _bad(state: State, session: Session, answer: v1.Outbound, now: Now) -> list[Output]:
    """Say what was wrong. The tenth within a minute (`limits.max_bad_frames`) ends the session."""
    client: Standing = standing_of(state, session)
    most, window = max(0, client.max_bad - 1), state.limits.rules.bad_window_s
    if not client.conduct.violation(now.mono, most, window):
        return [out(session, answer)]
    return [out(session, answer), *close(state, session, "policy", "too many validation errors")]


def _cool_down(state: State, session: Session, wait_s: float) -> list[Output]:
    return close(state, session, "policy", f"cooldown active: retry in {-int(-wait_s // 1)}s")


# --- identify --------------------------------------------------------------------------------------


def _identify(state: State, session: Session, frame: v1.Identify, now: Now, rows: Rows) -> list[Output]:
    if "agents" not in state.up:
        return close(state, session, "restarted", "the hub is starting")
    token = speaks_for(state, session, frame.agent_id, frame.token, now, rows)
    if isinstance(token, Fault):
        if token.code == "rate_limited":
            return _cool_down(state, session, token.retry_after_ms / 1000)
        return [out(session, v1.Error(error=token.code, message=token.message))]
    client = state.limits.of_agent(frame.agent_id)
    if wait := client.conduct.wait(now.mono):
        return _cool_down(state, session, wait)
    if wait := client.wait("heavy", 0, now.mono):
        return [out(session, v1.RateLimited(retry_after_ms=ms(wait), tier="heavy"))]
    left = _leave(state, session, frame.agent_id)
    begin(session, frame.agent_id, frame.token, token)
    talk = _talk(session)
    talk.identifying = True
    talk.name, talk.status = frame.name or frame.agent_id, frame.status or "connected"
    talk.capabilities = list(frame.capabilities or [])
    return [*left, _open(session)]


def _leave(state: State, session: Session, agent_id: str) -> list[Output]:
    """The same socket goes on as another agent: the one before has left."""
    if session.agent_id in ("", agent_id):
        return []
    session.v1, session.welcomed = Talk(), False
    return tell_closed(state, session, 1000)


def _open(session: Session) -> Output:
    """Who it is, and what it asked to recover."""
    talk = _talk(session)
    listed = [frames.HeldTask(task_id, generation) for task_id, generation in talk.listed.items()]
    hello = frames.Hello(
        agent_id=session.agent_id, instance=INSTANCE, capabilities=talk.capabilities,
        client=frames.ClientInfo(INSTANCE), resume=frames.Resume(listed), id=INSTANCE,
    )  # fmt: skip
    return to_agent(session, SessionOpened(session.conn, hello, Persona(talk.name, talk.status)))


# --- frames of an agent ----------------------------------------------------------------------------


def _take(state: State, session: Session, frame: v1.Inbound, now: Now, rows: Rows) -> list[Output]:
    if type(frame) is v1.Ping:
        return [out(session, v1.Pong(timestamp=now.ms))]
    if session.welcomed:
        return _handle(state, session, frame, now, rows)
    early = _talk(session).early
    if len(early) >= MOST_EARLY:
        return close(state, session, "policy", "wait for identified")
    early.append(frame)
    return []


def _handle(state: State, session: Session, frame: v1.Inbound, now: Now, rows: Rows) -> list[Output]:
    match frame:
        case v1.SetStatus(status=status):
            return [to_agent(session, SessionFrame(session.conn, frames.Status(status=status)))]
        case v1.ListAgents():
            return _list_agents(state, session)
        case v1.Recovering(task_id=task_id):
            return _recover(session, "recovering", task_id, None, rows)
        case v1.StateReport(task_id=task_id, generation=generation):
            return _recover(session, "state_report", task_id, generation, rows)
    if isinstance(frame, v1_talk.FRAMES):
        return v1_talk.on_frame(state, session, frame, now, rows)
    return [] if isinstance(frame, v1.IGNORED) else _report(session, frame, now, rows)


def _report(session: Session, frame: Any, now: Now, rows: Rows) -> list[Output]:
    talk, task_id = _talk(session), frame.task_id
    if not _TASK_ID.fullmatch(task_id):
        report = report_of(frame, 0)
        unknown = frames.ErrorFrame(code="not_found", message="there is no such task", re=report.id)
        said = to_client(unknown, talk, session.agent_id, now.ms)
        return [out(session, answer) for answer in said.out]
    generation = getattr(frame, "generation", None)
    if generation is None:
        generation = generation_of(task_id, talk, rows)
    report = report_of(frame, generation or 0)
    if report.id in FINAL:
        talk.pending[task_id] = Pending(report, now.mono)
    return [to_agent(session, SessionFrame(session.conn, report))]


def _recover(
    session: Session, question: Question, task_id: str, generation: int | None, rows: Rows
) -> list[Output]:
    """What nobody gave it, or what it had before somebody else, it is told to drop at once."""
    talk = _talk(session)
    row: TaskState | None = rows.get("task", (task_id,)) if _TASK_ID.fullmatch(task_id) else None
    if row is None or session.agent_id != (row.holder or row.last_holder):
        return [out(session, dropped(question, task_id))]
    if generation is not None and generation != row.generation:
        return [out(session, dropped(question, task_id))]
    talk.asked[task_id], talk.listed[task_id] = question, row.generation
    return [_open(session)]


def _list_agents(state: State, session: Session) -> list[Output]:
    conn = session.conn

    def answered(body: Any) -> list[Output]:
        open_still = state.sessions.get(conn)
        if open_still is None:
            return []
        if isinstance(body, Fault):
            return [out(open_still, v1.Error(error=body.code, message=body.message))]
        here = [v1_talk.seen(agent) for agent in body.agents if agent.connected_ms]
        return [out(open_still, v1.Agents(agents=here))]

    return [Output("presence", AskPresence(reply_to=state.me, request=state.asked("presence", answered)))]


# --- from the hub ----------------------------------------------------------------------------------


def on_to_session(state: State, session: Session, frame: Any, now: Now, rows: Rows) -> list[Output]:
    talk = _talk(session)
    said = to_client(frame, talk, session.agent_id, now.ms)
    outputs = [out(session, answer) for answer in said.out]
    outputs += [to_agent(session, SessionFrame(session.conn, ours)) for ours in said.back]
    if type(frame) is frames.Welcome and not session.welcomed:
        session.welcomed = session.wants = True
        outputs.append(Output("presence", WatchPresence(session.conn)))
        early, talk.early = talk.early, []
        for waiting in early:
            outputs += _handle(state, session, waiting, now, rows)
    return outputs


def on_deliver(state: State, session: Session, msg: Deliver) -> list[Output]:
    """A message that many may get: encoded once, whoever they are. It was sent: the hub keeps it no longer."""
    message_id = msg.message.message_id
    data = state.shared_v1.get(message_id)
    if data is None:
        if len(state.shared_v1) >= MOST_SHARED:
            state.shared_v1.clear()
        data = state.shared_v1[message_id] = encode(message_of(msg.message))
    taken = to_agent(session, SessionFrame(session.conn, frames.Ack(seq=msg.seq)))
    return [Output(session.edge, FrameOut(session.conn, data)), taken]


def on_presence(state: State, news: PresenceNews) -> list[Output]:
    """One frame for each who came, left or said something else; encoded once, whoever gets it."""
    if news.conn:
        session = state.sessions.get(news.conn)
        if session is not None and session.v1 is not None:
            session.watching = True  # who was here before is told only to who asks
        return []
    watching = [s for s in state.sessions.values() if s.watching and s.v1 is not None]
    told = [(joined, encode(frame)) for joined, frame in _notices(news)] if watching else []
    return [
        Output(session.edge, FrameOut(session.conn, data))
        for session in watching
        for joined, data in told
        if joined != session.agent_id
    ]


def _notices(news: PresenceNews) -> Iterator[tuple[str, v1.Outbound]]:
    """With who must not be told: one who joined, of itself."""
    for frame in news.frames:
        for agent in frame.joined:
            yield agent.agent_id, v1.AgentJoined(agent=v1_talk.shown(agent))
        for agent_id in frame.left:
            yield "", v1.AgentLeft(agent_id=agent_id)
        for agent in frame.changed:
            if agent.agent_id in news.restated:
                yield "", v1.StatusChanged(agent=v1_talk.shown(agent))


def on_tick(state: State, now: Now) -> list[Output]:
    """Tell final reports again that were not answered: the part that should have was restarting, or out of room."""
    outputs = []
    for session in state.sessions.values():
        if session.v1 is None or not session.welcomed:
            continue
        for task_id, (report, told_s) in session.v1.pending.items():
            if now.mono - told_s >= RETELL_S:
                session.v1.pending[task_id] = Pending(report, now.mono)
                outputs.append(to_agent(session, SessionFrame(session.conn, report)))
    return outputs


def _talk(session: Session) -> Talk:
    assert session.v1 is not None
    return session.v1
