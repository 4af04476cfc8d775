"""What dashboards are shown, from committed rows: lists of a bounded length, and the journal as events.

May import: agentcom.protocol, agentcom.store.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentcom.protocol.dashboard import (
    LONGEST,
    MOST_EVENTS,
    DashboardState,
    EventsQuery,
    HubEvents,
    Known,
    TaskLine,
)
from agentcom.protocol.rows import HELD, LANES, PHASES, Lane, Phase, PullRequest, TaskState
from agentcom.store.changes import told
from agentcom.store.reader import Snapshot

SHOWN = 50
"""Lines of a list."""
AT_ONCE = 500
"""Journal entries that one answer tells of; who is further behind looks at the whole state again."""
WATCHED = frozenset({"history", "pull"})
"""The tables whose changes they are told of: the others they look at."""


def _state(snap: Snapshot, known: Known, _key: str) -> DashboardState:
    counts = {(lane, phase): snap.count("tasks", lane, phase) for lane in LANES for phase in PHASES}
    return DashboardState(
        timestamp=known.now_ms,
        seq=snap.seq,
        uptime_ms=known.uptime_ms,
        status="degraded" if known.alerts else "ok",
        agents=known.agents,
        agents_total=known.agents_total,
        by_status={phase: sum(counts[lane, phase] for lane in LANES) for phase in PHASES},
        by_lane={lane: {phase: counts[lane, phase] for phase in PHASES} for lane in LANES},
        queued=_lines(snap, _queued(snap)),
        active=_lines(snap, _held(snap)),
        recent=_lines(snap, _newest(snap, "completed")),
        dead_letter=_lines(snap, _newest(snap, "dead_letter")),
        alerts=known.alerts,
        parts=known.parts,
    )


# --- lists -----------------------------------------------------------------------------------------


def _queued(snap: Snapshot) -> Iterator[str]:
    """The most urgent lanes first; within one, as its index has them."""
    for lane in LANES:
        for table in ("ready", "waiting"):
            yield from (str(key[-1]) for key, _ in snap.scan(table, (lane,), limit=SHOWN))


def _held(snap: Snapshot) -> Iterator[str]:
    return (str(key[-1]) for key, _ in snap.scan("by_agent", (), limit=SHOWN))


def _newest(snap: Snapshot, phase: Phase) -> list[str]:
    """Ids rise with time."""
    found = [key for lane in LANES for key in _last(snap, phase, lane)]
    return sorted(found, reverse=True)


def _last(snap: Snapshot, phase: Phase, lane: Lane) -> list[str]:
    return [str(key[-1]) for key, _ in snap.scan("by_phase", (phase, lane), limit=SHOWN, reverse=True)]


def _lines(snap: Snapshot, ids: Iterable[str]) -> list[TaskLine]:
    lines: list[TaskLine] = []
    for task_id in ids:
        state: TaskState | None = snap.get("task", (task_id,))
        if state is not None:
            lines.append(_line(snap, state))
        if len(lines) == SHOWN:
            break
    return lines


def _line(snap: Snapshot, state: TaskState) -> TaskLine:
    body = snap.get("body", (state.id,))
    return TaskLine(
        task_id=state.id,
        description=body.description[:LONGEST] if body else "",
        status=state.phase,
        lane=state.lane,
        holder=state.holder or state.last_holder,
        submitted_by=state.submitter,
        attempts=state.attempts + (state.phase in HELD or state.phase == "completed"),
        generation=state.generation,
        reason=state.reason or state.waiting,
        tokens_used=state.tokens_used,
        pull=_pull_of(snap, state.id),
        created_at=state.created_ms,
        updated_at=state.updated_ms,
    )


def _pull_of(snap: Snapshot, task_id: str) -> str:
    found = snap.scan("pull_by_task", (task_id,), limit=1)
    row: PullRequest | None = snap.get("pull", (found[0][0][1],)) if found else None
    return f"{row.pr_id} {row.branch}" if row else ""


# --- events ----------------------------------------------------------------------------------------


def _events(snap: Snapshot, query: EventsQuery, _key: str) -> HubEvents:
    """What the journal tells of tasks and pull requests since `after`."""
    head = snap.seq
    behind = head - query.after
    if not 0 <= behind <= AT_ONCE:
        return HubEvents(seq=head, gap=True, events=[])
    found = snap.scan("journal", (), after=(query.after,), limit=AT_ONCE) if behind else []
    events = [event for _, entry in found for event in told(entry, WATCHED)]
    is_whole = len(found) == behind and len(events) <= MOST_EVENTS  # one commit may be a batch of tasks
    return HubEvents(seq=head, gap=not is_whole, events=events[-MOST_EVENTS:])


QUESTIONS: dict[str, Callable[[Snapshot, Any, str], Any]] = {
    "dashboard.get": _state,
    "dashboard.events": _events,
}
