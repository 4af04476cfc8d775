"""What one lane keeps in memory, and how it follows from rows.

`adopt` folds a decision's ops into leases and windows, so that memory is always a projection of rows.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator
from typing import Any, TypeGuard

from msgspec.structs import replace

from agentcom.core import tasks
from agentcom.core.assignments import assign_frame
from agentcom.core.decision import Decision, Entropy, Now, Output, Rows
from agentcom.core.leases import Leases
from agentcom.core.messages import Claimed, Released
from agentcom.core.policy import Policy
from agentcom.core.retention import LaneRetention
from agentcom.core.survey_pace import SurveyPace
from agentcom.core.tasks import Step
from agentcom.core.windows import Windows
from agentcom.protocol.ops import Add, Op, Put
from agentcom.protocol.rows import FINAL, TaskBody, TaskState
from agentcom.protocol.rows import Lane as LaneName

_FOLLOWED = frozenset({"task", "ready", "body", "counter", "signature"})
"""The tables that memory follows from."""
SLICE = 200
"""Due or waiting rows handled in one go."""


def to_agent(agent: str, message: Any) -> Output:
    return Output(f"agents/agent.{agent}", message)


class LaneState:
    """The memory of one lane."""

    def __init__(self, name: LaneName, policy: Policy, rows: Rows, entropy: Entropy) -> None:
        self.name = name
        self.policy = policy
        self.rows = rows
        self.entropy = entropy
        self.leases = Leases(name, policy)
        self.retention = LaneRetention(name)
        self.windows = Windows(name, policy.window, policy.max_signatures)
        self.wake_at = float("inf")
        self.paused = ""  #: why it hands out nothing, if it does not
        self.queued = 0  #: how many tasks are, within what other lanes just moved here
        self.signed: set[str] = set()  #: signatures whose row is written
        self._order = 0
        self._counter = ("tasks", name, "queued")
        self._incarnations: dict[str, int] = {}
        self._workers_version = -1
        self._pace = SurveyPace()

    def look_for_more(self, now: Now) -> None:
        """Begin a survey when one is due."""
        windows = self.windows
        useful = bool(windows.emptied)
        if self._pace.begins(now.mono, running=windows.is_surveying, wanted=windows.wanted, useful=useful):
            windows.survey()

    # --- from rows ---------------------------------------------------------------------------------

    def adopt(self, ops: tuple[Op, ...], now: Now) -> tuple[Output, ...]:
        """Fold a decision's ops into leases and windows. Returns what the scheduler must hear."""
        needed: dict[str, tuple[str, ...]] = {}
        touches_windows = False
        for op in ops:
            table = op.table
            if table not in _FOLLOWED:
                continue
            if table == "task" and isinstance(op, Put):
                self.leases.settle(op.row, now.mono)
                self._wake_for(op.row, now)
            elif table == "ready":
                touches_windows = True
            elif table == "body" and isinstance(op, Put):
                needed[str(op.key[0])] = op.row.needed
            elif table == "counter" and isinstance(op, Add) and op.key == self._counter:
                self.queued += op.delta
            elif table == "signature":
                self.signed.add(str(op.key[2]))
        if not touches_windows:
            return ()
        told = self.windows.adopt(ops, self.rows, lambda task_id: self._needed(task_id, needed))
        self.look_for_more(now)
        return tuple(told)

    def _needed(self, task_id: str, at_hand: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        if task_id in at_hand:
            return at_hand[task_id]
        found: tuple[str, ...] = self.rows.get("body", (task_id,)).needed
        return found

    def _wake_for(self, task: TaskState, now: Now) -> None:
        lease = self.leases.get(task.id)
        if lease:
            self.wake_at = min(self.wake_at, lease.deadline)
        times = {task.not_before_ms, task.waiting_until_ms, task.deadline_ms} - {0}
        if times and task.phase not in FINAL:
            for ms in times:
                self.wake_at = min(self.wake_at, now.mono + max(0, ms - now.ms) / 1000)

    def mint_order(self, now: Now, count: int = 1) -> int:
        """The next `count` places at the tail: microseconds, never twice."""
        first = max(now.ms * 1000, self._order + 1)
        self._order = first + count - 1
        return first

    # --- reading -----------------------------------------------------------------------------------

    def _all(self, table: str, prefix: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
        after = None
        while found := self.rows.scan(table, prefix, after=after, limit=500):
            yield from found
            after = found[-1][0]

    def _mine(self, task_id: str) -> TaskState | None:
        task: TaskState | None = self.rows.get("task", (task_id,))
        return self._up_to_date(task) if task and task.lane == self.name else None

    def _up_to_date(self, task: TaskState) -> TaskState:
        """With the tokens that heartbeats told of: too often to be written each time, they go with the next change."""
        used = tasks.used(task, self.leases.tokens(task))
        return task if used == task.tokens_used else replace(task, tokens_used=used)

    def _is_elsewhere(self, task: TaskState | None) -> TypeGuard[TaskState]:
        """Another lane owns it by now."""
        return task is not None and task.lane != self.name

    # --- decisions that several messages make ------------------------------------------------------

    def _take_back(self, task: TaskState, step: Step, reason: str, *, stop: bool = False) -> Decision:
        """The hub ends a generation: its holder is told."""
        timeout = reason == "accept_timeout"
        told = Released(task.holder, task.id, task.generation, reason, stop, timeout)
        return Decision(step.ops, (to_agent(task.holder, told),) if task.holder else (), reason)

    def _write(self, step: Step, event: str) -> Decision:
        return Decision(step.ops, (), event)

    def _claimed(self, task: TaskState, body: TaskBody | None = None, *, reclaimed: bool = False) -> Claimed:
        """`body` if it is at hand."""
        frame = assign_frame(task, body or self.rows.get("body", (task.id,)), self.rows, self.policy)
        return Claimed(task.id, self.name, task.generation, task.phase, frame, reclaimed)
