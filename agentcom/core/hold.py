"""What binds an agent to a task: a hold, a reservation on the way to one, or a stop under way.

May import: agentcom.core.messages, agentcom.protocol.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from agentcom.core.messages import Claimed
from agentcom.core.policy import Policy
from agentcom.protocol.frames import HeldTask, TaskAssign, Verdict
from agentcom.protocol.rows import Lane


class Bond(msgspec.Struct):
    """Which task, and under which generation."""

    task_id: str
    generation: int

    @property
    def key(self) -> tuple[str, int]:
        return self.task_id, self.generation

    def is_in(self, listed: Iterable[HeldTask]) -> bool:
        return any((of.task_id, of.generation) == self.key for of in listed)


class Hold(Bond):
    """An assignment of ours, as its lane knows it."""

    lane: Lane
    phase: str
    assign: TaskAssign
    pushed: str = ""  #: the connection it was sent to
    pushed_at: float = float("inf")
    acked: bool = False  #: this session was told that its accept counts
    was_acked: bool = False  #: some session of this actor's life was, or listed it: its client knows of it
    assigned_ms: int = 0  #: wall clock; 0 until it was looked up
    is_reporting: bool = False  #: a final report is on its way: absence means nothing any more
    is_finishing: bool = False  #: it is one after which its holder may have the next task

    @classmethod
    def of(cls, claimed: Claimed) -> "Hold":
        return cls(claimed.task_id, claimed.generation, claimed.lane, claimed.phase, claimed.assign)

    def listed(self, conn: str) -> None:
        """Its client says that it has it: no second push, and once it was accepted, absence means that it is lost."""
        self.pushed = conn
        self.was_acked = self.was_acked or self.phase != "assigned"

    def follow(self, claimed: Claimed) -> None:
        self.lane, self.phase, self.assign = claimed.lane, claimed.phase, claimed.assign


class Reservation(msgspec.Struct):
    """Ended only by the lane's answer, or by resynchronising after the lane was down."""

    task_id: str
    lane: Lane
    since: float
    reclaim: bool = False
    generation: int = 0
    claimed: bool = True  #: else the claim waits for the answer to a report, as the two go to different lanes
    anew: bool = False  #: see `Reclaim`


class Stopping(Bond):
    """A Mind that should no longer run, until its sidecar stops listing it or says so."""

    since: float
    may_return: bool  #: if the sidecar still lists it and nobody else has it, it may go on
    reason: str

    def is_late(self, now: float, policy: Policy) -> bool:
        return now - self.since >= policy.stop_s


def verdict(of: HeldTask, action: Literal["continue", "abort"], reason: str = "") -> Verdict:
    return Verdict(of.task_id, of.generation, action, reason)
