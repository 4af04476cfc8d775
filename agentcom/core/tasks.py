"""The life of one task: each legal change as a pure function from its state to the next.

A `Step` holds the new state and the ops that write it: row, index, history and whatever the change adds.
Nothing here knows windows, leases or actors.
May import: agentcom.core, agentcom.protocol.
"""

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from agentcom.core.decision import Entropy
from agentcom.core.policy import Policy
from agentcom.core.signature import Needs
from agentcom.core.transitions import Step as Verb
from agentcom.core.transitions import next_phase
from agentcom.protocol.bodies import NewTask
from agentcom.protocol.errors import Refused
from agentcom.protocol.figures import GIVEN_UP
from agentcom.protocol.index import MARK, history, ops_between, ops_of_new
from agentcom.protocol.ops import Add, Op, Put
from agentcom.protocol.rows import FINAL, Event, Lane, Past, Report, Result, Signature, TaskBody, TaskState

KEEP_REPORTS = 4
KEEP_PAST = 8
LOST = frozenset({"loss", "accept_timeout"})
"""How a generation may have ended so that its holder can still get the task back."""


class Step(NamedTuple):
    state: TaskState
    ops: tuple[Op, ...]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def change(
    task: TaskState, verb: Verb, now_ms: int, event: str, *, reason: str = "", agent: str = "", **fields: Any
) -> Step:
    """Take `verb`'s arrow. Raises `Refused` (`invalid_state`) when there is none."""
    return _write(task, event, now_ms, agent, phase=next_phase(task.phase, verb), reason=reason, **fields)


def _write(task: TaskState, event: str, now_ms: int, agent: str, **fields: Any) -> Step:
    """The same with any fields: every change of a task leaves one line of history."""
    after = msgspec.structs.replace(task, updated_ms=now_ms, history_len=task.history_len + 1, **fields)
    line = Event(now_ms, event, after.phase, after.generation, agent, after.reason)
    return Step(after, (*ops_between(task, after), history(after, line)))


def create(
    new: NewTask, needed: Needs, task_id: str, order: int, submitter: str, now_ms: int, policy: Policy
) -> Step:
    """A task as submitted; it waits when `not_before` lies ahead."""
    state = TaskState(
        id=task_id,
        lane=new.priority,
        phase="scheduled" if new.not_before > now_ms else "queued",
        order=order,
        signature=needed.signature,
        created_ms=now_ms,
        updated_ms=now_ms,
        submitter=submitter,
        target=new.target or "",
        repo=new.repo,
        max_attempts=new.max_attempts or new.max_retries or policy.max_attempts,
        max_losses=new.max_losses or policy.max_losses,
        not_before_ms=new.not_before if new.not_before > now_ms else 0,
        deadline_ms=new.complete_by,
        token_budget=new.token_budget,
        history_len=1,
        idempotency_key=new.idempotency_key,
    )
    body = TaskBody(
        description=new.description,
        needed=needed.capabilities,
        metadata=new.metadata,
        success_criteria=tuple(new.success_criteria),
        repo=new.repo,
        base_branch=new.base_branch,
    )
    line = Event(now_ms, "submitted", state.phase, 0, submitter)
    extra = (Put("body", (task_id,), body), Put("by_submitter", (submitter, task_id), MARK))
    return Step(state, (*ops_of_new(state), *extra, history(state, line)))


def signature_op(lane: Lane, needed: Needs) -> Op:
    """The row by which agents that fit are matched to a signature, found from the set's least member."""
    return Put("signature", (lane, needed.first, needed.signature), Signature(needed.capabilities))


# --- assignment ------------------------------------------------------------------------------------


def why_not(task: TaskState, agent: str, now_ms: int) -> str:
    """Why `agent` may not have `task` now, "" when it may. Capabilities and repo are the caller's to check."""
    if task.phase != "queued":
        return f"it is {task.phase}"
    if task.target and task.target != agent:
        return f"it is aimed at {task.target}"
    if is_excluded(task, agent, now_ms):
        return f"{agent} rejected it"
    if task.deadline_ms and task.deadline_ms <= now_ms:
        return "its deadline has passed"
    return ""


def is_excluded(task: TaskState, agent: str, now_ms: int) -> bool:
    return any(name == agent and until > now_ms for name, until in task.excluded)


def assign(task: TaskState, agent: str, now_ms: int) -> Step:
    """A new generation with a new holder."""
    return change(
        task, "assign", now_ms, "assigned", agent=agent, generation=task.generation + 1, holder=agent,
        last_holder=agent, waiting="", waiting_until_ms=0, last_end="", percent=-1, note="", question="",
        answered="", answer="", tokens_before=task.tokens_used,
    )  # fmt: skip


def assign_anew(task: TaskState, agent: str, now_ms: int) -> Step:
    """To an agent that works on it since before a restore, which had forgotten that: it accepted it long ago."""
    task, assigned = assign(task, agent, now_ms)
    accepted = accept(task, now_ms)
    return Step(accepted.state, (*assigned, *accepted.ops))


def may_return(task: TaskState, agent: str, generation: int) -> bool:
    """While no newer generation exists the last holder of a lost task may have it back."""
    return (
        not task.holder
        and task.generation == generation
        and task.last_holder == agent
        and task.last_end in LOST
        and task.phase in ("queued", "dead_letter")
    )


def reclaim(task: TaskState, agent: str, now_ms: int) -> Step:
    """Give a lost task back to its last holder, under the generation it had, and with the question it had asked."""
    verb: Verb = "reclaim_asking" if task.question else "reclaim"
    return change(
        task, verb, now_ms, "reclaimed", agent=agent, holder=agent, last_end="", waiting="", waiting_until_ms=0,
        past=task.past[:-1], reason="its last holder still works on it", blocked_ms=now_ms,
    )  # fmt: skip


# --- reports ---------------------------------------------------------------------------------------


def accept(task: TaskState, now_ms: int) -> Step:
    return change(task, "accept", now_ms, "accepted", agent=task.holder)


def progress(
    task: TaskState, now_ms: int, *, note: str = "", percent: int | None = None, tokens: int = 0
) -> Step:
    """News of the work; no line of history, since an agent may send one a second."""
    after = msgspec.structs.replace(
        task, updated_ms=now_ms, note=note or task.note, percent=task.percent if percent is None else percent,
        tokens_used=used(task, tokens), answer="",
    )  # fmt: skip
    return Step(after, ops_between(task, after))


def block(task: TaskState, question: str, now_ms: int, asked: str = "") -> Step:
    return change(
        task, "block", now_ms, "blocked", agent=task.holder, question=question, reason=question[:200],
        blocked_ms=now_ms, asked=asked, answered="", answer="",
    )  # fmt: skip


def unblock(task: TaskState, now_ms: int, event: str = "unblocked") -> Step:
    return change(task, "unblock", now_ms, event, agent=task.holder, question="")


def answer(task: TaskState, by: str, text: str, key: str, now_ms: int) -> Step:
    """An operator's word on its question; kept, since nobody may be there to hear it, and then known by its digest."""
    return change(
        task, "unblock", now_ms, "answered", agent=by, question="", reason=text[:200], answer=text,
        answered=_digest(text), answer_key=_digest(text, key) if key else task.answer_key,
    )  # fmt: skip


def is_answered(task: TaskState, text: str, key: str) -> bool:
    """Whether this very answer was given: it is the one by which the task works, or its last one under a key.

    Without a key the same words on a newer question are a new answer.
    """
    if key and task.answer_key == _digest(text, key):
        return True
    return task.phase == "working" and task.answered == _digest(text)


def _digest(text: str, key: str = "") -> str:
    """A key has no control characters, so that the first NUL ends it."""
    return blake2b(f"{key}\0{text}".encode(), digest_size=12).hexdigest()


def used(task: TaskState, tokens: int) -> int:
    """What all generations used, if this one says that it used `tokens` so far."""
    return max(task.tokens_used, task.tokens_before + tokens)


def is_spent(task: TaskState, tokens: int) -> bool:
    return bool(task.token_budget) and used(task, tokens) >= task.token_budget


def overspend(task: TaskState, tokens: int, now_ms: int) -> Step:
    """Its budget is used up while it is worked on."""
    counted = msgspec.structs.replace(task, tokens_used=used(task, tokens))
    reason = f"token budget spent: {counted.tokens_used} of {task.token_budget}"
    return give_up(counted, "budget", reason, now_ms)


def _ended(task: TaskState, outcome: str, reason: str) -> dict[str, Any]:
    """What is true of any task whose generation just ended."""
    this = Past(task.generation, task.holder or task.last_holder, outcome, reason[:500])
    past = (*task.past, this)[-KEEP_PAST:]
    return {"holder": "", "last_end": outcome, "past": past, "question": "", "answer": ""}


def _reported(task: TaskState, report: Report) -> dict[str, Any]:
    return {"reports": (*task.reports, report)[-KEEP_REPORTS:]}


def complete(task: TaskState, report: Report, now_ms: int, *, tokens: int = 0) -> Step:
    """Done; `salvaged` when the hub had already given up on this holder."""
    held = bool(task.holder)
    verb: Verb = "complete" if held else "salvage"
    fields = _ended(task, "done", "") | _reported(task, report)
    return change(
        task, verb, now_ms, "completed" if held else "salvaged", agent=report.agent_id, waiting="",
        waiting_until_ms=0, tokens_used=used(task, tokens), percent=100, **fields,
    )  # fmt: skip


def fail(
    task: TaskState, report: Report, now_ms: int, *, reason: str, retryable: bool, order: int, policy: Policy,
    entropy: Entropy, tokens: int = 0,
) -> Step:  # fmt: skip
    """A failure: later again with backoff and jitter while attempts and budget are left, else the dead letter."""
    attempts = task.attempts + 1
    fields = _ended(task, "fail", reason) | _reported(task, report)
    fields |= {
        "attempts": attempts,
        "tokens_used": used(task, tokens),
        "waiting": "",
        "waiting_until_ms": 0,
    }
    why = reason or "no reason given"
    if kind := why_last(task, retryable=retryable, tokens=tokens):
        return change(
            task,
            "give_up",
            now_ms,
            "dead_letter",
            agent=report.agent_id,
            reason=f"failed, {kind}: {why}",
            **fields,
        )
    until = now_ms + _ms(backoff_s(attempts, policy, entropy))
    return change(
        task, "retry_later", now_ms, "retrying", agent=report.agent_id, order=order, not_before_ms=until,
        reason=f"failed, attempt {attempts} of {task.max_attempts}: {why}", **fields,
    )  # fmt: skip


def why_last(task: TaskState, *, retryable: bool, tokens: int) -> str:
    """Why nobody tries again after this failure, "" when somebody will."""
    if not retryable:
        return "not retryable"
    if is_spent(task, tokens):
        return f"token budget spent, {used(task, tokens)} of {task.token_budget}"
    attempts = task.attempts + 1
    return f"attempt {attempts} of {task.max_attempts}" if attempts >= task.max_attempts else ""


def backoff_s(attempts: int, policy: Policy, entropy: Entropy) -> float:
    """Exponential from the first failure on, capped; jittered over its upper half, so that it still grows."""
    full = min(policy.backoff_cap_s, policy.backoff_base_s * 2.0 ** min(attempts - 1, 32))
    return entropy.uniform(full / 2, full)


def reject(task: TaskState, report: Report, now_ms: int, *, reason: str, policy: Policy) -> Step:
    """Back to its place in the lane; this agent is kept from it for a time that grows with each reject."""
    fields = _ended(task, "reject", reason) | _reported(task, report)
    rest = min(policy.exclude_cap_s, policy.exclude_base_s * 2.0 ** min(task.rejects, 32))
    kept = tuple((a, until) for a, until in task.excluded if until > now_ms and a != report.agent_id)
    return change(
        task, "reject", now_ms, "rejected", agent=report.agent_id, rejects=task.rejects + 1,
        excluded=(*kept, (report.agent_id, now_ms + _ms(rest))), reason=f"rejected: {reason}", **fields,
    )  # fmt: skip


# --- the hub's own decisions -----------------------------------------------------------------------


def lose(task: TaskState, why: str, now_ms: int) -> Step:
    """An accepted task without news: a loss. It keeps its place; one that loses too many workers is given up.

    Its holder may have it again, and then waits for an answer, or has not heard it yet.
    """
    losses = task.losses + 1
    kept = {"question": task.question, "answer": task.answer}
    fields = _ended(task, "loss", why) | kept | {"losses": losses}
    if losses >= task.max_losses:
        reason = f"lost {losses} of {task.max_losses} times, last: {why}"
        return _given_up(task, reason, now_ms, **fields)
    return change(task, "requeue", now_ms, "lost", agent=task.holder, reason=why, **fields)


def accept_timeout(task: TaskState, now_ms: int) -> Step:
    """Assigned and never accepted: not the task's fault."""
    fields = _ended(task, "accept_timeout", "not accepted in time")
    return change(
        task, "requeue", now_ms, "accept_timeout", agent=task.holder, reason="not accepted in time", **fields
    )


def give_up(task: TaskState, outcome: str, reason: str, now_ms: int) -> Step:
    """To the dead letter for a cause no agent can mend: deadline, budget, an unanswered question."""
    fields = _ended(task, outcome, reason) if task.holder else {"last_end": outcome}
    return _given_up(task, reason, now_ms, waiting="", waiting_until_ms=0, **fields)


def _given_up(task: TaskState, reason: str, now_ms: int, **fields: Any) -> Step:
    """Counted, as no report of an agent tells of it."""
    after, ops = change(task, "give_up", now_ms, "dead_letter", agent=task.holder, reason=reason, **fields)
    return Step(after, (*ops, Add("counter", GIVEN_UP, 1)))


def cancel(task: TaskState, by: str, reason: str, now_ms: int) -> Step:
    fields = _ended(task, "cancel", reason) if task.holder else {"last_end": "cancel"}
    why = f"cancelled by {by}" + (f": {reason}" if reason else "")
    return change(
        task, "cancel", now_ms, "cancelled", agent=by, reason=why, waiting="", waiting_until_ms=0, **fields
    )


def retry(task: TaskState, by: str, reason: str, order: int, now_ms: int) -> Step:
    """An operator's second chance: attempts and losses start anew, a passed deadline no longer counts."""
    deadline = task.deadline_ms if task.deadline_ms > now_ms else 0
    why = f"retried by {by}" + (f": {reason}" if reason else "")
    return change(
        task, "retry", now_ms, "retried", agent=by, reason=why, attempts=0, losses=0, rejects=0,
        excluded=(), order=order, deadline_ms=deadline, tokens_used=0, tokens_before=0, retried=True,
    )  # fmt: skip


def is_retried(task: TaskState) -> bool:
    """Whether it has what a retry gives: it waits or is in work, and nothing of its fresh attempts is used.

    That an idle agent took it at once changes nothing. A failure, loss or reject uses something; any end ends it.
    """
    used = task.attempts or task.losses or task.rejects
    return task.retried and not used and task.phase not in FINAL


def due(task: TaskState, order: int, now_ms: int) -> Step:
    """The time of a scheduled task has come: it enters at the tail, as if submitted now."""
    return change(task, "due", now_ms, "due", order=order, not_before_ms=0, reason=task.reason)


def move(task: TaskState, lane: Lane, by: str, now_ms: int) -> Step:
    """Into another lane, whatever its phase, with the place its age gives it there."""
    if task.phase in ("completed", "dead_letter", "cancelled"):
        raise Refused("invalid_state", f"a task that is {task.phase} has no lane to leave")
    return _write(
        task, "prioritised", now_ms, by, lane=lane, reason=f"moved from {task.lane} to {lane} by {by}"
    )


def park(task: TaskState, reason: str, until_ms: int, now_ms: int) -> Step:
    """Out of the windows: nobody online may take it. `until_ms` 0 waits for an event only."""
    return _write(task, "waiting", now_ms, "", waiting=reason, waiting_until_ms=until_ms, reason=reason)


def unpark(task: TaskState, now_ms: int) -> Step:
    kept = tuple((a, until) for a, until in task.excluded if until > now_ms)
    return _write(task, "ready", now_ms, "", waiting="", waiting_until_ms=0, reason="", excluded=kept)


def evidence(
    task: TaskState, agent: str, generation: int, kind: str, content: dict[str, Any], why: str, now_ms: int
) -> Op:
    """A refused or superseded result, kept beside the task."""
    row = Result(now_ms, agent, generation, kind, False, content, why)
    return Put("result", (task.id, generation, now_ms), row)


def outcome(task: TaskState, report: Report, content: dict[str, Any], now_ms: int) -> Op:
    """The accepted final report of a generation."""
    row = Result(now_ms, report.agent_id, report.generation, report.kind, True, content)
    return Put("result", (task.id, report.generation, 0), row)
