"""One LMDB file, open for writing: the store in force, or one that is about to take its place.

Lives here: its tables by number, how full it is. Who may write it is its holder's affair (`env`, `rewriting`).
May import: agentcom.store.{redo,tables,transactions}, lmdb.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from agentcom.store.redo import Redo
from agentcom.store.tables import BY_NUMBER, TABLES
from agentcom.store.transactions import ReadView

MAP_SIZE = 1 << 40
"""Opened huge and never resized: resizing under a live reader is SIGBUS. It costs address space only."""
MAX_READERS = 512
MAX_TABLES = 64


class Usage(NamedTuple):
    """How large a file is, and how much of that a rewrite would give back."""

    bytes: int
    free_bytes: int  #: in pages that hold nothing, and in the list of these

    @property
    def free_share(self) -> float:
        return self.free_bytes / self.bytes if self.bytes else 0.0


class DataFile:
    """An LMDB folder and its tables. Readers keep it alive: it may be closed when nobody refers to it any more."""

    redo: Redo  #: what makes a commit durable, from `begin_log` on

    def __init__(self, folder: Path, *, map_size: int = MAP_SIZE) -> None:
        """Raises what LMDB raises. The tables are opened by `open_tables`."""
        self.folder = folder
        self.raw = lmdb.open(
            str(folder),
            map_size=map_size,
            max_dbs=MAX_TABLES,
            max_readers=MAX_READERS,
            max_spare_txns=8,
            sync=False,  # agentcom.store.redo is what makes a commit durable
            mode=0o600,
        )
        self.dbs: list[Any] = [None] * (max(BY_NUMBER) + 1)
        self.page_size: int = self.raw.stat()["psize"]

    def reading(self) -> ReadView:
        return ReadView(self)

    def open_tables(self) -> None:
        """Those that an older release did not have are made."""
        for table in TABLES.values():
            self.dbs[table.number] = self.raw.open_db(table.name.encode())

    def begin_log(self, *, sync: bool) -> None:
        """Everything that was committed so far is on disk on return; from now on it may be in force."""
        self.redo = Redo(self.folder, self.raw, self.dbs[TABLES["journal"].number], sync=sync)

    @property
    def bytes(self) -> int:
        pages: int = self.raw.info()["last_pgno"] + 1
        return pages * self.page_size

    def usage(self) -> Usage:
        return usage_of(self.raw, self.dbs)


def usage_of(raw: lmdb.Environment, dbs: Sequence[Any]) -> Usage:
    """Of an open file whose tables are `dbs`, None for one that it does not have."""
    with raw.begin() as txn:
        tables = [raw.stat(), *(txn.stat(db) for db in dbs if db is not None)]
    used = 2 + sum(of["branch_pages"] + of["leaf_pages"] + of["overflow_pages"] for of in tables)
    page: int = tables[0]["psize"]
    size: int = (raw.info()["last_pgno"] + 1) * page
    return Usage(size, max(0, size - used * page))
