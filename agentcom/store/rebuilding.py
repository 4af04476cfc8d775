"""Rows that were read out of a damaged store, made into a store that is whole again.

What follows from tasks (index rows, counters, signatures) is made anew; a task without its text, and a row without its
task, are left out, and told.
May import: agentcom.protocol, agentcom.store.{drafts,tables}, msgspec.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from agentcom.protocol import index
from agentcom.protocol.rows import Event, Idempotent, Signature, TaskBody, TaskState, counted
from agentcom.store.drafts import Draft
from agentcom.store.raising import Write
from agentcom.store.reader import Reader
from agentcom.store.tables import TABLES, Table, decode_key, decode_row, encode_key, encode_row

DERIVED = frozenset(
    {
        "ready",
        "due",
        "deadline",
        "waiting",
        "by_phase",
        "by_agent",
        "by_submitter",
        "signature",
        "pull_by_task",
    }
)
LEFT_OUT = frozenset({"journal", "meta", *DERIVED})
TASK, BODY, HEAD, KEYS = (TABLES[name] for name in ("task", "body", "head", "idempotency"))
PAGE = 500


class Told:
    """What was dropped, by table; the first few by name."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.named: dict[str, list[str]] = {}

    def drop(self, table: Table, key: bytes, why: str) -> None:
        self.count[table.name] += 1
        named = self.named.setdefault(table.name, [])
        if len(named) < 10:
            named.append(f"{'/'.join(map(str, decode_key(table, key)))} ({why})")

    def sentences(self) -> Iterator[str]:
        for name, count in sorted(self.count.items()):
            yield f"{count} rows of table {name} were dropped: {', '.join(self.named[name])}"


def kept(table: Table, rows: Iterable[tuple[bytes, bytes]], by: int, told: Told) -> Iterator[Write]:
    """The rows of one table that are whole, in key order, once each, with their numbers raised."""
    for key, raw in rows:
        try:
            row = decode_row(table, raw, decode_key(table, key))
        except Exception:  # noqa: BLE001  # whatever a damaged row does to its decoder
            told.count[table.name] += 1
            told.named.setdefault(table.name, []).append("one whose checksum does not match")
            continue
        if table is TASK:
            raw = encode_row(msgspec.structs.replace(row, generation=row.generation + by))
        elif table is HEAD:
            raw = encode_row(row + by)
        elif table.counter and key.startswith(b"tasks\0"):
            continue
        yield table.number, key, raw


class Rebuilding:
    """Ops that make a draft with salvaged rows whole."""

    def __init__(self, draft: Draft, by: int, told: Told) -> None:
        self.draft, self.by, self.told = draft, by, told
        self.reader = Reader(draft)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.signed: set[tuple[str, str]] = set()

    def ops(self) -> Iterator[Write]:
        for key, task in self._rows("task"):
            yield from self._task(key, task)
        for (lane, phase), n in self.counts.items():
            yield self._put("counter", ("tasks", lane, phase), n)
        for name in ("body", "history", "result"):
            yield from self._orphans(name, 0)
        yield from self._orphans("moves", 1)
        yield from self._keys()
        for _, pull in self._rows("pull"):
            yield self._put("pull_by_task", (pull.task_id, pull.pr_id), index.MARK)
        for name in ("mailbox", "channel_log"):
            yield from self._heads(TABLES[name])

    def _rows(self, name: str) -> Iterator[tuple[Any, Any]]:
        after = None
        while rows := self.reader.scan(name, after=after, limit=PAGE):
            yield from rows
            after = rows[-1][0]

    def _put(self, name: str, key: Any, row: Any) -> Write:
        return TABLES[name].number, encode_key(TABLES[name], key), encode_row(row)

    def _delete(self, table: Table, key: Any, why: str) -> Write:
        raw = encode_key(table, key)
        self.told.drop(table, raw, why)
        return table.number, raw, None

    # --- tasks -------------------------------------------------------------------------------------

    def _task(self, key: Any, task: TaskState) -> Iterator[Write]:
        body: TaskBody | None = self.reader.get("body", key)
        if body is None:
            yield self._delete(TASK, key, "its text is lost")
            return
        self.counts[task.lane, counted(task.phase)] += 1
        for (name, at), row in index.entries(task):
            yield self._put(name, at, row)
        yield self._put("by_submitter", (task.submitter, task.id), index.MARK)
        if (task.lane, task.signature) not in self.signed:
            self.signed.add((task.lane, task.signature))
            first = min(body.needed, default="")
            sign = Signature(tuple(sorted(set(body.needed))))
            yield self._put("signature", (task.lane, first, task.signature), sign)
        yield from self._history(task)
        if (
            task.idempotency_key
            and self.reader.get("idempotency", (task.submitter, task.idempotency_key)) is None
        ):
            # Without the digest a repeat is a conflict: better than the same task twice.
            key_row = Idempotent(task.id, "", task.created_ms)
            yield self._put("idempotency", (task.submitter, task.idempotency_key), key_row)

    def _history(self, task: TaskState) -> Iterator[Write]:
        """Lines that are missing say so."""
        there = {int(key[1]) for key, _ in self.reader.scan("history", (task.id,), limit=1 << 20)}
        for n in range(task.history_len):
            if n not in there:
                phase = task.phase if n == task.history_len - 1 else "queued"
                line = Event(
                    task.updated_ms, "lost", phase, task.generation, "", "this line could not be read"
                )
                yield self._put("history", (task.id, n), line)
        for n in sorted(there):
            if n >= task.history_len:
                yield self._delete(TABLES["history"], (task.id, n), "its task is older than it")

    # --- rows of no task ---------------------------------------------------------------------------

    def _is_task(self, task_id: str) -> bool:
        return (
            self.reader.get("task", (task_id,)) is not None
            and self.reader.get("body", (task_id,)) is not None
        )

    def _orphans(self, name: str, part: int) -> Iterator[Write]:
        for key, _ in self._rows(name):
            if not self._is_task(key[part]):
                yield self._delete(TABLES[name], key, "its task is lost")

    def _keys(self) -> Iterator[Write]:
        """A key whose task is lost would answer a repeat with a task that does not exist."""
        for key, row in self._rows("idempotency"):
            task = self.reader.get("task", (row.task_id,))
            if (
                task is None
                or not self._is_task(row.task_id)
                or (task.submitter, task.idempotency_key) != key
            ):
                yield self._delete(KEYS, key, "its task is lost")

    def _heads(self, table: Table) -> Iterator[Write]:
        """A sequence never goes back, also when the row that kept it is lost."""
        last: dict[Any, int] = {}
        for key, _ in self._rows(table.name):
            last[key[0]] = int(key[1])
        for name, seq in last.items():
            if self.reader.head(table.name, str(name)) < seq:
                yield self._put("head", (table.name, name), seq + self.by)


def bundles(event: str, ops: Iterator[Write], size: int) -> Iterator[tuple[str, list[Write]]]:
    while some := list(islice(ops, size)):
        yield event, some
