"""An agent's actor and the sessions that it does or does not know."""

import pytest

from agentcom.core.agent import Agent
from agentcom.core.lane import Now
from agentcom.core.messages import EndSession, Holding, SessionFrame, SessionOpened, ToSession
from agentcom.core.policy import Policy
from agentcom.protocol.frames import CLOSE_CODES, Heartbeat, Hello, TaskAccept, Welcome
from agentcom.protocol.rows import LANES

NOW = Now(1_700_000_000_000, 1_000.0)


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
