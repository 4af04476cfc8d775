"""The scheduler's rules again, by brute force over plain sets, and short words for writing its tests.

The model shares nothing with the scheduler but the messages: it looks at every task and agent each time.
"""

from dataclasses import dataclass, field
from typing import Any

from agentcom.core import shelves
from agentcom.core.messages import (
    AgentReady,
    Bucket,
    Head,
    MoreHeads,
    Offer,
    OfferDone,
    Park,
    Window,
    WindowDelta,
)
from agentcom.core.scheduler import Rules, Scheduler
from agentcom.protocol.rows import LANES, Lane

SECOND = 1_000_000
LIMITS = (10 * SECOND, 60 * SECOND, 300 * SECOND, 900 * SECOND)


@dataclass
class Worker:
    incarnation: int
    capabilities: frozenset[str]
    since: int = 0  # 0: busy


@dataclass
class Seen:
    """One window."""

    needed: frozenset[str]
    heads: dict[str, Head] = field(default_factory=dict)
    more: bool = False


@dataclass(frozen=True)
class Task:
    rank: int
    bucket: Bucket
    head: Head

    @property
    def id(self) -> str:
        return self.head.task_id


class Model:
    def __init__(self, share: int = 10, limits: tuple[int, ...] = LIMITS) -> None:
        self.share, self.limits = share, limits
        self.agents: dict[str, Worker] = {}
        self.windows: dict[tuple[int, Bucket], Seen] = {}
        self.flights: dict[str, tuple[str, int, int]] = {}  # task: agent, its incarnation, rank
        self.left: set[str] = set()
        self.turns: dict[str, int] = {}
        self.refusals: list[tuple[int, str, str]] = []  # rank, task, agent
        self.paused: set[int] = set()
        self.clock = 0

    # --- what may go where ---

    def fits(self, name: str, bucket: Bucket) -> bool:
        needed = next(seen.needed for (_, of), seen in self.windows.items() if of == bucket)
        return needed <= self.agents[name].capabilities and bucket.target in ("", name)

    def may(self, name: str, task: Task) -> bool:
        return self.fits(name, task.bucket) and name not in task.head.excluded

    def visible(self) -> list[Task]:
        tasks = [
            Task(rank, bucket, head)
            for (rank, bucket), of in self.windows.items()
            for head in of.heads.values()
        ]
        return [task for task in tasks if task.id not in self.flights and task.rank not in self.paused]

    def idle(self) -> list[str]:
        return [name for name, of in self.agents.items() if of.since]

    def past_limit(self, task: Task, now: int) -> int:
        return now - task.head.order - self.limits[task.rank]

    # --- choosing ---

    def prefers(self, name: str, now: int) -> Task | None:
        mine = [task for task in self.visible() if self.may(name, task)]
        if self.turns.get(name, 0) % self.share == self.share - 1:
            past = [task for task in mine if self.past_limit(task, now) > 0]
            if past:
                return max(past, key=lambda task: (self.past_limit(task, now), -task.rank))
        return min(mine, key=lambda task: (task.rank, task.head.order), default=None)

    def best_agent(self, task: Task) -> str | None:
        able = [name for name in self.idle() if self.may(name, task)]
        return min(able, key=lambda n: (len(self.agents[n].capabilities), self.agents[n].since), default=None)

    def settle(self, now: int, newcomer: str = "") -> list[tuple[str, str]]:
        """Offers as (agent, task). With a newcomer it chooses, and nobody else has anything to take."""
        offers = []
        if newcomer:
            wanted = self.prefers(newcomer, now)
            pairs = [(newcomer, wanted)] if wanted else []
            offers += [self.give(name, task) for name, task in pairs]
        while True:
            tasks = sorted(self.visible(), key=lambda task: (task.rank, task.head.order))
            found = [(name, task) for task in tasks if (name := self.best_agent(task))]
            assert not (found and newcomer), "a newcomer cannot make work for others"
            if not found:
                return offers
            offers.append(self.give(*found[0]))

    def give(self, name: str, task: Task) -> tuple[str, str]:
        self.agents[name].since = 0
        self.flights[task.id] = (name, self.agents[name].incarnation, task.rank)
        return name, task.id

    # --- what is said ---

    def is_offered(self, name: str) -> bool:
        return any(of[0] == name for of in self.flights.values())

    def land(self, task_id: str) -> None:
        del self.flights[task_id]
        self.left.discard(task_id)

    def cancel_older(self, name: str, incarnation: int) -> None:
        for task_id, (agent, of, _) in list(self.flights.items()):
            if agent == name and of < incarnation:
                self.land(task_id)

    def present(self, name: str, incarnation: int, capabilities: frozenset[str]) -> Worker | None:
        of = self.agents.get(name)
        if of and of.incarnation > incarnation:
            return None
        if of is None or of.capabilities != capabilities:
            of = self.agents[name] = Worker(incarnation, capabilities)
        of.incarnation = incarnation
        return of

    def rest(self, name: str) -> None:
        if not self.agents[name].since:
            self.clock += 1
            self.agents[name].since = self.clock

    def done(self, name: str, task_id: str, taken: bool) -> None:
        flight = self.flights.get(task_id)
        if flight is None or flight[0] != name:
            return
        self.turns[name] = self.turns.get(name, 0) + taken
        for (rank, _), of in self.windows.items():
            if rank == flight[2] and task_id in of.heads and task_id not in self.left:
                if taken:
                    del of.heads[task_id]
                else:
                    self.refuse(rank, of, name, task_id)
        self.land(task_id)

    def refuse(self, rank: int, of: Seen, name: str, task_id: str) -> None:
        if rank in self.paused:
            return
        self.refusals.append((rank, task_id, name))
        if self.refusals.count((rank, task_id, name)) >= shelves.REFUSALS:
            head = of.heads[task_id]
            of.heads[task_id] = head._replace(excluded=(*head.excluded, name))

    def is_news(self, rank: int, tasks: set[str]) -> None:
        self.refusals = [of for of in self.refusals if of[0] != rank or of[1] not in tasks]

    def note_left(self, rank: int, gone: set[str]) -> None:
        self.left |= {task for task in gone if task in self.flights and self.flights[task][2] == rank}


# --- short words ------------------------------------------------------------------------------------


def caps(text: str) -> tuple[str, ...]:
    return tuple(sorted(text))


def bucket(needs: str = "", target: str = "") -> Bucket:
    return Bucket(target, f"sig-{needs}")


class Desk:
    """A scheduler with a clock, and the offers it makes as (agent, task)."""

    def __init__(self, share: int = 10, **rules: Any) -> None:
        self.core = Scheduler(Rules(share=share, **rules))
        self.now = 1_000_000 * SECOND
        self.said: list[tuple[str, Any]] = []

    def hear(self, outputs: Any) -> list[tuple[str, str]]:
        new = [(to, message) for to, message in outputs]
        self.said += new
        return [
            (to.removeprefix("agents/agent."), message.task_id)
            for to, message in new
            if isinstance(message, Offer)
        ]

    def on(self, message: Any) -> list[tuple[str, str]]:
        return self.hear(self.core.on(message, self.now))

    def ready(self, name: str, has: str = "", incarnation: int = 1) -> list[tuple[str, str]]:
        return self.on(AgentReady(name, incarnation, caps(has)))

    def window(
        self, lane: Lane, *heads: Head, needs: str = "", target: str = "", more: bool = False
    ) -> list[tuple[str, str]]:
        return self.on(Window(lane, bucket(needs, target), caps(needs), heads, more))

    def delta(
        self, lane: Lane, *came: Head, gone: tuple[str, ...] = (), needs: str = "", target: str = ""
    ) -> list[tuple[str, str]]:
        return self.on(WindowDelta(lane, bucket(needs, target), gone, came))

    def taken(self, name: str, task_id: str, lane: Lane = "normal") -> list[tuple[str, str]]:
        return self.on(OfferDone(name, lane, task_id, True))

    def refused(self, name: str, task_id: str, lane: Lane = "normal") -> list[tuple[str, str]]:
        return self.on(OfferDone(name, lane, task_id, False, "too late"))

    def parked(self) -> list[tuple[str, str]]:
        return [(to, message.task_id) for to, message in self.said if isinstance(message, Park)]

    def asked(self) -> list[tuple[str, Bucket]]:
        return [(to, message.bucket) for to, message in self.said if isinstance(message, MoreHeads)]

    def head(self, task_id: str, age_s: float = 0.0, *excluded: str) -> Head:
        return Head(int(self.now - age_s * SECOND), task_id, excluded)


__all__ = ["LANES", "LIMITS", "SECOND", "Desk", "Model", "Seen", "Task", "Worker", "bucket", "caps"]
