"""WebSocket sessions: first `hello`, then frames in order to the agent's actor, and its frames back.

May import: agentcom.protocol, agentcom.core.
"""

from typing import Any

import msgspec

from agentcom.core.decision import Now, Output
from agentcom.core.decoding import convert_task, decode_frame, named, within
from agentcom.core.directory_limits import overrides
from agentcom.core.encoding import ENCODERS
from agentcom.core.gateway_outputs import bad, close, error, out, tell_closed, to_agent
from agentcom.core.gateway_state import Rows, Session, State, authenticate, failed_login, standing_of
from agentcom.core.limits import SIZE_STEP, Standing, over
from agentcom.core.messages import (
    CarryOn,
    CloseConn,
    ConnClosed,
    ConnOpened,
    Deliver,
    EndSession,
    Fault,
    FrameIn,
    FrameOut,
    ManageChannel,
    PresenceNews,
    SessionFrame,
    SessionOpened,
    SubjectRevoked,
    TokenChanged,
    ToSession,
    WatchPresence,
)
from agentcom.core.rates import Tier
from agentcom.core.submitting import STOPPING, checked, send_to_lanes
from agentcom.core.tiers import FRAME_TIERS
from agentcom.protocol.bodies import NewTask, Submitted
from agentcom.protocol.frames import (
    Hello,
    RateLimitWarning,
    Subscribe,
    Subscribed,
    TaskSubmit,
    TaskSubmitted,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from agentcom.protocol.rows import Token
from agentcom.protocol.tokens import token_hash

TICK_S = 5.0
PRESENCE = "presence"
"""What a `hello` wants, to be told who comes and goes."""
HELLO_S = 10.0
"""A socket that has not said who it is by then is closed."""
V1_IDENTIFY_S = 60.0
"""The same for a client of protocol 1, as it was used to."""
V1_SILENCE_S = 90.0
"""A client of protocol 1 pings every 30 s; some stand still for a minute while they work."""
WELCOME_S = 30.0
"""A `hello` that its agent's actor has not answered by then: the client had better come again."""


def on_opened(state: State, msg: ConnOpened, now: Now) -> list[Output]:
    state.sessions[msg.conn] = Session(msg, now.mono)
    return []


def on_closed(state: State, msg: ConnClosed) -> list[Output]:
    session = state.sessions.pop(msg.conn, None)
    return [] if session is None else tell_closed(state, session, msg.code)


def on_frame(state: State, msg: FrameIn, now: Now, rows: Rows) -> list[Output]:
    session = state.sessions.get(msg.conn)
    if session is None:
        return []  # of an earlier gateway, or already closed by us
    session.last_s = now.mono
    if len(msg.data) > state.rules.max_frame_bytes:
        return close(state, session, "too_big", "the frame is too big")
    if session.agent_id:  # before anything is decoded
        client = state.limits.of_agent(session.agent_id)
        if wait := client.wait("light", len(msg.data), now.mono):
            return _too_soon(state, session, client, "light", wait, msg.data, now)
    frame = decode_frame(session.codec, msg.data)
    if isinstance(frame, Fault):
        return bad(state, session, frame, now, *named(session.codec, msg.data))
    if session.agent_id:
        return _of_agent(state, session, frame, msg.data, now, rows)
    if type(frame) is Hello:
        return _hello(state, session, frame, now, rows)
    return bad(state, session, Fault("not_identified", "the first frame must be hello"), now, frame.id)


def _of_agent(state: State, session: Session, frame: Any, data: bytes, now: Now, rows: Rows) -> list[Output]:
    tier = FRAME_TIERS.get(type(frame), "normal")
    client = state.limits.of_agent(session.agent_id)
    if tier != "light" and (wait := client.wait(tier, len(data), now.mono)):
        return _too_soon(state, session, client, tier, wait, data, now)
    warning = _warning(session, client, tier, now) if client.is_near(tier, now.mono) else []
    if type(frame) is TaskSubmit:
        return warning + _submit(state, session, frame, now, rows)
    if type(frame) is Subscribe or type(frame) is Unsubscribe:
        return warning + _channel(state, session, frame, now)
    if type(frame) is Hello:
        return bad(state, session, Fault("invalid_state", "hello was already said"), now, frame.id)
    return [*warning, to_agent(session, SessionFrame(session.conn, frame))]


def _too_soon(
    state: State, session: Session, client: Standing, tier: Tier, wait: float, data: bytes, now: Now
) -> list[Output]:
    """The refusal; who does not listen is closed, and has to stay away for a while."""
    fault = over(wait, f"too many {tier} requests")
    re, task_id = named(session.codec, data) if len(data) < SIZE_STEP else ("", "")
    if not client.bucket(tier).is_lost:
        return [error(session, fault, re, task_id)]
    fault = over(client.conduct.punish(now.mono), "you went on although refused; stay away for so long")
    return [
        error(session, fault, re, task_id),
        *close(state, session, "rate_limited", "over its rate limit"),
    ]


def _warning(session: Session, client: Standing, tier: Tier, now: Now) -> list[Output]:
    bucket = client.bucket(tier)
    if not bucket.warns(now.mono):
        return []
    return [out(session, RateLimitWarning(tier=tier, remaining=bucket.left(now.mono), capacity=bucket.burst))]


def _hello(state: State, session: Session, frame: Hello, now: Now, rows: Rows) -> list[Output]:
    if "agents" not in state.up:
        starting = Fault("unavailable", "the hub is starting", retry_after_ms=1_000)
        return [error(session, starting, frame.id), *close(state, session, "restarted", starting.message)]
    secret = frame.token or session.token
    token = speaks_for(state, session, frame.agent_id, secret, now, rows)
    if isinstance(token, Fault):
        why = "rate_limited" if token.code == "rate_limited" else "not_authenticated"
        return [error(session, token, frame.id), *close(state, session, why, token.message)]
    if fault := not_yet(state, frame.agent_id, now):
        return [error(session, fault, frame.id), *close(state, session, "rate_limited", fault.message)]
    begin(session, frame.agent_id, secret, token)
    session.wants = PRESENCE in frame.want
    told = msgspec.structs.replace(frame, token="")
    return [to_agent(session, SessionOpened(session.conn, told))]


def speaks_for(
    state: State, session: Session, agent_id: str, secret: str, now: Now, rows: Rows
) -> Token | Fault:
    """The agent's own token, or why this one is not; a wrong one counts as a failed login."""
    token = authenticate(state, secret, rows, now)
    if token is None:
        said = "unknown or revoked token" if secret else "hello needs a token"
        fault = Fault("invalid_token", said)
    elif token.role != "agent" or token.subject != agent_id:
        fault = Fault("token_agent_mismatch", f"this token does not speak for {agent_id}")
    else:
        return token
    return failed_login(state, standing_of(state, session), fault, now)


def begin(session: Session, agent_id: str, secret: str, token: Token) -> None:
    """From now on it is this agent's."""
    session.agent_id, session.token_hash, session.token = agent_id, token_hash(secret), ""
    session.expires_ms = token.expires_ms


def not_yet(state: State, agent_id: str, now: Now) -> Fault | None:
    """Why an agent whose token is good must come later. Asked after the token, so that nobody else learns of it."""
    client = state.limits.of_agent(agent_id)
    if wait := client.conduct.wait(now.mono):
        return over(wait, "too many bad or refused frames before; stay away for so long")
    return state.limits.spend(client, "heavy", 0, now.mono)


def _submit(state: State, session: Session, frame: TaskSubmit, now: Now, rows: Rows) -> list[Output]:
    if state.draining:
        return [error(session, STOPPING, frame.id)]
    said = frame.task or {}
    task: Any = convert_task(said)
    if type(task) is NewTask:
        task = checked(state, task, "", session.agent_id, now, rows)
        task = within(said, task) if isinstance(task, Fault) else task
    if isinstance(task, Fault):
        return bad(state, session, task, now, frame.id)
    conn, re = session.conn, frame.id
    return send_to_lanes(state, session.agent_id, [task], lambda done: _submitted(state, conn, re, done[0]))


def _submitted(state: State, conn: str, re: str, answer: Submitted | Fault) -> list[Output]:
    session = state.sessions.get(conn)
    if session is None:
        return []
    if isinstance(answer, Fault):
        return [error(session, answer, re)]
    return [out(session, TaskSubmitted(task_id=answer.task_id, status=answer.status, re=re))]


def _channel(state: State, session: Session, frame: Subscribe | Unsubscribe, now: Now) -> list[Output]:
    """The channel's actor answers; what it then gets comes by its mailbox, so nothing of it is kept here."""
    conn, re, name = session.conn, frame.id, frame.channel
    verb: Any = "subscribe" if type(frame) is Subscribe else "unsubscribe"

    def answered(body: Any) -> list[Output]:
        open_still = state.sessions.get(conn)
        if open_still is None:
            return []
        if isinstance(body, Fault):
            return [error(open_still, body, re)]
        made = Subscribed if verb == "subscribe" else Unsubscribed
        return [out(open_still, made(channel=name, re=re))]

    ask = ManageChannel(
        reply_to=state.me, request=state.asked("channels", answered), channel=name, verb=verb, now_ms=now.ms,
        by=session.agent_id,
    )  # fmt: skip
    return [Output(f"channels/channel.{name}", ask)]


def on_channels_up(rows: Rows) -> list[Output]:
    """Posts that a sender's commit left, and whose notice may have been lost with the hub: their channels are woken."""
    names = {key[0]: None for key, _ in rows.scan("posts", (), limit=10_000)}
    return [Output(f"channels/channel.{name}", CarryOn()) for name in names]


def on_to_session(state: State, msg: ToSession) -> list[Output]:
    session = state.sessions.get(msg.conn)
    if session is None:
        return []
    told = out(session, msg.frame)
    if type(msg.frame) is not Welcome:
        return [told]
    session.welcomed = True
    return [told, Output("presence", WatchPresence(session.conn))] if session.wants else [told]


def on_presence_up(state: State) -> list[Output]:
    """It forgot who watches."""
    wanting = (session.conn for session in state.sessions.values() if session.wants and session.welcomed)
    return [Output("presence", WatchPresence(conn)) for conn in wanting]


def on_presence(state: State, news: PresenceNews) -> list[Output]:
    """Each frame is encoded once for each codec, whoever gets it."""
    if news.conn:
        session = state.sessions.get(news.conn)
        if session is None or session.v1 is not None:
            return []
        session.watching = True
        return [out(session, frame) for frame in news.frames]
    watching = [s for s in state.sessions.values() if s.watching and s.v1 is None]
    codecs = {session.codec for session in watching}
    encoded = {codec: [ENCODERS[codec](frame) for frame in news.frames] for codec in codecs}
    return [
        Output(session.edge, FrameOut(session.conn, data))
        for session in watching
        for data in encoded[session.codec]
    ]


def on_deliver(state: State, session: Session, msg: Deliver) -> list[Output]:
    """A message that many may get: encoded once, whoever they are."""
    data = state.shared.encoded(session.codec, msg.seq, msg.message)
    return [Output(session.edge, FrameOut(msg.conn, data))]


def on_end_session(state: State, msg: EndSession) -> list[Output]:
    """The agent's actor ends it, so it need not be told."""
    session = state.sessions.pop(msg.conn, None)
    if session is None:
        return []
    return [Output(session.edge, CloseConn(msg.conn, session.close_code(msg.code), msg.reason))]


def on_revoked(state: State, msg: SubjectRevoked) -> list[Output]:
    state.tokens.pop(msg.token_hash, None)
    theirs = [s for s in state.sessions.values() if s.token_hash == msg.token_hash]
    return [output for s in theirs for output in close(state, s, "revoked", "the token was revoked")]


def on_token_changed(state: State, msg: TokenChanged, rows: Rows) -> list[Output]:
    state.tokens.pop(msg.token_hash, None)
    row = rows.get("token", (msg.token_hash,))
    for session in state.sessions.values():
        if row is not None and session.token_hash == msg.token_hash:
            session.expires_ms = row.expires_ms
    return []


def on_directory_up(state: State, rows: Rows) -> list[Output]:
    """A revocation or a new limit may have been committed and not told: believe only rows."""
    state.tokens.clear()
    state.default_repo = None
    state.limits.set_overrides(overrides(rows))
    outputs: list[Output] = []
    for session in list(state.sessions.values()):
        row = rows.get("token", (session.token_hash,)) if session.token_hash else None
        if session.token_hash and (row is None or row.revoked_ms):
            outputs += close(state, session, "revoked", "the token was revoked")
    return outputs


def on_agents_down(state: State) -> list[Output]:
    """Nobody knows these sessions any more."""
    sessions = list(state.sessions.values())
    return [
        output for s in sessions for output in close(state, s, "restarted", "the hub is restarting a part")
    ]


def on_tick(state: State, now: Now) -> list[Output]:
    """Close what has been silent for too long; forgive all when the hub itself was stopped meanwhile."""
    late = state.last_tick_s and now.mono - state.last_tick_s > 2 * TICK_S
    state.last_tick_s = now.mono
    if late:
        for session in state.sessions.values():
            session.last_s = session.opened_s = now.mono
        return []
    state.limits.forget(now.mono)
    outputs: list[Output] = []
    for session in list(state.sessions.values()):
        quiet = now.mono - session.last_s
        old = session.v1 is not None
        silence = V1_SILENCE_S if old else 2.5 * state.rules.heartbeat_s + TICK_S
        if not session.agent_id and quiet > (V1_IDENTIFY_S if old else HELLO_S):
            outputs += close(state, session, "not_authenticated", "no hello")
        elif session.agent_id and not session.welcomed and now.mono - session.opened_s > WELCOME_S:
            outputs += close(state, session, "restarted", "the agent's actor does not answer")
        elif session.expires_ms and session.expires_ms <= now.ms:
            outputs += close(state, session, "revoked", "the token has expired")
        elif quiet > silence:
            outputs += close(state, session, "silent", "silent for too long")
    return outputs


def unreadable(state: State, msg: FrameIn) -> list[Output]:
    """A frame needs a row that the store cannot give: its sender is told, and nobody else is concerned."""
    session = state.sessions.get(msg.conn)
    if session is None:
        return []
    fault = Fault(
        "unavailable", "what this needs cannot be read; the hub's log says why", retry_after_ms=5_000
    )
    return [error(session, fault, *named(session.codec, msg.data))]
