"""Between protocol 1 and the hub's own frames, which are protocol 2's. Pure: no state but the session's `Talk`.

| a client says | the hub is told | it is answered |
|---|---|---|
| `identify` | `hello`, and that its silence means nothing | `identified`, at the welcome |
| `task_recovering` | the same `hello` again, listing the task | `task_continue` or `task_reassign`, by the verdict |
| `state_report` | as above, with its generation | `state_report_ack` |
| `task_accepted` | `task_accept` of the generation it was told | `task_ack accepted` |
| `task_progress` | `task_progress` | nothing |
| `task_complete`, `task_failed` | `task_complete`, `task_fail` | `task_ack`, or `error task_complete_failed: <code>` |
| `task_rejected` | `task_reject`: requeued at once | `task_ack requeued` |
| `status` | `status` | `status_updated` |
| `message` | `send` | `message_sent`, or `error not_found` |

What it gets by its mailbox is a `message` or a `channel_message`, and is acknowledged for it when it was sent.

A frame's `id` says what it was translated from (`ACCEPT`, …); it comes back as `re`, which tells what is answered. A
client sends a final report once, whatever becomes of it: so it is kept here and told again until it is answered.
May import: msgspec, agentcom.protocol, agentcom.core.decision.
"""

from typing import Any, Literal, NamedTuple

from agentcom.core.decision import Rows
from agentcom.protocol import frames, v1
from agentcom.protocol.errors import CALLER_LATER
from agentcom.protocol.frames import TaskReport

ACCEPT, PROGRESS, COMPLETE, FAIL, REJECT = "accept", "progress", "complete", "fail", "reject"
SEND = "send"
OURS = "ours"
"""Said in the client's name: it hears no answer."""
FINAL = frozenset({COMPLETE, FAIL, REJECT})
MOST_TOLD = 64
MAX_GENERATION = 2**53

_ACKED = {"completed": "complete", "retrying": "retried"}
"""Protocol 1's words; the others are the same."""
_REFUSED = {
    ACCEPT: "task_accept_failed", COMPLETE: "task_complete_failed", FAIL: "task_fail_failed",
    REJECT: "task_reject_failed",
}  # fmt: skip

Question = Literal["recovering", "state_report"]


class Pending(NamedTuple):
    """A final report that was not answered yet."""

    report: TaskReport
    told_s: float


class Talk:
    """What is remembered of one session of protocol 1."""

    __slots__ = (
        "asked",
        "capabilities",
        "early",
        "identifying",
        "listed",
        "name",
        "pending",
        "status",
        "told",
    )

    def __init__(self) -> None:
        self.name = ""
        self.status = "connected"
        self.capabilities: list[str] = []
        self.identifying = False  #: `identified` is owed
        self.early: list[v1.Inbound] = []  #: said before `identified`, in order
        self.told: dict[str, int] = {}  #: generations of the tasks it was given, newest last
        self.asked: dict[str, Question] = {}  #: recoveries to be answered by the next welcome
        self.listed: dict[str, int] = {}  #: and under which generations they were asked
        self.pending: dict[str, Pending] = {}

    def give(self, task_id: str, generation: int) -> None:
        self.told.pop(task_id, None)
        self.told[task_id] = generation
        while len(self.told) > MOST_TOLD:
            del self.told[next(iter(self.told))]


# --- from the client -------------------------------------------------------------------------------


def generation_of(task_id: str, talk: Talk, rows: Rows) -> int | None:
    """The generation that a report without one is about; None for a task that there is not."""
    told = talk.told.get(task_id)
    if told is not None:
        return told
    row = rows.get("task", (task_id,))
    return None if row is None else int(row.generation)


def report_of(frame: Any, generation: int) -> TaskReport:
    """What a client's word on a task is in protocol 2."""
    task_id, generation = frame.task_id, _bounded(generation)
    match frame:
        case v1.TaskAccepted():
            return frames.TaskAccept(task_id=task_id, generation=generation, id=ACCEPT)
        case v1.Progress(progress=percent):
            fits = percent if percent is not None and 0 <= percent <= 100 else None
            return frames.TaskProgress(task_id=task_id, generation=generation, id=PROGRESS, percent=fits)
        case v1.Complete(result=result, tokens_used=tokens):
            said = result or {}
            return frames.TaskComplete(
                task_id=task_id, generation=generation, id=COMPLETE, result=result_of(said),
                tokens_used=_tokens(said.get("tokens_used") if tokens is None else tokens),
            )  # fmt: skip
        case v1.Failed(error=error, reason=reason):
            return frames.TaskFail(
                task_id=task_id, generation=generation, id=FAIL, reason=reason or error or ""
            )
        case v1.Rejected(reason=reason):
            return frames.TaskReject(task_id=task_id, generation=generation, id=REJECT, reason=reason or "")
    raise TypeError(type(frame).__name__)


def _bounded(generation: int) -> int:
    """One that no task can have is as stale as the first."""
    return generation if 0 <= generation <= MAX_GENERATION else 0


def _tokens(said: Any) -> int:
    return min(said, 2**53) if type(said) is int and said > 0 else 0


_RESULT = {"summary": 10_000, "branch": 2_000, "commit": 2_000, "pr_url": 2_000}


def result_of(said: dict[str, Any]) -> frames.TaskResult:
    """All of it is kept as `data`; what protocol 2 has a field for is found there as well."""
    typed: dict[str, Any] = {
        name: said[name][:most] for name, most in _RESULT.items() if isinstance(said.get(name), str)
    }
    return frames.TaskResult(**typed, data=said)


# --- to the client ---------------------------------------------------------------------------------


class Said(NamedTuple):
    """What a frame of the hub becomes: frames for the client, and what the hub is told in its name."""

    out: tuple[v1.Outbound, ...] = ()
    back: tuple[frames.Frame, ...] = ()


NOTHING = Said()


def to_client(frame: Any, talk: Talk, agent_id: str, now_ms: int) -> Said:
    match frame:
        case frames.Welcome():
            return _welcomed(frame, talk, agent_id)
        case frames.TaskAssign():
            talk.give(frame.task_id, frame.generation)
            assign = v1.Assign(
                task_id=frame.task_id, description=frame.description, metadata=frame.metadata,
                generation=frame.generation, assigned_at=now_ms,
            )  # fmt: skip
            return Said((assign,))
        case frames.TaskAck():
            return _acked(frame, talk)
        case frames.ErrorFrame():
            return _refused(frame, talk)
        case frames.TaskCancel(task_id=task_id):
            return Said((v1.Cancelled(task_id=task_id, timestamp=now_ms),))
        case frames.StatusUpdated():
            return Said((v1.StatusUpdated(),))
        case frames.Sent(message_id=message_id):
            return Said((v1.MessageSent(id=message_id),))
    return NOTHING  # heartbeat_ack, goodbye, …: nothing that protocol 1 has


def _welcomed(frame: frames.Welcome, talk: Talk, agent_id: str) -> Said:
    out: list[v1.Outbound] = []
    back: list[frames.Frame] = []
    if talk.identifying:
        talk.identifying = False
        out.append(v1.Identified(agent_id=agent_id))
    verdicts = {of.task_id: of for of in frame.tasks}
    for task_id, question in talk.asked.items():
        of = verdicts.get(task_id)
        goes_on = of is not None and of.action == "continue"
        if of is not None and goes_on:
            talk.give(task_id, of.generation)
            # It will not say again that it accepted the task.
            back.append(frames.TaskAccept(task_id=task_id, generation=of.generation, id=OURS))
        else:  # it drops the task without another word
            back.append(frames.TaskStopped(task_id=task_id, generation=talk.listed.get(task_id, 0), id=OURS))
        out.append(_answer(question, task_id, of.generation if of else 0, goes_on=goes_on))
    talk.asked.clear()
    talk.listed.clear()
    return Said(tuple(out), tuple(back))


def _answer(question: Question, task_id: str, generation: int, *, goes_on: bool) -> v1.Outbound:
    if question == "state_report":
        return v1.StateReportAck(task_id=task_id, action="continue" if goes_on else "abort")
    return v1.Continue(task_id=task_id, generation=generation) if goes_on else v1.Reassign(task_id=task_id)


def dropped(question: Question, task_id: str) -> v1.Outbound:
    """The answer to a recovery that needs no more than a look at the row."""
    return _answer(question, task_id, 0, goes_on=False)


def _acked(ack: frames.TaskAck, talk: Talk) -> Said:
    if ack.re in FINAL:
        talk.pending.pop(ack.task_id, None)
        talk.told.pop(ack.task_id, None)
    if ack.superseded:
        return Said((error_of(ack.re, ack.task_id, "invalid_state", "it was reported otherwise before"),))
    if ack.re in (ACCEPT, COMPLETE, FAIL, REJECT):
        return Said((v1.Ack(task_id=ack.task_id, status=_ACKED.get(ack.status, ack.status)),))
    return NOTHING


def _refused(error: frames.ErrorFrame, talk: Talk) -> Said:
    """A refused final report ends the work as well as an accepted one does."""
    if error.re in (PROGRESS, OURS):
        return NOTHING
    if error.re in FINAL and error.code in CALLER_LATER:
        return NOTHING  # it is pending, and told again
    back: tuple[frames.Frame, ...] = ()
    if error.re in FINAL and (pending := talk.pending.pop(error.task_id, None)):
        talk.told.pop(error.task_id, None)
        report = pending.report
        back = (frames.TaskStopped(task_id=report.task_id, generation=report.generation, id=OURS),)
    return Said((error_of(error.re, error.task_id, error.code, error.message),), back)


def error_of(re: str, task_id: str, code: str, message: str) -> v1.Error:
    named = _REFUSED.get(re)
    return v1.Error(error=f"{named}: {code}" if named else code, message=message, task_id=task_id)


# --- messages --------------------------------------------------------------------------------------


def send_of(frame: v1.Message) -> frames.Send:
    everyone = frame.to in (None, "", "broadcast")
    return frames.Send(
        payload=frame.payload, to=None if everyone else frame.to, broadcast=everyone,
        message_type=frame.message_type or "chat", reply_to=frame.reply_to or "", id=SEND,
    )  # fmt: skip


def message_of(message: frames.MessageFrame) -> v1.Outbound:
    """One entry of a mailbox. Who gets it makes no difference to its bytes."""
    fields: dict[str, Any] = {
        "id": message.message_id, "sender": message.sender, "message_type": message.message_type,
        "payload": message.payload, "reply_to": message.reply_to or None, "timestamp": message.time_ms,
    }  # fmt: skip
    if message.channel:
        return v1.ChannelMessage(channel=message.channel, **fields)
    return v1.MessageOut(**fields)
