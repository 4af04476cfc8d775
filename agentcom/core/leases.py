"""How long a lane believes that its assigned tasks are being worked on without news.

Leases are memory, on the monotonic clock; the row holds holder, generation and phase. They follow the rows:
`settle` is called with every task state a lane adopts.
May import: agentcom.core.policy, agentcom.protocol.
"""

from collections.abc import Iterator

import msgspec

from agentcom.core.policy import Policy
from agentcom.protocol.rows import HELD, Lane, TaskState


class Lease(msgspec.Struct):
    agent: str
    generation: int
    phase: str
    deadline: float  #: monotonic seconds
    since: float  #: when this phase began, monotonic seconds
    tokens: int = 0  #: what heartbeats said that this generation used so far; no row has it yet


class Leases:
    """The leases of one lane."""

    def __init__(self, lane: Lane, policy: Policy) -> None:
        self._lane = lane
        self._policy = policy
        self._of: dict[str, Lease] = {}
        self.frozen = False  #: a part that news come through is down: nothing runs out

    def __len__(self) -> int:
        return len(self._of)

    def tasks(self) -> Iterator[str]:
        yield from self._of

    def get(self, task_id: str) -> Lease | None:
        return self._of.get(task_id)

    def settle(self, task: TaskState, now: float) -> None:
        """Follow a task's new state: a lease begins, changes its kind, or ends."""
        if task.phase not in HELD or task.lane != self._lane:
            self._of.pop(task.id, None)
            return
        old = self._of.get(task.id)
        if old and (old.generation, old.phase, old.agent) == (task.generation, task.phase, task.holder):
            self.extend(task.id, now)
            return
        deadline, tokens = now + self._term(task.phase), self.tokens(task)
        self._of[task.id] = Lease(task.holder, task.generation, task.phase, deadline, now, tokens)

    def tokens(self, task: TaskState) -> int:
        """What its heartbeats told of the generation that `task` has."""
        lease = self._of.get(task.id)
        return lease.tokens if lease and lease.generation == task.generation else 0

    def _term(self, phase: str) -> float:
        return self._policy.accept_s if phase == "assigned" else self._policy.work_s

    def extend(self, task_id: str, now: float) -> None:
        """News of the task. Never shortens."""
        lease = self._of[task_id]
        lease.deadline = max(lease.deadline, now + self._term(lease.phase))

    def renew(self, agent: str, task_id: str, generation: int, now: float, tokens: int = 0) -> None:
        """A heartbeat listed it. One that is not accepted yet runs on: listing is not accepting."""
        lease = self._of.get(task_id)
        if lease and (lease.agent, lease.generation) == (agent, generation) and lease.phase != "assigned":
            self.extend(task_id, now)
            lease.tokens = max(lease.tokens, tokens)

    def cut(self, agent: str, task_id: str, generation: int, now: float) -> None:
        """The holder's session ended: it has the grace period to come back."""
        lease = self._of.get(task_id)
        if lease and (lease.agent, lease.generation) == (agent, generation):
            lease.deadline = min(lease.deadline, now + self._policy.grace_s)

    def back(self, agent: str, task_id: str, generation: int, now: float) -> None:
        lease = self._of.get(task_id)
        if lease and (lease.agent, lease.generation) == (agent, generation):
            self.extend(task_id, now)

    def adopt(self, task: TaskState, now: float, left_s: float, now_ms: int) -> None:
        """A lease that another lane, or an earlier life of this one, began. A question is as old as its row says."""
        age_s = (
            max(0, now_ms - (task.blocked_ms or task.updated_ms)) / 1000 if task.phase == "blocked" else 0.0
        )
        deadline, tokens = now + left_s, self.tokens(task)
        self._of[task.id] = Lease(task.holder, task.generation, task.phase, deadline, now - age_s, tokens)

    def renew_all(self, now: float) -> None:
        """News may have been missed through no fault of an agent."""
        for lease in self._of.values():
            lease.deadline = max(lease.deadline, now + self._policy.renewal_s)

    def run_out(self, now: float) -> Iterator[str]:
        """Tasks whose lease has run out."""
        if not self.frozen:
            yield from [task_id for task_id, lease in self._of.items() if lease.deadline <= now]

    def unanswered(self, now: float) -> Iterator[str]:
        """Tasks that have been blocked for too long."""
        limit = now - self._policy.blocked_max_s
        yield from [
            task_id for task_id, of in self._of.items() if of.phase == "blocked" and of.since <= limit
        ]

    def next_deadline(self) -> float:
        """When the next one may run out, monotonic seconds; never while they are frozen."""
        if self.frozen:
            return float("inf")
        return min((lease.deadline for lease in self._of.values()), default=float("inf"))
