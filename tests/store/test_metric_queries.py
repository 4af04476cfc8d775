"""Figures of the rows: counted by lane and phase, and how long the oldest has waited."""

from typing import Any

import pytest

from agentcom.protocol import rows
from agentcom.protocol.metrics import Family, Known
from agentcom.protocol.ops import Add, Put
from agentcom.store import queries
from tests.store.helpers import Store, Writer, task

NOW_MS = 1_000_000


def figures(store: Store, **known: Any) -> dict[str, Family]:
    given = Known(NOW_MS, 0, {"1": 0, "2": 0}, 0, {})._replace(**known)
    return {family.name: family for family in queries.answer(store.reader, "metrics.text", given, "")}


def ages(store: Store) -> dict[str, float]:
    found = figures(store)["oldest_queued_age_seconds"]
    return {labels[0][1]: age for labels, age in found.samples.items()}


def ready(lane: str, target: str, signature: str, order_ms: int) -> Put:
    return Put("ready", (lane, target, signature, order_ms * 1000, f"t-{order_ms}"), rows.Ready())


def test_how_far_the_copies_are_behind_is_told_once_it_is_known(store):
    names = {"archive_lag_entries", "archive_lag_seconds", "snapshot_age_seconds"}
    assert not names & set(figures(store, parts={"archive": {"lag": None, "lag_s": None}}))
    parts = {"archive": {"lag": 3, "lag_s": 0.5}, "snapshots": {"age_s": 60}}
    found = figures(store, parts=parts)
    assert [found[name].samples[()] for name in sorted(names)] == [3, 0.5, 60]


def test_an_empty_lane_has_waited_for_nothing(store):
    assert set(ages(store).values()) == {0}


def test_the_oldest_of_all_groups_of_a_lane_counts(store, lane):
    lane.commit(
        ready("normal", "", "a", NOW_MS - 3_000),
        ready("normal", "", "a", NOW_MS - 2_000),
        ready("normal", "ada", "b", NOW_MS - 9_500),
    )
    assert ages(store) == {"urgent": 0, "high": 0, "normal": 9.5, "low": 0}


def test_a_task_that_nobody_can_take_counts_too(store, lane):
    lane.commit(
        Put("task", ("t-1",), task("t-1", order=(NOW_MS - 60_000) * 1000)),
        Put("waiting", ("normal", "t-1"), rows.Mark()),
        ready("normal", "", "a", NOW_MS - 3_000),
    )
    assert ages(store)["normal"] == 60


def test_a_clock_that_was_set_back_makes_no_age_negative(store, lane):
    lane.commit(ready("normal", "", "a", NOW_MS + 5_000))
    assert ages(store)["normal"] == 0


def test_tasks_are_counted_by_lane_and_phase_the_held_ones_together(store, lane):
    lane.commit(
        Add("counter", ("tasks", "low", "assigned"), 2), Add("counter", ("tasks", "low", "queued"), 1)
    )
    found = {labels: n for labels, n in figures(store)["tasks"].samples.items() if n}
    assert found == {
        (("lane", "low"), ("phase", "held")): 2,
        (("lane", "low"), ("phase", "queued")): 1,
    }


@pytest.mark.parametrize("name", ["store_commits_total", "store_full"])
def test_of_a_store_that_has_not_said_anything_nothing_is_told(store, name):
    assert name not in figures(store)


def test_what_agents_did_is_added_up(store):
    Writer(store, "agent.ada").commit(
        Add("counter", ("agent", "ada", "completed"), 2),
        Add("counter", ("agent", "bob", "completed"), 3),
        Add("counter", ("agent", "bob", "tokens"), 70),
    )
    found = figures(store)
    assert found["reports_total"].samples[(("outcome", "completed"),)] == 5
    assert found["model_tokens_total"].samples == {(): 70}
