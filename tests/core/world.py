"""A lane's world without actors: the real lane, the real output commit, the real commit engine on plain dicts.

The test decides when the disk answers and when a lane crashes. What is not realistic: messages between lanes
arrive at once when they are released, and no time passes by itself.
"""

import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from agentcom.core.decision import Now, Output
from agentcom.core.lane import Lane
from agentcom.core.messages import Reply, Submit
from agentcom.core.output_commit import Due, OutputCommit
from agentcom.core.policy import Policy
from agentcom.protocol.bodies import NewTask
from agentcom.store.memory import MemoryStore
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.overlay import Overlay


class SeededEntropy:
    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._last = 0

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def task_id(self, now_ms: int) -> str:
        self._last += 1
        return f"task-{self._last:06d}"

    def message_id(self, now_ms: int) -> str:
        self._last += 1
        return f"msg-{now_ms:013d}-{self._last:06d}"


class LaneWorld:
    """One lane on a store that others may share."""

    def __init__(
        self,
        name: Any,
        store: MemoryStore,
        clock: "Clock",
        out: list[Output],
        *,
        gateway_up: bool = True,
        **policy: Any,
    ) -> None:
        self.name, self.store, self.clock, self.out = name, store, clock, out
        self.gateway_up = gateway_up
        self.policy = Policy(**policy)
        self.entropy = clock.entropy
        self.start()

    def start(self) -> None:
        """A new incarnation, from rows; what the old one had not on disk is gone."""
        self.rows = Overlay(
            self.store.reader, cache_tables=("task",), cache_if=lambda row: row.lane == self.name
        )
        self.tickets = OutputCommit(
            self.rows, lambda ops: self.lane.adopt(ops, self.clock.now()), self._release
        )
        self.unwritten: deque[Commit] = deque()
        [opened] = self.store.engine.apply([Open(f"lane.{self.name}")])
        self.incarnation = opened.incarnation
        self.lane = Lane(self.name, self.policy, self.rows, self.entropy)
        self.carry_out(self.lane.start(self.clock.now(), gateway_up=self.gateway_up))

    crash = start

    def _release(self, outputs: Iterable[Output]) -> None:
        self.out.extend(outputs)

    def carry_out(self, decisions: Any, ask: Any = None) -> None:
        """A ticket stays open for what is told next, as in a burst of mail, half of the time."""
        for decision in decisions:
            self._owe(self.tickets.take(decision, ask))
        if self.entropy.uniform(0, 1) < 0.5:
            self.close()

    def close(self) -> None:
        self._owe(self.tickets.close())

    def _owe(self, what: Iterable[Due]) -> None:
        self.unwritten += [Commit(f"lane.{self.name}", self.incarnation, *due) for due in what]

    @property
    def owes(self) -> bool:
        """Something that was decided is not on disk."""
        return bool(self.unwritten) or self.tickets.is_open

    def tell(self, message: Any) -> None:
        self.carry_out(self.lane.handle(message, self.clock.now()), message)

    def write(self, count: int = 1 << 30) -> None:
        """The disk takes up to `count` commits, one batch each."""
        while self.owes and count > 0:
            count -= 1
            if not self.unwritten:
                self.close()
            [answer] = self.store.commit(self.unwritten.popleft())
            if isinstance(answer, Committed):
                self.tickets.committed(answer.ticket, answer.appended)
            else:
                assert answer.code == "refused", answer
                ask = self.tickets.refused(answer.ticket)
                self.carry_out([self.lane.again(ask, self.clock.now())], ask)

    def survey(self) -> None:
        while self.lane.windows.is_surveying:
            self.carry_out([self.lane.survey_step()])

    def tick(self) -> None:
        self.carry_out(self.lane.tick(self.clock.now()))


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000
        self.mono = 1_000.0
        self.entropy = SeededEntropy()

    def now(self) -> Now:
        return Now(self.ms, self.mono)

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
        self.mono += seconds


def submit(world: LaneWorld, *items: NewTask, submitter: str = "op", request: int = 1) -> None:
    world.tell(Submit(reply_to="edge", request=request, submitter=submitter, items=items))


def replies(out: list[Output]) -> list[Reply]:
    return [of.message for of in out if isinstance(of.message, Reply)]


def new(description: str = "x", **fields: Any) -> NewTask:
    return NewTask(description=description, **fields)
