"""A store that is being made: rows and journal entries are put in as they are, and nothing is promised before `finish`.

Lives here: `Draft`, which is read and written like an `Environment`, without its lock, life and fsyncs.
May import: agentcom.store.{commits,datafile,env,errors,layout,segments,tables,transactions}, lmdb.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lmdb

from agentcom.protocol.rows import Journal
from agentcom.store.datafile import MAP_SIZE
from agentcom.store.env import SCHEMA
from agentcom.store.errors import NewerSchema, StoreError, StoreUnreadable
from agentcom.store.layout import sync_folder
from agentcom.store.segments import Entry
from agentcom.store.tables import BY_NUMBER, TABLES, decode_row, encode_key, encode_row
from agentcom.store.transactions import ReadView, WriteTransaction

JOURNAL, META = TABLES["journal"], TABLES["meta"]
ENTRIES, BYTES = 5_000, 16 << 20
"""Of one transaction: few pages are written twice, and memory stays small."""


class NoLog:
    """In the place of a redo log: what is written to a draft is on disk at `finish`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def append(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Nothing."""

    def undo(self) -> None:
        """Nothing."""

    def committed(self) -> None:
        """Nothing."""


class Draft:
    """An LMDB folder opened for writing; a context manager. Raises `StorageFull` as the disk does."""

    def __init__(self, store: Path) -> None:
        """Opens or makes it. Raises `StoreUnreadable`, `NewerSchema`."""
        self.store = store
        try:
            self.raw = lmdb.open(str(store), map_size=MAP_SIZE, max_dbs=64, sync=False, mode=0o600)
        except lmdb.Error as error:
            raise StoreUnreadable(str(store), str(error)) from error
        self.redo = NoLog()
        self.dbs: list[Any] = [None] * (max(BY_NUMBER) + 1)
        for table in TABLES.values():
            self.dbs[table.number] = self.raw.open_db(table.name.encode())
        found = self.meta("schema")
        if isinstance(found, int) and found > SCHEMA:
            self.raw.close()
            raise NewerSchema(str(store), found, SCHEMA)

    @property
    def file(self) -> "Draft":
        """What is read and written is never another one."""
        return self

    def reading(self) -> ReadView:
        return ReadView(self)

    def writing(self) -> WriteTransaction:
        return WriteTransaction(self)

    def meta(self, name: str) -> Any:
        with self.reading() as view:
            raw = view.get(META.number, encode_key(META, (name,)))
        return None if raw is None else decode_row(META, raw, (name,))

    def put_meta(self, **values: Any) -> None:
        with self.writing() as txn:
            txn.put(META.number, [(encode_key(META, (k,)), encode_row(v)) for k, v in sorted(values.items())])

    def apply(self, entries: Iterable[Entry]) -> int:
        """Put journal entries in, and what they did to the rows; how many there were.

        Raises `CorruptRow` for one that does not decode; those before it are in.
        """
        bundle, count = Bundle(), 0
        try:
            for entry in entries:
                bundle.add(entry)
                count += 1
                if bundle.is_large:
                    full, bundle = bundle, Bundle()
                    self._write(full)
        finally:
            self._write(bundle)
        return count

    def write(self, writes: Iterable[tuple[int, bytes, bytes | None]]) -> int:
        """Put rows in, or take them out (None), without an entry of the journal; how many there were."""
        bundle, count = Bundle(), 0
        for number, key, value in writes:
            bundle.lay(number, key, value)
            count += 1
            if bundle.is_large:
                full, bundle = bundle, Bundle()
                self._write(full)
        self._write(bundle)
        return count

    def _write(self, bundle: "Bundle") -> None:
        with self.writing() as txn:
            bundle.write(txn)

    def finish(self) -> None:
        """Everything is on disk on return."""
        self.raw.sync(True)
        sync_folder(self.store)

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


class Bundle:
    """Entries on their way to one transaction; of rows that several of them wrote, the last word counts."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[bytes, bytes | None]] = {}
        self._journal: list[tuple[bytes, bytes]] = []
        self._bytes = 0

    @property
    def is_large(self) -> bool:
        return len(self._journal) >= ENTRIES or self._bytes >= BYTES

    def add(self, entry: Entry) -> None:
        told: Journal = decode_row(JOURNAL, entry.row, entry.seq)
        if strange := {number for number, _, _ in told.ops} - BY_NUMBER.keys():
            raise StoreError(
                f"journal entry {entry.seq} writes table {min(strange)}, unknown to this release"
            )
        for number, key, value in told.ops:
            self._rows.setdefault(number, {})[key] = value
        self._journal.append((encode_key(JOURNAL, (entry.seq,)), entry.row))
        self._bytes += len(entry.row)

    def lay(self, number: int, key: bytes, value: bytes | None) -> None:
        self._rows.setdefault(number, {})[key] = value
        self._bytes += len(key) + len(value or b"")

    def write(self, txn: WriteTransaction) -> None:
        for number, rows in self._rows.items():
            puts = []
            for key in sorted(rows):
                value = rows[key]
                if value is None:
                    txn.delete(number, key)
                else:
                    puts.append((key, value))
            if puts:
                txn.put(number, puts)
        if self._journal:
            txn.put(JOURNAL.number, self._journal)
