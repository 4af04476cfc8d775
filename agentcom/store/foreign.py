"""A store that is not this process' own: a snapshot, or the store of a hub that is running, read only.

`Foreign` is read like an `Environment`: `Reader(foreign)`, `foreign.reading()`. LMDB must not open one file twice in
one process, so the hub never opens its own store by this; its child processes do.
May import: agentcom.store.{datafile,errors,tables,transactions}, lmdb.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from agentcom.store.datafile import MAP_SIZE, MAX_TABLES
from agentcom.store.errors import StoreUnreadable
from agentcom.store.tables import BY_NUMBER, TABLES, decode_row, encode_key
from agentcom.store.transactions import ReadView

Entry = tuple[bytes, bytes]


class Foreign:
    """An LMDB folder opened for reading; a context manager that closes it."""

    def __init__(self, store: Path, *, lock: bool = True) -> None:
        """`lock=False` for a file that nobody writes any more, such as a snapshot. Raises `StoreUnreadable`."""
        try:
            self.raw = lmdb.open(
                str(store),
                map_size=MAP_SIZE,
                max_dbs=MAX_TABLES,
                readonly=True,
                lock=lock,
                create=False,
                readahead=True,
            )
            self.dbs: list[Any] = [None] * (max(BY_NUMBER) + 1)
            for table in TABLES.values():
                self._open(table.name, table.number)
        except lmdb.Error as error:
            raise StoreUnreadable(str(store), str(error)) from error

    def _open(self, name: str, number: int) -> None:
        """A table that an older release did not have yet is empty."""
        try:
            self.dbs[number] = self.raw.open_db(name.encode(), create=False)
        except lmdb.NotFoundError:
            self.dbs[number] = None

    def reading(self) -> ReadView:
        whole = all(self.dbs[number] is not None for number in BY_NUMBER)
        return ReadView(self) if whole else ForeignView(self)

    def meta(self, name: str) -> Any:
        """A value of the file itself (`schema`, `epoch`, …) or None."""
        table = TABLES["meta"]
        with self.reading() as view:
            raw = view.get(table.number, encode_key(table, (name,)))
        return None if raw is None else decode_row(table, raw, (name,))

    def __enter__(self) -> "Foreign":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


class ForeignView(ReadView):
    """A view in which a table that the file does not have is empty."""

    __slots__ = ()

    def get(self, number: int, key: bytes) -> bytes | None:
        return super().get(number, key) if self._dbs[number] is not None else None

    def get_many(self, number: int, keys: list[bytes]) -> dict[bytes, bytes]:
        return super().get_many(number, keys) if self._dbs[number] is not None else {}

    def first(self, number: int, at: bytes) -> Entry | None:
        return super().first(number, at) if self._dbs[number] is not None else None

    def last_key(self, number: int) -> bytes | None:
        return super().last_key(number) if self._dbs[number] is not None else None

    def count(self, number: int) -> int:
        return super().count(number) if self._dbs[number] is not None else 0

    def forward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[Entry]:
        return super().forward(number, start, stop) if self._dbs[number] is not None else iter(())

    def backward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[Entry]:
        return super().backward(number, start, stop) if self._dbs[number] is not None else iter(())
