"""An operator's answer reaches the Mind that asked, whatever ends between the two."""

import pytest
from fleet import Fleet
from world import new

from agentcom.core.messages import Operate, Submit
from agentcom.protocol.frames import TaskAck, TaskAnswer
from agentcom.protocol.rows import TaskState

TASK = "task-000001"
LONG = "blue, " * 100


def working(*agents: str, **options) -> Fleet:
    """Ada works on the task; whoever else there is is not connected."""
    fleet = Fleet(dict.fromkeys(agents or ("ada",), ()), ("one",), **options)
    fleet.settle()
    fleet.ask("normal", Submit(reply_to="edge", request=1, submitter="op", items=(new(),)))
    fleet.sidecars[0].connect()
    fleet.settle()
    fleet.sidecars[0].decide()
    fleet.settle()
    return fleet


def blocked(*agents: str, **options) -> Fleet:
    """The same, and its Mind asked "how?", as everyone knows."""
    fleet = working(*agents, **options)
    ask(fleet)
    assert row(fleet).phase == "blocked"
    return fleet


def ask(fleet: Fleet) -> None:
    fleet.sidecars[0].mind("block")
    fleet.settle()


def row(fleet: Fleet) -> TaskState:
    found: TaskState = fleet.store.reader.get("task", (TASK,))
    return found


def answer(fleet: Fleet, text: str = "blue") -> None:
    ask = Operate(reply_to="edge", request=2, task_id=TASK, verb="answer", text=text, by="op")
    fleet.ask("normal", ask)


def answered(fleet: Fleet, text: str = "blue") -> None:
    answer(fleet, text)
    fleet.settle()
    assert row(fleet).phase == "working"


def back(fleet: Fleet) -> list[str]:
    """Ada's client comes again; every answer it ever heard."""
    fleet.sidecars[0].connect()
    fleet.settle()
    return fleet.sidecars[0].answers


def again(fleet: Fleet) -> list[str]:
    fleet.sidecars[0].drop()
    fleet.settle()
    return back(fleet)


def test_an_answer_given_while_the_agent_is_offline_waits_for_it():
    fleet = blocked()
    fleet.sidecars[0].drop()
    fleet.settle()
    answered(fleet)
    assert back(fleet) == ["blue"]


def test_the_same_when_its_client_starts_again_meanwhile():
    fleet = blocked()
    fleet.sidecars[0].restart()
    fleet.settle()
    answered(fleet)
    assert back(fleet) == ["blue"]


@pytest.mark.parametrize("victim", ["lane.normal", "agent.ada", "gateway"])
def test_an_answer_on_disk_reaches_the_mind_though_who_was_to_tell_it_crashed(victim):
    fleet = blocked()
    answer(fleet)
    fleet.deliver(("edge", "lane.normal"))
    if victim == "lane.normal":
        fleet.parts[victim].world.close()
        fleet.parts[victim].crash(written=1)
    else:
        fleet.parts["lane.normal"].write(1)
        fleet.parts[victim].crash()
        fleet.net.drop(dst=victim)
    fleet.parts[victim].start()
    fleet.settle()
    fleet.sidecars[0].beat()
    fleet.settle()
    assert back(fleet) == ["blue"]


def test_an_answer_is_told_to_whom_it_is_given_back_after_a_loss():
    fleet = blocked()
    fleet.sidecars[0].drop()
    fleet.settle()
    answered(fleet)
    fleet.run(140.0, flowing=True)
    assert row(fleet).phase == "queued"
    assert back(fleet) == ["blue"]
    assert row(fleet).phase == "working"


def test_a_question_lasts_while_its_agent_was_given_up_and_comes_back():
    fleet = blocked()
    fleet.sidecars[0].drop()
    fleet.run(140.0, flowing=True)
    assert row(fleet).phase == "queued"
    back(fleet)
    assert (row(fleet).phase, row(fleet).question) == ("blocked", "how?")
    answered(fleet)
    assert fleet.sidecars[0].answers == ["blue"]


def test_the_next_holder_has_not_asked_what_the_last_one_did():
    fleet = blocked("ada", "bob")
    fleet.sidecars[0].drop()
    fleet.sidecars[1].connect()
    fleet.run(140.0, flowing=True)
    fleet.sidecars[1].decide()
    fleet.settle()
    assert (row(fleet).holder, row(fleet).phase, row(fleet).question) == ("bob", "working", "")


def test_an_answer_is_told_until_a_report_tells_that_it_was_heard():
    fleet = blocked()
    answered(fleet)
    fleet.sidecars[0].restart()
    fleet.settle()
    assert back(fleet) == ["blue", "blue"]
    fleet.sidecars[0].mind("progress")
    fleet.settle()
    fleet.sidecars[0].restart()
    fleet.settle()
    assert back(fleet) == ["blue", "blue"]


@pytest.mark.parametrize("how", ["progress", "unblock", "fail", "complete", "reject"])
def test_any_report_of_the_work_tells_that_the_answer_was_heard(how):
    fleet = blocked()
    answered(fleet)
    fleet.sidecars[0].mind(how)
    fleet.settle()
    assert row(fleet).answer == ""


def test_who_asks_again_is_not_told_what_the_question_before_got():
    fleet = blocked()
    answered(fleet)
    fleet.sidecars[0].mind("unblock")
    fleet.settle()
    ask(fleet)
    heard = list(fleet.sidecars[0].answers)
    assert again(fleet) == heard
    answered(fleet, "red")
    assert fleet.sidecars[0].answers == [*heard, "red"]


def test_an_answer_is_for_the_generation_that_asked():
    fleet = blocked("ada", "bob")
    fleet.sidecars[0].drop()
    fleet.settle()
    answered(fleet)
    fleet.sidecars[1].connect()
    fleet.run(140.0, flowing=True)
    assert (row(fleet).holder, row(fleet).generation, row(fleet).answer) == ("bob", 2, "")
    assert back(fleet) == []
    assert fleet.sidecars[1].answers == []


def test_a_question_said_again_after_its_answer_is_answered_and_not_asked_anew():
    """Its client never heard that the question had come, and says it again before it says anything else."""
    fleet = working()
    [sidecar] = fleet.sidecars
    sidecar.mind("block")
    for pair in ((sidecar.conn, "gateway"), ("gateway", "agent.ada"), ("agent.ada", "lane.normal")):
        fleet.deliver(pair)
    fleet.parts["lane.normal"].write(1)
    sidecar.drop()
    fleet.settle()
    answered(fleet)
    assert back(fleet) == ["blue"]
    assert row(fleet).phase == "working"


def test_the_same_words_asked_a_second_time_are_a_question_of_their_own():
    fleet = blocked()
    answered(fleet)
    ask(fleet)
    assert (row(fleet).phase, row(fleet).answer) == ("blocked", "")


def test_another_question_is_asked_though_the_answer_before_was_not_confirmed():
    fleet = blocked()
    answered(fleet)
    [sidecar] = fleet.sidecars
    sidecar.state.block(TASK, 1, "why?")
    sidecar.flush()
    fleet.settle()
    assert (row(fleet).phase, row(fleet).question, row(fleet).answer) == ("blocked", "why?", "")


def test_an_answer_comes_after_the_welcome():
    fleet = blocked()
    fleet.sidecars[0].drop()
    fleet.settle()
    answered(fleet)
    said = []
    fleet.sidecars[0].state.receive = lambda frame: said.append(type(frame).__name__)  # type: ignore[method-assign]
    back(fleet)
    assert said[:2] == ["Welcome", "TaskAnswer"]


def test_the_history_tells_what_was_answered():
    fleet = blocked()
    answered(fleet, LONG)
    lines = [event for _, event in fleet.store.reader.scan("history", (TASK,), limit=100)]
    assert [(of.agent_id, of.reason) for of in lines if of.event == "answered"] == [("op", LONG[:200])]


def test_an_answer_that_comes_again_is_told_once_to_the_user_of_a_session():
    fleet = blocked()
    state = fleet.sidecars[0].state
    told = []
    for _ in range(2):
        state.receive(TaskAnswer(task_id=TASK, generation=1, answer="blue"))
        told += state.take().events
    assert [event.answer for event in told] == ["blue"]


def test_an_answer_that_meets_a_newer_question_on_its_way_is_not_taken_for_its_answer():
    state = blocked().sidecars[0].state
    state.receive(TaskAnswer(task_id=TASK, generation=1, answer="blue"))
    state.block(TASK, 1, "why?")
    [sent] = state.take().sends
    state.receive(TaskAnswer(task_id=TASK, generation=1, answer="blue"))
    assert state.take().events == []
    state.receive(TaskAck(task_id=TASK, generation=1, status="blocked", re=sent.id))
    state.receive(TaskAnswer(task_id=TASK, generation=1, answer="blue"))
    assert [event.answer for event in state.take().events] == ["blue"]


@pytest.mark.parametrize("part", ["lane.normal", "agent.ada"])
def test_a_restart_gives_a_question_no_more_time(part):
    fleet = blocked(blocked_max_s=100.0)
    [sidecar] = fleet.sidecars
    for _ in range(3):
        fleet.run(30.0, flowing=True)
        fleet.parts[part].crash()
        fleet.parts[part].start()
        fleet.settle()
        sidecar.beat()
        fleet.settle()
        back(fleet)
    assert row(fleet).phase == "blocked"
    fleet.run(30.0, flowing=True)
    assert (row(fleet).phase, row(fleet).last_end) == ("dead_letter", "unanswered")


def test_what_a_blocked_agent_tells_gives_its_question_no_more_time():
    fleet = blocked(blocked_max_s=100.0)
    fleet.run(80.0, flowing=True)
    fleet.sidecars[0].mind("progress")
    fleet.settle()
    fleet.parts["lane.normal"].crash()
    fleet.parts["lane.normal"].start()
    fleet.run(30.0, flowing=True)
    assert row(fleet).last_end == "unanswered"
