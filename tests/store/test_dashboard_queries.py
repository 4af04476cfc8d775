"""What a dashboard is told of the journal."""

import pytest

from agentcom.protocol import rows
from agentcom.protocol.dashboard import MOST_EVENTS, EventsQuery
from agentcom.protocol.ops import Put
from agentcom.store import queries
from tests.store.helpers import Store, Writer


def told(store: Store, after: int):
    return queries.answer(store.reader, "dashboard.events", EventsQuery(after=after), "")


def line(n: int) -> Put:
    return Put("history", (f"t-{n}", 0), rows.Event(n, "submitted", "queued", 0))


@pytest.mark.parametrize(("count", "gap"), [(3, False), (MOST_EVENTS, False), (MOST_EVENTS + 1, True)])
def test_one_commit_of_many_tasks_is_told_up_to_the_bound_and_beyond_it_there_is_a_gap(
    store: Store, lane: Writer, count: int, gap: bool
) -> None:
    before = told(store, 0).seq
    lane.commit(*(line(n) for n in range(count)))
    found = told(store, before)
    assert (found.gap, found.seq, len(found.events)) == (gap, before + 1, min(count, MOST_EVENTS))
    assert found.events[-1].task_id == f"t-{count - 1}"


@pytest.mark.parametrize("behind", [-1, 1])
def test_who_is_at_no_place_that_can_be_told_from_is_told_of_a_gap(
    store: Store, lane: Writer, behind: int
) -> None:
    for n in range(501):
        lane.commit(line(n))
    head = told(store, 0).seq
    after = head + 1 if behind < 0 else head - 501
    assert (told(store, after).gap, told(store, after).events) == (True, [])
