"""What the store says of itself: figures, and sentences that say what to do."""

import re

import pytest

from agentcom.store import telling
from agentcom.store.desk import Desk
from agentcom.store.disk import Done, Figures, Space
from agentcom.store.messages import Committed, StoreStatus
from agentcom.store.preparing import Prepared

MIB = 1 << 20
SPACES = {
    r"disk is full: new work is refused, .* make at least 32 MiB of room": Space(room=0, needed=32 * MIB),
    r"the ballast was given up for deletes": Space(room=60 * MIB, needed=192 * MIB, given_up=True),
    r"has reached store.max_bytes .* raise the setting": Space(room=31 * MIB, needed=32 * MIB, of_limit=True),
}


@pytest.mark.parametrize("sentence", SPACES)
def test_a_full_store_says_what_fills_it_and_what_to_do(sentence):
    [said] = telling.alerts(StoreStatus(full=True), SPACES[sentence])
    assert telling.full(SPACES[sentence]) == said
    assert re.search(sentence, said)


def test_a_store_that_is_well_has_no_alert():
    assert list(telling.alerts(StoreStatus(), Space())) == []


def test_interval_sync_and_a_ballast_that_cannot_be_made_are_alerts():
    said = list(telling.alerts(StoreStatus(sync=False), Space(problem="[Errno 30] Read-only file system")))
    assert "may lose the last second of acknowledged work" in said[0]
    assert "Read-only file system" in said[1]


def test_the_report_has_percentiles_of_the_last_batches():
    desk = Desk(max_queue=10, sync=True)
    assert desk.report().commit_p99_ms == 0
    for n in range(1, 101):
        for _ in range(n % 2 + 1):
            desk.add("address", Prepared("lane.low", 1, n, "e"))
        items = desk.take()
        desk.settle(Done(tuple(Committed(n, n) for _ in items), Figures(False, float(n))))
    report = desk.report()
    assert (report.commit_p50_ms, report.commit_p99_ms) == (50, 99)
    assert (report.batch_p50, report.batch_p99) == (1, 2)
    assert desk.figures().commit_p99_ms == 0


def test_the_flags_are_another_object_only_when_one_has_changed():
    desk = Desk(max_queue=10, sync=True)
    before = desk.flags
    desk.kept(Figures(False, space=Space(file=1)))
    assert desk.flags is before
    desk.kept(Figures(True, space=Space(file=2)))
    assert desk.flags.full
    assert desk.said()[0]["file_bytes"] == 2
