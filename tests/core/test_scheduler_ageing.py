"""Nobody waits for ever: the bounds the scheduler's docstring states, under any backlog."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.core.messages import Head, Offer
from agentcom.protocol.rows import LANES
from tests.core.scheduler_model import LIMITS, SECOND, Desk

NEEDS = {"ada": "x", "bob": "xy", "cyd": "y"}


def test_every_tenth_assignment_goes_to_the_longest_overdue_and_urgent_gets_the_other_nine() -> None:
    desk = Desk(share=10)
    desk.window("urgent", *(desk.head(f"u{n}", 9 - n / 100) for n in range(40)))
    desk.window("high", desk.head("h", 61))  # 1 s past its limit
    desk.window("low", desk.head("l2", 905), desk.head("l1", 910))
    taken = []
    for _ in range(30):
        [(_, task_id)] = desk.ready("ada")
        taken.append(task_id)
        desk.taken("ada", task_id)
    assert [task for task in taken if task[0] != "u"] == ["l1", "l2", "h"]
    assert [at for at, task in enumerate(taken, 1) if task[0] != "u"] == [10, 20, 30]


def test_with_nothing_overdue_the_turn_of_age_is_an_ordinary_one() -> None:
    desk = Desk(share=2)
    desk.window("urgent", *(desk.head(f"u{n}", 3) for n in range(4)))
    desk.window("low", desk.head("l", 899))
    offers = []
    for _ in range(4):
        [(_, task_id)] = desk.ready("ada")
        offers.append(task_id)
        desk.taken("ada", task_id)
    assert offers == ["u0", "u1", "u2", "u3"]


def test_urgent_itself_ages_too() -> None:
    desk = Desk(share=2)
    desk.ready("ada")
    desk.window("urgent", desk.head("u0", 3))
    desk.taken("ada", "u0")
    desk.window("urgent", desk.head("u1", 40))
    desk.window("low", desk.head("l", 910))
    assert desk.ready("ada") == [("ada", "u1")]


@pytest.mark.parametrize("how", ["reconnects", "is refused"])
def test_a_turn_of_age_is_not_lost_when_an_agent(how: str) -> None:
    desk = Desk(share=2)
    desk.window("urgent", *(desk.head(f"u{n}", 3) for n in range(3)))
    desk.window("low", desk.head("l", 901))
    assert desk.ready("ada") == [("ada", "u0")]
    desk.taken("ada", "u0")
    if how == "is refused":
        assert desk.ready("ada") == [("ada", "l")]
        desk.refused("ada", "l", "low")
    assert desk.ready("ada", incarnation=2) == [("ada", "l")]


@dataclass
class Backlog:
    """Lanes that are never empty, agents that take what they are offered, and what each was owed.

    Unrealistic in one thing: the windows hold all there is, so nothing is hidden beyond them."""

    share: int
    desk: Desk = field(init=False)
    heads: dict[str, tuple[int, str, Head]] = field(default_factory=dict)
    taken: dict[str, list[bool]] = field(default_factory=dict)  # by agent: was a higher lane passed over
    owed: dict[tuple[str, str], int] = field(default_factory=dict)  # (agent, overdue task): assignments left
    made: int = 0

    def __post_init__(self) -> None:
        self.desk = Desk(self.share)
        for rank in range(4):
            for needs in ("", "x", "y", "xy"):
                self.desk.window(LANES[rank], needs=needs)

    def add(self, rank: int, needs: str, age_s: int, excluded: tuple[str, ...]) -> None:
        self.made += 1
        head = Head(self.desk.now - age_s * SECOND - self.made, f"t{self.made}", excluded)
        self.heads[head.task_id] = (rank, needs, head)
        self.desk.delta(LANES[rank], head, needs=needs)

    def fitting(self, name: str) -> dict[str, tuple[int, str, Head]]:
        has = set(NEEDS[name])
        return {t: of for t, of in self.heads.items() if set(of[1]) <= has and name not in of[2].excluded}

    def limit(self, task_id: str) -> int:
        rank, _, head = self.heads[task_id]
        return head.order + LIMITS[rank]

    def note_debts(self) -> None:
        for name in NEEDS:
            overdue = sorted((t for t in self.fitting(name) if self.limit(t) < self.desk.now), key=self.limit)
            for longer_past, task_id in enumerate(overdue):
                self.owed.setdefault((name, task_id), (longer_past + 1) * self.share)

    def work(self, name: str) -> None:
        self.note_debts()
        offers = self.desk.ready(name, NEEDS[name])
        assert bool(offers) == bool(self.fitting(name)), "idle only if there is nothing to do"
        for agent, task_id in offers:
            assert agent == name
            self.settle_debts(name, task_id)
            self.heads.pop(task_id)
            offer = next(said for _, said in reversed(self.desk.said) if isinstance(said, Offer))
            self.desk.taken(name, task_id, offer.lane)
            self.desk.delta(offer.lane, gone=(task_id,), needs=offer.bucket.signature.removeprefix("sig-"))

    def settle_debts(self, name: str, task_id: str) -> None:
        best = min(of[0] for of in self.fitting(name).values())
        self.taken.setdefault(name, []).append(self.heads[task_id][0] > best)
        self.owed = {(who, t): left for (who, t), left in self.owed.items() if t != task_id}
        for who, t in self.owed:
            if who == name:
                self.owed[who, t] -= 1
                assert self.owed[who, t] > 0, f"{t} waited longer for {name} than it may"


def any_task(rng: random.Random) -> tuple[int, str, int, tuple[str, ...]]:
    excluded = rng.choice(((), (), (), ("ada",), ("bob", "cyd")))
    return rng.randrange(4), rng.choice(("", "x", "y", "xy")), rng.randrange(2_000), excluded


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), share=st.integers(2, 5))
def test_urgent_loses_at_most_one_in_share_and_no_overdue_task_waits_longer_than_its_bound(
    seed: int, share: int
) -> None:
    rng, backlog = random.Random(seed), Backlog(share)
    for _ in range(rng.randrange(40)):
        backlog.add(*any_task(rng))
    for _ in range(rng.randrange(40, 120)):
        backlog.desk.now += rng.randrange(30) * SECOND
        backlog.note_debts()
        for rank, needs, _, excluded in [any_task(rng) for _ in range(rng.randrange(4))]:
            backlog.add(rank, needs, 0, excluded)
        backlog.add(0, "", 0, ())  # urgent never runs dry
        backlog.work(rng.choice(tuple(NEEDS)))
    for lost in backlog.taken.values():
        assert all(sum(lost[at : at + share]) <= 1 for at in range(len(lost)))
