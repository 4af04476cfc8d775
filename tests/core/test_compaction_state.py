"""Compaction's states: what follows in each of them, and that what comes late changes nothing."""

from copy import deepcopy
from typing import get_args

import pytest

from agentcom.core.compaction import JOURNAL, STOPS, Found, RewriteRules
from agentcom.core.compaction_state import SHOWN, WAIT, Copy, Next, Progress, State
from agentcom.core.messages import Archived, Expired, Fault, Snapshotted
from agentcom.protocol.upkeep_views import RewriteView

MB = 1 << 20
RULES = RewriteRules(free_share=0.5, free_bytes=256 * MB)
FULL, LOOSE, CRAMPED = (
    Found(600 * MB, 0, 9_000 * MB),
    Found(600 * MB, 300 * MB, 9_000 * MB),
    Found(600 * MB, 300 * MB, 10 * MB),
)
REWRITE = RewriteView(at=1, bytes_before=2, bytes_after=1, seconds=1.0, pause_ms=1.0)
FAULT = Fault("unavailable", "it is starting again")
RETRY_S = 100.0


def in_state(state: State) -> Progress:
    """By the way that leads there."""
    progress = Progress()
    if state == "telling":
        progress.begin(None)
    elif state != "idle":
        progress.begin("")
        for enough, step in (
            ("expiring", lambda: [progress.skip() for _ in STOPS[:-1]]),
            ("archive", lambda: progress.heard(progress.number, Archived(7))),
            ("snapshots", lambda: progress.heard(progress.number, Snapshotted(1, 5))),
            ("trimming", lambda: progress.skip()),
            ("looking", lambda: progress.looked(LOOSE, RULES, RETRY_S)),
            ("placing", lambda: progress.placed("", "store", "store-1")),
            (
                "copying",
                lambda: progress.copy_failed("killed") if state == "dropping" else progress.copied(3),
            ),
        ):
            if state == enough:
                break
            step()
    assert progress.state == state
    return progress


def until_looking(progress: Progress) -> list[tuple[str, Next]]:
    """A round in which whoever is asked answers at once: whose turn it was, and the step."""
    seen, step = [], progress.begin("")
    while step.step != "look":
        seen.append((progress.at, step))
        match step:
            case Next("ask", "archive"):
                step = progress.heard(progress.number, Archived(7))
            case Next("ask", "snapshots"):
                step = progress.heard(progress.number, Snapshotted(1, 5))
            case Next("ask", name):
                more = [of.to for _, of in seen].count(name) < 2
                step = progress.heard(progress.number, Expired(progress.number, 5, more))
            case Next("trim"):
                step = progress.trimmed(5, 0)
            case Next("pause"):
                step = progress.due("next", progress.number)
    return seen


def test_a_round_asks_each_part_until_it_has_no_more_and_then_the_journal_is_trimmed():
    progress = Progress()
    seen = until_looking(progress)
    turns = [(at, step.to or step.step) for at, step in seen if step.step != "pause"]
    others = [(stop, stop) for stop in STOPS[:-1] for _ in range(2)]
    assert turns == [*others, (JOURNAL, "archive"), (JOURNAL, "snapshots"), (JOURNAL, "trim")]
    assert (progress.archived, progress.snapshot) == (7, 5)
    assert progress.removed == {"tasks": 40, "rows": 10, "entries of the journal": 5}
    assert (progress.state, progress.at) == ("looking", "")


def test_between_two_slices_there_is_a_pause():
    seen = [step.step for _, step in until_looking(Progress())]
    assert seen[:4] == ["ask", "pause", "ask", "pause"]


def test_a_journal_with_more_to_trim_has_archive_and_snapshots_asked_anew():
    progress = in_state("trimming")
    assert progress.trimmed(5, 1) == Next("pause")
    assert progress.due("next", progress.number) == Next("ask", "archive")
    progress = in_state("trimming")
    progress.trimmed(0, 1)  # there was no room to delete
    assert progress.due("next", progress.number) == Next("look")


def test_who_is_silent_is_passed_by_and_told_of_until_the_next_round():
    progress = Progress()
    progress.begin("")
    assert progress.due("late", progress.number) == Next("ask", STOPS[1])
    assert progress.alerts() == (f"{STOPS[0]} did not remove what is old when it was asked to",)
    progress.begin("")
    assert progress.alerts() == ()


@pytest.mark.parametrize(("state", "to"), [("expiring", STOPS[1]), ("archive", ""), ("snapshots", "")])
def test_who_is_down_or_just_restarting_is_passed_by_without_a_word(state, to):
    expected = Next("ask", to) if to else Next("look")
    assert in_state(state).heard(in_state(state).number, FAULT) == expected
    progress = in_state(state)
    assert progress.down("registry") == WAIT
    assert progress.down(progress.at) == expected
    assert progress.silent == ()


def test_what_may_not_be_removed_now_is_passed_by_and_the_file_is_looked_at():
    progress = Progress()
    assert progress.begin("the clock leapt") == Next("look")
    assert progress.alerts() == ("the clock leapt",)
    assert progress.looked(LOOSE, RULES, 0.0) == Next("place")


@pytest.mark.parametrize(
    ("found", "asked", "now_s", "step"),
    [
        (LOOSE, 0, RETRY_S, "place"),
        (LOOSE, 0, RETRY_S - 1, "rest"),  # it failed not long ago
        (FULL, 1, RETRY_S - 1, "place"),  # an operator knows better
        (FULL, 0, RETRY_S, "rest"),
        (CRAMPED, 0, RETRY_S, "fail"),
    ],
)
def test_what_follows_from_a_look_at_the_file(found, asked, now_s, step):
    progress = in_state("looking")
    progress.not_before_s, progress.asked = RETRY_S, asked
    then = progress.looked(found, RULES, now_s)
    assert (then.step, bool(then.why)) == (step, step == "fail")
    assert progress.found == found


def test_a_look_outside_of_a_round_only_tells_and_who_wants_a_rewrite_gets_it_then():
    progress = in_state("telling")
    assert progress.want() == WAIT
    assert progress.looked(LOOSE, RULES, RETRY_S) == Next("rest")
    assert progress.rested() == Next("begin")


def test_a_rewrite_goes_from_folder_to_copy_to_switch_and_ends_with_a_look():
    progress = in_state("placing")
    assert progress.begun_s == RETRY_S
    assert progress.placed("", "store", "store-1") == Next("copy")
    assert progress.copied(3) == Next("switch")
    assert progress.copy == Copy("store", "store-1", 3)
    assert progress.switched("", REWRITE) == Next("rewritten")
    assert (progress.last, progress.state) == (REWRITE, "telling")
    assert progress.looked(LOOSE, RULES, RETRY_S) == Next("rest")
    assert progress.rested() == Next("sleep")


def test_a_copy_that_failed_is_dropped_before_the_rewrite_fails():
    progress = in_state("copying")
    assert progress.copy_failed("killed") == Next("drop")
    assert progress.dropped() == Next("fail", why="killed")


def test_a_store_that_gives_no_folder_or_does_not_switch_fails_the_rewrite():
    assert in_state("placing").placed("full", "", "") == Next("fail", why="full")
    assert in_state("switching").switched("late", REWRITE) == Next("fail", why="late")


def test_a_failed_rewrite_is_an_alert_until_one_succeeds():
    progress = in_state("placing")
    progress.asked = 1
    assert progress.failed("the disk is full", RETRY_S + 1) == Next("rest")
    assert (progress.is_wanted, progress.failures, progress.not_before_s) == (False, 1, RETRY_S + 1)
    assert progress.alerts() == ("the store's file could not be rewritten: the disk is full",)
    progress.state = "switching"
    progress.switched("", REWRITE)
    assert (progress.alerts(), progress.failures) == ((), 0)


def test_a_rewrite_that_is_wanted_twice_is_made_once():
    progress = Progress()
    assert progress.want() == Next("begin")
    progress.begin("")
    assert progress.want() == WAIT
    assert progress.asked == 1


def test_a_round_begins_when_it_is_time_and_only_when_none_is_under_way():
    progress = Progress()
    assert progress.due("round", 0) == Next("begin")
    assert in_state("expiring").due("round", in_state("expiring").number) == WAIT


@pytest.mark.parametrize("state", get_args(State))
def test_when_the_store_is_closed_there_is_no_more_to_do_in_any_state(state):
    progress = in_state(state)
    assert progress.closed() == Next("rest")
    assert (progress.state, progress.at) == ("idle", "")


LATE = {
    "expired": (
        lambda of: of.heard(of.number, Expired(of.number, 5, False)),
        {"expiring", "archive", "snapshots"},
    ),
    "archived": (lambda of: of.heard(of.number, Archived(7)), {"expiring", "archive", "snapshots"}),
    "snapshotted": (lambda of: of.heard(of.number, Snapshotted(1, 5)), {"expiring", "archive", "snapshots"}),
    "restarting": (lambda of: of.heard(of.number, FAULT), {"expiring", "archive", "snapshots"}),
    "answer to another": (lambda of: of.heard(of.number - 1, Expired(of.number - 1, 5, False)), set()),
    "trimmed": (lambda of: of.trimmed(5, 0), {"trimming"}),
    "placed": (lambda of: of.placed("", "store", "store-1"), {"placing"}),
    "switched": (lambda of: of.switched("", REWRITE), {"switching"}),
    "time of another": (lambda of: of.due("late", of.number - 1), set()),
    "skipped": (lambda of: of.skip(), {"expiring", "archive", "snapshots", "trimming"}),
    "round": (lambda of: of.due("round", of.number), {"idle"}),
}


@pytest.mark.parametrize("event", LATE)
@pytest.mark.parametrize("state", get_args(State))
def test_what_a_state_does_not_wait_for_changes_nothing(state, event):
    happens, awaited_in = LATE[event]
    progress = in_state(state)
    before = deepcopy(progress)
    step = happens(progress)
    assert (step == WAIT and progress == before) == (state not in awaited_in)


def test_operators_see_of_each_state_what_it_is_good_for():
    assert set(SHOWN) == set(get_args(State))
    assert [in_state(state).view().state for state in ("telling", "archive", "looking", "dropping")] == [
        "idle", "removing what is old", "looking at the file", "rewriting",
    ]  # fmt: skip
