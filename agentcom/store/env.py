"""The data folder: one environment, one owner, one open per process.

Lives here: the folder's lock, the schema version, the store's life and id, the clean mark.

Where its files are is in agentcom.store.layout. LMDB must be opened after any fork.
May import: agentcom.protocol.rows,
agentcom.store.{datafile,errors,layout,migrations,reader,redo,redo_format,tables,transactions}, lmdb,
operating system.
"""

import fcntl
import os
import secrets
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import msgspec

from agentcom.protocol.rows import Journal
from agentcom.store.datafile import MAP_SIZE, MAX_READERS, DataFile
from agentcom.store.errors import (
    DataFolderLocked,
    NewerSchema,
    StorageFull,
    StoreClosed,
    StoreError,
    StoreUnreadable,
)
from agentcom.store.layout import Layout, sync_folder
from agentcom.store.migrations import SCHEMA as SCHEMA
from agentcom.store.migrations import Planned, Tell, bring_up, untold
from agentcom.store.reader import Reader
from agentcom.store.redo import Redo
from agentcom.store.redo_format import Item, recover
from agentcom.store.tables import TABLES, decode_row, encode_key, encode_row
from agentcom.store.transactions import ReadView, WriteTransaction, is_full

_LOCK_BYTES = 4_096 + 64 * MAX_READERS
"""Of LMDB's lock file: a cache line for each reader, and what comes before them."""
RESERVE = 32 << 20
"""Room kept free so that what was adopted before `full` was told can still be written."""

_META = TABLES["meta"].number
_ROOM_AGE = 20
_OPEN: dict[str, "Environment"] = {}
"""LMDB must not open a file twice in a process: this is the one place that knows which are open."""


class Retired(NamedTuple):
    """A file that another one took the place of. Views of it live on; each holds the `DataFile`."""

    file: "weakref.ref[DataFile]"
    raw: lmdb.Environment
    redo: Redo
    folder: Path

    def close(self) -> None:
        self.redo.close(in_force=False)
        self.raw.close()


class Environment:
    """An open data folder. Made by `open_environment`; `close` gives the lock back."""

    def __init__(self, folder: Path, lock: int, file: DataFile, *, max_bytes: int, sync: bool) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.sync = sync
        self.file = file  #: in force; whoever uses it takes it from here once, and holds on to that
        self.life = 0
        self.was_clean = False  #: the last process that had it open closed it in order
        self.was_new = False  #: there was none before
        self._retired: list[Retired] = []
        self.migrated: tuple[Planned, ...] = ()  #: what the open changed in an older release's store
        self._lock = lock
        self._disk_room, self._disk_room_age = 0, _ROOM_AGE
        self._free = 0

    @property
    def closed(self) -> bool:
        return self._lock < 0

    @property
    def raw(self) -> lmdb.Environment:
        return self.file.raw

    @property
    def dbs(self) -> list[Any]:
        return self.file.dbs

    @property
    def redo(self) -> Redo:
        return self.file.redo

    def reading(self) -> ReadView:
        return ReadView(self.file)

    def writing(self) -> WriteTransaction:
        return WriteTransaction(self)

    def meta(self, name: str) -> Any:
        """A value of the file itself (`schema`, `life`, `clean`, …) or None."""
        with self.reading() as view:
            return _get_meta(view, name)

    def put_meta(self, txn: WriteTransaction, name: str, value: Any) -> None:
        txn.put(_META, [(encode_key(TABLES["meta"], (name,)), encode_row(value))])

    def begin_life(self) -> None:
        """Every incarnation minted from now on is above every earlier one, and the clean mark is gone.

        A store gets its id at its first life and keeps it, also through a restore: its archive is told by it.

        Waits for a write transaction under way. An engine of an earlier life writes no more.
        """
        store = self.meta("store")
        # a store actor that takes over from a crashed one learns nothing of the last process
        if not self.life:
            self.was_clean, self.was_new = bool(self.meta("clean")), store is None
        with self.writing() as txn:
            self.life = (self.meta("life") or 0) + 1
            self.put_meta(txn, "schema", SCHEMA)
            self.put_meta(txn, "life", self.life)
            self.put_meta(txn, "clean", False)
            if store is None:
                self.put_meta(txn, "store", secrets.token_hex(8))
        self.redo.checkpoint()

    def room(self, *, fresh: bool = False) -> int:
        """Bytes that may still be written: to the end of the disk or to `max_bytes`, and in half of the free pages.

        The other half may be scattered, or still seen by a reader.
        The disk is asked at every 20th call only, or when `fresh`: it may be slow to answer.
        """
        self._disk_room_age += 1
        if fresh or self._disk_room_age > _ROOM_AGE:
            self._disk_room, self._disk_room_age = self.disk_room(), 0
            self._free = self.free_bytes()
        if not self.max_bytes:
            return self._disk_room + self._free // 2
        self._free = self.free_bytes()
        return min(self._disk_room, self.max_bytes - self.file.bytes) + self._free // 2

    def disk_room(self) -> int:
        """Bytes to the end of the disk."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def file_bytes(self) -> int:
        return self.file.bytes

    def free_bytes(self) -> int:
        """In the file, to be written again; some are LMDB's own, and some a long read may still see."""
        return self.file.usage().free_bytes

    def probe(self) -> None:
        """A small durable write; `StorageFull` when even that finds no room."""
        with self.writing() as txn:
            self.put_meta(txn, "probe", self.life)

    def clear_stale_readers(self) -> int:
        """Give back the slots of readers that died; returns how many."""
        return self.raw.reader_check()

    def flush(self) -> None:
        """For `sync=False`: everything committed so far is durable on return."""
        self.redo.flush()

    def look(self) -> None:
        """Once a second: LMDB's own pages follow also when nothing more is committed."""
        self.redo.look()

    def reuse_pages(self) -> None:
        """Free pages that only the redo log's checkpoints still see may be written again from now on."""
        for _ in range(2):
            self.redo.checkpoint()

    def mark_clean(self) -> None:
        """The last write of an orderly stop."""
        with self.writing() as txn:
            self.put_meta(txn, "clean", True)

    def replace(self, file: DataFile) -> None:
        """From now on `file` is read and written. Call it while holding the old one's write transaction: whoever waits
        for that one looks again whether the file is still in force.
        """
        old, self.file = self.file, file
        self._retired.append(Retired(weakref.ref(old), old.raw, old.redo, old.folder))

    @property
    def retired(self) -> list[Path]:
        """Folders of earlier files that some view of this process still reads, or that were not looked at yet."""
        return [of.folder for of in self._retired]

    def close_retired(self) -> list[Path]:
        """Close the earlier files that no view reads any more; their folders can go."""
        free = [of for of in self._retired if of.file() is None]
        self._retired = [of for of in self._retired if of not in free]
        for of in free:
            of.close()
        return [of.folder for of in free]

    def close(self) -> None:
        """Close the file and give the folder back. Closing twice is harmless."""
        if self._lock < 0:
            return
        _OPEN.pop(str(self.folder), None)
        try:
            for retired in self._retired:
                retired.close()
            self.redo.close()
        finally:
            self.raw.close()
            os.close(self._lock)
            self._lock = -1


def open_environment(
    folder: Path, *, max_bytes: int = 0, sync: bool = True, lock: int = -1, tell: Tell = untold
) -> Environment:
    """Lock the folder, open or create its store, start a new life. `lock` is one that `lock_folder` gave: it is the
    environment's from now on. `tell` hears how far a migration is.

    Raises DataFolderLocked with the owner's pid, NewerSchema, StoreUnreadable or StorageFull; each leaves the data as
    it was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        lock = lock_folder(folder) if lock < 0 else lock
        try:
            env = _open(folder, lock, max_bytes, sync, tell)
        except BaseException:
            os.close(lock)
            raise
    except (lmdb.Error, OSError, StorageFull) as error:
        if isinstance(error, StorageFull) or is_full(error):
            raise StorageFull(f"there is no room to open the store in {folder}: {error}") from error
        if isinstance(error, lmdb.Error):
            raise StoreUnreadable(str(folder), str(error)) from error
        raise
    _OPEN[str(folder)] = env
    return env


def reader_of(folder: str) -> Reader:
    """Committed rows of a folder that this process has open. Raises `StoreError` when it has not."""
    env = opened(Path(folder))
    if env is None:
        raise StoreError(f"the data folder {folder} is not open in this process")
    return Reader(env)


def opened(folder: Path) -> Environment | None:
    """This process' open environment of a folder."""
    return _OPEN.get(str(folder.resolve()))


class Handle(msgspec.Struct, frozen=True):
    """Finds this process' environment anew at each read: it can be pickled, and outlives a close and open."""

    folder: str  #: resolved, see `handle`

    def reading(self) -> ReadView:
        env = _OPEN.get(self.folder)
        if env is None:
            raise StoreClosed(self.folder)
        return env.reading()


def handle(folder: Path) -> Handle:
    """What a `Reader` is made of before the store is open, and in a message: `Reader(handle(folder))`."""
    return Handle(str(folder.resolve()))


def _open(folder: Path, lock: int, max_bytes: int, sync: bool, tell: Tell) -> Environment:
    store = Layout(folder).store
    _take_lock_file(store)
    entries = recover(store)
    file = DataFile(store, map_size=MAP_SIZE)
    env = Environment(folder, lock, file, max_bytes=max_bytes, sync=sync)
    try:
        _check_schema(env)
        file.open_tables()
        _write_again(env, entries)
        file.begin_log(sync=sync)
        if (env.meta("schema") or SCHEMA) < SCHEMA:
            env.migrated = bring_up(env, tell)
        env.begin_life()
    except BaseException:
        if hasattr(file, "redo"):
            file.redo.abandon()
        file.raw.close()
        raise
    env.clear_stale_readers()
    for path in (folder, store):
        sync_folder(path)
    return env


def lock_folder(folder: Path) -> int:
    """Hold FOLDER/hub.lock, by this handle, until it is closed; the kernel gives it back however the process ends.

    Raises DataFolderLocked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(handle, 32).strip()
        os.close(handle)
        raise DataFolderLocked(str(folder), int(pid) if pid.isdigit() else 0) from None
    try:
        pid_line = f"{os.getpid()}\n".encode()
        os.pwrite(handle, pid_line, 0)  # over the old one first: its block may be the last of a full disk
        os.ftruncate(handle, len(pid_line))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _take_lock_file(store: Path) -> None:
    """All blocks of LMDB's lock file: it is written through a map, where a full disk would be SIGBUS and no error."""
    store.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(store / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, _LOCK_BYTES)
    except OSError as error:
        if is_full(error):
            raise
    finally:
        os.close(handle)


def _check_schema(env: Environment) -> None:
    """Before anything is written, so that a newer file stays as it is."""
    try:
        env.dbs[_META] = env.raw.open_db(b"meta", create=False)
    except lmdb.NotFoundError:
        return  # a new file
    found = env.meta("schema")
    if isinstance(found, int) and found > SCHEMA:
        raise NewerSchema(str(env.folder), found, SCHEMA)


def _write_again(env: Environment, entries: list[Item]) -> None:
    """What a power cut took from LMDB's file, as the redo log has it."""
    journal = TABLES["journal"]
    with env.raw.begin(write=True) as txn:
        for key, row in entries:
            entry: Journal = decode_row(journal, row, key)
            for number, at, value in entry.ops:
                if value is None:
                    txn.delete(at, b"", env.dbs[number])
                else:
                    txn.put(at, value, db=env.dbs[number])
            txn.put(key, row, db=env.dbs[journal.number])


def _get_meta(view: ReadView, name: str) -> Any:
    raw = view.get(_META, encode_key(TABLES["meta"], (name,)))
    return None if raw is None else decode_row(TABLES["meta"], raw, (name,))
