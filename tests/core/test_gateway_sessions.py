"""The gateway's decisions about sessions, with no socket and no actor."""

import json
from typing import Any

import msgspec
import pytest

from agentcom.core import gateway
from agentcom.core.decision import Now
from agentcom.core.gateway_sessions import HELLO_S, TICK_S, WELCOME_S, unreadable
from agentcom.core.gateway_state import NEEDED_TO_SERVE, Rules, State
from agentcom.core.messages import (
    CloseConn,
    ConnClosed,
    ConnOpened,
    EndSession,
    FrameIn,
    FrameOut,
    HubStopping,
    Reply,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    SubjectRevoked,
    Submit,
    Tick,
    TokenChanged,
    ToSession,
)
from agentcom.protocol.bodies import Submitted
from agentcom.protocol.frames import HeartbeatAck, Welcome
from agentcom.protocol.rows import Token
from agentcom.protocol.tokens import token_hash

EDGE = "the edge's address"
AGENT = "agents/agent.ada"
HEARTBEAT_S = Rules().heartbeat_s


class Rows(dict):
    """Committed rows by (table, key)."""

    def get(self, table: str, key: Any) -> Any:
        return super().get((table, key))

    def scan(
        self, table: str, prefix: Any = (), *, after: Any = None, limit: int = 500, reverse: bool = False
    ) -> Any:
        return [(key, row) for (name, key), row in sorted(self.items()) if name == table][:limit]


class Stage:
    def __init__(self, rules: Rules | None = None) -> None:
        self.rows = Rows({("token", (token_hash("secret"),)): Token("t", "ada", "agent", 1)})
        self.state = State(rules or Rules(), "me")
        self.now_s = 1000.0
        for name in NEEDED_TO_SERVE:
            gateway.on_up(self.state, name, self.rows)

    def tell(self, message: Any) -> list[Any]:
        return gateway.decide(self.state, message, Now(int(self.now_s * 1000), self.now_s), self.rows)

    def frame(self, conn: str = "1.1", **frame: Any) -> list[Any]:
        return self.tell(FrameIn(conn, json.dumps(frame).encode()))

    def open(self, conn: str = "1.1", codec: Any = "json") -> None:
        assert self.tell(ConnOpened(conn, EDGE, codec, "127.0.0.1")) == []

    def hello(self, conn: str = "1.1") -> list[Any]:
        return self.frame(conn, type="hello", agent_id="ada", instance="i", token="secret")

    def welcomed(self, conn: str = "1.1") -> None:
        self.open(conn)
        self.hello(conn)
        self.tell(ToSession(conn, a_welcome(conn)))

    def tick(self, after_s: float) -> list[Any]:
        """Time passes in ordinary ticks."""
        outputs: list[Any] = []
        end = self.now_s + after_s
        while self.now_s < end:
            self.now_s = min(end, self.now_s + TICK_S)
            outputs += self.tell(Tick())
        return outputs


def a_welcome(conn: str) -> Welcome:
    return Welcome(session=conn, agent_id="ada", epoch=0, heartbeat_ms=1, lease_ms=1, grace_ms=1, time_ms=1)


def test_a_frame_whose_rows_cannot_be_read_is_answered_and_ends_no_session():
    stage = Stage()
    stage.welcomed()
    frame = FrameIn(
        "1.1", json.dumps({"type": "task_submit", "id": "9", "task": {"description": "x"}}).encode()
    )
    [(to, out)] = unreadable(stage.state, frame)
    said = json.loads(out.data)
    assert (to, said["type"], said["code"], said["re"]) == (EDGE, "error", "unavailable", "9")
    assert unreadable(stage.state, FrameIn("1.2", b"{}")) == []


def closes(outputs: list[Any]) -> list[int]:
    return [message.code for _, message in outputs if isinstance(message, CloseConn)]


def test_hello_goes_to_the_agent_without_its_token():
    stage = Stage()
    stage.open()
    [(to, opened)] = stage.hello()
    assert (to, type(opened), opened.hello.token) == (AGENT, SessionOpened, "")


def test_frames_of_a_session_go_to_its_agent_in_order():
    stage = Stage()
    stage.welcomed()
    sent = [stage.frame(type="heartbeat", id=str(n)) for n in range(3)]
    assert [(to, type(m), m.frame.id) for [(to, m)] in sent] == [
        (AGENT, SessionFrame, str(n)) for n in range(3)
    ]


def test_what_the_agent_says_is_encoded_in_the_sessions_codec():
    stage = Stage()
    stage.open(codec="msgpack")
    [(to, out)] = stage.tell(ToSession("1.1", HeartbeatAck(re="7")))
    assert (to, type(out)) == (EDGE, FrameOut)
    assert msgspec.msgpack.decode(out.data) == {"type": "heartbeat_ack", "re": "7", "abort": []}


def test_frames_of_a_connection_of_an_earlier_gateway_are_dropped():
    stage = Stage()
    assert stage.frame("0.9", type="heartbeat") == []
    assert stage.tell(ToSession("0.9", HeartbeatAck())) == []
    assert stage.tell(EndSession("0.9", 4409, "replaced")) == []
    assert stage.tell(ConnClosed("0.9", 1000)) == []


def test_a_hello_while_agents_are_away_is_told_to_come_again():
    stage = Stage()
    stage.open()
    stage.state.up.discard("agents")
    outputs = stage.hello()
    assert json.loads(outputs[0].message.data)["code"] == "unavailable"
    assert closes(outputs) == [1012]


def test_sessions_end_when_the_agents_supervisor_goes_down():
    stage = Stage()
    stage.welcomed()
    assert closes(gateway.on_down(stage.state, "agents")) == [1012]
    assert not stage.state.sessions


def test_silence_closes_a_session_and_tells_its_agent():
    stage = Stage()
    stage.welcomed()
    assert stage.tick(2 * HEARTBEAT_S) == []
    outputs = stage.tick(HEARTBEAT_S + 2 * TICK_S)
    assert closes(outputs) == [4408]
    assert [(to, m.code) for to, m in outputs if isinstance(m, SessionClosed)] == [(AGENT, 4408)]


def test_frames_keep_a_session_alive():
    stage = Stage()
    stage.welcomed()
    for _ in range(10):
        assert closes(stage.tick(HEARTBEAT_S)) == []
        stage.frame(type="heartbeat")


def test_a_hub_that_stood_still_forgives_silence():
    stage = Stage()
    stage.welcomed()
    stage.tick(TICK_S)
    stage.now_s += 3600
    assert stage.tell(Tick()) == []
    assert closes(stage.tick(HEARTBEAT_S)) == []


def test_a_socket_that_never_says_hello_is_closed():
    stage = Stage()
    stage.open()
    assert closes(stage.tick(HELLO_S + 2 * TICK_S)) == [4401]


def test_a_hello_that_is_never_answered_is_told_to_come_again():
    stage = Stage()
    stage.open()
    stage.hello()
    outputs = []
    while stage.now_s < 1000 + WELCOME_S + 3 * TICK_S:
        stage.frame(type="heartbeat")
        outputs += stage.tick(TICK_S)
    assert closes(outputs) == [1012]


def test_a_closed_connection_is_told_to_its_agent_and_orderly_only_while_the_hub_stops():
    stage = Stage()
    stage.welcomed("1.1")
    stage.welcomed("1.2")
    [(_, first)] = stage.tell(ConnClosed("1.1", 1001))
    stage.tell(HubStopping())
    [(_, second)] = stage.tell(ConnClosed("1.2", 1001))
    assert (first.orderly, second.orderly) == (False, True)


def test_revoking_closes_only_the_sessions_of_that_token():
    stage = Stage()
    stage.rows["token", (token_hash("other"),)] = Token("u", "ada", "agent", 1)
    stage.welcomed("1.1")
    stage.open("1.2")
    stage.frame("1.2", type="hello", agent_id="ada", instance="j", token="other")
    assert closes(stage.tell(SubjectRevoked(token_hash("other")))) == [4403]
    assert list(stage.state.sessions) == ["1.1"]


def test_a_revocation_that_was_never_told_is_found_when_the_directory_comes_up():
    stage = Stage()
    stage.welcomed()
    stage.rows["token", (token_hash("secret"),)] = Token("t", "ada", "agent", 1, revoked_ms=5)
    assert closes(gateway.on_up(stage.state, "directory", stage.rows)) == [4403]
    stage.open("1.2")
    assert closes(stage.hello("1.2")) == [4401]


def test_a_submitted_task_is_answered_on_the_session_it_came_from():
    stage = Stage()
    stage.welcomed()
    [(lane, submit)] = stage.frame(
        type="task_submit", id="9", task={"description": "x", "priority": "urgent"}
    )
    assert (lane, type(submit), submit.submitter, submit.reply_to) == ("lane.urgent", Submit, "ada", "me")
    done = Submitted(task_id="t-1", status="queued", priority=0, created_at=1)
    [(to, out)] = stage.tell(Reply(submit.request, [done]))
    assert (to, json.loads(out.data)) == (
        EDGE,
        {"type": "task_submitted", "re": "9", "task_id": "t-1", "status": "queued"},
    )
    assert stage.tell(Reply(submit.request, [done])) == []


def test_a_submit_whose_lane_goes_down_is_answered_unavailable():
    stage = Stage()
    stage.welcomed()
    stage.frame(type="task_submit", id="9", task={"description": "x"})
    [(_, out)] = gateway.on_down(stage.state, "lane.normal")
    assert (json.loads(out.data)["code"], json.loads(out.data)["re"]) == ("unavailable", "9")
    assert not stage.state.parts


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b'{"type":"hello","x":' + b"[" * 100_000])
def test_no_bytes_whatever_raise(data):
    stage = Stage()
    stage.open()
    [(_, out)] = stage.tell(FrameIn("1.1", data))
    assert json.loads(out.data)["code"] in ("bad_json", "bad_frame")


def test_a_session_ends_when_its_token_expires_and_no_new_one_begins():
    stage = Stage()
    stage.rows["token", (token_hash("secret"),)] = Token("t", "ada", "agent", 1, expires_ms=1_012_000)
    stage.welcomed()
    assert closes(stage.tick(TICK_S)) == []
    stage.frame(type="heartbeat")
    assert closes(stage.tick(2 * TICK_S)) == [4403]
    stage.open("1.2")
    assert closes(stage.hello("1.2")) == [4401]


def test_a_token_that_is_to_end_soon_ends_its_open_sessions_then():
    stage = Stage()
    stage.welcomed()
    stage.rows["token", (token_hash("secret"),)] = Token("t", "ada", "agent", 1, expires_ms=1_007_000)
    assert stage.tell(TokenChanged(token_hash("secret"))) == []
    assert closes(stage.tick(TICK_S)) == []
    assert closes(stage.tick(TICK_S)) == [4403]
