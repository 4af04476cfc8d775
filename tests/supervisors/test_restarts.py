"""The pure policy: single rules by name, then a world of children against an independent model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisors import restarts
from supervisors.restarts import Booted, Exited, Finished, GiveUp, Kill, Start, Stop, WaitUntil
from supervisors.specs import Backoff, ChildSpec, SupervisorSpec


def tree(strategy: str = "one_for_one", names: str = "abc", **fields: Any) -> restarts.Sup:
    """All children up."""
    spec = SupervisorSpec(strategy=strategy, children=tuple(child(n) for n in names), **fields)
    s, _ = restarts.begin(spec, 0.0)
    for name in names:
        s, _ = restarts.on_ready(s, name, 1, 0.0)
    return s


def child(name: str, restart: str = "permanent") -> ChildSpec:
    return ChildSpec(name=name, actor="x:Y", restart=restart)


def test_children_start_one_after_the_other_and_booted_comes_last() -> None:
    s, actions = restarts.begin(SupervisorSpec(children=(child("a"), child("b"))), 0.0)
    assert actions == [Start("a", 1)]
    s, actions = restarts.on_ready(s, "a", 1, 0.0)
    assert actions == [Start("b", 1)]
    s, actions = restarts.on_ready(s, "b", 1, 0.0)
    assert actions == [Booted()]


def test_rest_for_one_stops_the_later_ones_in_reverse_and_starts_them_in_order() -> None:
    s = tree("rest_for_one", "abcd")
    s, actions = restarts.on_exit(s, Exited("b", 1, "boom"), 1.0)
    assert actions == [Stop("d", 1)]
    s, actions = restarts.on_exit(s, Exited("d", 1, "shutdown"), 1.0)
    assert actions == [Stop("c", 1)]
    s, actions = restarts.on_exit(s, Exited("c", 1, "shutdown"), 1.0)
    assert actions == [Start("b", 2)]
    s, actions = restarts.on_ready(s, "b", 2, 1.0)
    assert actions == [Start("c", 2)]


def test_a_doubled_or_late_notice_changes_nothing() -> None:
    s, actions = restarts.on_exit(tree(), Exited("b", 1, "boom"), 1.0)
    assert actions == [Start("b", 2)]
    assert restarts.on_exit(s, Exited("b", 1, "boom"), 1.0) == (s, [])
    assert restarts.on_exit(s, Exited("stranger", 1, "boom"), 1.0) == (s, [])
    assert restarts.on_ready(s, "b", 1, 1.0) == (s, [])
    assert restarts.on_late(s, "b", 1) == (s, [])


def test_restarts_older_than_the_period_are_forgiven() -> None:
    s = tree(intensity=1, period_s=5.0)
    for start, now in ((1, 0.0), (2, 5.0), (3, 10.0)):
        s, actions = restarts.on_exit(s, Exited("a", start, "boom"), now)
        assert actions == [Start("a", start + 1)]
        s, _ = restarts.on_ready(s, "a", start + 1, now)
    s, actions = restarts.on_exit(s, Exited("a", 4, "boom"), 14.9)
    assert actions == [GiveUp("a", "boom"), Stop("c", 1)]


def test_independent_restarts_do_not_wait_for_each_other() -> None:
    s, _ = restarts.on_exit(tree(intensity=9), Exited("a", 1, "boom"), 1.0)
    _, actions = restarts.on_exit(s, Exited("b", 1, "boom"), 1.0)
    assert actions == [Start("b", 2)]


def test_an_aborted_child_waits_longer_each_time_until_it_lived_long_enough() -> None:
    s = tree(intensity=0, backoff=Backoff(base_s=1, cap_s=60))
    waits = []
    now = 0.0
    for start, lived in enumerate((0.0, 1.0, 1.0, 100.0), start=1):
        now += lived
        s, actions = restarts.on_exit(s, Exited("a", start, "aborted"), now, draw=1.0)
        assert isinstance(actions[0], WaitUntil)
        waits.append(actions[0].at - now)
        now = actions[0].at
        s, actions = restarts.on_due(s, now)
        assert actions == [Start("a", start + 1)]
        s, _ = restarts.on_ready(s, "a", start + 1, now)
    assert waits == [1, 2, 4, 1]


def test_a_failed_start_waits_only_where_a_backoff_is_given() -> None:
    for backoff, expected in ((None, Start("a", 2)), (Backoff(base_s=2), WaitUntil(2.0))):
        s, _ = restarts.begin(SupervisorSpec(backoff=backoff, children=(child("a"),)), 0.0)
        s, actions = restarts.on_exit(s, Exited("a", 1, "boom"), 0.0, draw=1.0)
        assert actions == [expected]


def test_an_operators_restart_brings_back_even_a_temporary_child() -> None:
    s, _ = restarts.begin(SupervisorSpec(children=(child("a", "temporary"),)), 0.0)
    s, _ = restarts.on_ready(s, "a", 1, 0.0)
    s, actions = restarts.on_asked_to_restart(s, "a", 0.0)
    assert actions == [Stop("a", 1)]
    s, actions = restarts.on_exit(s, Exited("a", 1, "shutdown"), 0.0)
    assert actions == [Start("a", 2)]
    s, _ = restarts.on_exit(s, Exited("a", 2, "normal"), 0.0)
    s, actions = restarts.on_asked_to_restart(s, "a", 0.0)
    assert actions == [Start("a", 3)]


REASONS = ["normal", "shutdown", "boom", "aborted", "killed"]


class PolicyAgainstModel(RuleBasedStateMachine):
    """A world of children that live and die as they like, and a model that knows OTP's rules eagerly.

    The model keeps who is expected to live once everything has come to rest, and how many restarts count; it
    knows nothing of phases, orders or queues. Orders are checked where an action reaches the world.
    """

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        kinds=st.lists(st.sampled_from(["permanent", "transient", "temporary"]), min_size=1, max_size=5),
        intensity=st.integers(0, 4),
        backoff=st.sampled_from([None, Backoff(base_s=1, cap_s=8)]),
    )
    def begin(self, strategy: str, kinds: list[str], intensity: int, backoff: Backoff | None) -> None:
        self.names = [f"c{i}" for i in range(len(kinds))]
        self.kind = dict(zip(self.names, kinds, strict=True))
        self.strategy, self.intensity, self.period_s = strategy, intensity, 10.0
        self.now = 0.0
        self.world: dict[str, dict[str, Any]] = {}  # the living: start, ready, asked, condemned
        self.lives: dict[str, int] = {}
        self.expected = dict.fromkeys(self.names, True)
        self.going_down: set[str] = set()
        self.counted: list[float] = []
        self.gave_up = self.finished = self.booted = self.stopping = False
        children = tuple(child(n, self.kind[n]) for n in self.names)
        spec = SupervisorSpec(
            strategy=strategy, intensity=intensity, period_s=self.period_s, children=children, backoff=backoff
        )
        self.carry_out(restarts.begin(spec, self.now))

    # ── the world ────────────────────────────────────────────────────────────────────────────────

    def carry_out(self, outcome: restarts.Outcome) -> None:
        self.s, actions = outcome
        for action in actions:
            match action:
                case Start(name, start):
                    self.start(name, start)
                case Stop(name, start):
                    self.stop(name, start)
                case Kill(name, start):
                    assert self.world[name]["start"] == start
                    self.world[name]["asked"] = True
                case GiveUp():
                    assert len(self.recent()) > self.intensity, "gave up within its budget"
                    self.gave_up = self.stopping = True
                case Booted():
                    assert not self.booted
                    self.booted = True
                case Finished():
                    assert not self.world, "finished with children alive"
                    self.finished = True

    def start(self, name: str, start: int) -> None:
        assert name not in self.world, "two lives of one child"
        assert not self.stopping
        assert start == self.lives.get(name, 0) + 1
        self.lives[name] = start
        if not self.booted or self.strategy != "one_for_one":
            for earlier in self.names[: self.names.index(name)]:
                ready = earlier in self.world and self.world[earlier]["ready"]
                assert ready or not self.expected[earlier], f"{name} started before {earlier} was ready"
        self.world[name] = {"start": start, "ready": False, "asked": False}

    def stop(self, name: str, start: int) -> None:
        assert self.world[name]["start"] == start
        assert self.stopping or name in self.going_down
        later = self.names[self.names.index(name) + 1 :]
        assert not [n for n in later if n in self.world and (self.stopping or n in self.going_down)]
        self.world[name]["asked"] = True

    def recent(self) -> list[float]:
        return [at for at in self.counted if at > self.now - self.period_s]

    # ── the model ────────────────────────────────────────────────────────────────────────────────

    def model_exit(self, name: str, reason: str) -> None:
        if self.stopping:
            return
        if name in self.going_down:
            self.going_down.discard(name)
            self.expected[name] = self.kind[name] != "temporary"
            return
        orderly = reason in ("normal", "shutdown")
        if self.kind[name] == "temporary" or (self.kind[name] == "transient" and orderly):
            self.expected[name] = False
            return
        if reason != "aborted":
            self.counted.append(self.now)
        at = self.names.index(name)
        group = {"one_for_one": [name], "rest_for_one": self.names[at:], "one_for_all": self.names}[
            self.strategy
        ]
        for other in group:
            if other in self.world:
                self.going_down.add(other)
            elif self.kind[other] != "temporary":
                self.expected[other] = True

    # ── what may happen ──────────────────────────────────────────────────────────────────────────

    def living(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.world)))

    @precondition(lambda self: self.world)
    @rule(data=st.data(), reason=st.sampled_from(REASONS))
    def a_child_exits(self, data: st.DataObject, reason: str) -> None:
        self.exits(self.living(data), reason)

    def exits(self, name: str, reason: str) -> None:
        life = self.world.pop(name)
        late = life["asked"] and not self.stopping and name not in self.going_down
        self.model_exit(name, "late" if late else reason)
        before = len(self.recent()) > self.intensity and not self.stopping
        exited = Exited(name, life["start"], reason)
        self.carry_out(restarts.on_exit(self.s, exited, self.now, draw=0.5))
        assert not before or self.gave_up, "did not give up over its budget"
        assert restarts.on_exit(self.s, exited, self.now) == (self.s, []), "a doubled notice did something"

    @precondition(lambda self: any(not c["ready"] for c in self.world.values()))
    @rule(data=st.data())
    def a_child_gets_ready(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, c in self.world.items() if not c["ready"])))
        self.world[name]["ready"] = True
        self.carry_out(restarts.on_ready(self.s, name, self.world[name]["start"], self.now))

    @precondition(lambda self: any(not c["ready"] and not c["asked"] for c in self.world.values()))
    @rule(data=st.data())
    def a_start_takes_too_long(self, data: st.DataObject) -> None:
        slow = sorted(n for n, c in self.world.items() if not c["ready"] and not c["asked"])
        name = data.draw(st.sampled_from(slow))
        self.carry_out(restarts.on_late(self.s, name, self.world[name]["start"]))
        assert self.world[name]["asked"]

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(restarts.on_due(self.s, self.now))

    @precondition(lambda self: not self.stopping)
    @rule(data=st.data(), sure=st.integers(0, 5))
    def it_is_asked_to_stop(self, data: st.DataObject, sure: int) -> None:
        if sure == 0:
            self.stopping = True
            self.carry_out(restarts.on_asked_to_stop(self.s, self.now))

    @precondition(lambda self: not self.stopping)
    @rule(data=st.data())
    def everything_comes_to_rest(self, data: st.DataObject) -> None:
        self.settle()
        expected = [] if self.stopping else [n for n in self.names if self.expected[n]]
        assert sorted(self.world) == expected
        assert self.booted or self.stopping

    def settle(self) -> None:
        for _ in range(200):
            self.time_passes(9.0)
            asked = [n for n, c in self.world.items() if c["asked"]]
            unready = [n for n, c in self.world.items() if not c["ready"]]
            if asked:
                self.exits(asked[0], "shutdown")
            elif unready:
                self.world[unready[0]]["ready"] = True
                self.carry_out(
                    restarts.on_ready(self.s, unready[0], self.world[unready[0]]["start"], self.now)
                )
            else:
                return
        pytest.fail("it never comes to rest")

    @invariant()
    def one_who_stops_finishes_once_all_are_down(self) -> None:
        assert self.finished == (self.stopping and not self.world)


PolicyAgainstModel.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestPolicyAgainstModel = PolicyAgainstModel.TestCase
