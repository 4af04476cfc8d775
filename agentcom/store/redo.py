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
May import: agentcom.store.{errors,flushing,redo_format}, lmdb, msgspec, operating system.
"""

import contextlib
import os
import secrets
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store.errors import StoreError
from agentcom.store.flushing import trickle
from agentcom.store.redo_format import (
    CHECKPOINT,
    DATA,
    HEADER,
    LOGS,
    MAGIC,
    META,
    META_AT,
    META_MAGIC,
    RECORD,
    SLOT,
    Checkpoint,
    Item,
    newest_checkpoint,
    open_flushed,
    place_of,
    put,
    read_slot,
    write_checkpoint,
)

EVERY_S = 0.5
MAX_LOG = 8 << 20  #: a log larger than this is followed by a checkpoint before its time
#: logs grow by this: writing behind a file's end makes the filesystem flush its journal too
_STEP = 256 << 10


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
        self._logs = [open_flushed(store / name, flushed=sync) for name in LOGS]
        self._marks = open_flushed(store / CHECKPOINT, flushed=True)
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
            if os.fstat(self._marks).st_size < 2 * SLOT:
                put(self._marks, bytes(2 * SLOT), 0)
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
            data += RECORD.pack(len(body), crc)
            data += body
        self._last = (self._at, self._crc, self._head)
        try:
            self._make_room(self._at + len(data))
            put(self._logs[self._which], data, self._at)
        except BaseException:
            self.undo()
            raise
        self._at, self._crc, self._head = self._at + len(data), crc, b""

    def undo(self) -> None:
        """What was last appended did not happen, as LMDB could not commit it."""
        self._at, self._crc, self._head = self._last
        if self._at < self._size():
            os.pwrite(self._logs[self._which], bytes(HEADER.size), self._at)

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

    def close(self, *, in_force: bool = True) -> None:
        """A last checkpoint, which a file that is no longer in force does not need; then LMDB may be closed."""
        try:
            if in_force:
                self.checkpoint()
            elif self._job is not None:
                self._job.join()
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
        body = MAGIC + salt.to_bytes(4, "big")
        self._crc = zlib.crc32(body)
        self._head = HEADER.pack(MAGIC, salt, self._crc)
        self._at = 0

    def _forget(self) -> None:
        """What an earlier process left in the logs is in LMDB's file, or was never acknowledged. It must not come back
        in place of an entry that is written from now on.
        """
        for log in self._logs:
            os.pwrite(log, bytes(HEADER.size), 0)
            os.fdatasync(log)

    def _size(self) -> int:
        return os.fstat(self._logs[self._which]).st_size

    def _make_room(self, end: int) -> None:
        size = self._size()
        if end > size:
            put(self._logs[self._which], bytes(end - size + _STEP), size)

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
                record = read_slot(os.pread(self._marks, SLOT, slot * SLOT))
                if record is not None:
                    write_checkpoint(self._marks, msgspec.structs.replace(record, place=("", 0, 0)))

    def _meta_of(self, txn: int) -> bytes:
        """LMDB's meta of the transaction that was committed last."""
        for page in range(2):
            raw = os.pread(self._data, META.size, page * self._page + META_AT)
            magic, version, number = META.unpack(raw)
            if (magic, version) == META_MAGIC and number == txn:
                return raw
        raise StoreError(f"LMDB's file has no meta page of its transaction {txn}; it is of an unknown format")
