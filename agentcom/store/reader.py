"""Committed rows, read by anyone: the loop, its threads, tools.

Each call of a `Reader` is one short read transaction; a `Snapshot` is the same verbs on one transaction,
whose `seq` says which commits it contains. A reader never sees uncommitted state: an actor lays its own
over it by `overlay`. More than 500 rows belong into slices (`after=` the last key) off the loop.
May import: agentcom.protocol, agentcom.store.{tables,errors}.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from agentcom.protocol.ops import Key
from agentcom.store.tables import (
    TABLES,
    Table,
    after_prefix,
    decode_key,
    decode_row,
    encode_key,
    encode_prefix,
    prefix_length,
)

Found = tuple[Key, Any]
Entry = tuple[bytes, Key, Any]
_T = TypeVar("_T")
_JOURNAL = TABLES["journal"]


class View(Protocol):
    """One consistent view of raw tables: LMDB's read transaction, or plain dicts."""

    def __enter__(self) -> "View": ...
    def __exit__(self, *_: object) -> None: ...
    def get(self, number: int, key: bytes) -> bytes | None: ...
    def get_many(self, number: int, keys: list[bytes]) -> dict[bytes, bytes]: ...
    def first(self, number: int, at: bytes) -> tuple[bytes, bytes] | None: ...
    def last_key(self, number: int) -> bytes | None: ...
    def forward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]: ...
    def backward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]: ...


class Readable(Protocol):
    def reading(self) -> View: ...


class Snapshot:
    """The verbs of a reader on one view."""

    def __init__(self, view: View) -> None:
        self._view = view

    @property
    def seq(self) -> int:
        """The newest journal entry this view contains; 0 before the first."""
        raw = self._view.last_key(_JOURNAL.number)
        return 0 if raw is None else int(decode_key(_JOURNAL, raw)[0])

    def get(self, table: str, key: Key) -> Any | None:
        """The row at `key` or None."""
        spec = TABLES[table]
        raw = self._view.get(spec.number, encode_key(spec, key))
        return None if raw is None else decode_row(spec, raw, key)

    def scan(
        self,
        table: str,
        prefix: Key = (),
        *,
        after: Key | None = None,
        limit: int = 500,
        reverse: bool = False,
    ) -> list[Found]:
        """Up to `limit` rows whose keys start with `prefix`, in key order, beginning behind the key `after`."""
        return [(key, row) for _, key, row in self.entries(table, prefix, after, limit, reverse)]

    def entries(self, table: str, prefix: Key, after: Key | None, limit: int, reverse: bool) -> list[Entry]:
        """`scan` with the bytes of each key, for who merges."""
        spec = TABLES[table]
        start, stop = bounds(spec, prefix, after, reverse)
        walk = self._view.backward if reverse else self._view.forward
        found: list[Entry] = []
        if limit > 0:
            for raw, value in walk(spec.number, start, stop):
                key = decode_key(spec, raw)
                found.append((raw, key, decode_row(spec, value, key)))
                if len(found) >= limit:
                    break
        return found

    def heads(
        self, table: str, prefix: Key, depth: int, *, after: Key | None = None, limit: int = 500
    ) -> list[Found]:
        """The first row under each distinct key prefix of `depth` parts that starts with `prefix`.

        One seek a group, however many rows it has. `after` is a key of the last group seen.
        """
        spec = TABLES[table]
        at, stop = bounds(spec, prefix, None, False)
        if after is not None:
            at = after_prefix(encode_prefix(spec, after[:depth])) or at
        found: list[Found] = []
        while len(found) < limit:
            entry = self._view.first(spec.number, at)
            if entry is None or (stop is not None and entry[0] >= stop):
                break
            key = decode_key(spec, entry[0])
            found.append((key, decode_row(spec, entry[1], key)))
            at = after_prefix(entry[0][: prefix_length(spec, entry[0], depth)]) or b"\xff" * 512
        return found

    def count(self, name: str, a: str = "", b: str = "") -> int:
        """A counter; 0 before its first `Add`."""
        return int(self.get("counter", (name, a, b)) or 0)

    def head(self, table: str, name: str) -> int:
        """The last sequence that was ever appended at `name`; it never goes back."""
        return int(self.get("head", (table, name)) or 0)


class Reader:
    """`Snapshot`'s verbs, each on a view of its own."""

    def __init__(self, env: Readable) -> None:
        self._env = env

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One view for several reads. Keep it short: pages it can see are not reused."""
        with self._env.reading() as view:
            yield Snapshot(view)

    def _with(self, read: Callable[[Snapshot], _T]) -> _T:
        with self._env.reading() as view:
            return read(Snapshot(view))

    def get(self, table: str, key: Key) -> Any | None:
        with self._env.reading() as view:
            return Snapshot(view).get(table, key)

    def scan(
        self,
        table: str,
        prefix: Key = (),
        *,
        after: Key | None = None,
        limit: int = 500,
        reverse: bool = False,
    ) -> list[Found]:
        return self._with(lambda snap: snap.scan(table, prefix, after=after, limit=limit, reverse=reverse))

    def heads(
        self, table: str, prefix: Key, depth: int, *, after: Key | None = None, limit: int = 500
    ) -> list[Found]:
        return self._with(lambda snap: snap.heads(table, prefix, depth, after=after, limit=limit))

    def entries(self, table: str, prefix: Key, after: Key | None, limit: int, reverse: bool) -> list[Entry]:
        return self._with(lambda snap: snap.entries(table, prefix, after, limit, reverse))

    def count(self, name: str, a: str = "", b: str = "") -> int:
        return self._with(lambda snap: snap.count(name, a, b))

    def head(self, table: str, name: str) -> int:
        return self._with(lambda snap: snap.head(table, name))

    def last_seq(self) -> int:
        return self._with(lambda snap: snap.seq)


def bounds(spec: Table, prefix: Key, after: Key | None, reverse: bool) -> tuple[bytes, bytes | None]:
    """The half-open range of raw keys that a scan walks."""
    start = encode_prefix(spec, prefix)
    stop = after_prefix(start)
    if after is not None and reverse:
        stop = encode_key(spec, after)
    elif after is not None:
        start = encode_key(spec, after) + b"\0"  # the least bytes above it
    return start, stop
