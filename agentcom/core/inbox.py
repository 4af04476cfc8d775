"""One agent's mailbox as its actor delivers it: strictly in sequence, at least once, a bounded way ahead of the acks.

| | no session | session |
|---|---|---|
| `opened` | reads what is unacknowledged; a new session begins behind the last ack | the same, as a replaced one |
| `appended(n)` | every 64th: too many? | known: nothing; the next: sent; beyond: what lies between is read first |
| `acked(n)` | what lies up to n is removed (the HTTP view) | the same, and more is sent |
| `looked` | nothing | a head on disk that nobody told of is caught up with |
| `closed` | nothing | pending acks are written |

A session that takes no backlog (protocol 1) is sent only what comes while it lasts; each of these is `taken` by itself,
and what was there before stays for the HTTP view.

A sequence has a row until it is acknowledged or dropped, and rows appear without holes. So a missing row above the
last ack was dropped, and the client is told by `mailbox_gap` before it gets a later one.
May import: agentcom.core, agentcom.protocol.
"""

from collections import deque
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import Appended, Condition, Deliver, Fault, ToSession
from agentcom.protocol import rows as kept
from agentcom.protocol.figures import hourly
from agentcom.protocol.frames import MailboxGap, MessageFrame
from agentcom.protocol.ops import Add, Delete, Key, Op, Put
from agentcom.protocol.talk import frame_of

SLICE = 500
FLUSH_S = 1.0
"""Acks may wait so long to be written, or until there are `FLUSH` of them: after a crash these come again."""
FLUSH = 256


class MailRules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that mailboxes are decided by."""

    max_messages: int = 1_000  #: unacknowledged ones; beyond it the oldest are dropped
    ahead: int = 256  #: messages sent beyond the last ack
    ahead_bytes: int = 1 << 20  #: and their bytes, unless it is one

    @property
    def hard_bound(self) -> int:
        """Nobody may send to a mailbox of so many: its own actor should have made room long before."""
        return 2 * self.max_messages + 256


class Entry(NamedTuple):
    message_id: str
    size: int


class Inbox:
    """Methods yield decisions; `conn` names the session that gets what they send."""

    def __init__(self, agent_id: str, rows: Rows, rules: MailRules) -> None:
        self.id, self.rows, self.rules = agent_id, rows, rules
        self.row: kept.Inbox = rows.get("inbox", (agent_id,)) or kept.Inbox()
        self.last_ack = self.row.acked  #: ahead of the row while acks wait to be written
        self.flush_at = float("inf")
        self._dropped = 0  #: since `take_dropped`
        self._told = 0  #: how many drops the alert spoke of; 0 when there is none
        self._unsaved: list[int] = []
        self._empty("")

    def _empty(self, conn: str) -> None:
        self.conn = conn
        self.live = False  #: the session was welcomed
        self.head = self.last_ack  #: the highest sequence known
        self.first = self.next = self.last_ack + 1  #: what the session expects first, and next
        self.entries: dict[int, Entry] = {}  #: unacknowledged, in sequence
        self.unsent: deque[int] = deque()
        self.flying = self.flying_bytes = 0  #: sent and not acknowledged

    @property
    def pending(self) -> int:
        return len(self.entries)

    @property
    def highest_sent(self) -> int:
        return self.next - 1

    # --- what happens --------------------------------------------------------------------------------

    def opened(self, conn: str, acked: int, now_ms: int, *, backlog: bool = True) -> Iterator[Decision]:
        """A session begins. Nothing is sent before `begin`, which follows its welcome."""
        self._empty(conn)
        self._load()
        yield from self._make_room(now_ms)
        if not backlog:
            self.unsent.clear()
            self.first = self.next = self.head + 1
        if acked <= self.head:  # of another epoch, or of another hub, when it is more
            self._acknowledge(acked)
            yield self.flush(now_ms)

    def begin(self) -> Iterator[Output]:
        self.live = True
        return self.pump({})

    def at_once(self, notice: Appended) -> Deliver | None:
        """The common case of `appended`, kept short: the next one, for a client that keeps up. None for any other."""
        seq, size, rules = notice.seq, notice.size, self.rules
        if (
            not self.live
            or seq != self.next
            or seq != self.head + 1
            or len(self.entries) >= rules.max_messages
        ):
            return None
        if self.flying and (self.flying >= rules.ahead or self.flying_bytes + size > rules.ahead_bytes):
            return None
        self.entries[seq] = Entry(notice.message.message_id, size)
        self.head, self.next = seq, seq + 1
        self.flying += 1
        self.flying_bytes += size
        return Deliver(self.conn, seq, notice.message)

    def closed(self, now_ms: int) -> Decision:
        self._empty("")
        return self.flush(now_ms)

    def appended(self, notice: Appended, now_ms: int) -> Iterator[Decision]:
        if not self.conn:
            if notice.wakes:
                yield from self._look_inside(now_ms)
            return
        seq = notice.seq
        if seq <= self.head:
            return
        frame = None
        if seq == self.head + 1:
            frame = notice.message
            self._add(seq, Entry(frame.message_id, notice.size))
        else:
            self._load()
        yield from self._make_room(now_ms)
        if outputs := tuple(self.pump({seq: frame} if frame else {})):
            yield Decision(outputs=outputs)

    def looked(self, now_ms: int) -> Iterator[Decision]:
        """Whether something was appended and its notice was lost."""
        stored = self.rows.get("head", ("mailbox", self.id)) or 0
        if self.conn and stored > self.head:
            self._load()
            self.head = max(self.head, stored)  # the last of them may have been removed for their age
            yield from self._make_room(now_ms)
            yield Decision(outputs=tuple(self.pump({})))

    def acked(self, seq: int, now_ms: int, now_s: float) -> Iterator[Decision | Fault]:
        """By the session. A Fault when it acknowledges what it was not sent."""
        if seq > self.highest_sent:
            yield Fault(
                "invalid_state", f"{seq} was not sent yet; the last one is {self.highest_sent}", "seq"
            )
            return
        self._acknowledge(seq)
        yield from self._save_soon(now_ms, now_s)

    def taken(self, seq: int, now_ms: int, now_s: float) -> Iterator[Decision]:
        """By a session without a backlog: this one was sent. What lies before it may still wait to be read."""
        entry = self.entries.pop(seq, None)
        if entry is None:
            return
        self._landed(seq, entry)
        self._unsaved.append(seq)
        if not self.entries or next(iter(self.entries)) > seq:
            self.last_ack = max(self.last_ack, seq)
        yield from self._save_soon(now_ms, now_s)

    def _save_soon(self, now_ms: int, now_s: float) -> Iterator[Decision]:
        if len(self._unsaved) >= FLUSH:
            yield self.flush(now_ms)
        elif self._unsaved and self.flush_at == float("inf"):
            self.flush_at = now_s + FLUSH_S
        if outputs := tuple(self.pump({})):
            yield Decision(outputs=outputs)

    def _landed(self, seq: int, entry: Entry) -> None:
        """It is on its way to the session no longer, if it was."""
        if self.first <= seq < self.next:
            self.flying -= 1
            self.flying_bytes -= entry.size

    def acked_by_poll(self, seq: int, now_ms: int) -> Iterator[Decision | Fault]:
        """By the HTTP view, which may have shown what the session was not sent."""
        head = self.rows.get("head", ("mailbox", self.id)) or 0
        if seq > head:
            yield Fault("invalid_state", f"there is no message {seq} yet; the last one is {head}", "seq")
            return
        self._load()
        self._acknowledge(seq)
        yield from self._make_room(now_ms)
        outputs = tuple(self.pump({}))
        yield self.flush(now_ms)._replace(outputs=outputs)
        if not self.conn:
            self._empty("")

    # --- how ---------------------------------------------------------------------------------------

    def pump(self, fresh: dict[int, MessageFrame]) -> Iterator[Output]:
        """Send on, as far as the acks allow. `fresh` are contents that need not be read."""
        rules = self.rules
        while self.live and self.unsent:
            seq = self.unsent[0]
            entry = self.entries[seq]
            crowded = self.flying >= rules.ahead or self.flying_bytes + entry.size > rules.ahead_bytes
            if self.flying and crowded:
                return
            self.unsent.popleft()
            frame = fresh.get(seq) or self._read(entry.message_id)
            if frame is None:  # the message itself was removed by its age
                del self.entries[seq]
                self._unsaved.append(seq)
                continue
            if seq > self.next:
                yield self._say(MailboxGap(from_seq=self.next, to_seq=seq - 1, reason=self._why(seq - 1)))
            self.next = seq + 1
            self.flying += 1
            self.flying_bytes += entry.size
            yield Output("gateway", Deliver(self.conn, seq, frame))

    def flush(self, now_ms: int) -> Decision:
        """Pending acks to disk."""
        self.flush_at = float("inf")
        if not self._unsaved and self.last_ack == self.row.acked:
            return Decision()
        count = len(self._unsaved)
        self.row = msgspec.structs.replace(self.row, acked=self.last_ack, read=self.row.read + count)
        counted = (hourly(self.id, "read", count, now_ms),) if count else ()
        return Decision((*self._save(), *counted), (), "mail.acked")

    def _save(self) -> tuple[Op, ...]:
        gone, self._unsaved = self._unsaved, []
        return (Put("inbox", (self.id,), self.row), *(Delete("mailbox", (self.id, seq)) for seq in gone))

    def _acknowledge(self, seq: int) -> None:
        if seq <= self.last_ack:
            return
        for n in list(takewhile(lambda n: n <= seq, self.entries)):
            entry = self.entries.pop(n)
            self._unsaved.append(n)
            self._landed(n, entry)
        while self.unsent and self.unsent[0] <= seq:
            self.unsent.popleft()
        self.last_ack, self.next = seq, max(self.next, seq + 1)

    def _load(self) -> None:
        """Whatever is on disk above what is known."""
        while found := self.rows.scan("mailbox", (self.id,), after=(self.id, self.head), limit=SLICE):
            for (_, seq), row in found:
                self._add(int(seq), Entry(row.message_id, row.size))

    def _add(self, seq: int, entry: Entry) -> None:
        self.entries[seq] = entry
        self.unsent.append(seq)
        self.head = seq

    def _read(self, message_id: str) -> MessageFrame | None:
        message: kept.Message | None = self.rows.get("messages", (message_id,))
        return frame_of(message) if message else None

    # --- bounds ------------------------------------------------------------------------------------

    def _look_inside(self, now_ms: int) -> Iterator[Decision]:
        """Nobody reads this mailbox now: only see whether it is too full."""
        self._load()
        yield from self._make_room(now_ms)
        self._empty("")

    def _make_room(self, now_ms: int) -> Iterator[Decision]:
        """The oldest go. What was sent is dropped too: it will not come again."""
        over = len(self.entries) - self.rules.max_messages
        if over <= 0:
            return
        gone = [seq for seq, _ in zip(self.entries, range(over), strict=False)]
        ops = self._drop(gone, now_ms, dropped_to=gone[-1])
        yield Decision(ops, self._alert(), "mail.dropped")

    def forget(self, before_ms: int, now_ms: int) -> Iterator[Decision]:
        """What nobody read for too long goes, a slice a commit. It is counted, but nothing is full."""
        self._load()
        after: Key | None = None
        while old := self._older(before_ms, after):
            after = (self.id, old[-1])
            if gone := [seq for seq in old if seq in self.entries]:
                yield Decision(self._drop(gone, now_ms, self.row.dropped_to), (), "mail.expired")
        if outputs := tuple(self.pump({})):  # its places are free for what waits
            yield Decision(outputs=outputs)
        if not self.conn:
            self._empty("")

    def _older(self, before_ms: int, after: Key | None) -> list[int]:
        """The first of the mailbox, as long as they are that old."""
        found = self.rows.scan("mailbox", (self.id,), after=after, limit=SLICE)
        return [int(key[1]) for key, _ in takewhile(lambda entry: entry[1].ms <= before_ms, found)]

    def _drop(self, gone: list[int], now_ms: int, dropped_to: int) -> tuple[Op, ...]:
        """The oldest entries, sent or not: they will not come again."""
        for seq in gone:
            entry = self.entries.pop(seq)
            self._landed(seq, entry)
            if seq >= self.next:
                self.unsent.popleft()
        flushed, count = self.flush(now_ms), len(gone)
        self._unsaved, self._dropped = gone, self._dropped + count
        self.row = msgspec.structs.replace(self.row, dropped=self.row.dropped + count, dropped_to=dropped_to)
        return (*flushed.ops, *self._save(), Add("counter", ("mailbox", "dropped", ""), count))

    def take_dropped(self) -> int:
        """How many were dropped since it was last asked, for the log."""
        count, self._dropped = self._dropped, 0
        return count

    def _alert(self) -> tuple[Output, ...]:
        """At the first drop, and again whenever their number has doubled."""
        if self._told and self.row.dropped < 2 * self._told:
            return ()
        self._told = self.row.dropped
        facts: dict[str, Any] = {"waiting": self.rules.max_messages, "dropped": self.row.dropped}
        sentence = f"the mailbox of {self.id} is full: {self.row.dropped} messages were dropped unread"
        return (Output("gateway", Condition(f"mailbox.{self.id}", facts, (sentence,))),)

    def relief(self) -> tuple[Output, ...]:
        """The alert ends when half of the mailbox is free again."""
        if not self._told or self.pending > self.rules.max_messages // 2 or not self.conn:
            return ()
        self._told = 0
        return (Output("gateway", Condition(f"mailbox.{self.id}", {})),)

    def _why(self, seq: int) -> Any:
        return "full" if seq <= self.row.dropped_to else "removed"

    def _say(self, frame: Any) -> Output:
        return Output("gateway", ToSession(self.conn, frame))
