"""What an operator may do to one task: cancel, retry, prioritise, answer.

Who heard no answer asks again, so each of them is answered as done, and changes nothing, where the task already is as
asked. Where it was changed otherwise since, the second asking counts as if it had come alone; a retry of a task that
was given up anew meanwhile is one more retry.
May import: agentcom.core, agentcom.protocol.
"""

from typing import Any

import msgspec

from agentcom.core import tasks
from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import Adopt, Answered, Fault, Operate, Released, Reply
from agentcom.core.missing import missing
from agentcom.core.signature import needs
from agentcom.core.tasks import Step
from agentcom.protocol.bodies import Operated
from agentcom.protocol.errors import Refused
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Lane, Move, TaskState


def operate(ask: Operate, lane: Lane, rows: Rows, now_ms: int, order: int, lease_left_s: float) -> Decision:
    """Carry it out, pass it to the lane that owns the task (once), or say why not."""
    task: TaskState | None = rows.get("task", (ask.task_id,))
    if task is None:
        return _answer(ask, missing("task", ask.task_id, "task_id"))
    if task.lane != lane:
        if ask.forwarded:
            return _answer(ask, Fault("unavailable", "the task is changing lanes", retry_after_ms=200))
        return Decision(outputs=(Output(f"lane.{task.lane}", msgspec.structs.replace(ask, forwarded=True)),))
    try:
        return _VERBS[ask.verb](ask, task, rows, now_ms, order, lease_left_s)
    except Refused as refused:
        return _answer(ask, Fault(refused.code, refused.message, task_id=task.id))


def _answer(ask: Operate, body: Any) -> Decision:
    return Decision(outputs=(Output(ask.reply_to, Reply(ask.request, body)),))


def _done(ask: Operate, before: TaskState, step: Step, *outputs: Output, event: str) -> Decision:
    answer = Output(ask.reply_to, Reply(ask.request, _shown(before, step.state)))
    return Decision(step.ops, (answer, *outputs), event)


def _shown(before: TaskState, after: TaskState) -> Operated:
    return Operated(task_id=after.id, status=after.phase, previous_status=before.phase, priority=after.lane)


def _told(task: TaskState, message: Any) -> tuple[Output, ...]:
    return (Output(f"agents/agent.{task.holder}", message),) if task.holder else ()


def _cancel(
    ask: Operate, task: TaskState, rows: Rows, now_ms: int, order: int, lease_left_s: float
) -> Decision:
    if task.phase == "cancelled":
        return _answer(ask, _shown(task, task))
    stop = Released(task.holder, task.id, task.generation, ask.text or "cancelled", stop=True)
    return _done(
        ask, task, tasks.cancel(task, ask.by, ask.text, now_ms), *_told(task, stop), event="cancelled"
    )


def _retry(
    ask: Operate, task: TaskState, rows: Rows, now_ms: int, order: int, lease_left_s: float
) -> Decision:
    if tasks.is_retried(task):
        return _answer(ask, _shown(task, task))
    return _done(ask, task, tasks.retry(task, ask.by, ask.text, order, now_ms), event="retried")


def _prioritise(
    ask: Operate, task: TaskState, rows: Rows, now_ms: int, order: int, lease_left_s: float
) -> Decision:
    """One commit by this lane writes both lanes' index entries; the new lane adopts the task from its `moves` row."""
    to = ask.lane or task.lane
    if to == task.lane:
        return _answer(ask, _shown(task, task))
    state, ops = tasks.move(task, to, ask.by, now_ms)
    moved = Put("moves", (to, task.id), Move(task.id, to, int(max(0.0, lease_left_s) * 1000)))
    signature = tasks.signature_op(to, needs(rows.get("body", (task.id,)).needed))
    adopt = Output(f"lane.{to}", Adopt(task.id, max(0.0, lease_left_s)))
    return _done(ask, task, Step(state, (*ops, moved, signature)), adopt, event="moved")


def _answer_question(
    ask: Operate, task: TaskState, rows: Rows, now_ms: int, order: int, lease_left_s: float
) -> Decision:
    if tasks.is_answered(task, ask.text, ask.key):
        return _answer(ask, _shown(task, task))
    step = tasks.answer(task, ask.by, ask.text, ask.key, now_ms)
    told = Answered(task.holder, task.id, task.generation, ask.text)
    return _done(ask, task, step, *_told(task, told), event="answered")


_VERBS = {"cancel": _cancel, "retry": _retry, "prioritise": _prioritise, "answer": _answer_question}
