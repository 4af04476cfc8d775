"""The store's contract over plain dicts, for core's tests and as the contract suite's second opinion.

Unrealistic: nothing survives the object, nothing is ever full unless `full` is set, and a write copies the
tables it touches, so it is for thousands of rows, not millions.
May import: agentcom.store.{commits,reader,tables,errors}.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

from agentcom.store.commits import Engine, Item
from agentcom.store.errors import StorageFull
from agentcom.store.reader import Reader
from agentcom.store.tables import BY_NUMBER, TABLES


class Rows:
    """One table: a dict and its keys in order."""

    def __init__(self, rows: dict[bytes, bytes], keys: list[bytes]) -> None:
        self.rows, self.keys = rows, keys

    def copy(self) -> "Rows":
        return Rows(dict(self.rows), list(self.keys))

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.rows:
            insort(self.keys, key)
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        if self.rows.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def between(self, start: bytes, stop: bytes | None) -> list[bytes]:
        end = len(self.keys) if stop is None else bisect_left(self.keys, stop)
        return self.keys[bisect_left(self.keys, start) : end]


class MemoryView:
    """A view stays as it was: writers replace tables and never change one."""

    def __init__(self, tables: dict[int, Rows]) -> None:
        self._tables = tables

    def __enter__(self) -> "MemoryView":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def get(self, number: int, key: bytes) -> bytes | None:
        return self._tables[number].rows.get(key)

    def get_many(self, number: int, keys: list[bytes]) -> dict[bytes, bytes]:
        rows = self._tables[number].rows
        return {key: rows[key] for key in keys if key in rows}

    def first(self, number: int, at: bytes) -> tuple[bytes, bytes] | None:
        return next(self.forward(number, at, None), None)

    def last_key(self, number: int) -> bytes | None:
        keys = self._tables[number].keys
        return keys[-1] if keys else None

    def forward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        table = self._tables[number]
        return ((key, table.rows[key]) for key in table.between(start, stop))

    def backward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        table = self._tables[number]
        return ((key, table.rows[key]) for key in reversed(table.between(start, stop)))


class MemoryTransaction(MemoryView):
    """Works on copies of what it touches; leaving the block without an exception makes them the tables."""

    def __init__(self, store: "MemoryStore") -> None:
        super().__init__(dict(store.tables))
        self._store = store
        self._touched: set[int] = set()

    def __enter__(self) -> "MemoryTransaction":
        return self

    def __exit__(self, *exit_info: object) -> None:
        if exit_info[0] is None:
            if self._store.full:
                raise StorageFull("the memory store was told to be full")
            self._store.tables = self._tables

    def _own(self, number: int) -> Rows:
        if number not in self._touched:
            self._touched.add(number)
            self._tables[number] = self._tables[number].copy()
        return self._tables[number]

    def journal(self, items: list[Item]) -> None:
        self.put(TABLES["journal"].number, items)

    def put(self, number: int, items: list[Item]) -> None:
        table = self._own(number)
        for key, value in items:
            table.put(key, value)

    def delete(self, number: int, key: bytes) -> None:
        self._own(number).delete(key)


class MemoryStore:
    """`store.engine` commits, `store.reader` reads; `reopen()` is a new life on the same rows."""

    def __init__(self) -> None:
        self.tables: dict[int, Rows] = {number: Rows({}, []) for number in BY_NUMBER}
        self.life = 0
        self.full = False
        self.reader = Reader(self)
        self.reopen()

    def reopen(self) -> None:
        self.life += 1
        self.engine = Engine(self)

    def commit(self, *commits: Any) -> list[Any]:
        return self.engine.commit(*commits)

    def reading(self) -> MemoryView:
        return MemoryView(self.tables)

    def writing(self) -> MemoryTransaction:
        return MemoryTransaction(self)

    def room(self) -> int:
        return 0 if self.full else 1 << 40
