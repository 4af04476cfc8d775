"""What HTTP reads show is what the rows say, whatever the filter and the size of the page."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.protocol.errors import Refused
from agentcom.protocol.index import MARK, ops_of_new
from agentcom.protocol.ops import Op, Put
from agentcom.protocol.rows import HELD, LANES, PHASES, Event, Result, TaskBody, TaskState
from agentcom.protocol.views import TaskQuery
from agentcom.store import MemoryStore, queries
from agentcom.store.messages import Commit, Open

SUBMITTERS, HOLDERS = ("ann", "bob"), ("ada", "eve")
TASKS = st.lists(
    st.tuples(
        st.sampled_from(LANES), st.sampled_from(PHASES), st.sampled_from(SUBMITTERS), st.sampled_from(HOLDERS)
    ),
    max_size=12,
)
QUERIES = st.builds(
    TaskQuery,
    status=st.none() | st.sampled_from(PHASES),
    priority=st.none() | st.sampled_from(LANES),
    assigned_to=st.sampled_from(("", *HOLDERS)),
    submitter=st.sampled_from(("", *SUBMITTERS)),
    limit=st.none() | st.integers(1, 4),
)


def a_task(n: int, lane: Any, phase: Any, submitter: str, holder: str) -> TaskState:
    held = holder if phase in HELD else ""
    return TaskState(f"t-{n:02}", lane, phase, n, "0" * 16, n, n, submitter, holder=held, generation=1)


def ops_of(task: TaskState) -> list[Op]:
    return [
        *ops_of_new(task),
        Put("body", (task.id,), TaskBody(f"do {task.id}")),
        Put("by_submitter", (task.submitter, task.id), MARK),
    ]


def store_with(*ops: Op) -> MemoryStore:
    store = MemoryStore()
    [opened] = store.commit(Open("lane.normal"))
    store.commit(Commit("lane.normal", opened.incarnation, 1, "test", ops))
    return store


def pages(store: MemoryStore, query: TaskQuery) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        page = queries.answer(
            store.reader,
            "task.list",
            TaskQuery(
                status=query.status,
                priority=query.priority,
                assigned_to=query.assigned_to,
                submitter=query.submitter,
                limit=query.limit,
                cursor=cursor,
            ),
            "",
        )
        found.append([task.id for task in page.tasks])
        if not page.next_cursor:
            return found
        cursor = page.next_cursor


@given(given_tasks=TASKS, query=QUERIES)
def test_pages_hold_each_fitting_task_once_and_none_is_over_its_limit(given_tasks, query):
    tasks = [a_task(n, *fields) for n, fields in enumerate(given_tasks)]
    fitting = {
        task.id
        for task in tasks
        if query.status in (None, task.phase)
        and query.priority in (None, task.lane)
        and query.assigned_to in ("", task.holder)
        and query.submitter in ("", task.submitter)
    }
    found = pages(store_with(*(op for task in tasks for op in ops_of(task))), query)
    listed = [task_id for page in found for task_id in page]
    assert sorted(listed) == sorted(fitting)
    assert all(len(page) <= (query.limit or 10_000) for page in found)


@given(given_tasks=TASKS)
def test_statistics_count_every_task(given_tasks):
    tasks = [a_task(n, *fields) for n, fields in enumerate(given_tasks)]
    stats = queries.answer(
        store_with(*(op for t in tasks for op in ops_of(t))).reader, "task.stats", None, ""
    )
    assert stats.by_status == {phase: sum(t.phase == phase for t in tasks) for phase in PHASES}


def test_a_task_shows_its_outcome_its_evidence_and_its_history_newest_first():
    task = a_task(1, "high", "completed", "ann", "")
    store = store_with(
        *ops_of(task),
        Put("history", (task.id, 0), Event(1, "submitted", "queued", 0)),
        Put("history", (task.id, 1), Event(2, "completed", "completed", 1, "ada")),
        Put(
            "result", (task.id, 1, 0), Result(2, "ada", 1, "complete", accepted=True, content={"branch": "b"})
        ),
        Put("result", (task.id, 1, 1), Result(3, "eve", 1, "complete", accepted=False, why="stale")),
    )
    view = queries.answer(store.reader, "task.get", None, task.id)
    assert [line.event for line in view.history] == ["completed", "submitted"]
    assert view.result == {"branch": "b"}
    assert [(e.agent_id, e.why) for e in view.evidence] == [("eve", "stale")]
    assert queries.answer(store.reader, "task.get", None, "t-99") is None


@pytest.mark.parametrize("cursor", ["x", "AAAA", "bnVsbA", "WzAsIiJd", "Wy0xLCJhIl0"])
def test_a_cursor_that_is_not_ours_is_refused(cursor):
    with pytest.raises(Refused) as refused:
        queries.answer(store_with().reader, "task.list", TaskQuery(cursor=cursor), "")
    assert refused.value.path == "cursor"
