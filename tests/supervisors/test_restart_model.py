"""The restart arithmetic against a model that knows OTP's rules and nothing of our states.

A world of children lives and dies as Hypothesis likes. The model keeps, eagerly, who is expected to live once all has
come to rest, who is on the way down and why, and when restarts were counted. Orders are checked where an action
reaches the world.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from supervisors import restarts
from supervisors.restarts import Booted, Exited, Finished, GiveUp, Kill, Start, Stop, WaitUntil
from supervisors.specs import Backoff, ChildSpec, SupervisorSpec

REASONS = ["normal", "shutdown", "boom", "aborted", "killed"]
PERIOD_S = 4.0
NAMES = [f"c{i}" for i in range(6)]


class PolicyAgainstModel(RuleBasedStateMachine):
    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        kinds=st.lists(st.sampled_from(["permanent", "transient", "temporary"]), min_size=3, max_size=5),
        intensity=st.integers(0, 4),
        backoff=st.sampled_from([None, Backoff(base_s=1, cap_s=8)]),
        significant=st.one_of(st.just({0, 1, 2, 3, 4}), st.sets(st.integers(0, 4))),
        auto_shutdown=st.sampled_from(["never", "any_significant", "all_significant"]),
    )
    def begin(
        self,
        strategy: str,
        kinds: list[str],
        intensity: int,
        backoff: Backoff | None,
        significant: set[int],
        auto_shutdown: str,
    ) -> None:
        self.names = NAMES[: len(kinds)]
        self.kind = dict(zip(self.names, kinds, strict=True))
        self.significant = {NAMES[i] for i in significant if auto_shutdown != "never"} & {
            name for name in self.names if self.kind[name] != "permanent"
        }
        self.strategy, self.intensity, self.auto_shutdown = strategy, intensity, auto_shutdown
        self.backoff = backoff
        self.now = 0.0
        self.world: dict[str, dict[str, Any]] = {}  # the living: start, ready, asked (to stop), killed
        self.lives: dict[str, int] = {}
        self.expected = dict.fromkeys(self.names, True)
        self.going_down: dict[str, str] = {}  # and what follows
        self.counted: list[float] = []
        self.not_before: dict[str, float] = {}
        self.gave_up = self.finished = self.booted = self.stopping = False
        spec = SupervisorSpec(
            strategy=strategy,  # type: ignore[arg-type]
            intensity=intensity,
            period_s=PERIOD_S,
            auto_shutdown=auto_shutdown,  # type: ignore[arg-type]
            children=tuple(self.spec(name) for name in self.names),
            backoff=backoff,
        )
        self.carry_out(restarts.begin(spec, self.now))

    def spec(self, name: str) -> ChildSpec:
        kind: Any = self.kind[name]
        return ChildSpec(name=name, actor="x:Y", restart=kind, significant=name in self.significant)

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
                    self.world[name]["killed"] = True
                case GiveUp():
                    assert len(self.recent()) > self.intensity, "gave up within its budget"
                    self.gave_up = self.stopping = True
                case Booted():
                    assert not self.booted
                    self.booted = True
                case WaitUntil(at):
                    assert at > self.now
                case Finished(reason):
                    assert not self.world, "finished with children alive"
                    assert reason == ("gave up" if self.gave_up else "shutdown")
                    self.finished = True

    def start(self, name: str, start: int) -> None:
        assert name not in self.world, "two lives of one child"
        assert not self.stopping
        assert not self.going_down, "something started while others had yet to go down"
        assert start > self.lives.get(name, 0), "a start number twice"
        assert self.now >= self.not_before.pop(name, 0.0), "no backoff"
        self.lives[name] = start
        if not self.booted or self.strategy != "one_for_one":
            for earlier in self.names[: self.names.index(name)]:
                ready = earlier in self.world and self.world[earlier]["ready"]
                assert ready or not self.expected[earlier], f"{name} started before {earlier} was ready"
        self.world[name] = {"start": start, "ready": False, "asked": False, "killed": False}

    def stop(self, name: str, start: int) -> None:
        assert self.world[name]["start"] == start
        assert self.stopping or name in self.going_down, "nobody wanted it to stop"
        assert not [n for n, child in self.world.items() if child["asked"]], "two asked to stop at once"
        later = self.names[self.names.index(name) + 1 :]
        assert not [n for n in later if n in self.world and (self.stopping or n in self.going_down)]
        self.world[name]["asked"] = True

    def recent(self) -> list[float]:
        return [at for at in self.counted if at > self.now - PERIOD_S]

    # ── the model ────────────────────────────────────────────────────────────────────────────────

    def model_exit(self, name: str, reason: str, was_ready: bool) -> None:
        if self.stopping:
            return
        if name in self.going_down:
            self.model_down(name, self.going_down.pop(name))
        elif self.kind[name] == "temporary" or (
            self.kind[name] == "transient" and reason in ("normal", "shutdown")
        ):
            self.model_down(name, "stay down")
            self.model_auto_shutdown(name)
        else:
            if reason != "aborted":
                self.counted.append(self.now)
            if reason == "aborted" or (self.backoff is not None and not was_ready):
                self.not_before[name] = self.now + 0.5 * (self.backoff or Backoff()).base_s
            self.model_group(name)

    def model_down(self, name: str, then: str) -> None:
        if then == "start" or (then == "" and self.kind[name] != "temporary"):
            self.expected[name] = True
        elif then == "forget" or self.kind[name] == "temporary":
            self.names = [other for other in self.names if other != name]
            self.significant -= {name}
            del self.expected[name]
        else:
            self.expected[name] = False

    def model_auto_shutdown(self, name: str) -> None:
        # A temporary one has just been forgotten, so the table of significant ones is asked by kind.
        others = [n for n in self.names if n in self.significant and n != name]
        active = [n for n in others if n in self.world or self.expected[n]]
        if name in self.was_significant and (self.auto_shutdown == "any_significant" or not active):
            self.stopping = True

    def model_group(self, name: str) -> None:
        at = self.names.index(name)
        groups = {"one_for_one": [name], "rest_for_one": self.names[at:], "one_for_all": self.names}
        for other in groups[self.strategy]:
            if other in self.world:
                self.going_down.setdefault(other, "")
            else:
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
        self.was_significant = set(self.significant)
        late = life["killed"] and not self.stopping and name not in self.going_down
        ready = life["ready"] and not late
        self.model_exit(name, "late" if late else reason, ready)
        over = len(self.recent()) > self.intensity and not self.stopping
        exited = Exited(name, life["start"], reason)
        self.carry_out(restarts.on_exit(self.s, exited, self.now, draw=0.0))
        assert not over or self.gave_up, "did not give up over its budget"
        assert restarts.on_exit(self.s, exited, self.now) == (self.s, []), "a doubled notice did something"
        assert restarts.on_ready(self.s, name, life["start"], self.now) == (self.s, []), "a late Ready did"
        assert restarts.on_late(self.s, name, life["start"]) == (self.s, []), "a late timer did"

    @precondition(lambda self: any(not c["ready"] for c in self.world.values()))
    @rule(data=st.data())
    def a_child_gets_ready(self, data: st.DataObject) -> None:
        self.gets_ready(
            data.draw(st.sampled_from(sorted(n for n, c in self.world.items() if not c["ready"])))
        )

    def gets_ready(self, name: str) -> None:
        child = self.world[name]
        child["ready"] = not (child["asked"] or child["killed"])
        self.carry_out(restarts.on_ready(self.s, name, child["start"], self.now))
        if child["ready"]:
            late = restarts.on_late(self.s, name, child["start"])
            assert late == (self.s, []), "the timer of a start that came in time did something"
        else:
            self.exits(name, "killed")  # too late: it was asked to go

    @precondition(lambda self: any(c["asked"] or not c["ready"] for c in self.world.values()))
    @rule(data=st.data())
    def a_child_is_late(self, data: st.DataObject) -> None:
        """To get ready, or to stop."""
        late = sorted(n for n, c in self.world.items() if c["asked"] or not c["ready"])
        name = data.draw(st.sampled_from(late))
        self.carry_out(restarts.on_late(self.s, name, self.world[name]["start"]))
        assert self.world[name]["killed"]

    @rule(seconds=st.one_of(st.integers(0, 9), st.floats(0, 20)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(restarts.on_due(self.s, self.now))

    @precondition(lambda self: not self.finished)
    @rule(sure=st.integers(0, 5))
    def it_is_asked_to_stop(self, sure: int) -> None:
        """One that is about to give up still says so."""
        if sure == 0 or self.stopping:
            self.stopping = True
            self.carry_out(restarts.on_asked_to_stop(self.s, self.now))

    @precondition(lambda self: self.names and not self.stopping)
    @rule(data=st.data())
    def a_restart_is_asked_for(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        self.model_group(name)
        self.not_before.pop(name, None)
        if name in self.world:
            self.going_down[name] = "start"
        self.carry_out(restarts.on_asked_to_restart(self.s, name, self.now))

    @precondition(lambda self: self.names and not self.stopping)
    @rule(data=st.data())
    def a_start_is_asked_for(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        if name not in self.world:
            self.expected[name] = True
            self.not_before.pop(name, None)
        elif self.going_down.get(name):
            self.going_down[name] = "start"
        self.carry_out(restarts.on_asked_to_start(self.s, name, self.now))

    @precondition(lambda self: self.names and not self.stopping)
    @rule(data=st.data(), then=st.sampled_from(["stay down", "forget"]))
    def an_end_is_asked_for(self, data: st.DataObject, then: Any) -> None:
        name = data.draw(st.sampled_from(self.names))
        if name in self.world:
            self.going_down[name] = then
        else:
            self.model_down(name, then)
        self.carry_out(restarts.on_asked_to_end(self.s, name, then, self.now))

    @precondition(lambda self: not self.stopping and len(self.names) < len(NAMES))
    @rule(kind=st.sampled_from(["permanent", "transient", "temporary"]))
    def a_child_is_added(self, kind: str) -> None:
        name = next(name for name in NAMES if name not in self.names)
        self.kind[name] = kind
        self.names = [*self.names, name]
        self.expected[name] = True
        self.not_before.pop(name, None)
        self.carry_out(restarts.on_asked_to_add(self.s, self.spec(name), self.now))

    @precondition(lambda self: not self.stopping)
    @rule()
    def everything_comes_to_rest(self) -> None:
        for _ in range(200):
            self.time_passes(9.0)
            asked = [n for n, c in self.world.items() if c["asked"] or c["killed"]]
            unready = [n for n, c in self.world.items() if not c["ready"]]
            if asked:
                self.exits(asked[0], "shutdown")
            elif unready:
                self.gets_ready(unready[0])
            else:
                break
        else:
            pytest.fail("it never comes to rest")
        expected = [] if self.stopping else [n for n in self.names if self.expected[n]]
        assert sorted(self.world) == sorted(expected)
        assert self.booted or self.stopping

    @invariant()
    def one_who_stops_finishes_once_all_are_down(self) -> None:
        assert self.finished == (self.stopping and not self.world)

    @invariant()
    def one_who_stops_is_waiting_for_one_of_them(self) -> None:
        waited_for = [n for n, child in self.world.items() if child["asked"] or child["killed"]]
        assert waited_for or not (self.stopping and self.world)

    @invariant()
    def who_is_known_is_who_was_not_deleted(self) -> None:
        assert self.stopping or [c.spec.name for c in self.s.children] == self.names


def test_whatever_happens_the_policy_does_what_the_model_expects() -> None:
    run_state_machine_as_test(PolicyAgainstModel, settings=settings(max_examples=60, stateful_step_count=30))


@pytest.mark.slow
def test_the_policy_does_what_the_model_expects_in_long_runs_too() -> None:
    run_state_machine_as_test(PolicyAgainstModel, settings=settings(max_examples=300, stateful_step_count=50))
