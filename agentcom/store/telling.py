"""What the store says of itself to people: facts for /health, and sentences for what is wrong.

Pure. May import: agentcom.store.{disk,messages}.
"""

from collections.abc import Iterator
from typing import Any

from agentcom.store.disk import Space
from agentcom.store.messages import StoreStatus

MIB = 1 << 20


def facts(status: StoreStatus, space: Space) -> dict[str, Any]:
    """Times in milliseconds, sizes in bytes; p50 and p99 are of the last batches."""
    return {
        "sync": "always" if status.sync else "interval",
        "full": status.full,
        "stuck": status.stuck,
        "overloaded": status.overloaded,
        "queued": status.queued,
        "commits": status.commits,
        "last_batch": status.last_batch,
        "last_commit_ms": round(status.last_commit_ms, 2),
        "batch_p50": status.batch_p50,
        "batch_p99": status.batch_p99,
        "commit_p50_ms": round(status.commit_p50_ms, 2),
        "commit_p99_ms": round(status.commit_p99_ms, 2),
        "file_bytes": space.file,
        "free_bytes": space.free,
        "room_bytes": space.room,
        "ballast_bytes": space.ballast,
    }


def alerts(status: StoreStatus, space: Space) -> Iterator[str]:
    """Sentences that say what is the matter and what to do."""
    if status.full:
        yield full(space)
    if status.stuck:
        yield (
            "the store's disk does not answer: new work is refused; if it stays silent the hub ends, and checks its "
            "data at the next start; look at the disk and the system's log"
        )
    if not status.sync:
        yield 'store.sync is "interval": a power cut may lose the last second of acknowledged work'
    if space.problem:
        yield f"the ballast cannot be made: {space.problem}; on a full disk nothing can be tidied without it"


def full(space: Space) -> str:
    if space.of_limit:
        return (
            f"the store has reached store.max_bytes ({space.room // MIB} MiB of room left): new work is refused, reads "
            "and deletes go on; raise the setting, or let old tasks be removed"
        )
    more = max(1, (space.needed - space.room + MIB - 1) // MIB)
    gone = ", the ballast was given up for deletes" if space.given_up else ""
    return (
        f"the store's disk is full{gone}: new work is refused, reads and deletes go on; "
        f"make at least {more} MiB of room on it"
    )
