"""A compact copy of a store that is being written: LMDB's copy, and then what the journal says happened since.

Lives here: the tool that makes the copy in a child process (`python -m agentcom.store.rewriting`), and `replay`, by
which the store brings the copy level with the last batch before it takes its place (`switching`).

The journal has every change but of two tables: its own entries, which are copied with it, and `meta`, which is copied
at the switch. An entry that the store trims meanwhile may stay in the copy; the next trim finds it there.
A snapshot may run at the same time: both only read the store, and each in a process of its own.
May import: agentcom.store.*, msgspec, lmdb, operating system.
"""

from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import msgspec

from agentcom.protocol.rows import Journal
from agentcom.store import child
from agentcom.store.commits import write_rows
from agentcom.store.copying import copy_compact
from agentcom.store.datafile import DataFile
from agentcom.store.errors import StoreError
from agentcom.store.foreign import Foreign
from agentcom.store.manifests import DATA
from agentcom.store.reader import Reader
from agentcom.store.steps import reached
from agentcom.store.tables import TABLES, decode_key, decode_row, encode_key
from agentcom.store.transactions import PlainTransaction, ReadView, is_full

ROUND_ENTRIES, ROUND_BYTES = 5_000, 16 << 20
"""Of the journal, applied in one transaction."""
FEW = 200
"""So few entries are left to the switch, during which nobody can write."""
MAX_ROUNDS = 200

_JOURNAL = TABLES["journal"]


class Order(msgspec.Struct, frozen=True):
    """What the tool is told."""

    store: str  #: the folder of the store in force
    into: str  #: an empty folder


class Copied(msgspec.Struct, frozen=True):
    """What it answers."""

    seq: int  #: of the newest journal entry in the copy
    bytes: int  #: of the copy


class Round(NamedTuple):
    """What one `replay` did."""

    seq: int
    entries: int


class JournalGap(StoreError):
    """The journal was trimmed beyond the copy, so that it cannot be brought level. A new copy can."""

    def __init__(self, wanted: int, found: int) -> None:
        super().__init__(wanted, found)
        self.wanted, self.found = wanted, found

    def __str__(self) -> str:
        return f"journal entry {self.wanted} is needed and was trimmed; the first one left is {self.found}"


class TooFast(StoreError):
    """The store is written faster than its copy can follow."""

    def __init__(self, left: int) -> None:
        super().__init__(left)
        self.left = left

    def __str__(self) -> str:
        return f"{self.left} journal entries or more are still missing in the copy: the hub writes too fast for it now"


class NoRoom(StoreError):
    """The disk is full; the copy is of no use."""

    def __str__(self) -> str:
        return "the disk is full; free some room, or give the data folder a larger disk"


def replay(view: ReadView, target: DataFile, after: int, limit: int = ROUND_ENTRIES) -> Round:
    """Apply up to `limit` journal entries of `view` that follow `after`, in one transaction.

    Raises `JournalGap`, and `CorruptRow` for an entry that is damaged.
    """
    entries: list[tuple[bytes, bytes]] = []
    tables: dict[int, dict[bytes, bytes | None]] = {}
    seq, size = after, 0
    for key, row in view.forward(_JOURNAL.number, encode_key(_JOURNAL, (after + 1,)), None):
        found = int(decode_key(_JOURNAL, key)[0])
        if found != seq + 1:
            raise JournalGap(seq + 1, found)
        entry: Journal = decode_row(_JOURNAL, row, found)
        for number, of, value in entry.ops:
            tables.setdefault(number, {})[of] = value
        entries.append((key, row))
        seq, size = found, size + len(row)
        if len(entries) >= limit or size >= ROUND_BYTES:
            break
    if entries:
        with PlainTransaction(target) as txn:
            write_rows(txn, tables)
            txn.put(_JOURNAL.number, entries, append=True)
    return Round(seq, len(entries))


def work(argument: Any) -> Copied:
    """The tool: returns when the copy is on disk and only a few entries behind. Raises what stands in its way."""
    order = msgspec.convert(argument, Order)
    try:
        return _work(Path(order.store), Path(order.into))
    except (OSError, lmdb.Error) as error:
        if is_full(error):
            raise NoRoom from error
        raise


def _work(store: Path, into: Path) -> Copied:
    reached("rewrite.begun")
    with Foreign(store) as old:
        copy_compact(old, into / DATA, cached=True)
        reached("rewrite.copied")
        new = DataFile(into)  # flushed once, at the end: a copy that is not finished is worth nothing
        try:
            new.open_tables()
            seq = _catch_up(old, new)
            new.raw.sync(True)
            return Copied(seq, new.bytes)
        finally:
            new.raw.close()
            reached("rewrite.caught_up")


def _catch_up(old: Foreign, new: DataFile) -> int:
    seq = Reader(new).last_seq()
    for _ in range(MAX_ROUNDS):
        with old.reading() as view:
            done = replay(view, new, seq)
        seq = done.seq
        if done.entries <= FEW:
            return seq
    raise TooFast(ROUND_ENTRIES)


if __name__ == "__main__":
    child.main(work)
