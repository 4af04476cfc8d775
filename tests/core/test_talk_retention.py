"""What of messages is removed for its age, by whom, and what stays."""

from agentcom.core.channel import Channel, ChannelRules
from agentcom.core.decision import Decision
from agentcom.core.directory_retention import PARTS, DirectoryRetention
from agentcom.core.messages import Expire, Forget, Keep
from agentcom.protocol.ops import Append, Delete, Put
from agentcom.protocol.rows import Agent, Logged, Mail
from agentcom.protocol.rows import Channel as ChannelRow
from tests.core.mailing import MS, Post, Writer

HOUR = 3_600_000
KEEP = Keep(HOUR, HOUR, idempotency_ms=2 * HOUR, audit_ms=HOUR, messages_ms=10 * HOUR, mailbox_ms=5 * HOUR)


def walked(post, now_ms, limit=100):
    """One whole walk of the directory; whom it told to forget what."""
    directory, retention, told = Writer(post.store, "directory"), DirectoryRetention(), {}
    for turn in range(1_000):
        decision = retention.expire(Expire("compaction", turn, KEEP, limit), post.store.reader, now_ms)
        assert all(isinstance(op, Delete) for op in decision.ops)
        directory.commit(decision.ops)
        *others, answer = decision.outputs
        told |= {output.to: output.message for output in others}
        if not answer.message.more:
            return told
    raise AssertionError("it never ends")


def keys(post, table):
    return [key for key, _ in post.store.reader.scan(table)]


def test_an_old_message_goes_with_all_its_index_rows_and_a_young_one_stays_whole():
    post = Post()
    old, _ = post.send()
    post.send(reply_to=old.message_id)
    post.now_ms = MS + HOUR
    young, _ = post.send(reply_to=old.message_id)
    walked(post, MS + 10 * HOUR, limit=1)
    assert keys(post, "messages") == [(young.message_id,)]
    assert keys(post, "talk") == [("from:bob", young.message_id), ("to:ada", young.message_id)]
    assert keys(post, "threads") == [(old.message_id, young.message_id)]


def test_a_key_can_be_used_anew_once_it_is_old():
    post = Post()
    first, _ = post.send(key="k")
    walked(post, MS + 2 * HOUR - 1)
    assert post.send(key="k")[0].message_id == first.message_id
    walked(post, MS + 2 * HOUR)
    assert post.send(key="k")[0].message_id != first.message_id


def test_only_agents_with_old_mail_are_told_to_forget_it():
    post = Post()
    post.send()
    post.now_ms = MS + HOUR
    post.send(to="bob", sender="ada")
    told = walked(post, MS + 5 * HOUR)
    assert told == {"agents/agent.ada": Forget(MS)}


def test_every_mailbox_is_looked_into_however_many_there_are():
    post = Post()
    names = [f"a{n:03}" for n in range(3 * PARTS + 1)]
    somebody = Writer(post.store, "directory")
    somebody.commit([Append("mailbox", (name,), Mail("m", MS, 1)) for name in names])
    assert sorted(walked(post, MS + 5 * HOUR)) == [f"agents/agent.{name}" for name in names]


def test_what_an_operator_set_by_the_older_protocol_counts():
    post = Post()
    post.send()
    Writer(post.store, "directory").commit([Put("config", ("mailbox_ttl_ms",), 60_000)])
    assert walked(post, MS + 60_000) == {"agents/agent.ada": Forget(MS)}


def test_mail_that_nobody_read_is_dropped_counted_and_told_to_the_next_session():
    post = Post()
    post.send()
    post.send()
    post.now_ms = MS + HOUR
    post.send()
    post.ada.do(post.ada.inbox.forget(MS, MS + 5 * HOUR))
    post.ada.write()
    assert keys(post, "mailbox") == [("ada", 3)]
    assert post.store.reader.get("inbox", ("ada",)).dropped == 2
    assert post.store.reader.get("counter", ("mailbox", "dropped", "")) == 2
    post.ada.open("c1")
    assert [(kind, what, why) for _, kind, what, why in post.ada.heard()][:1] == [("gap", (1, 2), "removed")]


def test_what_is_dropped_makes_way_for_what_waited_behind_it():
    post = Post(ahead=1)
    post.send()
    post.now_ms = MS + HOUR
    post.send()
    post.ada.open("c1")
    assert [what for _, _, what, _ in post.ada.heard()] == [1]
    post.ada.do(post.ada.inbox.forget(MS, MS + 5 * HOUR))
    post.ada.write()
    assert [what for _, _, what, _ in post.ada.heard()] == [2]


def test_a_channels_log_loses_what_is_old_and_its_places_go_on():
    post = Post()
    writer = Writer(post.store, "channel.build")
    writer.commit([Put("channels", ("build",), ChannelRow("build", "", "bob", MS))])
    for ms in (MS, MS + 1, MS + HOUR):
        writer.commit([Append("channel_log", ("build",), Logged(f"m{ms}", ms))])
    assert walked(post, MS + 10 * HOUR) == {"channels/channel.build": Forget(MS)}
    channel = Channel("build", post.store.reader, ChannelRules(history=10))
    for decision in channel.handle(Forget(MS + 1)):
        writer.commit(decision.ops)
    assert keys(post, "channel_log") == [("build", 3)]
    assert isinstance(next(channel.handle(Forget(MS + HOUR))), Decision)


def test_a_mailbox_without_old_mail_is_left_alone():
    post = Post()
    Writer(post.store, "directory").commit([Put("agent", ("cyd",), Agent("cyd"))])
    post.send()
    assert walked(post, MS + 5 * HOUR - 1) == {}
