"""What compaction must know of the store before it decides: how full the file and its disk are, what may be trimmed,
whether its times leap.

May import: agentcom.store.{env,errors,shipping}, operating system.
"""

import os
from pathlib import Path

from agentcom.store.env import opened, reader_of
from agentcom.store.errors import StoreClosed
from agentcom.store.shipping import trimmable


def look(folder: str) -> tuple[int, int, int]:
    """Bytes of the file, of these in free pages, and bytes free on its disk. Raises `StoreClosed`."""
    env = opened(Path(folder))
    if env is None:
        raise StoreClosed(folder)
    usage, disk = env.file.usage(), os.statvfs(folder)
    return usage.bytes, usage.free_bytes, disk.f_bavail * disk.f_frsize


def leap_of(folder: str, now_ms: int, window_ms: int) -> int:
    """Milliseconds between the entry that is newest outside of the last `window_ms` and what came next, be that now.

    0 when the journal does not go back so far. A clock that leapt, and a hub that was off, leave such a gap. Looks at
    some twenty entries. Raises `StoreClosed`, `CorruptRow`.
    """
    if opened(Path(folder)) is None:
        raise StoreClosed(folder)
    reader, latest = reader_of(folder), now_ms - window_ms
    oldest, newest = (reader.scan("journal", (), limit=1, reverse=back) for back in (False, True))
    if not oldest or oldest[0][1].ms > latest:
        return 0
    low, high = int(oldest[0][0][0]), int(newest[0][0][0])
    before = int(oldest[0][1].ms)
    while low < high:  # the last seq whose entry is old enough
        middle = (low + high + 1) // 2
        ((key, entry),) = reader.scan("journal", (), after=(middle - 1,), limit=1)
        if entry.ms <= latest:
            low, before = int(key[0]), int(entry.ms)
        else:
            high = middle - 1
    after = reader.scan("journal", (), after=(low,), limit=1)
    return min(int(after[0][1].ms), now_ms) - before if after else now_ms - before


def trimmable_of(folder: str, archived: int, snapshot: int, now_ms: int, keep_s: float) -> int:
    """`trimmable` of the journal as it is. Looks at some twenty entries."""
    reader = reader_of(folder)
    first = reader.scan("journal", (), limit=1)
    oldest = int(first[0][0][0]) if first else 1

    def time_of(seq: int) -> int | None:
        found = reader.scan("journal", (), after=(seq - 1,), limit=1)
        return int(found[0][1].ms) if found else None

    return trimmable(archived, snapshot, oldest, time_of, now_ms, keep_s)
