"""What a session is told, and what its agent is told of it.

May import: agentcom.protocol, agentcom.core.
"""

from typing import Any

import msgspec

from agentcom.core.decision import Now, Output
from agentcom.core.encoding import ENCODERS
from agentcom.core.gateway_state import Session, State, standing_of
from agentcom.core.limits import ms
from agentcom.core.messages import CloseConn, Fault, FrameOut, SessionClosed
from agentcom.protocol.frames import CLOSE_CODES, ErrorFrame


def close(state: State, session: Session, why: str, reason: str) -> list[Output]:
    state.sessions.pop(session.conn, None)
    code = session.close_code(CLOSE_CODES[why])
    closing = Output(session.edge, CloseConn(session.conn, code, reason))
    return [closing, *tell_closed(state, session, code)]


def tell_closed(state: State, session: Session, code: int) -> list[Output]:
    if not session.agent_id:
        return []
    return [to_agent(session, SessionClosed(session.conn, code, orderly=state.draining))]


def bad(
    state: State, session: Session, fault: Fault, now: Now, re: str = "", task_id: str = ""
) -> list[Output]:
    """Say what was wrong; too many of these and the session ends, and its agent has to stay away for a while."""
    cool_down = state.limits.violation(standing_of(state, session), now.mono)
    if not cool_down:
        return [error(session, fault, re, task_id)]
    return [
        error(session, msgspec.structs.replace(fault, retry_after_ms=ms(cool_down)), re, task_id),
        *close(state, session, "bad_frames", f"too many bad frames; stay away for {cool_down:g} s"),
    ]


def error(session: Session, fault: Fault, re: str = "", task_id: str = "") -> Output:
    frame = ErrorFrame(
        code=fault.code,
        message=fault.message,
        re=re,
        task_id=fault.task_id or task_id,
        path=fault.path,
        retry_after_ms=fault.retry_after_ms,
    )
    return out(session, frame)


def out(session: Session, frame: Any) -> Output:
    return Output(session.edge, FrameOut(session.conn, ENCODERS[session.codec](frame)))


def to_agent(session: Session, message: Any) -> Output:
    return Output(f"agents/agent.{session.agent_id}", message)
