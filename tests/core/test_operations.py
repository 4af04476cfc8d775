"""What an operator asks of a task, asked twice: the answer was lost, or two people think alike."""

from typing import Any

import pytest
from world import Clock, LaneWorld, new, replies, submit

from agentcom.core.messages import Answered, Claim, Fault, Operate, Reported
from agentcom.protocol.bodies import Operated
from agentcom.protocol.frames import (
    TaskAccept,
    TaskBlock,
    TaskComplete,
    TaskFail,
    TaskReject,
    TaskReport,
    TaskUnblock,
)
from agentcom.protocol.rows import Lane, Phase, TaskState
from agentcom.store.memory import MemoryStore

TASK = "task-000001"


class Desk(LaneWorld):
    """One lane with one task, whom its operators ask and its agent reports to."""

    def __init__(self) -> None:
        super().__init__("normal", MemoryStore(), Clock(), [])
        submit(self, new())
        self.write()

    def task(self) -> TaskState:
        found: TaskState = self.rows.get("task", (TASK,))
        return found

    def ask(self, verb: Any, text: str = "", by: str = "op", **more: Any) -> Any:
        """What the operator is answered."""
        self.out.clear()
        self.tell(Operate(reply_to="edge", request=2, task_id=TASK, verb=verb, text=text, by=by, **more))
        self.write()
        [reply] = replies(self.out)
        return reply.body

    def told(self) -> list[str]:
        """The answers that went to the agent for what was asked last."""
        return [of.message.answer for of in self.out if isinstance(of.message, Answered)]

    def assign(self, agent: str = "ada") -> None:
        self.tell(Claim(agent, 1, TASK, ()))

    def report(self, kind: type[TaskReport], **fields: Any) -> None:
        task = self.task()
        frame = kind(task_id=TASK, generation=task.generation, **fields)
        self.tell(Reported(task.holder, 1, "conn", frame))
        self.write()

    def begin(self) -> None:
        self.assign()
        self.report(TaskAccept)

    def give_up(self) -> None:
        self.begin()
        self.report(TaskFail, reason="no", retryable=False)
        assert self.task().phase == "dead_letter"

    def block(self, question: str) -> None:
        self.report(TaskBlock, question=question)
        assert self.task().phase == "blocked"


def done(status: Phase, previous_status: Phase, lane: Lane = "normal") -> Operated:
    return Operated(task_id=TASK, status=status, previous_status=previous_status, priority=lane)


def code(answer: Any) -> str:
    assert isinstance(answer, Fault)
    return answer.code


# --- retry -----------------------------------------------------------------------------------------


def test_a_retry_that_is_sent_again_is_answered_as_done_and_changes_nothing():
    desk = Desk()
    desk.give_up()
    assert desk.ask("retry") == done("queued", "dead_letter")
    before = desk.task()
    assert desk.ask("retry") == done("queued", "queued")
    assert desk.task() == before


def test_why_a_task_is_retried_is_kept_with_it():
    desk = Desk()
    desk.give_up()
    desk.ask("retry", "the remote is back")
    assert desk.task().reason == "retried by op: the remote is back"


def test_a_retry_that_overtakes_the_disk_is_answered_as_done_too():
    desk = Desk()
    desk.give_up()
    for request in (1, 2):
        desk.tell(Operate(reply_to="edge", request=request, task_id=TASK, verb="retry", by="op"))
    desk.write()
    assert [reply.body for reply in replies(desk.out)[-2:]] == [
        done("queued", "dead_letter"), done("queued", "queued"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [None, TaskAccept, TaskBlock])
def test_a_retry_is_still_done_when_an_agent_has_taken_the_task_meanwhile(kind):
    """It takes an idle agent less time than a client to ask again."""
    desk = Desk()
    desk.give_up()
    desk.ask("retry")
    desk.assign()
    if kind:
        desk.report(kind, **({"question": "which?"} if kind is TaskBlock else {}))
    phase = desk.task().phase
    assert desk.ask("retry") == done(phase, phase)


def test_a_retry_of_a_task_that_was_never_retried_is_refused():
    desk = Desk()
    assert code(desk.ask("retry")) == "invalid_state"
    desk.begin()
    assert code(desk.ask("retry")) == "invalid_state"


@pytest.mark.parametrize(("kind", "fields"), [(TaskFail, {"reason": "no"}), (TaskReject, {})])
def test_a_retry_is_refused_again_once_something_of_the_fresh_attempts_is_used(kind, fields):
    desk = Desk()
    desk.give_up()
    desk.ask("retry")
    desk.begin()
    desk.report(kind, **fields)
    assert code(desk.ask("retry")) == "invalid_state"


def test_a_retry_of_what_was_completed_meanwhile_is_refused():
    desk = Desk()
    desk.give_up()
    desk.ask("retry")
    desk.begin()
    desk.report(TaskComplete)
    assert code(desk.ask("retry")) == "invalid_state"


def test_a_task_that_was_given_up_again_is_retried_again():
    desk = Desk()
    for _ in range(2):
        desk.give_up()
        assert desk.ask("retry") == done("queued", "dead_letter")


# --- answer ----------------------------------------------------------------------------------------


def asking() -> Desk:
    desk = Desk()
    desk.begin()
    desk.block("which branch?")
    return desk


def test_an_answer_that_is_sent_again_is_answered_as_done_and_told_once():
    desk = asking()
    assert desk.ask("answer", "main") == done("working", "blocked")
    assert desk.told() == ["main"]
    before = desk.task()
    assert desk.ask("answer", "main") == done("working", "working")
    assert desk.told() == []
    assert desk.task() == before


def test_another_answer_than_the_one_that_was_given_is_refused():
    desk = asking()
    desk.ask("answer", "main")
    assert code(desk.ask("answer", "dev")) == "invalid_state"


def test_an_answer_to_nothing_is_refused():
    desk = Desk()
    assert code(desk.ask("answer", "main")) == "invalid_state"
    desk.begin()
    assert code(desk.ask("answer", "main")) == "invalid_state"


def test_an_answer_is_refused_when_the_task_works_for_another_reason():
    desk = asking()
    desk.ask("answer", "main")
    desk.block("really?")
    desk.report(TaskUnblock)
    assert code(desk.ask("answer", "main")) == "invalid_state"


def test_an_answer_is_still_done_when_the_task_is_in_another_place_of_the_line():
    desk = asking()
    desk.ask("answer", "main")
    desk.ask("prioritise", lane="high")
    high = LaneWorld("high", desk.store, desk.clock, desk.out)
    high.tell(Operate(reply_to="edge", request=2, task_id=TASK, verb="answer", text="main", by="op"))
    high.write()
    assert replies(desk.out)[-1].body == done("working", "working", "high")


def test_the_same_words_answer_the_next_question_too():
    desk = asking()
    desk.ask("answer", "yes")
    desk.block("really?")
    assert desk.ask("answer", "yes") == done("working", "blocked")
    assert desk.told() == ["yes"]


def test_an_answer_with_a_key_never_answers_a_question_that_came_after_it():
    """Sent again by a client that heard nothing, it would say yes to what nobody was asked."""
    desk = asking()
    desk.ask("answer", "yes", key="k1")
    desk.block("delete everything?")
    assert desk.ask("answer", "yes", key="k1") == done("blocked", "blocked")
    assert desk.told() == []
    desk.report(TaskBlock, question="delete it all, I mean?")
    assert desk.ask("answer", "yes", key="k1") == done("blocked", "blocked")
    assert desk.ask("answer", "yes", key="k2") == done("working", "blocked")


def test_an_answer_with_a_key_is_done_however_the_task_went_on():
    desk = asking()
    desk.ask("answer", "main", key="k1")
    desk.report(TaskComplete)
    assert desk.ask("answer", "main", key="k1") == done("completed", "completed")


def test_a_key_with_another_text_is_another_answer():
    desk = asking()
    desk.ask("answer", "main", key="k1")
    assert code(desk.ask("answer", "dev", key="k1")) == "invalid_state"


# --- cancel, prioritise ----------------------------------------------------------------------------


def test_a_cancel_that_is_sent_again_is_answered_as_done():
    desk = Desk()
    assert desk.ask("cancel") == done("cancelled", "queued")
    assert desk.ask("cancel") == done("cancelled", "cancelled")


def test_a_task_that_is_in_the_wanted_lane_already_is_answered_as_done():
    assert Desk().ask("prioritise", lane="normal") == done("queued", "queued")
