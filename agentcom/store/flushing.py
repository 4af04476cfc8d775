"""Writing much to a disk on which others wait for little.

What is written stays in memory until a flush, and a flush of a gigabyte is one that every other flush waits behind.
So large writes are brought to the disk bit by bit, as they happen.
May import: operating system.
"""

import ctypes
import errno
import os
import time
from typing import Any


def trickle(handle: int) -> None:
    """Write a file's changed pages bit by bit. All at once they fill the disk's queue, and a log write that comes
    behind them waits for them all: 60 ms instead of 0.3. Where the kernel does not offer this, nothing is done. Raises
    `OSError` when something could not be written.
    """
    if _sync_file_range is None:
        return
    size = os.fstat(handle).st_size
    part = max(_PART, size // _PARTS)
    for _ in range(_PASSES):
        begun = time.monotonic()
        for at in range(0, size, part):
            if _sync_file_range(handle, at, part, _WRITE_AND_WAIT):
                _raise_lost()
        if time.monotonic() - begun < _QUICK_S:
            return


def write_out(handle: int, at: int, size: int) -> None:
    """Bring this part of a file to the disk, and wait for it. It is durable after an fsync only, which has little left
    to do. Unlike an fdatasync it does not make the file system flush its own journal, on which all others wait. Raises
    `OSError`.
    """
    if _sync_file_range is None:
        os.fsync(handle)
    elif _sync_file_range(handle, at, size, _WRITE_AND_WAIT):
        _raise_lost()
        os.fsync(handle)


def _raise_lost() -> None:
    """What could not be written is said once: an fsync would not say it again. Other errors mean "not offered"."""
    code = ctypes.get_errno()
    if code in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        raise OSError(code, os.strerror(code))


def drop(handle: int, at: int = 0, size: int = 0) -> None:
    """Nobody will read this part of a file soon (size 0: up to its end): the memory is for those who read others."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, at, size, os.POSIX_FADV_DONTNEED)


def _kernel_call() -> Any:
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_sync_file_range = _kernel_call()
_WRITE_AND_WAIT = 2 | 4  #: SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER, of Linux's fcntl.h
_PART, _PARTS, _PASSES, _QUICK_S = 64 << 10, 1_000, 3, 0.01
