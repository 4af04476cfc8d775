"""An agent's actor and the sessions that it does or does not know."""

import pytest
from msgspec.structs import replace

from agentcom.core.agent import Agent
from agentcom.core.decision import Now
from agentcom.core.messages import (
    Absent,
    AgentGone,
    AgentReady,
    Bucket,
    Claimed,
    ClaimRefused,
    EndSession,
    Holding,
    Offer,
    Reclaim,
    Released,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    ToSession,
)
from agentcom.core.policy import Policy
from agentcom.protocol.frames import (
    CLOSE_CODES,
    Drain,
    Heartbeat,
    HeldTask,
    Hello,
    Resume,
    TaskAccept,
    TaskAssign,
    TaskComplete,
    TaskStopped,
    Verdict,
    Welcome,
)
from agentcom.protocol.rows import LANES, TaskState

NOW = Now(1_700_000_000_000, 1_000.0)


RAISED = 1 << 20


class NoRows:
    def get(self, table, key):
        return None

    def scan(self, table, prefix, **_):
        return []


def fresh():
    """One that just started, and has heard from every lane."""
    agent = Agent("ada", 1, Policy(), NoRows(), 1)
    for lane in LANES:
        said(agent, Holding(lane, "ada", ()))
    return agent


def said(agent, message):
    return [output.message for decision in agent.handle(message, NOW) for output in decision.outputs]


def ends(messages):
    return [(m.conn, m.code) for m in messages if isinstance(m, EndSession)]


@pytest.mark.parametrize("frame", [Heartbeat(), TaskAccept(task_id="t1", generation=1)])
def test_a_session_of_an_earlier_life_is_told_to_come_again(frame):
    assert ends(said(fresh(), SessionFrame("c1", frame))) == [("c1", CLOSE_CODES["restarted"])]


def test_a_session_of_an_earlier_life_is_told_so_even_before_the_lanes_have_answered():
    agent = Agent("ada", 1, Policy(), NoRows(), 1)
    assert ends(said(agent, SessionFrame("c1", Heartbeat()))) == [("c1", CLOSE_CODES["restarted"])]


def test_a_session_that_waits_for_the_lanes_is_not_sent_away():
    agent = Agent("ada", 1, Policy(), NoRows(), 1)
    said(agent, SessionOpened("c1", Hello(agent_id="ada", instance="i")))
    assert ends(said(agent, SessionFrame("c1", Heartbeat()))) == []


def test_the_present_session_goes_on():
    agent = fresh()
    said(agent, SessionOpened("c1", Hello(agent_id="ada", instance="i")))
    assert ends(said(agent, SessionFrame("c1", Heartbeat()))) == []


def test_a_welcome_answers_the_hello_by_its_id():
    told = said(fresh(), SessionOpened("c1", Hello(agent_id="ada", instance="i", id="7")))
    assert [m.frame.re for m in told if isinstance(m, ToSession) and isinstance(m.frame, Welcome)] == ["7"]


# --- after a restore: every generation is raised, and the client knows another epoch --------------------------


class OneTask:
    def __init__(self, **fields):
        self.row = TaskState("t1", "normal", "queued", 1, "s", 1, 1, "me", **fields)

    def get(self, table, key):
        return self.row if (table, key) == ("task", ("t1",)) else None

    def scan(self, table, prefix=(), **_):
        return []


def claimed(generation, *, reclaimed=True):
    assign = TaskAssign(
        task_id="t1",
        generation=generation,
        description="do",
        priority="normal",
        metadata={},
        needed_capabilities=[],
        success_criteria=[],
        previous=[],
        attempt=1,
        max_attempts=3,
        lease_ms=1,
    )
    return Claimed("t1", "normal", generation, "working", assign, reclaimed)


def restored(rows, *held):
    agent = Agent("ada", 1, Policy(), rows, 2)
    for lane in LANES:
        said(agent, Holding(lane, "ada", held if lane == "normal" else ()))
    return agent


def hello(epoch, generation=5):
    listed = Resume(tasks=[HeldTask("t1", generation, "working")])
    return SessionOpened("c1", Hello(agent_id="ada", instance="i", epoch=epoch, resume=listed))


def verdicts(messages):
    return [
        v
        for m in messages
        if isinstance(m, ToSession) and isinstance(m.frame, Welcome)
        for v in m.frame.tasks
    ]


def test_one_that_is_not_connected_never_looks_as_if_it_worked():
    agent = restored(OneTask(generation=5, holder="ada"), claimed(5))
    said(agent, hello(2))
    assert agent.state(NOW) == "working"
    said(agent, SessionClosed("c1", 1006))
    assert agent.state(NOW) == "away"
    said(agent, Released("ada", "t1", 5, "no news of it for too long", stop=False))
    assert agent.state(NOW) == "offline"
    much_later = Now(NOW.ms, NOW.mono + 10_000)
    assert agent.state(much_later) == "offline"
    said(agent, SessionOpened("c2", Hello(agent_id="ada", instance="i", epoch=2)))
    assert agent.state(NOW) == "idle"


def test_only_one_that_holds_nothing_and_has_no_client_may_sleep():
    agent = Agent("ada", 1, Policy(), NoRows(), 1)
    assert not agent.may_sleep, "a lane may still say that it holds something"
    agent = restored(OneTask(generation=5, holder="ada"), claimed(5))
    assert not agent.may_sleep
    said(agent, Released("ada", "t1", 5, "no news of it for too long", stop=False))
    assert not agent.may_sleep, "its client may still work on what was taken from it"
    said(agent, SessionOpened("c1", Hello(agent_id="ada", instance="i", epoch=2)))
    assert not agent.may_sleep
    assert list(agent.down("scheduler", NOW)) == []
    assert list(agent.down("gateway", NOW)) != []
    assert agent.may_sleep


def test_a_holder_from_before_a_restore_goes_on_under_the_raised_generation():
    rows = OneTask(generation=5 + RAISED, holder="ada", last_holder="ada")
    told = said(restored(rows, claimed(5 + RAISED)), hello(1))
    assert verdicts(told) == [Verdict("t1", 5 + RAISED, "continue")]


def test_within_an_epoch_an_older_generation_is_stopped_as_ever():
    rows = OneTask(generation=5 + RAISED, holder="ada", last_holder="ada")
    told = said(restored(rows, claimed(5 + RAISED)), hello(2))
    assert [(v.generation, v.action) for v in verdicts(told)] == [(5, "abort")]


def test_a_last_holder_from_before_a_restore_asks_for_its_task_by_the_raised_generation():
    told = said(restored(OneTask(generation=5 + RAISED, last_holder="ada")), hello(1))
    assert [m for m in told if isinstance(m, Reclaim)] == [Reclaim("ada", 1, "t1", 5 + RAISED, anew=True)]


def test_what_the_restore_forgot_is_assigned_anew_to_the_agent_that_lists_it():
    agent = restored(OneTask(generation=4 + RAISED))
    told = said(agent, hello(1))
    assert [m for m in told if isinstance(m, Reclaim)] == [Reclaim("ada", 1, "t1", 5, anew=True)]
    assert verdicts(said(agent, claimed(5 + RAISED))) == [Verdict("t1", 5 + RAISED, "continue")]


def test_before_the_welcome_no_cancel_is_said_and_the_verdict_tells_to_stop():
    """The welcome waits for a claim that stands behind a report, and meanwhile the reported task is cancelled."""
    agent = restored(OneTask(generation=5, holder="ada"), claimed(5))
    said(agent, hello(2))
    done = TaskComplete(task_id="t1", generation=5)
    said(agent, SessionFrame("c1", done))
    said(agent, Offer("low", "t2", Bucket("", "")))
    assert agent.reserved is not None
    said(agent, SessionClosed("c1", 1006))
    again = hello(2)
    assert verdicts(said(agent, SessionOpened("c2", again.hello))) == []
    told = said(agent, Released("ada", "t1", 5, "cancelled", stop=True))
    assert [m for m in told if isinstance(m, ToSession)] == []
    told = said(agent, ClaimRefused("t2", "low", "too late"))
    assert verdicts(told) == [Verdict("t1", 5, "abort", "cancelled")]
    assert [type(m.frame) for m in told if isinstance(m, ToSession)] == [Welcome]


@pytest.mark.parametrize("ended", [Heartbeat(), TaskStopped(task_id="t2", generation=1)])
def test_an_assignment_waits_until_its_client_lists_no_more_what_it_was_told_to_stop(ended):
    assigned = replace(claimed(5), phase="assigned")
    agent = restored(OneTask(generation=5, holder="ada"), assigned)
    listing = Resume(tasks=[HeldTask("t2", 1, "working")])
    welcome = said(agent, SessionOpened("c1", Hello(agent_id="ada", instance="i", epoch=2, resume=listing)))
    assert [(v.task_id, v.action) for v in verdicts(welcome)] == [("t2", "abort")]
    beat = said(agent, SessionFrame("c1", Heartbeat(tasks=[HeldTask("t2", 1, "working")])))
    assert pushed(welcome) == pushed(beat) == []
    assert pushed(said(agent, SessionFrame("c1", ended))) == ["t1"]
    assert pushed(said(agent, SessionFrame("c1", Heartbeat()))) == []


def pushed(messages):
    return [m.frame.task_id for m in messages if isinstance(m, ToSession) and isinstance(m.frame, TaskAssign)]


def test_a_claim_that_was_taken_and_then_moved_to_another_lane_is_waited_for_there():
    """Its lane was killed between the two commits and its answer: the next life of the lane has the task no more."""
    agent = restored(OneTask())
    said(agent, SessionOpened("c1", Hello(agent_id="ada", instance="i", epoch=2)))
    said(agent, Offer("normal", "t1", Bucket("", "")))
    agent.rows.row = replace(agent.rows.row, lane="urgent", phase="assigned", holder="ada", generation=1)
    said(agent, Holding("normal", "ada", ()))
    assert (agent.hold, agent.reserved.lane) == (None, "urgent")
    assert not agent.is_free(NOW)
    told = said(agent, replace(claimed(1), lane="urgent", phase="assigned"))
    assert (agent.hold.lane, agent.reserved, pushed(told)) == ("urgent", None, ["t1"])


def absent(messages):
    return [m for m in messages if isinstance(m, Absent)]


def test_a_task_that_was_given_back_and_is_then_missing_is_lost_at_once():
    agent = restored(OneTask(generation=5, last_holder="ada"))
    said(agent, hello(2))
    assert verdicts(said(agent, claimed(5))) == [Verdict("t1", 5, "continue")]
    assert absent(said(agent, SessionFrame("c1", Heartbeat()))) == [Absent("ada", 1, "t1", 5)]


def test_a_held_task_that_was_listed_and_is_then_missing_is_lost_at_once_and_one_never_listed_is_not():
    rows = OneTask(generation=5, holder="ada")
    listing, silent = restored(rows, claimed(5)), restored(rows, claimed(5))
    said(listing, hello(2))
    assert absent(said(listing, SessionFrame("c1", Heartbeat()))) == [Absent("ada", 1, "t1", 5)]
    said(silent, SessionOpened("c1", Hello(agent_id="ada", instance="i", epoch=2)))
    assert absent(said(silent, SessionFrame("c1", Heartbeat()))) == []


def test_what_several_messages_changed_is_announced_once():
    hello = Hello(agent_id="ada", instance="i")
    news = (SessionOpened("c1", hello), SessionFrame("c1", Heartbeat()), SessionFrame("c1", Drain()))

    def to_scheduler(decisions):
        return [type(o.message) for decision in decisions for o in decision.outputs if o.to == "scheduler"]

    alone, together = fresh(), fresh()
    one_by_one = [decision for message in news for decision in alone.handle(message, NOW)]
    assert to_scheduler(one_by_one) == [AgentReady, AgentGone]
    assert to_scheduler(together.handle_all(news, NOW)) == []
    assert together.told == alone.told
