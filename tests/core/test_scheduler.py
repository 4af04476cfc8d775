"""The scheduler's rules one by one, by examples; the machine next door covers their combinations."""

from agentcom.core.messages import (
    AgentGone,
    AgentPresent,
    AgentReady,
    LanePaused,
    MoreHeads,
    OfferDone,
    Window,
    WindowDelta,
    Workers,
)
from agentcom.core.scheduler import Scheduler
from agentcom.core.shelves import REFUSALS
from tests.core.scheduler_model import Desk, bucket, caps

# --- which task ---


def test_the_highest_lane_goes_first_and_the_oldest_within_a_lane() -> None:
    desk = Desk()
    desk.window("low", desk.head("low-old", 5))
    desk.window("urgent", desk.head("urgent-old", 2), desk.head("urgent-new", 1))
    offers = []
    for name in ("ada", "bob", "cyd"):
        offers += desk.ready(name)
    assert offers == [("ada", "urgent-old"), ("bob", "urgent-new"), ("cyd", "low-old")]


def test_the_oldest_wins_across_signatures_of_a_lane() -> None:
    desk = Desk()
    desk.window("high", desk.head("x-task", 1), needs="x")
    desk.window("high", desk.head("y-task", 2), needs="y")
    assert desk.ready("ada", "xy") == [("ada", "y-task")]


def test_an_agent_gets_only_what_its_capabilities_cover() -> None:
    desk = Desk()
    desk.window("urgent", desk.head("hard", 9), needs="xyz")
    desk.window("low", desk.head("easy", 1), needs="x")
    assert desk.ready("ada", "xy") == [("ada", "easy")]
    assert desk.ready("bob", "xyz") == [("bob", "hard")]


def test_a_task_aimed_at_an_agent_waits_for_that_agent_alone() -> None:
    desk = Desk()
    desk.window("urgent", desk.head("for-bob"), needs="x", target="bob")
    assert desk.ready("ada", "x") == []
    assert desk.ready("bob", "y") == []
    assert desk.ready("bob", "xy", incarnation=2) == [("bob", "for-bob")]


def test_a_paused_lane_is_passed_over_until_it_goes_on() -> None:
    desk = Desk()
    desk.on(LanePaused("urgent", True))
    desk.window("urgent", desk.head("u2", 1), needs="x")
    desk.window("urgent", desk.head("u1", 2))
    assert desk.ready("ada", "x") == []
    assert desk.ready("bob", "xy") == []
    assert desk.on(LanePaused("urgent", False)) == [("ada", "u1"), ("bob", "u2")]


def test_a_claim_that_a_paused_lane_refused_does_not_count_against_its_agent() -> None:
    desk = Desk()
    desk.window("high", desk.head("t1"))
    desk.ready("ada")
    for _ in range(4):
        desk.on(LanePaused("high", True))
        assert desk.on(OfferDone("ada", "high", "t1", False, "lane high is paused")) == []
        desk.on(AgentReady("ada", 1, ()))
        assert desk.on(LanePaused("high", False)) == [("ada", "t1")]


# --- which agent ---


def test_the_least_capable_agent_that_may_is_taken_so_that_specialists_stay_free() -> None:
    desk = Desk()
    desk.ready("specialist", "xyz")
    desk.ready("generalist", "x")
    assert desk.window("normal", desk.head("t1"), needs="x") == [("generalist", "t1")]
    assert desk.window("normal", desk.head("t2"), needs="z") == [("specialist", "t2")]


def test_of_agents_as_capable_the_longest_idle_is_taken() -> None:
    desk = Desk()
    desk.ready("late", "y")
    desk.ready("bob", "x")
    desk.on(AgentPresent("late", 1, caps("y")))
    desk.ready("late", "y")
    desk.ready("bob", "x")  # a repeat keeps its place
    assert desk.window("normal", desk.head("t1"), desk.head("t2")) == [("bob", "t1"), ("late", "t2")]


def test_many_idle_agents_share_a_window_oldest_task_first() -> None:
    desk = Desk()
    for name in ("ada", "bob"):
        desk.ready(name)
    assert desk.window("normal", desk.head("t2", 1), desk.head("t1", 3), desk.head("t3")) == [
        ("ada", "t1"),
        ("bob", "t2"),
    ]


# --- offers ---


def test_a_refused_offer_shows_the_task_to_the_next_agent_and_not_to_the_same() -> None:
    desk = Desk()
    desk.ready("ada")
    assert desk.window("normal", desk.head("t1")) == [("ada", "t1")]
    assert desk.refused("ada", "t1") == []
    assert desk.ready("bob") == [("bob", "t1")]
    assert desk.ready("ada") == []


def test_a_claim_that_is_always_refused_does_not_go_round_for_ever() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"))
    rounds = 1
    while not desk.refused("ada", "t1") and desk.ready("ada"):
        rounds += 1
    assert rounds == REFUSALS
    assert desk.parked() == [("lane.normal", "t1")]
    assert desk.delta("normal", desk.head("t1")) == [("ada", "t1")]


def test_an_agent_says_ready_in_vain_while_its_offer_is_in_flight() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"), desk.head("t2"))
    assert desk.ready("ada") == []
    assert desk.taken("ada", "t1") == []
    assert desk.ready("ada") == [("ada", "t2")]


def test_a_newer_life_of_an_agent_frees_what_the_older_one_was_offered() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"))
    assert desk.ready("ada", incarnation=2) == [("ada", "t1")]
    assert desk.refused("ada", "t1") == []
    assert desk.ready("ada", incarnation=1) == []


def test_a_taken_task_is_not_offered_again_although_its_lane_has_not_said_so_yet() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"))
    desk.taken("ada", "t1")
    assert desk.ready("bob") == []
    desk.delta("normal", gone=("t1",))
    assert desk.delta("normal", desk.head("t1")) == [("bob", "t1")]


def test_a_task_that_came_back_before_its_offer_was_answered_is_kept() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"))
    desk.delta("normal", gone=("t1",))
    desk.delta("normal", desk.head("t1"))
    desk.ready("bob")
    assert desk.taken("ada", "t1") == [("bob", "t1")]


def test_an_offer_nobody_answers_is_given_up_after_a_whole_interval() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"))
    desk.ready("bob")
    assert desk.hear(desk.core.sweep()) == []
    assert desk.hear(desk.core.sweep()) == [("bob", "t1")]
    assert [lost.agent_id for lost in desk.core.given_up] == ["ada"]


def test_a_task_in_two_windows_while_it_moves_is_offered_once() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.ready("bob")
    head = desk.head("t1")
    assert desk.window("low", head) == [("ada", "t1")]
    assert desk.window("urgent", head) == []
    desk.delta("low", gone=("t1",))
    assert desk.refused("ada", "t1", "low") == [("bob", "t1")]
    assert desk.said[-1][1].lane == "urgent"


# --- exclusions ---


def test_an_excluded_agent_is_passed_over_and_takes_the_next_task() -> None:
    desk = Desk()
    desk.ready("ada")
    heads = desk.head("t1", 5, "ada"), desk.head("t2", 1)
    assert desk.window("normal", *heads) == [("ada", "t2")]
    assert desk.ready("bob") == [("bob", "t1")]


def test_a_task_that_all_fitting_online_agents_are_excluded_from_is_parked_once() -> None:
    desk = Desk()
    desk.ready("ada", "x")
    desk.ready("misfit", "y")
    desk.window("normal", desk.head("t1", 5, "ada"), needs="x")
    desk.refused("ada", "t1")
    desk.window("high", needs="x")
    assert desk.parked() == [("lane.normal", "t1")]
    assert desk.said[-1][1].reason == "excluded: ada; no other online agent fits"


def test_a_task_is_parked_when_the_last_agent_that_might_have_it_goes() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.on(AgentPresent("bob", 1, ()))
    desk.window("normal", desk.head("t1", 5, "ada"))
    desk.hear(desk.core.flush())
    assert desk.parked() == []
    desk.on(AgentGone("bob", 1))
    desk.hear(desk.core.flush())
    assert desk.parked() == [("lane.normal", "t1")]


def test_more_heads_are_asked_for_once_when_an_agent_may_take_none_of_a_window() -> None:
    desk = Desk()
    desk.on(AgentPresent("bob", 1, ()))
    desk.window("normal", desk.head("t1", 5, "ada"), desk.head("t2", 4, "ada", "cyd"), more=True)
    assert desk.ready("ada") == []
    assert desk.ready("ada") == []
    assert desk.asked() == [("lane.normal", bucket())]
    assert desk.delta("normal", desk.head("t3")) == [("ada", "t3")]


def test_a_change_of_an_unknown_window_asks_for_all_of_it() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.delta("normal", desk.head("t1"))
    desk.delta("normal", desk.head("t2"))
    assert desk.asked() == [("lane.normal", bucket())]
    assert desk.window("normal", desk.head("t1"), desk.head("t2")) == [("ada", "t1")]


def test_the_longest_empty_windows_are_let_go() -> None:
    desk = Desk(max_empty=2)
    for needs in ("x", "y", "z"):
        desk.window("normal", needs=needs)
    desk.delta("normal", desk.head("t1"), needs="x")
    desk.delta("normal", desk.head("t2"), needs="y")
    assert desk.asked() == [("lane.normal", bucket("x"))]
    assert desk.ready("ada", "xy") == [("ada", "t2")]


# --- lanes up and down ---


def workers(desk: Desk) -> list[tuple[str, Workers]]:
    return [(to, message) for to, message in desk.said if isinstance(message, Workers)]


def test_a_lane_that_comes_up_is_told_who_is_online_and_its_old_windows_are_dropped() -> None:
    desk = Desk()
    desk.window("normal", desk.head("t1"))
    desk.hear(desk.core.lane_up("normal"))
    assert desk.ready("ada") == []
    assert [to for to, _ in workers(desk)] == ["lane.normal"]
    assert desk.window("normal", desk.head("t1")) == [("ada", "t1")]


def test_an_unchanged_version_tells_a_lane_that_it_is_asked_anew() -> None:
    desk = Desk()
    desk.hear(desk.core.lane_up("low"))
    desk.hear(desk.core.lane_up("low"))
    assert [message.version for _, message in workers(desk)] == [1, 1]


def test_many_agents_that_come_at_once_are_told_once() -> None:
    desk = Desk()
    desk.hear(desk.core.lane_up("low"))
    for name in ("ada", "bob", "cyd"):
        desk.ready(name, "xy" if name == "cyd" else "x")
    desk.hear(desk.core.flush())
    desk.hear(desk.core.flush())
    told = workers(desk)
    assert [message.version for _, message in told] == [1, 2]
    classes = {"".join(sorted(of.capabilities)): sorted(of.agents) for of in told[-1][1].classes}
    assert classes == {"x": ["ada", "bob"], "xy": ["cyd"]}


def test_a_lane_that_goes_down_takes_its_tasks_and_offers_along() -> None:
    desk = Desk()
    desk.ready("ada")
    desk.window("normal", desk.head("t1"), desk.head("t2"))
    desk.hear(desk.core.lane_down("normal"))
    assert desk.ready("ada") == []
    assert desk.window("normal", desk.head("t1")) == [("ada", "t1")]


def test_what_is_not_for_the_scheduler_changes_nothing() -> None:
    core = Scheduler()
    assert core.on(MoreHeads(bucket()), 0) == []
    assert core.on(WindowDelta("low", bucket(), ("t1",), ()), 0) == []
    assert core.on(Window("low", bucket(), (), (), False), 0) == []
    assert not core.needs_flush
