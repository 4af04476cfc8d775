"""A channel against a model: every post is in the log once and reaches each subscriber's mailbox once, in order.

The actor crashes anywhere, notices are lost or doubled, posts take several slices.
"""

from collections import deque
from unittest import mock

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule

from agentcom.core import channel as module
from agentcom.core.channel import Channel, ChannelRules
from agentcom.core.messages import AskPosted, CarryOn, Fault, ManageChannel, Reply, Spread
from agentcom.core.output_commit import OutputCommit
from agentcom.core.posting import Sender, post
from agentcom.protocol.bodies import Published
from agentcom.protocol.frames import Send
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Agent
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.overlay import Overlay
from tests.core.mailing import MS, Post, Writer

NAMES = [f"a{n}" for n in range(7)]
HISTORY = 4


class World:
    """One channel's actor, real but for the actor, with the disk in the test's hand."""

    def __init__(self, name):
        self.name = name
        self.base = Post()
        self.store = self.base.store
        Writer(self.store, "directory").commit([Put("agent", (name,), Agent(name)) for name in NAMES])
        self.out = []
        self.start()

    def start(self):
        self.rows = Overlay(self.store.reader)
        self.tickets = OutputCommit(self.rows, lambda ops: (), self.out.extend)
        self.unwritten = deque()
        [opened] = self.store.engine.apply([Open(f"channel.{self.name}")])
        self.incarnation = opened.incarnation
        self.core = Channel(self.name, self.rows, ChannelRules(history=HISTORY))
        self.do(self.core.start())

    def do(self, decisions):
        for decision in decisions:
            self._owe(self.tickets.take(decision))
        self._owe(self.tickets.close())

    def _owe(self, due):
        self.unwritten += [Commit(f"channel.{self.name}", self.incarnation, *each) for each in due]

    def write(self, count=1_000):
        while self.unwritten and count:
            count -= 1
            [done] = self.store.commit(self.unwritten.popleft())
            assert isinstance(done, Committed), done
            self.tickets.committed(done.ticket, done.appended)

    def manage(self, verb, by="bob"):
        self.do(
            self.core.handle(
                ManageChannel(reply_to="edge", request=1, channel=self.name, verb=verb, by=by, now_ms=MS)
            )
        )

    def mailbox(self, agent_id):
        return [mail.message_id for _, mail in self.store.reader.scan("mailbox", (agent_id,), limit=10_000)]

    def log(self):
        return [
            row.message_id for _, row in self.store.reader.scan("channel_log", (self.name,), limit=10_000)
        ]

    def settle(self):
        self.write()
        while self.core.is_busy:
            self.do(self.core.go_on())
            self.write()


class Posts(RuleBasedStateMachine):
    name = "build"

    def __init__(self):
        super().__init__()
        self.slices = mock.patch.object(module, "SLICE", 2)
        self.slices.start()
        self.world = World(self.name)
        if self.name == "build":
            self.world.manage("create")
            for name in NAMES[:5]:
                self.world.manage("subscribe", name)
        self.world.settle()
        self.subscribed = set(NAMES[:5])
        self.owed = {name: [] for name in NAMES}  #: certainly, in this order
        self.open = set()  #: (who, message): it subscribed or left while the post was under way
        self.posts, self.lost = [], []

    def teardown(self):
        self.world.do(self.world.core.handle(CarryOn()))
        self.world.settle()
        self.slices.stop()
        if self.name == "build":
            assert self.world.log() == self.posts[-HISTORY:]
        assert self.world.store.reader.scan("posts", ()) == []
        for name in NAMES:
            got = self.world.mailbox(name)
            assert len(got) == len(set(got)), "nobody gets a post twice"
            assert got == [id for id in self.posts if id in got], "mailboxes keep the order of posts"
            assert set(self.owed[name]) <= set(got)
            assert all(id in self.owed[name] or (name, id) in self.open for id in got)

    def to(self):
        return {"to": None, "channel": self.name}

    def getting(self):
        return self.subscribed

    @rule(who=st.sampled_from(NAMES), arrives=st.booleans())
    def post(self, who, arrives):
        world = self.world
        sender = Sender(who, Overlay(world.store.reader), world.base.rules)
        done = post(Send(payload={}, **self.to()), sender, world.base.entropy.message_id(MS), MS)
        assert not isinstance(done, Fault)
        world.base.bob.commit(done.ops)
        self.posts.append(done.message_id)
        for name in self.getting() - {who}:
            self.owed[name].append(done.message_id)
        if arrives and not self.lost:  # those that come later keep their order
            world.do(world.core.handle(done.posted))
        else:
            self.lost.append(done.posted)

    @rule()
    def the_notices_come_after_all(self):
        for posted in self.lost:
            self.world.do(self.world.core.handle(posted))
        self.lost = []

    @rule()
    def a_notice_comes_twice(self):
        if self.posts and not self.lost:
            again = AskPosted(reply_to="edge", request=7, posted=module.Posted(self.name, self.posts[-1]))
            self.world.do(self.world.core.handle(again))

    @rule()
    def a_slice_goes_on(self):
        self.world.do(self.world.core.go_on())

    @rule(count=st.integers(1, 3))
    def the_disk_answers(self, count):
        self.world.write(count)

    @rule()
    def the_actor_crashes(self):
        self.world.out.clear()
        self.world.start()
        self.lost = []  # its start found them all

    @rule(who=st.sampled_from(NAMES), joins=st.booleans())
    def somebody_joins_or_leaves(self, who, joins):
        self.open |= {(who, key[1]) for key, _ in self.world.store.reader.scan("posts", ())}
        self.owed[who] = [id for id in self.owed[who] if (who, id) not in self.open]
        self.world.manage("subscribe" if joins else "unsubscribe", who)
        self.world.write()  # else a crash may undo it
        (self.subscribed.add if joins else self.subscribed.discard)(who)


class Broadcasts(Posts):
    name = "*"

    def to(self):
        return {"to": None, "broadcast": True}

    def getting(self):
        return set(NAMES)

    @rule(who=st.sampled_from(NAMES), joins=st.booleans())
    def somebody_joins_or_leaves(self, who, joins):
        """Broadcasts know no subscribers."""


TestPosts = Posts.TestCase
TestPosts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBroadcasts = Broadcasts.TestCase
TestBroadcasts.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


# --- by example --------------------------------------------------------------------------------------


def replies(world):
    return [o.message.body for o in world.out if isinstance(o.message, Reply)]


def build():
    world = World("build")
    world.manage("create")
    world.settle()
    world.out.clear()
    return world


def say(world, who="bob", **fields):
    sender = Sender(who, Overlay(world.store.reader), world.base.rules)
    done = post(
        Send(**({"channel": "build", "payload": {}} | fields)), sender, world.base.entropy.message_id(MS), MS
    )
    world.base.bob.commit(done.ops)
    return done.posted


def test_a_post_is_stored_once_and_told_to_all_subscribers_at_once():
    world = build()
    for name in ("a1", "a2"):
        world.manage("subscribe", name)
    posted = say(world)
    world.do(world.core.handle(posted))
    world.settle()
    assert len(world.store.reader.scan("messages", ())) == 1
    [spread] = [o for o in world.out if isinstance(o.message, Spread)]
    assert spread.to == "agents"
    assert [(child, news.seq) for child, news in spread.message.mail] == [("agent.a1", 1), ("agent.a2", 1)]


def test_whoever_waits_for_a_posts_place_is_told_it_again_for_a_repeat():
    world = build()
    posted = say(world)
    for request in (1, 2):
        world.do(world.core.handle(AskPosted(reply_to="edge", request=request, posted=posted)))
        world.settle()
    first, again = replies(world)
    assert isinstance(first, Published)
    assert first == again
    assert first.seq == 1


def test_a_channel_is_made_once():
    world = build()
    world.manage("create")
    assert replies(world)[0].code == "conflict"


def test_what_is_posted_to_a_channel_that_is_deleted_meanwhile_is_refused():
    world = build()
    posted = say(world)
    world.manage("delete")
    world.do(world.core.handle(AskPosted(reply_to="edge", request=2, posted=posted)))
    world.settle()
    assert replies(world)[-1].code == "not_found"
    assert world.store.reader.scan("posts", ()) == []
    assert world.store.reader.scan("channel_log", ()) == []


def test_a_channel_that_is_made_again_counts_on():
    world = build()
    world.do(world.core.handle(say(world)))
    world.settle()
    world.manage("delete")
    world.manage("create")
    world.settle()
    world.do(world.core.handle(say(world)))
    world.settle()
    assert [key[1] for key, _ in world.store.reader.scan("channel_log", ("build",))] == [2]


def test_subscribing_twice_changes_nothing():
    world = build()
    for _ in range(2):
        world.manage("subscribe", "a1")
    world.settle()
    assert [body.status for body in replies(world)] == ["subscribed", "already_subscribed"]
    assert world.store.reader.get("channels", ("build",)).subscribers == 1


def test_a_crash_between_two_slices_neither_logs_nor_delivers_twice(monkeypatch):
    monkeypatch.setattr(module, "SLICE", 2)
    world = build()
    for name in NAMES[:5]:
        world.manage("subscribe", name)
    world.settle()
    posted = say(world)
    world.do(world.core.handle(posted))
    world.write()
    world.start()
    world.settle()
    assert world.log() == [posted.message_id]
    assert [world.mailbox(name) for name in NAMES] == [[posted.message_id]] * 5 + [[]] * 2
