"""Protocol 1 without sockets: what its bytes become, what a silent client holds, what is told again."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.core.agent import Agent
from agentcom.core.decision import Now
from agentcom.core.gateway_state import Rules
from agentcom.core.limits import LimitRules
from agentcom.core.messages import (
    Claimed,
    CloseConn,
    Deliver,
    FrameOut,
    Holding,
    Persona,
    PresenceNews,
    Released,
    Renew,
    ReportDone,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    ToSession,
)
from agentcom.core.policy import Policy
from agentcom.core.presence import Presence
from agentcom.core.rates import Rate
from agentcom.core.v1_checking import check
from agentcom.core.v1_sessions import RETELL_S
from agentcom.core.v1_translating import COMPLETE, OURS, PROGRESS, result_of
from agentcom.protocol import v1
from agentcom.protocol.errors import CALLER_LATER
from agentcom.protocol.frames import (
    Ack,
    ErrorFrame,
    HeartbeatAck,
    HeldTask,
    Hello,
    MailboxGap,
    MessageFrame,
    PresenceFrame,
    Present,
    Resume,
    TaskAck,
    TaskAssign,
    TaskComplete,
    TaskStopped,
    Verdict,
)
from agentcom.protocol.rows import LANES, Event, TaskState
from tests.core.mailing import MS, Post
from tests.core.test_gateway_sessions import AGENT, Stage, a_welcome
from tests.core.test_presence import status

# --- bytes -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=8,
)
NAMES = sorted({field for kind in v1.INBOUND for field in kind.__struct_fields__} | {"type"})


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_an_answer(data):
    assert isinstance(check(data), v1.Inbound | v1.Error | v1.ValidationFailed)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.sampled_from(sorted(v1.BY_TYPE)))
def test_any_object_is_a_frame_or_an_answer_that_names_its_faults(said, kind):
    answer = check(json.dumps({**said, "type": kind}).encode())
    if isinstance(answer, v1.ValidationFailed):
        assert answer.message_type == kind
        assert answer.errors
        fields = set(v1.BY_TYPE[kind].__struct_fields__) | {"type"}
        assert all(wrong.field.split(".")[0].split("[")[0] in fields for wrong in answer.errors)


def test_every_frame_has_a_tier():
    assert set(v1.TIERS) == set(v1.INBOUND)
    assert v1.TIERS[v1.Identify] == "heavy"
    light = {kind.__struct_config__.tag for kind, tier in v1.TIERS.items() if tier == "light"}
    assert light == {"ping", "list_agents", "list_channels", "status", "channel_history"}


def test_a_result_is_kept_whole_and_found_where_protocol_2_looks():
    result = result_of({"summary": "s", "pr_url": 5, "commit": "c" * 3_000, "more": [1]})
    assert (result.summary, result.pr_url, len(result.commit)) == ("s", "", 2_000)
    assert result.data == {"summary": "s", "pr_url": 5, "commit": "c" * 3_000, "more": [1]}


# --- a silent client, as its agent's actor sees it ----------------------------------------------------

START = Now(1_700_000_000_000, 1_000.0)
ASSIGN = TaskAssign(
    task_id="t1", generation=3, description="d", priority="normal", metadata={}, needed_capabilities=[],
    success_criteria=[], attempt=1, max_attempts=3, lease_ms=1, previous=[],
)  # fmt: skip


class Held:
    """Rows of one task that ada holds since `START`."""

    def __init__(self, holder="ada"):
        self.task = TaskState("t1", "normal", "working", 1, "s", 1, 1, "olga", generation=3, holder=holder)

    def get(self, table, key):
        return self.task if (table, key) == ("task", ("t1",)) else None

    def scan(self, table, prefix, *, after=None, limit=500, reverse=False):
        return [(("t1", 1), Event(START.ms, "assigned", "assigned", 3, "ada"))] if table == "history" else []


class Actor:
    def __init__(self, phase="working", **policy):
        self.agent = Agent("ada", 1, Policy(**policy), Held(), 1)
        self.now = START
        for lane in LANES:
            mine = (Claimed("t1", lane, 3, phase, ASSIGN, True),) if lane == "normal" else ()
            self.tell(Holding(lane, "ada", mine))

    def tell(self, message):
        return self._out(self.agent.handle(message, self.now))

    def connect(self, conn="c1", *tasks):
        hello = Hello(agent_id="ada", instance="protocol-1", resume=Resume(list(tasks)))
        return self.tell(SessionOpened(conn, hello, Persona("Ada", "connected")))

    def wait(self, seconds):
        """Whatever is due in that time."""
        end, said = self.now.mono + seconds, []
        while (wake := self.agent.next_wake(self.now.mono)) <= end:
            step = max(wake, self.now.mono)
            self.now = Now(self.now.ms + int((step - self.now.mono) * 1000), step + 0.001)
            said += self._out(self.agent.tick(self.now))
        self.now = Now(self.now.ms + int((end - self.now.mono) * 1000), end)
        return said

    @staticmethod
    def _out(decisions):
        return [output.message for decision in decisions for output in decision.outputs]

    def state(self):
        return self.agent.state(self.now)


def test_the_lease_of_a_silent_client_is_renewed_while_it_is_connected():
    actor = Actor()
    actor.connect()
    renewals = [m for m in actor.wait(600) if isinstance(m, Renew)]
    assert len(renewals) == 600 // 15
    assert renewals[0].tasks == (HeldTask("t1", 3),)
    actor.tell(SessionClosed("c1", 1006))
    assert not [m for m in actor.wait(600) if isinstance(m, Renew)]


def test_renewals_come_well_within_a_short_lease():
    actor = Actor(work_s=3.0)
    actor.connect()
    assert len([m for m in actor.wait(30) if isinstance(m, Renew)]) == 30


def test_a_silent_client_has_its_task_for_max_runtime_and_no_longer_whatever_restarts():
    actor = Actor(max_runtime_s=100.0)
    actor.connect()
    assert [m for m in actor.wait(90) if isinstance(m, Renew)]
    actor.wait(20)
    assert not [m for m in actor.wait(300) if isinstance(m, Renew)]
    again = Actor(max_runtime_s=100.0)  # a new life of the actor reads when the task was assigned
    again.now = Now(START.ms + 101_000, 5_000.0)
    again.connect()
    assert not [m for m in again.wait(300) if isinstance(m, Renew)]


def test_a_client_that_says_nothing_of_its_task_keeps_it_when_it_comes_back():
    actor = Actor()
    actor.connect("c1")
    accepted = TaskAck(task_id="t1", generation=3, status="accepted")
    actor.tell(ReportDone("ada", "c1", "t1", 3, accepted, released=False))
    actor.tell(SessionClosed("c1", 1006))
    told = actor.connect("c2")
    assert actor.state() == "working"
    assert not [m for m in told if type(m).__name__ == "Absent"]


def test_the_same_connection_may_say_again_who_it_is():
    actor = Actor()
    actor.connect("c1")
    told = actor.connect("c1", HeldTask("t1", 3))
    assert not [m for m in told if type(m).__name__ == "EndSession"]
    [welcome] = [m.frame for m in told if isinstance(m, ToSession)]
    assert welcome.tasks == [Verdict("t1", 3, "continue")]


def test_a_silent_client_that_should_stop_is_given_a_time_for_it_and_is_free_then():
    actor = Actor(stop_s=60.0)
    actor.connect()
    actor.tell(Released("ada", "t1", 3, "cancelled", stop=True))
    actor.wait(50)
    assert actor.state() == "stopping"
    actor.wait(30)
    assert actor.state() == "idle"


def test_it_is_free_at_once_when_it_says_the_task_is_over():
    actor = Actor(stop_s=60.0)
    actor.connect()
    actor.tell(Released("ada", "t1", 3, "cancelled", stop=True))
    actor.tell(SessionFrame("c1", TaskStopped(task_id="t1", generation=3, id=OURS)))
    assert actor.state() == "idle"


# --- the gateway -----------------------------------------------------------------------------------


class Old(Stage):
    """One session of protocol 1, welcomed."""

    def __init__(self, rules=None):
        super().__init__(rules)
        self.open(codec="v1")
        [(to, opened)] = self.frame(type="identify", agent_id="ada", token="secret")
        assert (to, opened.hello.instance, opened.persona) == (
            AGENT,
            "protocol-1",
            Persona("ada", "connected"),
        )
        self.heard(self.hub(a_welcome("1.1")))

    def hub(self, frame):
        return self.tell(ToSession("1.1", frame))

    @staticmethod
    def heard(outputs):
        return [json.loads(m.data) for _, m in outputs if isinstance(m, FrameOut)]

    @staticmethod
    def told(outputs):
        return [m.frame for to, m in outputs if to == AGENT and isinstance(m, SessionFrame)]


def completion(**fields):
    return {"type": "task_complete", "task_id": "t1", "generation": 3, **fields}


def test_a_final_report_is_told_again_until_it_is_answered():
    old = Old()
    [report] = old.told(old.frame(**completion()))
    assert (type(report), report.id) == (TaskComplete, COMPLETE)
    for code in sorted(CALLER_LATER):  # the hub's own troubles are not the client's
        later = ErrorFrame(code=code, message="later", re=COMPLETE, task_id="t1", generation=3)
        assert old.heard(old.hub(later)) == []
    assert old.told(old.tick(3 * RETELL_S)) == [report] * 3
    ack = TaskAck(task_id="t1", generation=3, status="completed", re=COMPLETE)
    assert old.heard(old.hub(ack)) == [{"type": "task_ack", "task_id": "t1", "status": "complete"}]
    assert old.told(old.tick(3 * RETELL_S)) == []


def test_a_refused_final_report_frees_its_agent():
    old = Old()
    old.frame(**completion())
    gone = ErrorFrame(code="stale_generation", message="too late", re=COMPLETE, task_id="t1", generation=3)
    outputs = old.hub(gone)
    [error] = old.heard(outputs)
    assert error["error"] == "task_complete_failed: stale_generation"
    assert old.told(outputs) == [TaskStopped(task_id="t1", generation=3, id=OURS)]


def test_a_report_without_a_generation_is_of_the_one_that_was_told():
    old = Old()
    old.hub(ASSIGN)
    for kind in ("task_accepted", "task_progress", "task_rejected"):
        [report] = old.told(old.frame(type=kind, task_id="t1"))
        assert report.generation == 3


@pytest.mark.parametrize(
    "frame",
    [
        HeartbeatAck(),
        MailboxGap(from_seq=1, to_seq=2, reason="full"),
        TaskAck(task_id="t1", generation=3, status="working", re=PROGRESS),
        ErrorFrame(code="not_owner", message="no", re=PROGRESS, task_id="t1"),
        TaskAck(task_id="t1", generation=3, status="stopped", re=OURS),
    ],
    ids=lambda frame: f"{type(frame).__name__} {getattr(frame, 're', '')}",
)
def test_what_protocol_1_has_no_frame_for_is_not_said(frame):
    old = Old()
    assert old.heard(old.hub(frame)) == []


def test_a_silent_socket_is_closed_after_a_minute_and_a_half_and_any_frame_counts():
    old = Old()
    for _ in range(5):
        assert not [m for _, m in old.tick(60) if isinstance(m, CloseConn)]
        old.frame(type="status", status="busy")
    [close] = [m for _, m in old.tick(120) if isinstance(m, CloseConn)]
    assert close.code == 1008


def test_limits_are_told_in_the_old_frames_and_then_close():
    few = Rules(limits=LimitRules(normal=Rate(60, 10)))
    old = Old(few)
    heard, closed = [], []
    while not closed:
        outputs = old.frame(type="task_accepted", task_id="t1")
        heard += old.heard(outputs)
        closed = [m for _, m in outputs if isinstance(m, CloseConn)]
        assert len(heard) < 200
    assert heard[0] == {"type": "rate_limit_warning", "tier": "normal", "remaining": 1, "capacity": 10}
    assert {(f["type"], f["tier"]) for f in heard[1:]} == {("rate_limited", "normal")}
    assert all(f["retry_after_ms"] > 0 for f in heard[1:])
    assert (closed[0].code, closed[0].reason) == (1008, "cooldown active: retry in 30s")


def test_a_delivery_is_the_same_bytes_for_all_and_taken_at_once():
    old = Old()
    message = MessageFrame(
        seq=0, message_id="m", sender="bob", message_type="chat", payload={}, thread_id="m", time_ms=5
    )
    outputs = old.tell(Deliver("1.1", 7, message))
    assert old.heard(outputs) == [
        {"type": "message", "id": "m", "from": "bob", "message_type": "chat", "payload": {}, "reply_to": None,
         "timestamp": 5}
    ]  # fmt: skip
    assert old.told(outputs) == [Ack(seq=7)]


def test_presence_is_told_one_by_one():
    old = Old()
    bob, me = Present("bob", "idle", "s", ("c",), "Bob", 5), Present("ada", "idle", connected_at=5)
    assert old.heard(old.tell(PresenceNews((PresenceFrame(joined=[bob, me]),), "1.1"))) == []
    news = PresenceFrame(joined=[bob, me], left=["eve"], changed=[bob, me])
    frames = old.heard(old.tell(PresenceNews((news,), restated=("bob",))))
    shown = {"agent_id": "bob", "name": "Bob", "status": "s", "capabilities": ["c"], "connected_at": 5}
    assert frames == [
        {"type": "agent_joined", "agent": shown}, {"type": "agent_left", "agent_id": "eve"},
        {"type": "status_changed", "agent": shown},
    ]  # fmt: skip


def test_only_what_a_client_says_of_itself_is_a_change_of_status():
    presence = Presence()
    presence.note(status())
    presence.news()
    presence.note(status(state="working"))
    presence.news()
    assert presence.restated == ()
    presence.note(status(state="working", status="busy"))
    presence.news()
    assert presence.restated == ("ada",)


# --- its mailbox -----------------------------------------------------------------------------------


def test_a_session_without_a_backlog_is_sent_what_comes_and_leaves_the_rest():
    post = Post()
    post.send()
    post.send()
    inbox = post.ada.inbox
    post.ada.do(inbox.opened("c1", 0, MS, backlog=False))
    post.ada.out.extend(inbox.begin())
    [notice] = post.send()[1]
    post.ada.do(inbox.appended(notice, MS))
    post.ada.write()
    assert [what for _, kind, what, _ in post.ada.heard() if kind == "message"] == [3]
    post.ada.do(inbox.taken(3, MS, 0.0))
    post.ada.do(inbox.flush(MS))
    post.ada.write()
    assert [key[1] for key, _ in post.ada.rows.scan("mailbox", ("ada",), limit=10)] == [1, 2]
    assert (inbox.flying, inbox.last_ack) == (0, 0)
    post.ada.do(inbox.acked_by_poll(2, MS))
    post.ada.write()
    assert (inbox.flying, inbox.pending) == (0, 0)
