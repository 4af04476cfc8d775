"""The figures that alert rules look at, from committed rows. They may be many: read them on a thread.

May import: agentcom.protocol, agentcom.store.
"""

import heapq
from collections.abc import Collection, Iterator

from agentcom.protocol.alerts import Asking, Sample, Silent
from agentcom.protocol.figures import GIVEN_UP
from agentcom.protocol.ops import Key
from agentcom.protocol.rows import LANES, Event, TaskState
from agentcom.store.errors import StoreError
from agentcom.store.reader import Found, Reader, Snapshot

SLICE = 500
MOST_SILENT = 1_000
"""Held tasks that nobody speaks for: more of them say no more."""
MOST_ASKING = 1_000
"""Blocked tasks, as above; the oldest ones."""
MOST_LINES = 100
"""Of a blocked task's history, looked back: of one that asks anew without end, the wait counts from there."""


def sample(reader: Reader, now_ms: int, online: int | None, spoken_for: Collection[str]) -> Sample | None:
    """The hub as it is now; None when a row of it cannot be read, which is the store's to report.

    `online` agents are connected, and have the tasks `spoken_for`; None: nobody knows.
    """
    try:
        with reader.snapshot() as snap:
            completed, failed = _ended(snap)
            silent, asking = _held(snap, spoken_for)
            return Sample(
                now_ms=now_ms,
                queued=sum(snap.count("tasks", lane, "queued") for lane in LANES),
                completed=completed,
                failed=failed + snap.count(*map(str, GIVEN_UP)),
                known=_known(snap, now_ms) if online == 0 else 0,
                online=online,
                silent=None if online is None else tuple(silent),
                asking=tuple(asking),
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


def _held(snap: Snapshot, spoken_for: Collection[str]) -> tuple[list[Silent], list[Asking]]:
    """Tasks that nobody speaks for, and those of which a person must: they are blocked.

    Reads the row of each held task; an agent holds one at a time.
    """
    silent: list[Silent] = []
    asking: list[Asking] = []
    for key, _ in _each(snap, "by_agent"):
        task: TaskState | None = snap.get("task", (str(key[1]),))
        if task is None:
            continue
        if task.phase == "blocked":
            asking.append(Asking(_blocked_ms(snap, task), task.id, task.holder))
        elif task.id not in spoken_for and len(silent) < MOST_SILENT:
            silent.append(Silent(task.id, task.holder, task.updated_ms))
    return silent, heapq.nsmallest(MOST_ASKING, asking)


def _blocked_ms(snap: Snapshot, task: TaskState) -> int:
    """Since when it is blocked. Its row does not tell: news of the work and another lane change that too."""
    since = task.updated_ms
    for n in range(task.history_len - 1, max(-1, task.history_len - 1 - MOST_LINES), -1):
        line: Event | None = snap.get("history", (task.id, n))
        if line is None or (line.phase != "blocked" and line.event != "asked again"):
            break
        since = line.ms
    return since
