"""A token budget is for the whole task: it ends the work that overspends it, and nobody is given the work again."""

from typing import Any

import pytest
from fleet import Fleet
from world import SeededEntropy, new

from agentcom.core import tasks
from agentcom.core.assignments import assign_frame
from agentcom.core.messages import Submit
from agentcom.core.policy import Policy
from agentcom.core.reports import Context, judge
from agentcom.core.signature import needs
from agentcom.protocol import frames
from agentcom.protocol.frames import TaskAck, TaskComplete, TaskFail, TaskProgress
from agentcom.protocol.rows import TaskBody, TaskState

POLICY = Policy()
TASK = "task-000001"


def working(budget: int = 100) -> TaskState:
    state, _ = tasks.create(new(token_budget=budget), needs(()), TASK, 1, "op", 1_000, POLICY)
    return again(state)


def again(task: TaskState) -> TaskState:
    """In work under its next generation."""
    if task.phase == "scheduled":
        task = tasks.due(task, 2, 2_000).state
    return tasks.accept(tasks.assign(task, "ada", 2_000).state, 2_000).state


def said(task: TaskState, kind: Any, **fields: Any) -> tuple[str, TaskState]:
    """How the report is answered, and the task after it."""
    report = kind(task_id=TASK, generation=task.generation, **fields)
    judged = judge(task, report, Context("ada", 3_000, 7, POLICY, SeededEntropy()))
    assert isinstance(judged.frame, TaskAck)
    assert judged.state
    return judged.frame.status, judged.state


def test_a_failure_that_spent_the_budget_is_not_tried_again():
    status, task = said(working(), TaskFail, reason="no luck", tokens_used=500)
    assert (status, task.phase, task.tokens_used) == ("dead_letter", "dead_letter", 500)
    assert "budget" in task.reason
    assert "no luck" in task.reason


def test_attempts_spend_one_budget():
    status, task = said(working(), TaskFail, tokens_used=60)
    assert (status, task.tokens_used) == ("retrying", 60)
    status, task = said(again(task), TaskProgress, tokens_used=30)
    assert (status, task.tokens_used) == ("working", 90)
    status, task = said(task, TaskProgress, tokens_used=40)
    assert (status, task.phase, task.tokens_used) == ("dead_letter", "dead_letter", 100)
    assert task.last_end == "budget"


def test_of_one_attempt_the_highest_figure_counts():
    task = working()
    for figure, used in ((30, 30), (20, 30), (50, 50), (50, 50)):
        _, task = said(task, TaskProgress, tokens_used=figure)
        assert task.tokens_used == used
    status, task = said(task, TaskFail, tokens_used=0)
    assert (status, task.tokens_used) == ("retrying", 50)


def test_who_completes_beyond_the_budget_has_completed():
    status, task = said(working(), TaskComplete, tokens_used=150)
    assert (status, task.tokens_used) == ("completed", 150)


def test_without_a_budget_nothing_is_too_much():
    status, _ = said(working(budget=0), TaskFail, tokens_used=10**9)
    assert status == "retrying"


def test_an_operator_who_retries_gives_the_whole_budget_anew():
    _, task = said(working(), TaskFail, tokens_used=500)
    task = again(tasks.retry(task, "op", "", 9, 4_000).state)
    status, task = said(task, TaskProgress, tokens_used=90)
    assert (status, task.tokens_used) == ("working", 90)


def test_the_next_attempt_is_told_what_is_left():
    _, task = said(working(), TaskFail, tokens_used=60)
    frame = assign_frame(again(task), TaskBody("x"), {}, POLICY)  # type: ignore[arg-type]
    assert frame.token_budget == 40


# --- through lane and agent ------------------------------------------------------------------------


def at_work(**fields: Any) -> Fleet:
    fleet = Fleet({"ada": ()}, ("one",))
    fleet.settle()
    items = (new(token_budget=100, **fields), new())
    fleet.ask("normal", Submit(reply_to="edge", request=1, submitter="op", items=items))
    fleet.sidecars[0].connect()
    fleet.settle()
    fleet.sidecars[0].decide()
    fleet.settle()
    fleet.commits.clear()
    return fleet


def row(fleet: Fleet, task_id: str = TASK) -> TaskState:
    found: TaskState = fleet.store.reader.get("task", (task_id,))
    return found


def progress(fleet: Fleet, tokens: int) -> None:
    [sidecar] = fleet.sidecars
    sidecar.state.progress(TaskProgress(task_id=TASK, generation=1, tokens_used=tokens))
    sidecar.flush()
    fleet.settle()


def beat(fleet: Fleet, tokens: int) -> None:
    """A heartbeat that tells what was used so far."""
    [sidecar] = fleet.sidecars
    listed = sidecar.state.listed(lambda _: True)
    sidecar._say(frames.Heartbeat(tasks=listed, tokens_used=tokens))
    fleet.settle()


def overspent(fleet: Fleet) -> None:
    """Stopped, given up, and nothing new for its agent until the Mind has ended."""
    [sidecar] = fleet.sidecars
    assert (row(fleet).phase, row(fleet).last_end) == ("dead_letter", "budget")
    assert [(stop.kind, stop.reason) for stop in sidecar.stops] == [("cancel", "budget")]
    assert fleet.agent("ada").core.state(fleet.clock.now()) == "stopping"
    assert row(fleet, "task-000002").phase == "queued"
    sidecar.obey()
    fleet.settle()
    assert row(fleet, "task-000002").phase == "assigned"


def test_a_spent_budget_stops_the_mind_before_its_agent_gets_more_work():
    fleet = at_work()
    progress(fleet, 150)
    overspent(fleet)


def test_a_heartbeat_that_tells_of_a_spent_budget_stops_the_mind():
    fleet = at_work()
    beat(fleet, 150)
    assert row(fleet).tokens_used == 150
    overspent(fleet)


def test_a_heartbeat_within_the_budget_writes_nothing():
    fleet = at_work()
    beat(fleet, 99)
    assert fleet.commits == []


@pytest.mark.parametrize("lanes", ["stay", "start again"])
def test_what_heartbeats_told_counts_when_the_attempt_ends(lanes):
    fleet = at_work()
    beat(fleet, 60)
    if lanes == "start again":
        fleet.parts["lane.normal"].crash()
        fleet.parts["lane.normal"].start()
        fleet.settle()
        beat(fleet, 60)
    fleet.sidecars[0].mind("fail")
    fleet.settle()
    assert row(fleet).tokens_used == 60


def test_what_heartbeats_told_counts_when_the_task_is_lost():
    fleet = at_work()
    beat(fleet, 60)
    fleet.sidecars[0].drop()
    fleet.run(70.0, flowing=True)
    assert (row(fleet).last_end, row(fleet).tokens_used) == ("loss", 60)


def test_a_figure_for_two_tasks_at_once_is_nobodys():
    fleet = at_work()
    [sidecar] = fleet.sidecars
    listed = [*sidecar.state.listed(lambda _: True), frames.HeldTask("task-000002", 1)]
    sidecar._say(frames.Heartbeat(tasks=listed, tokens_used=150))
    fleet.settle()
    assert row(fleet).phase == "working"
