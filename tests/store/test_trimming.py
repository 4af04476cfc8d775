"""The journal is trimmed from its old end, a little at a time, and never of its newest entry."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from agentcom.protocol.ops import Put
from agentcom.runtime import DaemonExecutor
from agentcom.store.disk import Disk, Settings
from agentcom.store.env import opened
from agentcom.store.messages import Trimmed
from agentcom.store.shipping import Report, alerts, facts, pause_s, trimmable
from agentcom.store.trimming import trim
from tests.store.helpers import LmdbStore, Writer, task
from tests.store.test_contract import no_room


@pytest.fixture
def store(tmp_path):
    made = LmdbStore(tmp_path / "data")
    writer = Writer(made)
    made.commit(*[writer.asks(Put("task", ("t",), task("t", order=n))) for n in range(10)])
    yield made
    made.close()


def seqs(store):
    return [key[0] for key, _ in store.reader.scan("journal")]


def test_the_oldest_entries_go_a_limited_number_at_a_time(store):
    assert trim(store.env, 6, 4) == Trimmed(upto=4, left=2, gone=4)
    assert trim(store.env, 6, 4) == Trimmed(upto=6, left=0, gone=2)
    assert trim(store.env, 6, 4) == Trimmed(upto=6, left=0, gone=0)
    assert seqs(store) == [7, 8, 9, 10]


@pytest.mark.parametrize("upto", [10, 11, 2**63])
def test_the_newest_entry_stays_so_that_no_seq_is_minted_twice(store, upto):
    assert trim(store.env, upto, 100) == Trimmed(upto=9, left=0, gone=9)
    store.reopen()
    assert Writer(store).commit(Put("task", ("t",), task("t"))).seq == 11


@pytest.mark.parametrize(("upto", "limit"), [(0, 10), (-5, 10), (5, 0), (5, -1)])
def test_a_trim_of_nothing_changes_nothing(store, upto, limit):
    assert trim(store.env, upto, limit).gone == 0
    assert seqs(store) == list(range(1, 11))


def test_a_store_without_a_journal_has_nothing_to_trim(tmp_path):
    empty = LmdbStore(tmp_path / "empty")
    assert trim(empty.env, 5, 5) == Trimmed(0, 0, 0)
    empty.close()


def test_no_room_to_delete_is_an_answer_and_nothing_is_gone(tmp_path):
    disk = Disk(Settings(str(tmp_path)), DaemonExecutor(limit=1))
    disk.open()
    env = opened(tmp_path)
    filled = LmdbStore.__new__(LmdbStore)
    filled.env, filled.engine = env, disk._engine
    writer = Writer(filled)
    filled.commit(*[writer.asks(Put("task", ("t",), task("t", order=n))) for n in range(3)])
    with no_room(filled):
        assert disk.trim(2, 10).problem.startswith("no room to write")
    assert disk.trim(2, 10) == Trimmed(2, 0, 2)
    disk.finish()


TIMES = st.lists(st.integers(0, 100), min_size=0, max_size=20).map(sorted)


@given(TIMES, st.integers(1, 5), st.integers(0, 30), st.integers(0, 30), st.integers(0, 100))
def test_only_what_is_archived_and_in_a_snapshot_and_old_may_be_trimmed(
    times, oldest, archived, snapshot, now
):
    entries = dict(enumerate(times, oldest))

    def time_of(seq):
        return min((ms for at, ms in entries.items() if at >= seq), default=None)

    found = trimmable(archived, snapshot, oldest, time_of, now * 1000, 10.0)
    assert found == trimmable(snapshot, archived, oldest, time_of, now * 1000, 10.0)
    may = [seq for seq, ms in entries.items() if seq <= min(archived, snapshot) and ms <= (now - 10) * 1000]
    assert found == max(may, default=oldest - 1)


def report(**fields):
    return Report(**{"folder": "/a", "newest": 9, "archived": 9, "lag": 0, "age_s": 0.0, **fields})


def test_an_archive_that_is_up_to_date_is_no_alert():
    assert alerts(report(lag=3, age_s=59.0), 60.0) == ()


def test_an_old_unshipped_entry_a_problem_and_a_silent_disk_are_alerts():
    assert "is 61 s behind (3 entries)" in alerts(report(lag=3, age_s=61.0), 60.0)[0]
    assert alerts(report(problem="it is gone"), 60.0) == ("the journal is not being archived: it is gone",)
    assert "has not answered for 61 s" in alerts(report(), 60.0, 61.0)[0]


def test_what_cannot_be_reached_promises_nothing():
    assert report().promised == 9
    assert report(problem="it is gone").promised == 0
    assert report(archived=None).promised == 0


def test_it_waits_longer_after_each_failure_but_never_long_and_not_at_all_with_more_to_ship():
    assert pause_s(report(), 0, 1.0) == 1.0
    assert pause_s(report(has_more=True), 0, 1.0) == 0.0
    assert [pause_s(report(problem="x"), n, 1.0) for n in (1, 2, 3, 99)] == [2.0, 4.0, 8.0, 10.0]
    assert pause_s(report(problem="x"), 9, 60.0) == 60.0


def test_health_shows_how_far_it_is_and_what_was_noted_last():
    assert facts(report())["lag"] == 0
    assert "problem" not in facts(report())
    assert facts(report(problem="x"), [str(n) for n in range(9)])["noted"] == ["4", "5", "6", "7", "8"]
