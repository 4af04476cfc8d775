"""What the directory removes for its age, or has removed by who keeps it: records, keys, messages, mail, channel logs.

One walk goes through its tables, one after the other, and then rests. Messages lie in order of time and their walk
ends at the first that is young; of mailboxes and channel logs it looks at the oldest entry of each, and tells its
writer what to forget.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import Expire, Forget, Keep
from agentcom.core.retention import EXAMINED, REST_MS, Walk, answer
from agentcom.protocol.ops import Delete, Key, Op
from agentcom.protocol.talk import ops_without

PARTS = 50
"""Mailboxes or channels that one slice looks into."""
_LAST = 2**63 - 1
Found = list[tuple[Key, Any]]


class Slice(NamedTuple):
    """Rows that were looked at, and what follows. `after`: where the next slice begins; None: the table is through."""

    removed: int = 0
    ops: tuple[Op, ...] = ()
    outputs: tuple[Output, ...] = ()
    after: Key | None = None


class Look(NamedTuple):
    """One slice's question."""

    table: str
    after: Key | None
    rows: Rows
    keep: Keep
    now_ms: int
    limit: int

    def found(self) -> Found:
        return self.rows.scan(self.table, (), after=self.after, limit=self.limit)


SliceOf = Callable[[Look], Slice]


class DirectoryRetention:
    """Where the walk is."""

    def __init__(self) -> None:
        self._walk = Walk()
        self._tables = list(_SLICES)

    def expire(self, ask: Expire, rows: Rows, now_ms: int) -> Decision:
        """One slice of one table."""
        if not self._walk.begin(now_ms, now_ms + REST_MS):
            return Decision(outputs=(answer(ask, 0, more=False),))
        table = self._tables[0]
        limit = min(EXAMINED, ask.limit)
        done = _SLICES[table](Look(table, self._walk.after, rows, _keep(ask.keep, rows), now_ms, limit))
        told = answer(ask, done.removed, more=self._go_on(done.after))
        return Decision(done.ops, (*done.outputs, told), "expired")

    def _go_on(self, after: Key | None) -> bool:
        self._walk.after = after
        if after is not None:
            return True
        self._tables.append(self._tables.pop(0))
        if self._tables[0] == next(iter(_SLICES)):
            self._walk.end()
            return False
        return True


def _keep(keep: Keep, rows: Rows) -> Keep:
    """What an operator has set by protocol 1's route counts from then on."""
    mailbox_ms: int | None = rows.get("config", ("mailbox_ttl_ms",))
    return keep._replace(mailbox_ms=mailbox_ms) if mailbox_ms else keep


# --- rows that are looked at one by one --------------------------------------------------------------


def _each(fits: Callable[[Key, Any, Look], bool], remove: Callable[[str, Key], tuple[Op, ...]]) -> SliceOf:
    def slice_of(look: Look) -> Slice:
        found = look.found()
        old = [key for key, row in found if fits(key, row, look)]
        ops = tuple(op for key in old for op in remove(look.table, key))
        return Slice(len(old), ops, (), found[-1][0] if found else None)

    return slice_of


def _row(table: str, key: Key) -> tuple[Op, ...]:
    return (Delete(table, key),)


def _pull(table: str, key: Key) -> tuple[Op, ...]:
    return (Delete(table, key), Delete("pull", (key[1],)))


def _task_is_gone(key: Key, row: Any, look: Look) -> bool:
    return look.rows.get("task", (key[0],)) is None


def _is_past(key: Key, row: Any, look: Look) -> bool:
    return int(key[0]) <= look.now_ms - look.keep.audit_ms


def _was_revoked(key: Key, row: Any, look: Look) -> bool:
    return bool(0 < row.revoked_ms <= look.now_ms - look.keep.audit_ms)


def _has_run_out(key: Key, row: Any, look: Look) -> bool:
    """Used or not: its code opens nothing any more."""
    return bool(row.expires_ms <= look.now_ms - look.keep.audit_ms)


def _is_old(key: Key, row: Any, look: Look) -> bool:
    """A sender's key: the same one is another message's then."""
    return bool(row.ms <= look.now_ms - look.keep.idempotency_ms)


# --- what was said ---------------------------------------------------------------------------------


def _messages(look: Look) -> Slice:
    """In order of time, with every index row. A mailbox that still has one tells its reader of the gap."""
    before = look.now_ms - look.keep.messages_ms
    found = look.found()
    old = [row for _, row in found if row.ms <= before]
    ops = tuple(op for message in old for op in ops_without(message))
    is_through = not found or len(old) < len(found)
    return Slice(len(old), ops, (), None if is_through else found[-1][0])


def _owners(look: Look) -> Iterator[tuple[str, int]]:
    """Who has entries in a table that is kept by somebody's name, and how old the oldest is."""
    after = look.after
    for _ in range(PARTS):
        found = look.rows.scan(look.table, (), after=after, limit=1)
        if not found:
            return
        [(key, row)] = found
        yield str(key[0]), row.ms
        after = (key[0], _LAST)


def _told(path: str, kept: Callable[[Keep], int]) -> SliceOf:
    """Whoever keeps it removes it, as it may have it in memory. That is not counted here."""

    def slice_of(look: Look) -> Slice:
        before = look.now_ms - kept(look.keep)
        owners = list(_owners(look))
        outputs = tuple(Output(path + name, Forget(before)) for name, oldest in owners if oldest <= before)
        return Slice(0, (), outputs, (owners[-1][0], _LAST) if len(owners) == PARTS else None)

    return slice_of


_SLICES: dict[str, SliceOf] = {
    "pull_by_task": _each(_task_is_gone, _pull),
    "token": _each(_was_revoked, _row),
    "invite": _each(_has_run_out, _row),
    "audit": _each(_is_past, _row),
    "said": _each(_is_old, _row),
    "mailbox": _told("agents/agent.", lambda keep: keep.mailbox_ms),
    "channel_log": _told("channels/channel.", lambda keep: keep.messages_ms),
    "messages": _messages,
}
