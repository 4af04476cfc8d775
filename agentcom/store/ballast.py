"""Room that is given up when the disk is full, so that deletes and a rewrite of the file can still run.

Lives here: the file DATA/ballast. Its blocks are really allocated, a piece at a time, so that no batch waits long. It
is cut to nothing when a write finds the disk full; an empty file says, also to the next life, that this happened.
May import: agentcom.store.transactions, operating system.
"""

import errno
import os
from pathlib import Path

from agentcom.store.transactions import is_full

STEP = 8 << 20
"""Bytes of one piece: one a second."""

_BLOCK = 1 << 20
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def growth(has: int, wanted: int, room: int) -> int:
    """How many bytes to add now. None unless all that is missing fits and leaves twice the ballast's size."""
    missing = wanted - has
    if missing <= 0 or room < missing + 2 * wanted:
        return 0
    return min(STEP, missing)


class Ballast:
    """One data folder's. Only who holds the folder's lock may change it."""

    def __init__(self, path: Path, wanted: int) -> None:
        self._path, self._wanted = path, wanted
        self.bytes = path.stat().st_size if path.exists() else 0
        self.given_up = wanted > 0 and path.exists() and self.bytes == 0
        self.problem = ""  #: why it could not be made, other than for want of room

    @property
    def needs(self) -> int:
        """So much room brings a ballast back that was given up."""
        return self._wanted - self.bytes + 2 * self._wanted

    def give_up(self) -> bool:
        """Its blocks are the disk's again; False when there were none to give."""
        if not self.bytes:
            return False
        os.truncate(self._path, 0)
        self.bytes, self.given_up = 0, True
        return True

    def tend(self, room: int) -> None:
        """One step towards the size that is wanted, if there is room. What the disk says to that is no error."""
        self.problem = ""
        try:
            if self.bytes > self._wanted or (not self._wanted and self._path.exists()):
                self._shrink()
            elif more := growth(self.bytes, self._wanted, room):
                self._grow(more)
        except OSError as error:
            self.problem = "" if is_full(error) else str(error)

    def _shrink(self) -> None:
        if self._wanted:
            os.truncate(self._path, self._wanted)
        else:
            self._path.unlink()
        self.bytes = self._wanted

    def _grow(self, more: int) -> None:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            allocate(handle, self.bytes, more)
        except OSError:
            os.ftruncate(handle, self.bytes)
            raise
        finally:
            os.close(handle)
        self.bytes += more
        self.given_up = False


def allocate(handle: int, at: int, size: int) -> None:
    """Take blocks for `size` bytes from `at` on. Raises `OSError` as the disk does, then some may be taken."""
    try:
        os.posix_fallocate(handle, at, size)
    except OSError as error:
        if error.errno not in _CANNOT_ALLOCATE:
            raise
        _fill(handle, at, size)


def _fill(handle: int, at: int, size: int) -> None:
    """With bytes that no file system can store in less."""
    block = os.urandom(min(_BLOCK, size))
    end = at + size
    while at < end:
        at += os.pwrite(handle, block[: end - at], at)
