"""The figures that alert rules look at, from committed rows. They may be many: read them on a thread.

May import: agentcom.protocol, agentcom.store.
"""

from collections.abc import Collection, Iterator

from agentcom.protocol.alerts import Sample, Silent
from agentcom.protocol.figures import GIVEN_UP
from agentcom.protocol.ops import Key
from agentcom.protocol.rows import LANES, TaskState
from agentcom.store.errors import StoreError
from agentcom.store.reader import Found, Reader, Snapshot

SLICE = 500
MOST_SILENT = 1_000
"""Held tasks that nobody speaks for: more of them say no more."""


def sample(reader: Reader, now_ms: int, online: int | None, spoken_for: Collection[str]) -> Sample | None:
    """The hub as it is now; None when a row of it cannot be read, which is the store's to report.

    `online` agents are connected, and have the tasks `spoken_for`; None: nobody knows.
    """
    try:
        with reader.snapshot() as snap:
            completed, failed = _ended(snap)
            return Sample(
                now_ms=now_ms,
                queued=sum(snap.count("tasks", lane, "queued") for lane in LANES),
                completed=completed,
                failed=failed + snap.count(*map(str, GIVEN_UP)),
                known=_known(snap, now_ms) if online == 0 else 0,
                online=online,
                silent=None if online is None else tuple(_silent(snap, spoken_for)),
            )
    except StoreError:
        return None


def _each(snap: Snapshot, table: str, prefix: Key = ()) -> Iterator[Found]:
    after: Key | None = None
    while found := snap.scan(table, prefix, after=after, limit=SLICE):
        yield from found
        after = found[-1][0]


def _ended(snap: Snapshot) -> tuple[int, int]:
    """Tasks that agents reported as completed, and as failed, ever."""
    totals = {"completed": 0, "failed": 0}
    for key, count in _each(snap, "counter", ("agent",)):
        if key[2] in totals:
            totals[str(key[2])] += count
    return totals["completed"], totals["failed"]


def _known(snap: Snapshot, now_ms: int) -> int:
    """Agents that could connect: one whose tokens were all revoked is not missed."""
    tokens = (row for _, row in _each(snap, "token") if row.role == "agent" and row.is_live(now_ms))
    names = {token.subject for token in tokens}
    return sum(snap.get("agent", (name,)) is not None for name in names)


def _silent(snap: Snapshot, spoken_for: Collection[str]) -> Iterator[Silent]:
    """Of those that are blocked a person must speak."""
    left = MOST_SILENT
    for key, _ in _each(snap, "by_agent"):
        task_id = str(key[1])
        task: TaskState | None = None if task_id in spoken_for else snap.get("task", (task_id,))
        if task is not None and task.phase in ("assigned", "working"):
            yield Silent(task.id, task.holder, task.updated_ms)
            left -= 1
        if not left:
            return
