"""When a snapshot is due, and what operators are told of how the snapshots are doing."""

from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from agentcom.store.manifests import SnapshotFile, name_of
from agentcom.store.snapshot_schedule import (
    LONGEST_RETRY_S,
    Known,
    Rules,
    Seen,
    alerts,
    begun,
    due_ms,
    facts,
    failed,
    listed,
    lost,
    next_step,
    saw,
    succeeded,
)
from agentcom.store.snapshotting import Made
from tests.store.test_pruning import manifest

RULES = Rules(every_s=3_600, first_s=60)
START_MS = 1_000_000_000


def known(*places: tuple[int, int, int], **fields: object) -> Known:
    """`places` are epoch, seq, seconds after the start."""
    files = tuple(
        SnapshotFile(Path("/s") / name_of(epoch, seq), manifest(epoch, seq, START_MS + after_s * 1000))
        for epoch, seq, after_s in places
    )
    return msgspec.structs.replace(Known(folder="/s", started_ms=START_MS, files=files), **fields)


def due_s(of: Known, now_s: float) -> float:
    """Seconds after the start."""
    return (due_ms(of, RULES, START_MS + int(now_s * 1000)) - START_MS) / 1000


def test_the_first_of_a_store_or_an_epoch_comes_shortly_after_the_start() -> None:
    assert due_s(known(), 0) == 60
    assert due_s(known((1, 9, -5)), 0) == 3_595
    assert due_s(known((1, 9, -5), epoch=2), 0) == 60


def test_a_restart_does_not_make_another_before_its_time() -> None:
    assert due_s(known((1, 9, -1_000)), 0) == 2_600
    assert due_s(known((1, 9, -9_000)), 0) < 0


def test_a_snapshot_of_the_future_counts_as_made_now() -> None:
    assert due_s(known((1, 9, 1_000_000)), 10) == 3_610


@given(st.integers(1, 40), st.floats(60, 90_000))
def test_a_failed_one_is_tried_again_later_and_later_but_never_much_later(failures: int, at_s: float) -> None:
    of = known(failures=failures, failed_ms=START_MS + int(at_s * 1000), problem="full")
    pause_s = due_s(of, at_s) - at_s
    assert 14.9 <= pause_s <= LONGEST_RETRY_S
    fewer = msgspec.structs.replace(of, failures=max(1, failures - 1))
    assert due_s(fewer, at_s) <= due_s(of, at_s)


def test_a_failure_puts_nothing_off_for_longer_than_a_snapshot_would() -> None:
    often = Rules(every_s=1, first_s=1)
    of = failed(known(), "full", START_MS)
    assert due_ms(of, often, START_MS) == START_MS + 1_000


@pytest.mark.parametrize(
    ("of", "now_s", "told"),
    [
        (known(), 0, ()),
        (known(), 7_300, ("there is no snapshot of this store in /s",)),
        (known((1, 9, 0)), 7_199, ()),
        (known((1, 9, 0)), 7_201, ("the newest snapshot in /s is 7201 s old; one is due every 3600 s",)),
        (known((1, 9, 0), problem="no room"), 10, ("the last snapshot failed: no room",)),
        (known((1, 9, 0), noted="stuck"), 10, ("snapshots in /s: stuck",)),
    ],
)
def test_an_alert_says_what_is_wrong(of: Known, now_s: int, told: tuple[str, ...]) -> None:
    assert alerts(of, RULES, START_MS + now_s * 1000) == told


def test_what_is_promised_is_the_newest_of_this_epoch() -> None:
    assert known().promised == (0, 0)
    assert known((1, 9, 0), (2, 20, 0)).promised == (1, 9)
    assert known((1, 9, 0), (2, 20, 0), epoch=2).promised == (2, 20)


def test_lists_and_facts_agree_on_what_there_is() -> None:
    of = known((1, 9, 0), (1, 12, 100), running=True)
    now_ms = START_MS + 160_000
    assert [each.seq for each in listed(of, RULES, now_ms).snapshots] == [12, 9]
    said = facts(of, RULES, now_ms)
    assert (said["count"], said["bytes"], said["newest"], said["seq"], said["age_s"], said["due_s"]) == (
        2, 2, name_of(1, 12), 12, 60, 3_540
    )  # fmt: skip


LOOKED = known((1, 9, 0), looked=True)


@pytest.mark.parametrize(
    ("of", "now_s", "given", "step"),
    [
        (known(), 0, {}, "look"),  # it has just started
        (LOOKED, 0, {}, "rest"),
        (LOOKED, 3_600, {}, "make"),  # it is due
        (LOOKED, 0, {"wanted": True}, "make"),
        (LOOKED, 0, {"listing": True}, "look"),
        (LOOKED, 0, {"listing": True, "wanted": True}, "look"),  # a look is soon over
        (LOOKED, 3_600, {"busy": True, "listing": True, "wanted": True}, "rest"),
        (begun(LOOKED), 3_600, {"busy": True, "wanted": True}, "rest"),
        (begun(LOOKED), 0, {"busy": True, "listing": True}, "list"),  # of what was seen before
    ],
)
def test_what_is_done_next(of: Known, now_s: int, given: dict[str, bool], step: str) -> None:
    asked = {"busy": False, "wanted": False, "listing": False, **given}
    assert next_step(of, RULES, START_MS + now_s * 1000, **asked) == step


def test_the_folder_is_looked_at_after_each_try_and_after_a_failed_look_only_with_the_next() -> None:
    trying, seen = begun(LOOKED), Seen(2, (), known((2, 20, 0)).files, ())
    made = Made(path="/s/new", manifest=manifest(1, 10, START_MS), seconds=1.0)
    assert (saw(trying, seen).looked, saw(trying, seen).epoch) == (True, 2)
    assert [succeeded(trying, made).looked, failed(trying, "full", START_MS).looked] == [False, False]
    gone = lost(trying, "mount its disk", START_MS)
    assert (gone.looked, gone.promised, gone.running, gone.problem) == (True, (0, 0), False, "mount its disk")


def test_the_list_says_what_each_is_to_the_store() -> None:
    line = ((1, 10),)
    of = known((1, 9, 0), (1, 12, 100), epoch=2, line=line)
    assert [each.standing for each in listed(of, RULES, START_MS).snapshots] == ["left_out", "here"]
