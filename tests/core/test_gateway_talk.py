"""Messages at the gateway: who may ask, and which actor decides."""

import pytest

from agentcom.core import gateway
from agentcom.core.messages import CarryOn, Deliver, Fault, FrameOut, ManageChannel, Read, Reply, SendMessage
from agentcom.protocol.frames import MessageFrame
from agentcom.protocol.rows import Post
from tests.core import test_gateway_sessions as sessions
from tests.core.test_gateway_http import Stage

SOME = {"payload": {"a": 1}}


@pytest.mark.parametrize(
    ("token", "to", "sender"),
    [
        ("agent", "agents/agent.ada", "ada"),
        ("operator", "directory", "@olga"),
        ("admin", "directory", "@ann"),
    ],
)
def test_everyone_speaks_as_itself_and_by_its_own_actor(token, to, sender):
    where, ask = Stage().ask("message.send", token=token, body={**SOME, "to": "bob"})
    assert (where, type(ask), ask.sender, ask.send.to) == (to, SendMessage, sender, "bob")


@pytest.mark.parametrize("to", [None, "broadcast"])
def test_without_a_recipient_a_message_is_a_broadcast(to):
    _, ask = Stage().ask("message.send", body={**SOME, "to": to})
    assert (ask.send.to, ask.send.broadcast) == (None, True)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "payload"),
        ({"payload": []}, "payload"),
        ({"payload": {}, "type": ""}, "type"),
        ({**SOME, "to": 1}, "to"),
    ],
)
def test_what_is_no_message_is_refused_by_its_field(body, path):
    fault = Stage().fault("message.send", body=body)
    assert (fault.code, fault.path) == ("bad_frame", path)


def test_a_payload_nested_too_deeply_is_refused():
    deep = {}
    for _ in range(40):
        deep = {"x": deep}
    fault = Stage().fault("message.send", body={"payload": deep})
    assert fault.code == "bad_frame"
    assert fault.path.startswith("payload")


@pytest.mark.parametrize("route", ["mailbox.get", "agent.subscriptions"])
def test_an_agent_sees_only_what_is_its_own_and_operators_all(route):
    stage = Stage()
    assert stage.fault(route, token="agent", agent_id="bob").code == "forbidden"
    for token, agent_id in (("agent", "ada"), ("operator", "bob")):
        _, read = stage.ask(route, token=token, agent_id=agent_id)
        assert (type(read), read.key) == (Read, agent_id)


def test_only_an_agent_acknowledges_and_only_its_own_mailbox():
    stage = Stage()
    assert stage.fault("mailbox.ack", token="agent", agent_id="bob", body={"seq": 1}).code == "forbidden"
    assert stage.fault("mailbox.ack", token="admin", agent_id="ada", body={"seq": 1}).code == "forbidden"
    to, ask = stage.ask("mailbox.ack", token="agent", agent_id="ada", body={"seq": 1})
    assert (to, ask.seq) == ("agents/agent.ada", 1)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"since": "-1"}])
def test_a_bad_query_is_refused(query):
    assert Stage().fault("mailbox.get", agent_id="ada", **query).code == "bad_frame"


def test_a_channels_name_is_written_in_one_way():
    to, ask = Stage().ask("channel.create", token="agent", body={"name": "#Builds"})
    assert (to, ask.channel, ask.verb, ask.by) == ("channels/channel.builds", "builds", "create", "ada")
    _, read = Stage().ask("channel.get", channel="#Builds")
    assert read.key == "builds"


@pytest.mark.parametrize("route", ["channel.get", "channel.publish", "channel.delete"])
def test_what_cannot_be_a_channels_name_is_not_there(route):
    assert Stage().fault(route, channel="//", body=SOME).code == "not_found"


def test_agents_do_not_delete_channels():
    assert Stage().fault("channel.delete", token="agent", channel="builds").code == "forbidden"


# --- sessions ----------------------------------------------------------------------------------------


def test_a_subscription_is_decided_by_its_channel_and_answered_by_id():
    stage = sessions.Stage()
    stage.welcomed()
    [(to, ask)] = stage.frame(type="subscribe", channel="builds", id="5")
    assert (to, type(ask), ask.by, ask.verb) == ("channels/channel.builds", ManageChannel, "ada", "subscribe")
    [(_, out)] = stage.tell(Reply(ask.request, {"status": "subscribed"}))
    assert out == FrameOut("1.1", b'{"type":"subscribed","channel":"builds","re":"5"}')


def test_a_refused_subscription_is_an_error():
    stage = sessions.Stage()
    stage.welcomed()
    [(_, ask)] = stage.frame(type="unsubscribe", channel="builds", id="5")
    [(_, out)] = stage.tell(Reply(ask.request, Fault("not_found", "no channel", "channel")))
    assert b'"code":"not_found"' in out.data
    assert b'"re":"5"' in out.data


def test_who_waits_for_a_channel_when_channels_go_down_is_told_to_ask_again():
    stage = sessions.Stage()
    stage.welcomed()
    stage.frame(type="subscribe", channel="builds", id="5")
    [(_, out)] = gateway.on_down(stage.state, "channels")
    assert b'"code":"unavailable"' in out.data


def test_posts_that_nobody_carried_on_wake_their_channels():
    stage = sessions.Stage()
    for message_id in ("m1", "m2"):
        stage.rows["posts", ("builds", message_id)] = Post()
    [(to, message)] = gateway.on_up(stage.state, "channels", stage.rows)
    assert (to, message) == ("channels/channel.builds", CarryOn())


def test_a_message_to_many_is_encoded_once(monkeypatch):
    stage = sessions.Stage()
    stage.welcomed()
    frame = MessageFrame(
        seq=0, message_id="m1", sender="bob", message_type="chat", payload={}, thread_id="m1", time_ms=1
    )
    outs = [stage.tell(Deliver("1.1", seq, frame))[0].message for seq in (1, 2)]
    assert [b'"seq":%d,' % seq in out.data for seq, out in enumerate(outs, 1)] == [True, True]
    assert len(stage.state.shared._kept) == 1
