"""The batch engine: many commits, one transaction, one fsync.

`prepare` turns logical ops into bytes and needs no transaction, so the actor may do it while the last batch is on its
way to disk. `apply` runs on one dedicated thread, one call at a time, and answers item by item. Within it each commit
sees the earlier ones of its batch; one whose `Must` fails is left out alone; nothing is written if the transaction
fails, and then the caches of counters, append heads and journal seq are as before.
May import: agentcom.protocol, agentcom.store.{errors,messages,segments,tables}.
"""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from agentcom.protocol.ops import Add, Append, AppendMany, Delete, Must, Op, Put
from agentcom.protocol.rows import Journal
from agentcom.store.errors import CorruptRow, KeyRefused, StorageFull, SupersededStore
from agentcom.store.messages import Commit, Committed, Failed, Open, Opened, Reason
from agentcom.store.segments import RAISE
from agentcom.store.tables import TABLES, Table, decode_key, decode_row, encode_key, encode_row

Item = tuple[bytes, bytes]
Write = tuple[int, bytes, bytes | None]
Appending = tuple[int, bytes, bytes, bytes]  #: table, the key without its sequence, its head's key, row
Answer = Committed | Failed | Opened

_COUNTER = TABLES["counter"]
_HEAD = TABLES["head"]
_JOURNAL = TABLES["journal"]
_META = TABLES["meta"]
_MAX_CACHED = 200_000
"""Counters and heads kept in memory; above it both caches start anew."""


class Rows(Protocol):
    """Something rows are written to."""

    def put(self, number: int, items: list[Item]) -> None: ...
    def delete(self, number: int, key: bytes) -> None: ...


class Transaction(Rows, Protocol):
    """What the engine needs of a write transaction; leaving the block commits."""

    def __enter__(self) -> "Transaction": ...
    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...
    def get(self, number: int, key: bytes) -> bytes | None: ...
    def get_many(self, number: int, keys: list[bytes]) -> dict[bytes, bytes]: ...
    def journal(self, items: list[Item]) -> None: ...


class Backend(Protocol):
    """What the engine needs of a store: LMDB's environment, or plain dicts."""

    @property
    def life(self) -> int: ...
    def writing(self) -> Transaction: ...
    def reading(self) -> Any: ...
    def room(self) -> int: ...


class Prepared(msgspec.Struct):
    """A commit in bytes; `problem` says why it can never be written."""

    actor: str
    incarnation: int
    ticket: int
    event: str
    writes: list[Write] = []
    adds: list[tuple[bytes, int]] = []
    appends: list[Appending] = []
    must: list[tuple[Table, bytes, Must]] = []
    problem: str = ""


def prepare(commit: Commit) -> Prepared:
    """Check and encode one commit."""
    ready = Prepared(commit.actor, commit.incarnation, commit.ticket, commit.event)
    actor, writes = commit.actor, ready.writes
    try:
        for op in commit.ops:
            kind, table = type(op), _writable(op.table, actor)
            # nearly all: written out, as it is the dearest part of a commit
            if kind is Put and not table.counter:
                writes.append((table.number, encode_key(table, op.key), encode_row(op.row)))  # type: ignore[attr-defined]
            else:
                _OPS[kind](ready, table, op)
        for must in commit.must:
            table = _table(must.table)
            ready.must.append((table, encode_key(table, must.key), must))
    except (KeyRefused, _UnwritableError) as error:
        ready.problem = str(error)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        ready.problem = f"does not encode: {type(error).__name__}: {error}"
    return ready


class _UnwritableError(Exception):
    """An op that its table does not take."""


def _table(name: str) -> Table:
    table = TABLES.get(name)
    if table is None:
        raise _UnwritableError(f"unknown table {name!r}")
    return table


@functools.lru_cache(maxsize=4096)
def _writable(name: str, actor: str) -> Table:
    table = _table(name)
    if not table.may_write(actor):
        raise _UnwritableError(f"{actor!r} may not write table {name!r}")
    return table


def _refuse_put(ready: Prepared, table: Table, op: Put) -> None:
    raise _UnwritableError(f"table {table.name!r} takes Add only")


def _prepare_delete(ready: Prepared, table: Table, op: Delete) -> None:
    ready.writes.append((table.number, encode_key(table, op.key), None))


def _prepare_add(ready: Prepared, table: Table, op: Add) -> None:
    if not table.counter:
        raise _UnwritableError(f"table {table.name!r} does not count")
    if not isinstance(op.delta, int):
        raise _UnwritableError(f"table {table.name!r} adds whole numbers, not {op.delta!r}")
    ready.adds.append((encode_key(table, op.key), op.delta))


def _prepare_append(ready: Prepared, table: Table, op: Append) -> None:
    if len(op.key) != 1:
        raise _UnwritableError(f"table {table.name!r} does not append at {op.key!r}")
    _prepare_appends(ready, table, op)


def _prepare_appends(ready: Prepared, table: Table, op: Append | AppendMany) -> None:
    if not table.append:
        raise _UnwritableError(f"table {table.name!r} does not append")
    row, number, name = encode_row(op.row), table.number, table.name
    ready.appends += [(number, *_place(name, text), row) for text in op.key]


@functools.lru_cache(maxsize=16_384)
def _place(name: str, text: Any) -> tuple[bytes, bytes]:
    """What every key appended at `text` begins with, and the key of its head."""
    key = encode_key(TABLES[name], (text, 0))  # as long as any key there will be
    return key[:-8], encode_key(_HEAD, (name, text))


_OPS: dict[type[Op], Callable[[Prepared, Table, Any], None]] = {
    Put: _refuse_put,
    Delete: _prepare_delete,
    Add: _prepare_add,
    Append: _prepare_append,
    AppendMany: _prepare_appends,
}


class Batch:
    """What one transaction will write, and a view of it laid over the transaction."""

    def __init__(self, txn: Transaction, engine: "Engine") -> None:
        self.txn = txn
        self.rows: dict[int, dict[bytes, bytes | None]] = defaultdict(dict)
        self.numbers: dict[bytes, int] = {}  #: counters and heads this batch changed
        self.journal: list[Item] = []
        self.seq = engine.seq
        self._cached = engine.numbers
        self._raised = engine.raised
        self._known: dict[int, dict[bytes, bytes]] = {}  #: by table: what preconditions will ask for

    def look_up(self, items: Iterable[Prepared | Open]) -> None:
        """Read what preconditions need at one go: the interpreter may change threads at each single read."""
        wanted: dict[int, list[bytes]] = {}
        for item in items:
            if isinstance(item, Prepared):
                for table, key, _ in item.must:
                    wanted.setdefault(table.number, []).append(key)
        self._known = {number: self.txn.get_many(number, keys) for number, keys in wanted.items()}

    def get(self, number: int, key: bytes) -> bytes | None:
        """A row that a precondition is about: as this batch left it, else as it is on disk."""
        rows = self.rows.get(number)
        return rows[key] if rows is not None and key in rows else self._known[number].get(key)

    def number(self, table: Table, key: bytes) -> int:
        """The counter or head at `key`: of this batch, else cached, else on disk, else where it begins."""
        tag = table.number.to_bytes(1, "big") + key
        value = self.numbers.get(tag)
        if value is None:
            value = self._cached.get(tag)
        if value is None:
            raw = self.txn.get(table.number, key)
            begin = self._raised if table is _HEAD else 0
            value = begin if raw is None else int(decode_row(table, raw, key))
        return value

    def set_number(self, table: Table, key: bytes, value: int) -> Write:
        self.numbers[table.number.to_bytes(1, "big") + key] = value
        return (table.number, key, encode_row(value))

    def fold(self, ops: list[Write]) -> None:
        rows = self.rows
        for number, key, value in ops:
            rows[number][key] = value

    def note(self, ms: int, commit: Prepared, ops: list[Write]) -> int:
        """Add the journal entry of one commit; its seq."""
        self.seq += 1
        entry = Journal(ms, commit.actor, commit.event, ops)  # type: ignore[arg-type]  # a list encodes as a tuple does
        self.journal.append((self.seq.to_bytes(8, "big"), encode_row(entry)))
        return self.seq

    def flush(self) -> None:
        """Everything to the transaction."""
        write_rows(self.txn, self.rows)
        if self.journal:
            self.txn.journal(self.journal)


def write_rows(txn: Rows, tables: dict[int, dict[bytes, bytes | None]]) -> None:
    """Puts and deletes (None) by table: one sorted `put` each, as sorted writes share pages."""
    for number, rows in tables.items():
        for key in [key for key, value in rows.items() if value is None]:
            txn.delete(number, key)
        if puts := [(key, value) for key, value in sorted(rows.items()) if value is not None]:
            txn.put(number, puts)


class Engine:
    """Incarnations, caches, and `apply`. One per open store; never called from two threads at once."""

    def __init__(
        self,
        backend: Backend,
        *,
        now: Callable[[], float] = time.time,
        reserve: int = 0,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        """`make_room` is called when a batch found none; it says whether to try once more."""
        self.numbers: dict[bytes, int] = {}
        self.seq = _last_seq(backend)
        self.raised = _raised(backend)
        self.reserve = reserve  #: with less room than this only deletes are written
        self._backend, self._now, self._make_room = backend, now, make_room
        self._life = backend.life
        self._minted: dict[str, int] = {}
        self._failed: dict[str, int] = {}  #: the incarnation whose later tickets are aborted

    def commit(self, *commits: Commit | Open) -> list[Answer]:
        """Prepare and apply in one go, for callers without a loop to spare."""
        return self.apply([prepare(c) if isinstance(c, Commit) else c for c in commits])

    def apply(self, items: Sequence[Prepared | Open]) -> list[Answer]:
        """One transaction for all of `items`, in order; the answers are durable.

        Raises what the storage raises, but for a full one: then every commit is answered `storage_full`.
        """
        if all(isinstance(item, Open) for item in items):
            return [self._open(item.name) for item in items if isinstance(item, Open)]
        try:
            return self._apply(items)
        except StorageFull as error:
            if not self._make_room():
                return self._turn_away(items, error)
        try:
            return self._apply(items)
        except StorageFull as error:
            return self._turn_away(items, error)

    def _apply(self, items: Sequence[Prepared | Open]) -> list[Answer]:
        failed = dict(self._failed)
        answers: list[Answer] = []
        tight = self.reserve > 0 and self._backend.room() < self.reserve
        ms = int(self._now() * 1000)
        with self._backend.writing() as txn:
            if self._backend.life != self._life:
                raise SupersededStore(f"life {self._backend.life} began after {self._life}")
            batch = Batch(txn, self)
            batch.look_up(items)
            for item in items:
                if isinstance(item, Open):
                    answers.append(self._open(item.name))
                else:
                    answers.append(self._one(batch, item, ms, failed, tight))
            batch.flush()
        self._adopt(batch, failed)
        return answers

    def _adopt(self, batch: Batch, failed: dict[str, int]) -> None:
        """After the fsync, so that a failed transaction leaves no trace in memory."""
        if len(self.numbers) > _MAX_CACHED:
            self.numbers.clear()
        self.numbers.update(batch.numbers)
        self.seq = batch.seq
        self._failed = failed

    def _open(self, name: str) -> Opened:
        least = self._life << 32
        self._minted[name] = max(self._minted.get(name, 0), least) + 1
        return Opened(name, self._minted[name])

    def _one(self, batch: Batch, commit: Prepared, ms: int, failed: dict[str, int], tight: bool) -> Answer:
        refusal = self._refusal(commit, failed, tight)
        if refusal is None:
            refusal = _unmet(batch, commit)
        if refusal is not None:
            self._remember(refusal, commit, failed)
            return refusal
        ops, appended = _resolve(batch, commit)
        batch.fold(ops)
        return Committed(commit.ticket, batch.note(ms, commit, ops), appended)

    def _remember(self, refusal: Failed, commit: Prepared, failed: dict[str, int]) -> None:
        """A failed ticket takes its successors along; a refused one does not; a stale incarnation has none."""
        if refusal.code != "refused" and self._minted.get(commit.actor) == commit.incarnation:
            failed[commit.actor] = commit.incarnation

    def _refusal(self, commit: Prepared, failed: dict[str, int], tight: bool) -> Failed | None:
        """Why a commit cannot even be tried, in the order that names the cause."""
        if failed.get(commit.actor) == commit.incarnation:
            return Failed(commit.ticket, "aborted", "an earlier ticket of this incarnation failed")
        if self._minted.get(commit.actor) != commit.incarnation:
            why = f"stale incarnation {commit.incarnation} of {commit.actor!r}"
            return Failed(commit.ticket, "failed", why)
        if commit.problem:
            return Failed(commit.ticket, "failed", commit.problem)
        if tight and not _only_deletes(commit):
            return Failed(commit.ticket, "storage_full", "the reserve is kept for deletes")
        return None

    def _turn_away(self, items: Sequence[Prepared | Open], error: StorageFull) -> list[Answer]:
        return [self._turned_away(item, f"no room to write: {error}") for item in items]

    def _turned_away(self, item: Prepared | Open, why: str) -> Answer:
        if isinstance(item, Open):
            return self._open(item.name)
        code: Reason = "aborted" if self._failed.get(item.actor) == item.incarnation else "storage_full"
        answer = Failed(item.ticket, code, why)
        self._remember(answer, item, self._failed)
        return answer


def _unmet(batch: Batch, commit: Prepared) -> Failed | None:
    """The first precondition that does not hold, with the row that is there instead."""
    for table, key, must in commit.must:
        found = batch.get(table.number, key)
        try:
            row = None if found is None else decode_row(table, found, must.key)
        except CorruptRow as error:
            return Failed(commit.ticket, "failed", str(error))
        if (row is not None) if must.rule == "absent" else (row != must.row):
            return Failed(commit.ticket, "refused", f"{table.name}: {must.rule} does not hold", row)
    return None


def _resolve(batch: Batch, commit: Prepared) -> tuple[list[Write], tuple[int, ...]]:
    """The puts and deletes a commit comes to, with its counters and sequences filled in."""
    if not commit.adds and not commit.appends:
        return commit.writes, ()
    ops, appended = list(commit.writes), []
    for key, delta in commit.adds:
        ops.append(batch.set_number(_COUNTER, key, batch.number(_COUNTER, key) + delta))
    for number, place, head, row in commit.appends:
        seq = batch.number(_HEAD, head) + 1
        ops.append(batch.set_number(_HEAD, head, seq))
        ops.append((number, place + seq.to_bytes(8, "big"), row))
        appended.append(seq)
    return ops, tuple(appended)


def _only_deletes(commit: Prepared) -> bool:
    return not commit.appends and all(value is None for _, _, value in commit.writes)


def _last_seq(backend: Backend) -> int:
    """The newest journal entry is never trimmed, so that a seq is never minted twice."""
    with backend.reading() as view:
        raw = view.last_key(_JOURNAL.number)
    return 0 if raw is None else int(decode_key(_JOURNAL, raw)[0])


def _raised(backend: Backend) -> int:
    """Where sequences begin: above all that restores may have discarded, also of a mailbox that none of the rows knows.

    Each part of the line of epochs stands for one raise of every number (agentcom.store.segments).
    """
    with backend.reading() as view:
        raw = view.get(_META.number, encode_key(_META, ("line",)))
    return 0 if raw is None else RAISE * len(decode_row(_META, raw, ("line",)))
