"""Planted bugs: each a part of the hub with one promise left out, put in place for as long as a test needs it.

They prove the net: a simulation that does not catch one of them would not catch its like either.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import msgspec

from agentcom.core import agent_state, leases, reports, tasks
from agentcom.core.decision import Decision
from agentcom.core.output_commit import OutputCommit
from agentcom.core.windows import Windows
from agentcom.protocol.rows import HELD
from agentcom.store import commits

Patch = tuple[Any, str, Any]
BUGS: dict[str, Callable[[], list[Patch]]] = {}


def bug(make: Callable[[], list[Patch]]) -> Callable[[], list[Patch]]:
    BUGS[make.__name__.replace("_", " ")] = make
    return make


@contextmanager
def planted(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        for target, attribute, value in BUGS[name]():
            stack.enter_context(mock.patch.object(target, attribute, value))
        yield


@bug
def reply_before_commit() -> list[Patch]:
    """What a decision says leaves at once, not when its ticket is on disk."""
    take = OutputCommit.take

    def at_once(self: Any, decision: Decision, ask: Any = None) -> Any:
        self._release(decision.outputs)
        return take(self, decision._replace(outputs=()), ask)

    return [(OutputCommit, "take", at_once)]


@bug
def zero_op_reply_at_once() -> list[Patch]:
    """A decision without ops does not wait for what it was decided on."""
    return [(OutputCommit, "_hold", lambda self, outputs: self._release(outputs))]


@bug
def outputs_dropped_after_commit() -> list[Patch]:
    """One ticket in nine is committed, and nobody hears of it."""
    committed = OutputCommit.committed

    def forgetful(self: Any, number: int, appended: tuple[int, ...] = ()) -> None:
        if number % 9 == 0:
            self._queue[0].outputs = []
        committed(self, number, appended)

    return [(OutputCommit, "committed", forgetful)]


@bug
def no_fencing() -> list[Patch]:
    """A report counts whatever its generation is, and whoever it comes from."""

    def judge(task: Any, report: Any, ctx: Any) -> Any:
        if task is None:
            return reports.refuse(report, "not_found", "there is no such task")
        report = msgspec.structs.replace(report, generation=task.generation)
        earlier = reports._earlier(task, report)
        if earlier is not None:
            return reports._repeat(task, report, earlier, ctx)
        if task.phase in HELD:
            return reports._from_holder(task, report, ctx)
        return reports._from_last_holder(task, report, ctx)

    return [(reports, "judge", judge)]


@bug
def double_claim() -> list[Patch]:
    """A claim is decided without looking whether somebody holds the task."""
    why_not = tasks.why_not

    def blind(task: Any, agent: str, now_ms: int) -> str:
        return "" if task.phase in HELD else why_not(task, agent, now_ms)

    def assign(task: Any, agent: str, now_ms: int) -> Any:
        return really(msgspec.structs.replace(task, phase="queued"), agent, now_ms)

    really = tasks.assign
    return [(tasks, "why_not", blind), (tasks, "assign", assign)]


@bug
def busy_agent_takes_offers() -> list[Patch]:
    """An agent's actor does not look whether it is reserved or holds something."""

    def is_free(self: Any, now: Any) -> bool:
        session = self.session
        return session is not None and session.welcomed and not self.draining

    return [(agent_state.AgentState, "is_free", is_free)]


@bug
def lease_not_renewed_after_restart() -> list[Patch]:
    """A lane that starts goes on as if no time had passed for the agents that could not reach it."""

    def adopt(self: Any, task: Any, now: float, left_s: float, now_ms: int) -> None:
        self._of[task.id] = leases.Lease(task.holder, task.generation, task.phase, now, now)

    return [(leases.Leases, "adopt", adopt)]


@bug
def answer_told_only_once() -> list[Patch]:
    """What an operator answers is said to whoever is there just then, and to nobody else."""
    return [(agent_state.AgentState, "_answer_again", lambda self: ())]


@bug
def refill_without_overlay() -> list[Patch]:
    """A window is filled from what is on disk, without the lane's own ops that are not there yet."""
    refill = Windows._refill

    def stale(self: Any, bucket: Any, rows: Any, size: int = 0) -> Any:
        return refill(self, bucket, getattr(rows, "_reader", rows), size)

    return [(Windows, "_refill", stale)]


@bug
def precondition_skipped() -> list[Patch]:
    """The store does not look whether what must hold for a commit does."""
    return [(commits, "_unmet", lambda batch, commit: None)]
