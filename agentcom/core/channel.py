"""One channel: who subscribes, its log, and each post on its way into the subscribers' mailboxes.

A post is stored once, as a message; the log and the mailboxes refer to it. Its sender's commit wrote a `posts` row; the
commits here append the log and up to `SLICE` mailboxes each, and keep in that row how far they came. So a crash in the
middle goes on where it was, and nobody gets a post twice. Broadcasts are the posts of a channel of that kind, whose
subscribers are all registered agents and which has no log.

| the `posts` row | what follows |
|---|---|
| written by the sender | log entry, first slice |
| `after` an agent | the next slice |
| the last slice | it is deleted, in the same commit |

May import: agentcom.core, agentcom.protocol.
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, ClassVar

import msgspec

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import (
    Appended,
    AskPosted,
    CarryOn,
    Fault,
    Forget,
    ManageChannel,
    Posted,
    Reply,
    Spread,
)
from agentcom.core.missing import missing
from agentcom.core.posting import size_of
from agentcom.protocol import rows as kept
from agentcom.protocol.bodies import Published
from agentcom.protocol.ops import Add, Append, AppendMany, Delete, Key, Op, Put
from agentcom.protocol.talk import EVERYONE, frame_of
from agentcom.protocol.talk_views import ChannelDone

SLICE = 500
"""Mailboxes of one commit: some milliseconds of the store's time."""


class ChannelRules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that channels are decided by."""

    history: int = 200
    max_channels: int = 10_000


class Job(msgspec.Struct):
    """A post under way, and who waits for its place."""

    posted: Posted
    after: str = ""
    begun: bool = False
    asks: list[AskPosted] = []


class Channel:
    """The decisions of one channel's actor. Its rows are loaded once; it is their only writer."""

    def __init__(self, name: str, rows: Rows, rules: ChannelRules) -> None:
        self.name, self.rows, self.rules = name, rows, rules
        self.row: kept.Channel | None = rows.get("channels", (name,))
        self.subscribers = [str(key[1]) for key in self._keys("subscribers")]
        self.seq: int = rows.get("head", ("channel_log", name)) or 0
        first = rows.scan("channel_log", (name,), limit=1)
        self._oldest = int(first[0][0][1]) if first else self.seq + 1
        self._jobs: deque[Job] = deque()

    @property
    def is_busy(self) -> bool:
        """A post is under way: call `go_on` soon."""
        return bool(self._jobs)

    def start(self) -> Iterator[Decision]:
        """What an earlier life, or a sender whose notice was lost, left to do."""
        known = {job.posted.message_id for job in self._jobs}
        for key in self._keys("posts"):
            if key[1] not in known:
                self._jobs.append(Job(Posted(self.name, str(key[1]))))
        yield from self.go_on()

    def handle(self, message: Any) -> Iterator[Decision]:
        """Every message a channel understands. Raises `TypeError` for any other."""
        handler = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(f"a channel does not understand {type(message).__name__}")
        yield from handler(self, message)

    # --- posts -------------------------------------------------------------------------------------

    def _posted(self, posted: Posted) -> Iterator[Decision]:
        if self._row_of(posted.message_id) is None or self._job(posted.message_id):
            return
        self._jobs.append(Job(posted))
        yield from self.go_on()

    def _asked(self, ask: AskPosted) -> Iterator[Decision]:
        job = self._job(ask.posted.message_id)
        if self._is_gone:
            yield Decision(outputs=self._refused([ask]))
        elif job and not job.begun:
            job.asks.append(ask)
        elif job or self._row_of(ask.posted.message_id) is None:
            yield Decision(outputs=(self._place_of(ask),))
        else:
            self._jobs.append(Job(ask.posted, asks=[ask]))
            yield from self.go_on()

    def go_on(self) -> Iterator[Decision]:
        """The next slice of the oldest post. Others are told to wait, as this keeps the order."""
        if self._jobs:
            job = self._jobs[0]
            yield self._slice(job)

    def _slice(self, job: Job) -> Decision:
        message_id = job.posted.message_id
        post: kept.Post | None = self._row_of(message_id)
        message: kept.Message | None = (
            self.rows.get("messages", (message_id,)) if not job.posted.message else None
        )
        frame = job.posted.message or (frame_of(message) if message else None)
        if post is None or frame is None or self._is_gone:
            self._jobs.popleft()
            return Decision(
                (Delete("posts", (self.name, message_id)),), self._refused(job.asks), "post.dropped"
            )
        size = job.posted.size or (size_of(message) if message else 0)
        job.posted = Posted(self.name, message_id, frame, size)
        names = self._after(job.after or post.after)
        ops: list[Op] = [] if post.seq or job.begun else list(self._logged(frame))
        skip = sum(type(op) is Append for op in ops)
        if mail := tuple(name for name in names if name != frame.sender):
            ops.append(AppendMany("mailbox", mail, kept.Mail(message_id, frame.time_ms, size)))
        ops.append(self._progress(job, names))
        return Decision(
            tuple(ops), (*self._answers(job), *_spread(mail, skip, frame, size)), "post.delivered"
        )

    def _logged(self, frame: Any) -> Iterator[Op]:
        """Its place in the log, whose oldest entry goes. This actor alone appends here, so it knows the place."""
        if self.name == EVERYONE:
            return
        self.seq += 1
        yield Append("channel_log", (self.name,), kept.Logged(frame.message_id, frame.time_ms))
        while self.seq - self._oldest >= self.rules.history:
            yield Delete("channel_log", (self.name, self._oldest))
            self._oldest += 1

    def _progress(self, job: Job, names: list[str]) -> Op:
        key = (self.name, job.posted.message_id)
        job.begun = True
        if len(names) < SLICE:
            self._jobs.popleft()
            return Delete("posts", key)
        job.after = names[-1]
        return Put("posts", key, kept.Post(job.after, self.seq or 1))

    def _answers(self, job: Job) -> tuple[Output, ...]:
        asks, job.asks = job.asks, []
        return tuple(self._place_of(ask, self.seq) for ask in asks)

    def _after(self, agent_id: str) -> list[str]:
        """The next slice of who is to get it, in order of their names."""
        if self.name == EVERYONE:
            after = (agent_id,) if agent_id else None
            return [str(key[0]) for key, _ in self.rows.scan("agent", (), after=after, limit=SLICE)]
        at = bisect_right(self.subscribers, agent_id) if agent_id else 0
        return self.subscribers[at : at + SLICE]

    @property
    def _is_gone(self) -> bool:
        return self.row is None and self.name != EVERYONE

    def _refused(self, asks: list[AskPosted]) -> tuple[Output, ...]:
        gone = missing("channel", self.name, "channel")
        return tuple(Output(ask.reply_to, Reply(ask.request, gone)) for ask in asks)

    def _place_of(self, ask: AskPosted, seq: int = 0) -> Output:
        """Of a post that is in the log already: a repeat's answer. 0 when the log no longer has it."""
        message_id = ask.posted.message_id
        message: kept.Message | None = self.rows.get("messages", (message_id,))
        newest = (
            self.rows.scan("channel_log", (self.name,), limit=self.rules.history, reverse=True)
            if not seq
            else []
        )
        seq = next((int(key[1]) for key, row in newest if row.message_id == message_id), seq)
        thread_id = message.thread_id if message else message_id
        body = Published(
            message_id=message_id, id=message_id, thread_id=thread_id, channel=self.name, seq=seq
        )
        return Output(ask.reply_to, Reply(ask.request, body))

    def _row_of(self, message_id: str) -> kept.Post | None:
        found: kept.Post | None = self.rows.get("posts", (self.name, message_id))
        return found

    def _job(self, message_id: str) -> Job | None:
        return next((job for job in self._jobs if job.posted.message_id == message_id), None)

    # --- the channel itself ------------------------------------------------------------------------

    def _managed(self, ask: ManageChannel) -> Iterator[Decision]:
        if ask.verb != "create" and self.row is None:
            yield _answer(ask, missing("channel", self.name, "channel"))
        else:
            yield self._VERBS[ask.verb](self, ask)

    def _create(self, ask: ManageChannel) -> Decision:
        if self.row is not None:
            return _answer(ask, Fault("conflict", f"the channel {self.name} exists", "name"))
        if (self.rows.get("counter", ("channels", "", "")) or 0) >= self.rules.max_channels:
            return _answer(ask, Fault("overloaded", "there are too many channels", retry_after_ms=60_000))
        self.row = kept.Channel(self.name, ask.description, ask.by, ask.now_ms)
        ops = (Put("channels", (self.name,), self.row), Add("counter", ("channels", "", ""), 1))
        return _done(ask, ops, "created", 201)

    def _delete(self, ask: ManageChannel) -> Decision:
        """Its messages stay in the history of messages; its log, its subscribers and what is under way go."""
        ops: list[Op] = [Delete("channels", (self.name,)), Add("counter", ("channels", "", ""), -1)]
        for agent_id in self.subscribers:
            ops += [Delete("subscribers", (self.name, agent_id)), Delete("subscribed", (agent_id, self.name))]
        ops += (Delete(table, key) for table in ("channel_log", "posts") for key in self._keys(table))
        self.row, self.subscribers, self._oldest = None, [], self.seq + 1
        waiting = [waits for job in self._jobs for waits in job.asks]
        self._jobs.clear()
        done = _done(ask, tuple(ops), "deleted")
        return done._replace(outputs=(*self._refused(waiting), *done.outputs))

    def _subscribe(self, ask: ManageChannel) -> Decision:
        at = bisect_right(self.subscribers, ask.by)
        if at and self.subscribers[at - 1] == ask.by:
            return _done(ask, (), "already_subscribed")
        insort(self.subscribers, ask.by)
        put = Put("subscribers", (self.name, ask.by), kept.Subscriber(ask.now_ms))
        return _done(
            ask, (put, Put("subscribed", (ask.by, self.name), kept.Mark()), self._counted()), "subscribed"
        )

    def _unsubscribe(self, ask: ManageChannel) -> Decision:
        if ask.by not in self.subscribers:
            return _done(ask, (), "not_subscribed")
        self.subscribers.remove(ask.by)
        gone = Delete("subscribers", (self.name, ask.by))
        return _done(ask, (gone, Delete("subscribed", (ask.by, self.name)), self._counted()), "unsubscribed")

    def _counted(self) -> Op:
        assert self.row is not None
        self.row = msgspec.structs.replace(self.row, subscribers=len(self.subscribers))
        return Put("channels", (self.name,), self.row)

    def _keys(self, table: str) -> Iterator[Key]:
        after: Key | None = None
        while found := self.rows.scan(table, (self.name,), after=after, limit=SLICE):
            yield from (key for key, _ in found)
            after = found[-1][0]

    def _forget(self, forget: Forget) -> Iterator[Decision]:
        """What is old leaves the log, a slice a commit."""
        while old := self._older(forget.before_ms):
            self._oldest = old[-1] + 1
            yield Decision(tuple(Delete("channel_log", (self.name, seq)) for seq in old), (), "expired")

    def _older(self, before_ms: int) -> list[int]:
        after = (self.name, self._oldest - 1)
        found = self.rows.scan("channel_log", (self.name,), after=after, limit=SLICE)
        return [int(key[1]) for key, _ in takewhile(lambda entry: entry[1].ms <= before_ms, found)]

    def _carry_on(self, _message: CarryOn) -> Iterator[Decision]:
        yield from self.start()

    _HANDLERS: ClassVar[dict[type, Callable[..., Iterator[Decision]]]] = {
        Posted: _posted, AskPosted: _asked, ManageChannel: _managed, CarryOn: _carry_on, Forget: _forget,
    }  # fmt: skip
    _VERBS: ClassVar[dict[str, Callable[..., Decision]]] = {
        "create": _create, "delete": _delete, "subscribe": _subscribe, "unsubscribe": _unsubscribe,
    }  # fmt: skip


def _spread(names: tuple[str, ...], skip: int, frame: Any, size: int) -> Iterator[Output]:
    """One message to all agents of a slice, with the sequence that each one's mailbox gave it."""
    if names:

        def each(appended: tuple[int, ...]) -> Spread:
            mail = zip(names, appended[skip:], strict=True)
            return Spread(tuple((f"agent.{name}", Appended(seq, frame, size)) for name, seq in mail))

        yield Output("agents", each)


def _answer(ask: ManageChannel, body: Any, status: int = 200) -> Decision:
    return Decision(outputs=(Output(ask.reply_to, Reply(ask.request, body, status)),))


def _done(ask: ManageChannel, ops: tuple[Op, ...], what: str, status: int = 200) -> Decision:
    answer = _answer(ask, ChannelDone(status=what, channel=ask.channel), status)
    return answer._replace(ops=ops, event=f"channel.{ask.verb}")
