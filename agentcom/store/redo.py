"""The redo log: a commit is durable when its journal entries are here; LMDB's own pages follow behind.

A batch changes a dozen pages all over LMDB's file, and each is a request of its own to the disk: flushing them took
four to seven times as long as flushing as many bytes in a row. So LMDB commits without a flush, after the batch's
journal entries were written to a log in one flushed write; and twice a second a *checkpoint* flushes LMDB's file.

    STORE/redo.0, redo.1    the entries since a checkpoint began, by turns
    STORE/checkpoint        the newest state of LMDB's file that is known to be on disk whole

**After a power cut** any page of LMDB's file that was written since the checkpoint may be on disk or not, its two
meta pages included. The state of the checkpoint is on disk all the same: a read transaction pinned it, so that LMDB
reused none of its pages. `recover` puts the checkpoint's meta page back, from which LMDB sees exactly that state, and
returns the entries that came after it. **After a killed process** nothing is put back: the kernel has every page that
was written, and `checkpoint` says whether this is still the same file under the same kernel.

What is committed without an entry (`meta` rows, trimmed journal) is durable at the next checkpoint.
May import: agentcom.store.errors, lmdb, msgspec, operating system.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store.errors import StorageFull, StoreError

Item = tuple[bytes, bytes]

LOGS = ("redo.0", "redo.1")
CHECKPOINT, DATA = "checkpoint", "data.mdb"
EVERY_S = 0.5
MAX_LOG = 8 << 20  #: a log larger than this is followed by a checkpoint before its time
_STEP = (
    256 << 10
)  #: logs grow by this: writing behind a file's end makes the filesystem flush its journal too

_HEADER = struct.Struct(">8sII")  #: magic, salt, CRC
_RECORD = struct.Struct(">II")  #: length of the body, CRC of it and of everything before it in this log
_SEQ = 8
_MAGIC = b"acredo\x00\x01"
_SLOT = 1_024

_META_AT = 16  #: in its page, behind LMDB's page header
_META = struct.Struct("=II120xQ")  #: LMDB's magic and version, (…), transaction id; 136 bytes
_META_MAGIC = (0xBEEFC0DE, 1)


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """A state of LMDB's file that is on disk whole."""

    number: int
    seq: int  #: the newest journal entry it contains
    page: int  #: bytes of a page
    meta: bytes  #: LMDB's meta of it
    place: tuple[str, int, int]  #: boot, device and inode under which later pages are to be trusted


class Redo:
    """The log of one open store; `raw` is flushed on a thread of its own.

    Whoever writes holds `lock` from before its transaction until `committed`: a checkpoint that began in between would
    leave the batch's entries in a log that the next one reuses too early.
    """

    def __init__(self, store: Path, raw: lmdb.Environment, journal: Any, *, sync: bool) -> None:
        """Begins with a checkpoint. `sync=False`: a write is durable at `flush` only."""
        self.lock = threading.RLock()
        self._raw, self._journal, self._sync = raw, journal, sync
        self._place = place_of(store / DATA)
        self._page = int(raw.stat()["psize"])
        self._data = os.open(store / DATA, os.O_RDONLY | os.O_CLOEXEC)
        self._logs = [_open(store / name, flushed=sync) for name in LOGS]
        self._marks = _open(store / CHECKPOINT, flushed=True)
        newest = newest_checkpoint(store)
        self._number = newest.number if newest else 0
        self._which, self._at, self._crc, self._head = 0, 0, 0, b""
        self._start_log()
        self._last: tuple[int, int, bytes] = (0, 0, b"")
        self._pin: lmdb.Transaction | None = None
        self._next_pin: lmdb.Transaction | None = None
        self._job: threading.Thread | None = None
        self._error: BaseException | None = None
        self._dirty = False
        try:
            self._make_room(_STEP)
            if os.fstat(self._marks).st_size < 2 * _SLOT:
                _put(self._marks, bytes(2 * _SLOT), 0)
            self.checkpoint()
            self._forget()
        except BaseException:
            self.abandon()
            raise

    # --- the writer's way ----------------------------------------------------------------------------

    def append(self, items: Sequence[Item]) -> None:
        """Write a batch's journal rows (key, row); durable on return. `StorageFull` when there is no room for it."""
        data, crc = bytearray(self._head), self._crc
        for key, row in items:
            body = key + row
            crc = zlib.crc32(body, crc)
            data += _RECORD.pack(len(body), crc)
            data += body
        self._last = (self._at, self._crc, self._head)
        try:
            self._make_room(self._at + len(data))
            _put(self._logs[self._which], data, self._at)
        except BaseException:
            self.undo()
            raise
        self._at, self._crc, self._head = self._at + len(data), crc, b""

    def undo(self) -> None:
        """What was last appended did not happen, as LMDB could not commit it."""
        self._at, self._crc, self._head = self._last
        if self._at < self._size():
            os.pwrite(self._logs[self._which], bytes(_HEADER.size), self._at)

    def committed(self) -> None:
        """LMDB has committed. Begins a checkpoint when one is due; raises what the last one's flush raised."""
        self._dirty = True
        self.look()

    def look(self) -> None:
        """Like `committed`, when nothing was: finishes and begins what is due."""
        with self.lock:
            if self._job is not None and not self._job.is_alive():
                self._finish()
            due = self._at >= MAX_LOG or time.monotonic() - self._begun >= EVERY_S
            if self._job is None and self._dirty and due:
                self._begin()

    def flush(self) -> None:
        """For `sync=False`: everything appended so far is durable on return."""
        if not self._sync:
            for log in self._logs:
                os.fdatasync(log)

    def checkpoint(self) -> None:
        """Everything committed so far is in LMDB's file, and on disk, on return."""
        with self.lock:
            self._wait()
            self._begin()
            self._wait()

    def close(self) -> None:
        """A last checkpoint; then LMDB may be closed."""
        try:
            self.checkpoint()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Without a checkpoint; then LMDB may be closed."""
        if self._job is not None:
            self._job.join()
        for pin in (self._pin, self._next_pin):
            if pin is not None:
                pin.abort()
        for handle in (*self._logs, self._marks, self._data):
            os.close(handle)

    # --- the log -------------------------------------------------------------------------------------

    def _start_log(self) -> None:
        """A new salt, so that what an earlier turn left behind in this file never seems to follow."""
        salt = secrets.randbits(32)
        body = _MAGIC + salt.to_bytes(4, "big")
        self._crc = zlib.crc32(body)
        self._head = _HEADER.pack(_MAGIC, salt, self._crc)
        self._at = 0

    def _forget(self) -> None:
        """What an earlier process left in the logs is in LMDB's file, or was never acknowledged. It must not come back
        in place of an entry that is written from now on.
        """
        for log in self._logs:
            os.pwrite(log, bytes(_HEADER.size), 0)
            os.fdatasync(log)

    def _size(self) -> int:
        return os.fstat(self._logs[self._which]).st_size

    def _make_room(self, end: int) -> None:
        size = self._size()
        if end > size:
            _put(self._logs[self._which], bytes(end - size + _STEP), size)

    # --- checkpoints ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        """From here on entries go to the other log, whose own are in LMDB's file since the last checkpoint."""
        self._begun = time.monotonic()
        self._dirty = False
        self._next_pin = pin = self._raw.begin()
        cursor = pin.cursor(self._journal)
        seq = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
        self._number += 1
        record = Checkpoint(self._number, seq, self._page, self._meta_of(pin.id()), self._place)
        self._which ^= 1
        self._start_log()
        self._job = threading.Thread(target=self._flush_pages, args=(record,), name="checkpoint", daemon=True)
        self._job.start()

    def _wait(self) -> None:
        if self._job is not None:
            self._job.join()
            self._finish()

    def _flush_pages(self, record: Checkpoint) -> None:
        """On its own thread: the disk may take its time, commits go on meanwhile."""
        try:
            trickle(self._data)
            self._raw.sync(True)
            write_checkpoint(self._marks, record)
        except Exception as error:  # noqa: BLE001  # raised again on the thread that writes
            self._error = error

    def _finish(self) -> None:
        self._job = None
        if self._error is not None:
            error, self._error = self._error, None
            self._distrust()
            raise error
        if self._pin is not None:
            self._pin.abort()
        self._pin, self._next_pin = self._next_pin, None

    def _distrust(self) -> None:
        """After a failed flush the kernel may hold pages as clean that the disk does not have: the next start goes back
        to the last good checkpoint even under this kernel.
        """
        with contextlib.suppress(OSError):  # the disk fails: this was the attempt to say so
            for slot in range(2):
                record = _slot(os.pread(self._marks, _SLOT, slot * _SLOT))
                if record is not None:
                    write_checkpoint(self._marks, msgspec.structs.replace(record, place=("", 0, 0)))

    def _meta_of(self, txn: int) -> bytes:
        """LMDB's meta of the transaction that was committed last."""
        for page in range(2):
            raw = os.pread(self._data, _META.size, page * self._page + _META_AT)
            magic, version, number = _META.unpack(raw)
            if (magic, version) == _META_MAGIC and number == txn:
                return raw
        raise StoreError(f"LMDB's file has no meta page of its transaction {txn}; it is of an unknown format")


# --- what is on disk -----------------------------------------------------------------------------------


def trickle(handle: int) -> None:
    """Write a file's changed pages bit by bit. All at once they fill the disk's queue, and a log write that comes
    behind them waits for them all: 60 ms instead of 0.3. Where the kernel does not offer this, nothing is done.
    """
    if _sync_file_range is None:
        return
    size = os.fstat(handle).st_size
    part = max(_PART, size // _PARTS)
    for _ in range(_PASSES):
        begun = time.monotonic()
        for at in range(0, size, part):
            _sync_file_range(handle, at, part, _WRITE_AND_WAIT)
        if time.monotonic() - begun < _QUICK_S:
            return


def _kernel_call() -> Any:
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_sync_file_range = _kernel_call()
_WRITE_AND_WAIT = 2 | 4  #: SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER, of Linux's fcntl.h
_PART, _PARTS, _PASSES, _QUICK_S = 64 << 10, 1_000, 3, 0.01


def _open(path: Path, *, flushed: bool) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_DSYNC if flushed else 0)
    return os.open(path, flags, 0o600)


def _put(handle: int, data: bytes | bytearray, at: int) -> None:
    """All of it, or `StorageFull`."""
    try:
        written = os.pwrite(handle, data, at)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(str(error)) from error
        raise
    if written != len(data):
        raise StorageFull(f"only {written} of {len(data)} bytes could be written")


def place_of(data: Path) -> tuple[str, int, int]:
    """A file under a kernel. Without a boot id nothing is ever the same place."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = secrets.token_hex(8)
    found = data.stat()
    return boot, found.st_dev, found.st_ino


def write_checkpoint(handle: int, record: Checkpoint) -> None:
    """Into the slot that the one before it is not in."""
    body = msgspec.msgpack.encode(record)
    framed = _RECORD.pack(len(body), zlib.crc32(body)) + body
    os.pwrite(handle, framed.ljust(_SLOT, b"\0"), record.number % 2 * _SLOT)


def newest_checkpoint(store: Path) -> Checkpoint | None:
    try:
        raw = (store / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return None
    found = [record for at in (0, _SLOT) if (record := _slot(raw[at : at + _SLOT])) is not None]
    return max(found, key=lambda record: record.number, default=None)


def _slot(raw: bytes) -> Checkpoint | None:
    if len(raw) < _RECORD.size:
        return None
    length, crc = _RECORD.unpack_from(raw)
    body = raw[_RECORD.size : _RECORD.size + length]
    if zlib.crc32(body) != crc:
        return None
    try:
        return msgspec.msgpack.decode(body, type=Checkpoint)
    except msgspec.DecodeError:
        return None


def recover(store: Path) -> list[Item]:
    """Before LMDB opens the file: make it the checkpoint's state, if it may be anything else.

    Returns the journal rows (key, row) to be written again, in order; none when the file is to be trusted as it is.
    """
    record = newest_checkpoint(store)
    data = store / DATA
    if record is None or not data.exists() or place_of(data) == record.place:
        return []
    handle = os.open(data, os.O_RDWR | os.O_CLOEXEC)
    try:
        for page in range(2):
            os.pwrite(handle, record.meta, page * record.page + _META_AT)
        os.fdatasync(handle)
    finally:
        os.close(handle)
    return after(store, record.seq)


def after(store: Path, seq: int) -> list[Item]:
    """The entries of the logs that follow `seq` without a gap."""
    found: list[Item] = []
    logs = [read_log(store / name) for name in LOGS]
    for log in sorted(filter(None, logs), key=lambda entries: entries[0][0]):
        for key, row in log:
            if int.from_bytes(key, "big") == seq + 1:
                found.append((key, row))
                seq += 1
    return found


def read_log(path: Path) -> list[Item]:
    """Every entry up to the first record that does not check."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    if len(raw) < _HEADER.size:
        return []
    magic, salt, crc = _HEADER.unpack_from(raw)
    if magic != _MAGIC or crc != zlib.crc32(_MAGIC + salt.to_bytes(4, "big")):
        return []
    found, at = [], _HEADER.size
    while at + _RECORD.size <= len(raw):
        length, want = _RECORD.unpack_from(raw, at)
        body = raw[at + _RECORD.size : at + _RECORD.size + length]
        crc = zlib.crc32(body, crc)
        if length <= _SEQ or len(body) < length or crc != want:
            break
        found.append((body[:_SEQ], body[_SEQ:]))
        at += _RECORD.size + length
    return found
