"""An actor's own view: what is on disk, with its own ops that may not be there yet laid over.

The actor calls `add(ticket, ops)` when it adopts a decision and `drop(ticket)` when the store answered
`Committed`. In between a reader may see the ticket or not; the overlay says the same either way. `Add` and
`Append` are not laid over: their values are the store's to give.
May import: agentcom.protocol, agentcom.store.{reader,tables}.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from agentcom.protocol.ops import Delete, Key, Op, Put
from agentcom.store.reader import Entry, Found
from agentcom.store.tables import TABLES, encode_key

_ABSENT: Any = object()


class Source(Protocol):
    """What lies below: a Reader, or one Snapshot of it."""

    def get(self, table: str, key: Key) -> Any | None: ...
    def entries(
        self, table: str, prefix: Key, after: Key | None, limit: int, reverse: bool
    ) -> list[Entry]: ...


class Overlay:
    """`get` and `scan` of a reader, with this actor's uncommitted rows.

    `cache_tables` name tables that this actor alone writes: their rows are kept, decoded, up to
    `cache_size` each, so that `get` of a warm row touches no disk. Absence is never cached, nor a row that
    `cache_if` does not take: one that another actor may write from now on. `unread` names tables that the actor
    writes and never looks at again: they are not laid over.
    """

    def __init__(
        self,
        reader: Source,
        *,
        cache_tables: Iterable[str] = (),
        cache_size: int = 10_000,
        cache_if: Callable[[Any], bool] = lambda _: True,
        unread: Iterable[str] = (),
    ) -> None:
        self._reader = reader
        self._pending: dict[str, dict[Key, dict[int, Any]]] = {name: {} for name in TABLES}
        self._tickets: dict[int, list[tuple[str, Key]]] = {}
        self._cache: dict[str, OrderedDict[Key, Any]] = {name: OrderedDict() for name in cache_tables}
        self._cache_size, self._cache_if = cache_size, cache_if
        self._unread = frozenset(unread)

    @property
    def outstanding(self) -> int:
        """Tickets not yet dropped."""
        return len(self._tickets)

    def add(self, ticket: int, ops: Iterable[Op]) -> None:
        """Lay a ticket's puts and deletes over the rows. Of two tickets on one key the higher one shows."""
        keys = self._tickets.setdefault(ticket, [])
        for op in ops:
            table, key = op.table, op.key
            if table in self._unread or not isinstance(op, Put | Delete):
                continue
            row = op.row if type(op) is Put else None
            rows = self._pending[table].setdefault(key, {})
            rows[ticket] = row
            keys.append((table, key))
            if table in self._cache:
                self._keep(table, key, row if len(rows) == 1 else rows[max(rows)])

    def learn(self, ops: Iterable[Op]) -> tuple[Op, ...]:
        """Ops that are on disk already; those that still show. They may have been read there before their ticket was
        answered, and what was decided from them since is the newer row.
        """
        shown = tuple(op for op in ops if op.key not in self._pending[op.table])
        for op in shown:
            if op.table in self._cache and isinstance(op, Put | Delete):
                self._keep(op.table, op.key, op.row if isinstance(op, Put) else None)
        return shown

    def drop(self, ticket: int) -> None:
        """The ticket is on disk: readers see it from now on."""
        for table, key in self._tickets.pop(ticket, ()):
            pending = self._pending[table]
            rows = pending.get(key)
            if rows is not None:
                rows.pop(ticket, None)
                if not rows:
                    del pending[key]

    def discard(self, ticket: int) -> None:
        """The ticket was refused: nothing of it ever happened."""
        for table, key in self._tickets.get(ticket, ()):
            if table in self._cache:
                self._cache[table].pop(key, None)
        self.drop(ticket)

    def get(self, table: str, key: Key) -> Any | None:
        rows = self._pending[table].get(key)
        if rows:
            return rows[max(rows)]
        cache = self._cache.get(table)
        if cache is None:
            return self._reader.get(table, key)
        row = cache.get(key, _ABSENT)
        if row is _ABSENT:
            row = self._reader.get(table, key)
            self._keep(table, key, row)
        return row

    def scan(
        self,
        table: str,
        prefix: Key = (),
        *,
        after: Key | None = None,
        limit: int = 500,
        reverse: bool = False,
    ) -> list[Found]:
        """As `Reader.scan`, in key order, with pending rows in and pending deletes out."""
        pending = self._matching(table, prefix)
        if not pending:
            return [found[1:] for found in self._reader.entries(table, prefix, after, limit, reverse)]
        # Each pending key can hide at most one row on disk, so this many are always enough.
        below = self._reader.entries(table, prefix, after, limit + len(pending), reverse)
        return _merge(table, below, pending, after, limit, reverse)

    def _matching(self, table: str, prefix: Key) -> dict[Key, Any]:
        depth = len(prefix)
        rows = self._pending[table]
        return {key: of[max(of)] for key, of in rows.items() if key[:depth] == prefix}

    def _keep(self, table: str, key: Key, row: Any) -> None:
        cache = self._cache[table]
        if row is None or not self._cache_if(row):
            cache.pop(key, None)
            return
        cache[key] = row
        if len(cache) > self._cache_size:
            cache.popitem(last=False)  # an OrderedDict's: a plain dict walks over all that was removed before


def _merge(
    table: str, below: list[Entry], pending: dict[Key, Any], after: Key | None, limit: int, reverse: bool
) -> list[Found]:
    spec = TABLES[table]
    edge = None if after is None else encode_key(spec, after)
    merged = {raw: (key, row) for raw, key, row in below}
    for key, row in pending.items():
        raw = encode_key(spec, key)
        if edge is not None and (raw >= edge if reverse else raw <= edge):
            continue
        merged[raw] = (key, row)
    ordered = sorted(merged, reverse=reverse)
    rows = [merged[raw] for raw in ordered]
    return [(key, row) for key, row in rows if row is not None][:limit]
