"""LMDB's own copy of a store that is being written, at a pace that leaves disk and cores to the hub.

LMDB writes the copy into a pipe, from one read transaction and without free pages. What comes out is written bit by
bit (agentcom.store.flushing), with a rest after each.
Until the copy is done the store cannot use again what is freed meanwhile, and its file grows by that much.
May import: agentcom.store.{errors,flushing,pacing,transactions}, lmdb, operating system.
"""

import fcntl
import os
import shutil
import threading
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import lmdb

from agentcom.store.errors import StoreError
from agentcom.store.flushing import drop, write_out
from agentcom.store.pacing import Pace
from agentcom.store.transactions import Source, is_full

PART = 256 << 10
"""Written between two rests: a commit's flush waits behind no more than this."""
LOOK_EACH = 64
"""Parts between two looks at the room that is left."""


class Copy(NamedTuple):
    bytes: int
    digest: str  #: "blake2b:" and 32 bytes in hexadecimal


class NoRoom(StoreError):
    """A disk is too full for a copy; nothing of the copy is of use."""

    def __init__(self, folder: Path, wanted: int, free: int) -> None:
        super().__init__(str(folder), wanted, free)
        self.folder, self.wanted, self.free = folder, wanted, free

    def __str__(self) -> str:
        return (
            f"there is no room in {self.folder}: {self.wanted >> 20} MiB are needed and {self.free >> 20} MiB "
            "are free; free some, or choose a larger disk"
        )


def size_of(source: Source) -> int:
    """Bytes that a copy will have: the pages in use."""
    with source.raw.begin() as txn:
        figures = [source.raw.stat(), *(txn.stat(db) for db in source.dbs if db is not None)]
    pages = sum(each["branch_pages"] + each["leaf_pages"] + each["overflow_pages"] for each in figures)
    return int((pages + 2) * figures[0]["psize"])


def copy_compact(source: Source, target: Path, *, reserve: int = 0, cached: bool = False) -> Copy:
    """Copy `source` into the new file `target`; it is on disk on return, but for its folder's entry.

    `cached` is for a copy that will be read soon: it stays in memory too.

    Raises `NoRoom` when less than `reserve` would be left on the disk, `lmdb.Error` and `OSError`.
    """
    wanted = size_of(source) + reserve
    free = shutil.disk_usage(target.parent).free
    if free < wanted:
        raise NoRoom(target.parent, wanted, free)
    try:
        return _copy(source.raw, target, reserve, cached=cached)
    except (OSError, lmdb.Error) as error:
        if is_full(error):
            raise NoRoom(target.parent, wanted, shutil.disk_usage(target.parent).free) from error
        raise


def _copy(raw: lmdb.Environment, target: Path, reserve: int, *, cached: bool) -> Copy:
    outlet, inlet = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PART)
    failed: list[BaseException] = []

    def pour() -> None:
        try:
            raw.copyfd(inlet, compact=True)
        except BaseException as error:  # noqa: BLE001  # raised again by who waits for this thread
            failed.append(error)
        finally:
            os.close(inlet)

    pouring = threading.Thread(target=pour, name="copy")
    pouring.start()
    try:
        done = _drain(outlet, target, reserve, cached=cached)
    finally:
        os.close(outlet)  # after an error of ours it ends the copy, which nobody takes any more
        pouring.join()
    if failed:
        raise failed[0]
    return done


def _drain(outlet: int, target: Path, reserve: int, *, cached: bool) -> Copy:
    digest, at = blake2b(digest_size=32), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        pace = Pace()
        while part := _part(outlet):
            digest.update(part)
            _write_all(handle, part)
            write_out(handle, at, len(part))
            if not cached:
                drop(handle, at, len(part))
            at += len(part)
            if reserve and at % (LOOK_EACH * PART) == 0:
                _look(target, reserve)
            pace.rest()
        os.fsync(handle)
        if not cached:
            drop(handle)
    finally:
        os.close(handle)
    return Copy(at, f"blake2b:{digest.hexdigest()}")


def _part(outlet: int) -> bytes:
    """A pipe gives what is there, so several reads make a part."""
    found, size = [], 0
    while size < PART and (some := os.read(outlet, PART - size)):
        found.append(some)
        size += len(some)
    return b"".join(found)


def _write_all(handle: int, part: bytes) -> None:
    left = memoryview(part)
    while left:
        left = left[os.write(handle, left) :]


def _look(target: Path, reserve: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < reserve:
        raise NoRoom(target.parent, reserve, free)
