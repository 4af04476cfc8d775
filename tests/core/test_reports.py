"""What a refused report does, and does not do, to its sender."""

from world import SeededEntropy, new

from agentcom.core import tasks
from agentcom.core.policy import Policy
from agentcom.core.reports import Context, judge
from agentcom.core.signature import needs
from agentcom.protocol.frames import ErrorFrame, TaskComplete, TaskProgress

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
