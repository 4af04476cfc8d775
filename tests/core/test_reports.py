"""What a refused report does, and does not do, to its sender."""

from typing import get_args

from world import SeededEntropy, new

from agentcom.core import tasks
from agentcom.core.policy import Policy
from agentcom.core.reports import Context, judge
from agentcom.core.signature import needs
from agentcom.protocol.frames import (
    AckStatus,
    ErrorFrame,
    TaskAccept,
    TaskAck,
    TaskBlock,
    TaskComplete,
    TaskFail,
    TaskProgress,
    TaskReject,
    TaskUnblock,
)

POLICY = Policy()


def assigned():
    state, _ = tasks.create(new(), needs(()), "task-1", 1, "op", 1_000, POLICY)
    return tasks.assign(state, "ada", 2_000).state


def said(report, task, agent="ada"):
    return judge(task, report, Context(agent, 3_000, 7, POLICY, SeededEntropy()))


def test_a_report_that_crosses_a_cancel_is_refused_and_frees_nobody():
    """The agent is busy until its sidecar stopped: only absence or `task_stopped` proves that."""
    cancelled = tasks.cancel(assigned(), "op", "", 2_500).state
    judged = said(TaskProgress(task_id="task-1", generation=1), cancelled)
    assert isinstance(judged.frame, ErrorFrame)
    assert judged.frame.code == "invalid_state"
    assert not judged.released


def test_a_result_that_comes_after_a_cancel_is_kept_as_evidence():
    cancelled = tasks.cancel(assigned(), "op", "", 2_500).state
    judged = said(TaskComplete(task_id="task-1", generation=1), cancelled)
    assert isinstance(judged.frame, ErrorFrame)
    assert [op.table for op in judged.ops] == ["result"]
    assert not judged.ops[0].row.accepted


def test_a_report_is_answered_by_one_of_the_named_statuses_and_each_of_them_has_its_report():
    key = {"task_id": "task-1", "generation": 1}
    working = tasks.accept(assigned(), 2_100).state
    blocked = tasks.block(working, "which?", 2_200).state
    frames = [
        said(report, task).frame
        for task, report in (
            (assigned(), TaskAccept(**key)),
            (blocked, TaskUnblock(**key)),
            (blocked, TaskProgress(**key)),
            (working, TaskBlock(**key, question="which?")),
            (working, TaskComplete(**key)),
            (working, TaskFail(**key)),
            (working, TaskFail(**key, retryable=False)),
            (working, TaskReject(**key)),
        )
    ]
    statuses = {frame.status for frame in frames if isinstance(frame, TaskAck)}
    stopped = {"stopped"}  # the agent's own answer: no task is looked at
    assert statuses | stopped == set(get_args(AckStatus))
