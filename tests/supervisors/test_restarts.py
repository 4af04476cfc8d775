"""The pure policy, single rules by name. Against an independent model it plays in test_restart_model."""

from __future__ import annotations

from typing import Any

from supervisors import restarts
from supervisors.restarts import Booted, Exited, Finished, GiveUp, Start, Stop, WaitUntil
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


def test_an_operators_restart_brings_back_a_temporary_child_that_runs() -> None:
    s, _ = restarts.begin(SupervisorSpec(children=(child("a", "temporary"),)), 0.0)
    s, _ = restarts.on_ready(s, "a", 1, 0.0)
    s, actions = restarts.on_asked_to_restart(s, "a", 0.0)
    assert actions == [Stop("a", 1)]
    s, actions = restarts.on_exit(s, Exited("a", 1, "shutdown"), 0.0)
    assert actions == [Start("a", 2)]
    s, _ = restarts.on_exit(s, Exited("a", 2, "normal"), 0.0)
    assert s.children == ()


def test_one_that_is_being_terminated_stays_down_though_a_sibling_ends_meanwhile() -> None:
    s, actions = restarts.on_asked_to_end(tree("one_for_all"), "b", "stay down", 1.0)
    assert actions == [Stop("b", 1)]
    s, _ = restarts.on_exit(s, Exited("a", 1, "boom"), 1.0)
    s, actions = restarts.on_exit(s, Exited("b", 1, "shutdown"), 1.0)
    assert actions == [Stop("c", 1)]
    s, actions = restarts.on_exit(s, Exited("c", 1, "shutdown"), 1.0)
    assert actions == [Start("a", 2)]
    s, actions = restarts.on_ready(s, "a", 2, 1.0)
    assert actions == [Start("c", 2)]


def test_a_start_asked_for_follows_a_termination_under_way() -> None:
    s, _ = restarts.on_asked_to_end(tree(), "b", "stay down", 1.0)
    s, actions = restarts.on_asked_to_start(s, "b", 1.0)
    assert actions == []
    s, actions = restarts.on_exit(s, Exited("b", 1, "shutdown"), 1.0)
    assert actions == [Start("b", 2)]


def test_an_operators_restart_or_start_does_not_wait_for_the_backoff() -> None:
    for ask in (restarts.on_asked_to_restart, restarts.on_asked_to_start):
        s, actions = restarts.on_exit(tree(backoff=Backoff(base_s=60)), Exited("a", 1, "aborted"), 1.0)
        assert isinstance(actions[0], WaitUntil)
        _, actions = ask(s, "a", 2.0)
        assert actions == [Start("a", 2)]


def test_a_child_that_was_up_starts_again_at_once_whatever_the_backoff() -> None:
    _, actions = restarts.on_exit(tree(backoff=Backoff(base_s=60)), Exited("a", 1, "boom"), 1.0)
    assert actions == [Start("a", 2)]


def test_one_that_gives_up_says_so_though_it_is_asked_to_stop_meanwhile() -> None:
    s, _ = restarts.on_exit(tree(names="ab", intensity=0), Exited("a", 1, "boom"), 1.0)
    s, actions = restarts.on_asked_to_stop(s, 1.0)
    assert actions == []
    _, actions = restarts.on_exit(s, Exited("b", 1, "shutdown"), 1.0)
    assert actions == [Finished("gave up")]


def test_significant_children_end_their_supervisor_with_the_first_or_the_last() -> None:
    for mode, ends_with in (("any_significant", "a"), ("all_significant", "b"), ("never", "")):
        lead = [
            ChildSpec(name=name, actor="x:Y", restart="transient", significant=mode != "never")
            for name in "ab"
        ]
        s, _ = restarts.begin(SupervisorSpec(auto_shutdown=mode, children=(*lead, child("c"))), 0.0)
        for name in "abc":
            s, _ = restarts.on_ready(s, name, 1, 0.0)
        for name in "ab":
            s, actions = restarts.on_exit(s, Exited(name, 1, "normal"), 1.0)
            assert actions == ([Stop("c", 1)] if name == ends_with else []), (mode, name)
            if actions:
                break
