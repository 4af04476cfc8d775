"""Judging what an agent says of a task: fencing, idempotence, salvage.

Every report carries (task_id, generation) and comes from the holder (or the last holder of a lost task), or is
refused with a code. Per generation the task keeps the first final report and its answer.
May import: agentcom.core, agentcom.protocol.
"""

from hashlib import blake2b
from typing import Any, NamedTuple, cast

import msgspec

from agentcom.core import tasks
from agentcom.core.decision import Entropy
from agentcom.core.missing import no_such
from agentcom.core.policy import Policy
from agentcom.core.tasks import Step
from agentcom.protocol.errors import Code
from agentcom.protocol.figures import agent_figures
from agentcom.protocol.frames import (
    AckStatus,
    ErrorFrame,
    TaskAccept,
    TaskAck,
    TaskBlock,
    TaskComplete,
    TaskFail,
    TaskProgress,
    TaskReject,
    TaskReport,
    TaskUnblock,
)  # fmt: skip
from agentcom.protocol.ops import Op
from agentcom.protocol.rows import HELD, Report, TaskState

FINAL_KIND = {TaskComplete: "complete", TaskFail: "fail", TaskReject: "reject"}


class Judged(NamedTuple):
    """What a report changes and how it is answered. `state` is the task after it, None when nothing changed."""

    frame: TaskAck | ErrorFrame
    state: TaskState | None = None
    ops: tuple[Op, ...] = ()
    event: str = ""
    released: bool = False  #: the agent no longer holds the task
    rejected: bool = False
    answer: str = ""  #: an operator's, to be told again behind the frame
    spent: bool = False  #: the token budget is used up: the Mind must be stopped


class Context(NamedTuple):
    """What judging needs beside the task and the report."""

    agent: str
    now_ms: int
    order: int
    policy: Policy
    entropy: Entropy


def judge(task: TaskState | None, report: TaskReport, ctx: Context) -> Judged:
    """The one way a report reaches a task."""
    if task is None:
        return refuse(report, "not_found", no_such("task", report.task_id))
    if report.generation != task.generation:
        return _other_generation(task, report, ctx)
    earlier = _earlier(task, report)
    if earlier is not None:
        return _repeat(task, report, earlier, ctx)
    if ctx.agent != (task.holder or task.last_holder):
        return refuse(report, "not_owner", f"{task.id} is not assigned to {ctx.agent}")
    if task.phase in HELD:
        return _from_holder(task, report, ctx)
    return _from_last_holder(task, report, ctx)


def refuse(report: TaskReport, code: Code, message: str) -> Judged:
    frame = ErrorFrame(
        code=code, message=message, re=report.id, task_id=report.task_id, generation=report.generation
    )
    return Judged(frame)


def _ack(report: TaskReport, status: AckStatus, *, superseded: bool = False) -> TaskAck:
    return TaskAck(
        task_id=report.task_id,
        generation=report.generation,
        status=status,
        re=report.id,
        superseded=superseded,
    )


def digest(report: TaskReport) -> str:
    """Of all that was reported; the frame's own id is not part of it."""
    content = msgspec.msgpack.encode(msgspec.structs.replace(report, id=""))
    return blake2b(content, digest_size=12).hexdigest()


def content_of(report: TaskReport) -> dict[str, Any]:
    if isinstance(report, TaskComplete):
        found: dict[str, Any] = msgspec.to_builtins(report.result)
        return found
    return {"reason": getattr(report, "reason", "")}


def _earlier(task: TaskState, report: TaskReport) -> Report | None:
    """The final report this generation already had, if this one comes after it."""
    return next((old for old in task.reports if old.generation == report.generation), None)


def _other_generation(task: TaskState, report: TaskReport, ctx: Context) -> Judged:
    earlier = _earlier(task, report)
    if earlier is not None:
        return _repeat(task, report, earlier, ctx)
    message = f"generation {report.generation} of {task.id} is over; the newest is {task.generation}"
    return _refuse_with_evidence(task, report, ctx, "stale_generation", message)


def _repeat(task: TaskState, report: TaskReport, earlier: Report, ctx: Context) -> Judged:
    """The same report gets the same answer; another final one gets it too, and is kept as evidence."""
    if ctx.agent != earlier.agent_id:
        return refuse(
            report, "not_owner", f"generation {report.generation} of {task.id} was not {ctx.agent}'s"
        )
    if type(report) not in FINAL_KIND:
        return refuse(report, "invalid_state", f"generation {report.generation} of {task.id} has ended")
    status = cast(AckStatus, earlier.status)  # a row of ours
    if digest(report) == earlier.digest:
        return Judged(_ack(report, status), released=True)
    why = f"superseded by the first report, {earlier.kind}"
    ops = (_evidence(task, report, ctx, why),)
    return Judged(_ack(report, status, superseded=True), ops=ops, event="superseded", released=True)


def _evidence(task: TaskState, report: TaskReport, ctx: Context, why: str) -> Op:
    kind = FINAL_KIND.get(type(report), "report")
    return tasks.evidence(task, ctx.agent, report.generation, kind, content_of(report), why, ctx.now_ms)


def _refuse_with_evidence(
    task: TaskState, report: TaskReport, ctx: Context, code: Code, message: str
) -> Judged:
    """A refused result is kept if it comes from somebody the task was once given to."""
    judged = refuse(report, code, message)
    known = any((old.agent_id, old.generation) == (ctx.agent, report.generation) for old in task.past)
    if not isinstance(report, TaskComplete) or not (known or task.last_holder == ctx.agent):
        return judged
    return judged._replace(ops=(_evidence(task, report, ctx, message),), event="evidence")


# --- from the holder -------------------------------------------------------------------------------


def _from_holder(task: TaskState, report: TaskReport, ctx: Context) -> Judged:
    match report:
        case TaskAccept():
            return _accept(task, report, ctx)
        case TaskProgress():
            return _progress(task, report, ctx)
        case TaskBlock(question=question):
            return _block(task, report, question, ctx)
        case TaskUnblock():
            return _unblock(task, report, ctx)
        case TaskComplete() | TaskFail() | TaskReject():
            return _final(task, report, ctx)
    raise TypeError(type(report).__name__)


def _done(report: TaskReport, step: Step, event: str, status: AckStatus) -> Judged:
    return Judged(_ack(report, status), step.state, step.ops, event)


def _accept(task: TaskState, report: TaskReport, ctx: Context) -> Judged:
    if task.phase != "assigned":
        return Judged(_ack(report, "accepted"))  # said before; the answer was lost
    return _done(report, tasks.accept(task, ctx.now_ms), "accepted", "accepted")


def _progress(task: TaskState, report: TaskProgress, ctx: Context) -> Judged:
    """News of the work also accepts it: whoever works on a task has it."""
    first: tuple[Op, ...] = ()
    if task.phase == "assigned":
        task, first = tasks.accept(task, ctx.now_ms)
    if tasks.is_spent(task, report.tokens_used):
        step = tasks.overspend(task, report.tokens_used, ctx.now_ms)
        return Judged(_ack(report, "dead_letter"), step.state, (*first, *step.ops), "budget", spent=True)
    step = tasks.progress(
        task, ctx.now_ms, note=report.note, percent=report.percent, tokens=report.tokens_used
    )
    status: AckStatus = "blocked" if task.phase == "blocked" else "working"
    return Judged(_ack(report, status), step.state, (*first, *step.ops), "progress")


def _block(task: TaskState, report: TaskReport, question: str, ctx: Context) -> Judged:
    if task.phase == "blocked" and task.question == question:
        return Judged(_ack(report, "blocked"))
    asked = f"{report.id} {digest(report)}" if report.id else ""
    if task.answer and asked and asked == task.asked:  # the same frame again: its answer overtook ours to it
        return Judged(_ack(report, "working"), answer=task.answer)
    first: tuple[Op, ...] = ()
    if task.phase == "blocked":
        task, first = tasks.unblock(task, ctx.now_ms, "asked again")
    step = tasks.block(task, question, ctx.now_ms, asked)
    return Judged(_ack(report, "blocked"), step.state, (*first, *step.ops), "blocked")


def _unblock(task: TaskState, report: TaskReport, ctx: Context) -> Judged:
    if task.phase == "working" and task.answer:
        return _done(report, tasks.progress(task, ctx.now_ms), "progress", "working")
    if task.phase == "working":
        return Judged(_ack(report, "working"))
    if task.phase == "assigned":
        return refuse(report, "invalid_state", f"{task.id} was not accepted")
    return _done(report, tasks.unblock(task, ctx.now_ms), "unblocked", "working")


def _final(task: TaskState, report: TaskReport, ctx: Context) -> Judged:
    """Complete, fail or reject: the first of its generation decides."""
    status, step = _end(task, report, ctx)
    record = step.state.reports[-1]
    event = {"completed": "completed", "requeued": "rejected"}.get(status, "failed")
    figures = agent_figures(ctx.agent, event, getattr(report, "tokens_used", 0))
    ops = (*step.ops, tasks.outcome(task, record, content_of(report), ctx.now_ms), *figures)
    rejected = isinstance(report, TaskReject)
    return Judged(_ack(report, status), step.state, ops, event, released=True, rejected=rejected)


def _end(task: TaskState, report: TaskReport, ctx: Context) -> tuple[AckStatus, Step]:
    kind = FINAL_KIND[type(report)]
    record = Report(report.generation, kind, digest(report), "", ctx.agent)

    def sealed(status: AckStatus) -> Report:
        return msgspec.structs.replace(record, status=status)

    match report:
        case TaskComplete(tokens_used=tokens):
            return "completed", tasks.complete(task, sealed("completed"), ctx.now_ms, tokens=tokens)
        case TaskReject(reason=reason):
            return "requeued", tasks.reject(
                task, sealed("requeued"), ctx.now_ms, reason=reason, policy=ctx.policy
            )
        case TaskFail(reason=reason, retryable=retryable, tokens_used=tokens):
            last = tasks.why_last(task, retryable=retryable, tokens=tokens)
            status: AckStatus = "dead_letter" if last else "retrying"
            return status, tasks.fail(
                task, sealed(status), ctx.now_ms, reason=reason, retryable=retryable, order=ctx.order,
                policy=ctx.policy, entropy=ctx.entropy, tokens=tokens,
            )  # fmt: skip
    raise TypeError(kind)


# --- from the last holder --------------------------------------------------------------------------


def _from_last_holder(task: TaskState, report: TaskReport, ctx: Context) -> Judged:
    """The hub gave up on this holder, nobody else has had the task since: its work still counts."""
    salvageable = tasks.may_return(task, ctx.agent, report.generation)
    if salvageable and (
        isinstance(report, TaskComplete) or (isinstance(report, TaskFail) and task.phase == "queued")
    ):
        return _final(task, report, ctx)
    why = f"{task.id} is {task.phase}" + (f": {task.reason}" if task.reason else "")
    return _refuse_with_evidence(task, report, ctx, "invalid_state", why)
