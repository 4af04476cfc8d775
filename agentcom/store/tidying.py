"""What compaction must know of the store before it decides: how full the file and its disk are, what may be trimmed.

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


def trimmable_of(folder: str, archived: int, snapshot: int, now_ms: int, keep_s: float) -> int:
    """`trimmable` of the journal as it is. Looks at some twenty entries."""
    reader = reader_of(folder)
    first = reader.scan("journal", (), limit=1)
    oldest = int(first[0][0][0]) if first else 1

    def time_of(seq: int) -> int | None:
        found = reader.scan("journal", (), after=(seq - 1,), limit=1)
        return int(found[0][1].ms) if found else None

    return trimmable(archived, snapshot, oldest, time_of, now_ms, keep_s)
