"""Who is here, and what those who want to know are told."""

from agentcom.core import gateway
from agentcom.core.gateway_sessions import PRESENCE
from agentcom.core.messages import (
    AgentStatus,
    AskAttendance,
    Attendance,
    FrameOut,
    PresenceNews,
    Reply,
    ToSession,
    WatchPresence,
)
from agentcom.core.presence import MOST, Presence
from agentcom.protocol.frames import PresenceFrame, Present
from tests.core.test_gateway_sessions import EDGE, Stage, a_welcome


def status(agent_id="ada", state="idle", **fields):
    return AgentStatus(agent_id=agent_id, state=state, **({"connected_ms": 1} | fields))


def test_who_comes_changes_and_leaves_is_told_once_each():
    presence = Presence()
    presence.note(status())
    assert presence.news() == [PresenceFrame(joined=[Present("ada", "idle", connected_at=1)])]
    presence.note(status(state="working"))
    assert presence.news() == [PresenceFrame(changed=[Present("ada", "working", connected_at=1)])]
    presence.note(status(state="offline", connected_ms=0))
    assert presence.news() == [PresenceFrame(left=["ada"])]
    assert presence.news() == []


def test_who_is_connected_and_what_they_have_is_told_as_one():
    presence, ask = Presence(), AskAttendance(reply_to="alerter", request=3)
    for who in (status(), status("bob", "working", task_id="t1"), status("gone", "offline", task_id="t2"),
                status("asleep", connected_ms=0)):  # fmt: skip
        presence.note(who)
    assert presence.attendance(ask) == Reply(3, Attendance(2, frozenset({"t1"})))


def test_what_comes_and_goes_between_two_looks_is_not_told():
    presence = Presence()
    presence.note(status())
    presence.note(status(state="offline", connected_ms=0))
    assert presence.news() == []


def test_an_agent_that_is_away_with_its_task_is_not_here():
    presence = Presence()
    presence.note(status())
    presence.news()
    presence.note(status(state="away", connected_ms=0))
    assert presence.news() == [PresenceFrame(left=["ada"])]


def test_a_new_one_is_told_who_is_here_in_frames_of_bounded_length():
    presence = Presence()
    assert presence.everyone() == [PresenceFrame()]
    for n in range(MOST + 1):
        presence.note(status(f"a{n}"))
    presence.news()
    assert [len(frame.joined) for frame in presence.everyone()] == [MOST, 1]


def test_only_a_session_that_wants_it_hears_of_presence():
    stage = Stage()
    for conn, want in (("c1", [PRESENCE]), ("c2", [])):
        stage.open(conn)
        stage.frame(conn, type="hello", agent_id="ada", instance="i", token="secret", want=want)
    welcomed = [out for conn in ("c1", "c2") for out in stage.tell(ToSession(conn, a_welcome(conn)))]
    assert [out.message for out in welcomed if out.to == "presence"] == [WatchPresence("c1")]
    news = PresenceNews((PresenceFrame(left=["bob"]),))
    assert stage.tell(news) == []  # nobody was told yet who is here
    stage.tell(PresenceNews((PresenceFrame(),), "c1"))
    [out] = stage.tell(news)
    assert (out.to, out.message) == (EDGE, FrameOut("c1", b'{"type":"presence","left":["bob"]}'))
    assert gateway.on_up(stage.state, "presence", stage.rows)[0].message == WatchPresence("c1")
