"""LMDB's transactions, as the store's engine and its readers use them.

A write transaction must begin and end on one thread; readers may be anywhere.
May import: agentcom.store.{errors,redo_format,steps,tables}, lmdb, operating system.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Protocol

import lmdb

from agentcom.store.errors import StorageFull
from agentcom.store.redo_format import Item
from agentcom.store.steps import reached
from agentcom.store.tables import TABLES

_JOURNAL = TABLES["journal"].number
_NO_ROOM = 256 << 10
"""Less than LMDB writes at once."""


class Source(Protocol):
    """An open LMDB file and its tables by number."""

    raw: lmdb.Environment
    dbs: list[Any]


class Log(Protocol):
    """What a write transaction needs of a redo log."""

    @property
    def lock(self) -> Any: ...
    def append(self, items: Sequence[Item]) -> None: ...
    def undo(self) -> None: ...
    def committed(self) -> None: ...


class Writable(Source, Protocol):
    @property
    def redo(self) -> Log: ...


class Holder(Protocol):
    """Who knows which file is in force."""

    @property
    def file(self) -> Writable: ...


class ReadView:
    """A consistent view of all tables, for as short a time as possible: pages it sees are not reused.

    It holds its file, which is what keeps that open when another one takes its place.
    """

    __slots__ = ("_dbs", "_source", "_txn")

    def __init__(self, source: Source) -> None:
        self._source: Source | None = source
        self._dbs = source.dbs
        self._txn = source.raw.begin()

    def __enter__(self) -> "ReadView":
        return self

    def __exit__(self, *_: object) -> None:
        self._txn.abort()
        self._source = None

    def get(self, number: int, key: bytes) -> bytes | None:
        return self._txn.get(key, None, self._dbs[number])

    def first(self, number: int, at: bytes) -> tuple[bytes, bytes] | None:
        """The entry at `at` or the first one after it."""
        cursor = self._txn.cursor(self._dbs[number])
        return cursor.item() if cursor.set_range(at) else None

    def last_key(self, number: int) -> bytes | None:
        cursor = self._txn.cursor(self._dbs[number])
        return cursor.key() if cursor.last() else None

    def count(self, number: int) -> int:
        """How many rows a table has; LMDB knows without looking at them."""
        entries: int = self._txn.stat(self._dbs[number])["entries"]
        return entries

    def get_many(self, number: int, keys: list[bytes]) -> dict[bytes, bytes]:
        """Those of the keys that are there."""
        return dict(self._txn.cursor(self._dbs[number]).getmulti(keys))

    def forward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Entries with start <= key < stop."""
        cursor = self._txn.cursor(self._dbs[number])
        if not cursor.set_range(start):
            return iter(())
        entries: Iterator[tuple[bytes, bytes]] = cursor.iternext()
        return entries if stop is None else takewhile(lambda entry: entry[0] < stop, entries)

    def backward(self, number: int, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Entries with start <= key < stop, last first."""
        cursor = self._txn.cursor(self._dbs[number])
        below = cursor.prev() if stop is not None and cursor.set_range(stop) else cursor.last()
        if not below:
            return
        for key, value in cursor.iterprev():
            if key < start:
                return
            yield key, value


class PlainTransaction:
    """Writes a file that is not in force: nothing of it is durable before the file is flushed. Leaving the block
    commits, an exception undoes it whole.
    """

    __slots__ = ("_dbs", "_txn")

    def __init__(self, file: Source) -> None:
        self._dbs, self._txn = file.dbs, file.raw.begin(write=True)

    def __enter__(self) -> "PlainTransaction":
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            self._txn.commit()
        else:
            self._txn.abort()

    def get(self, number: int, key: bytes) -> bytes | None:
        return self._txn.get(key, None, self._dbs[number])

    def get_many(self, number: int, keys: list[bytes]) -> dict[bytes, bytes]:
        """Those of the keys that are there."""
        return dict(self._txn.cursor(self._dbs[number]).getmulti(keys))

    def put(self, number: int, items: Iterable[tuple[bytes, bytes]], *, append: bool = False) -> None:
        """Write items, which should be sorted; `append` only above every key of the table."""
        items = items if isinstance(items, list) else list(items)
        _, added = self._txn.cursor(self._dbs[number]).putmulti(items, overwrite=True, append=append)
        if added != len(items):  # LMDB says so only when keys are not where `append` wants them
            raise lmdb.Error(f"only {added} of {len(items)} rows were accepted by table {number}")

    def delete(self, number: int, key: bytes) -> None:
        self._txn.delete(key, b"", self._dbs[number])


class WriteTransaction(PlainTransaction):
    """One write transaction of the file in force; leaving the block commits, an exception undoes it whole.

    With entries for the journal (`journal`) it is durable when the block is left; without, at the next checkpoint.
    """

    __slots__ = ("_entries", "_holder", "_redo", "_vain")

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._entries: list[Item] = []
        self._vain = False

    def __enter__(self) -> "WriteTransaction":
        """Waits for its turn, in which another file may have taken the place of the one it waited for."""
        while not self._begin(self._holder.file):
            pass
        return self

    def _begin(self, file: Writable) -> bool:
        file.redo.lock.acquire()
        try:
            if file is self._holder.file:
                self._txn = file.raw.begin(write=True)
                self._dbs, self._redo = file.dbs, file.redo
                return True
        except BaseException:
            file.redo.lock.release()
            raise
        file.redo.lock.release()
        return False

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            if error is None and not self._vain:
                self._commit()
                return
            self._txn.abort()
            if error is not None and (is_full(error) or self._found_no_room(error)):
                raise StorageFull(str(error)) from error
        finally:
            self._redo.lock.release()

    def _commit(self) -> None:
        """The entries first: once LMDB has committed, readers see it, and what they tell must be durable."""
        redo = self._redo
        if self._entries:
            reached("commit.begun")
            try:
                redo.append(self._entries)
            except BaseException:
                self._txn.abort()
                raise
            reached("commit.written")
        try:
            self._txn.commit()
        except lmdb.Error as problem:
            if self._entries:
                redo.undo()
            if is_full(problem) or self._found_no_room(problem):
                raise StorageFull(str(problem)) from problem
            raise
        reached("commit.synced")
        redo.committed()

    def _found_no_room(self, error: BaseException) -> bool:
        """LMDB calls it an input/output error when the disk took only a part of several pages."""
        if not isinstance(error, lmdb.Error) or os.strerror(errno.EIO) not in str(error):
            return False
        disk = os.statvfs(self._holder.file.raw.path())
        return disk.f_bavail * disk.f_frsize < _NO_ROOM

    def journal(self, items: list[Item]) -> None:
        """Rows of the journal, above every one that is there, which say all that this transaction changes."""
        self.put(_JOURNAL, items, append=True)
        self._entries += items

    def in_vain(self) -> None:
        """Leaving the block writes nothing: it only kept others from writing."""
        self._vain = True


def is_full(error: BaseException) -> bool:
    """Whether the file or its disk is full: a state to wait out, where other errors end the process."""
    if isinstance(error, lmdb.MapFullError | lmdb.DiskError):
        return True
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
