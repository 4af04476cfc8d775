"""What HTTP reads show, from committed rows: one function a question, lists by index and in slices.

A long list belongs on a thread: `is_long` tells. A cursor names the place in the walk, so that a page costs the same
wherever it is; it stays good while tasks come and go.
May import: agentcom.protocol, agentcom.store.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from agentcom.protocol import views
from agentcom.protocol.errors import Refused
from agentcom.protocol.ops import Key
from agentcom.protocol.pauses import is_paused, paused_lanes, why_not
from agentcom.protocol.rows import HELD, LANES, LISTED, PHASES, Lane, Phase, TaskBody, TaskState
from agentcom.protocol.v1_bodies import Metrics, TokenPrefix
from agentcom.protocol.v1_views import phases
from agentcom.protocol.views import AuditQuery, PullQuery, TaskQuery
from agentcom.store import dashboard_queries, event_queries, figure_queries, metric_queries, talk_queries
from agentcom.store.errors import KeyRefused
from agentcom.store.reader import Found, Reader, Snapshot

UNPAGED = 10_000
SLICE = 500
EXAMINED = 50_000
"""Rows one page may look at in search of those that fit; then it ends early, with a cursor."""


def answer(reader: Reader, what: str, query: Any, key: str) -> Any:
    """The body for a read route, or None when there is no such thing. A bad cursor or filter raises `Refused`."""
    try:
        with reader.snapshot() as snap:
            return _QUESTIONS[what](snap, query, key)
    except KeyRefused as error:  # only what this hub never gave to anybody has such a key
        raise Refused("bad_frame", "this hub has nothing of that name, and no such cursor") from error


_LONG = frozenset(
    {
        "pull.list", "token.list", "task.stats", "admin.token_list", "metrics.show", "message.list", "thread.get",
        "thread.replies", "analytics.summary", "analytics.agents", "dashboard.get", "dashboard.events", "event.stream",
        "metrics.text",
    }
)  # fmt: skip


def is_long(what: str, query: Any) -> bool:
    """Whether this may read more than a slice."""
    if isinstance(query, TaskQuery):
        return query.limit is None or query.limit > 100 or bool(query.submitter)
    return what in _LONG


# --- one task --------------------------------------------------------------------------------------


def _task(snap: Snapshot, _query: Any, task_id: str) -> views.TaskView | None:
    state: TaskState | None = snap.get("task", (task_id,))
    if state is None:
        return None
    events = [row for _, row in snap.scan("history", (task_id,), limit=SLICE, reverse=True)][::-1]
    held = state.generation > 0  # only a holder reports
    results = [row for _, row in snap.scan("result", (task_id,), limit=SLICE)] if held else []
    told = views.Told(events, results, views.assigned_ms(reversed(events)))
    view = views.task_view(state, _body(snap, task_id), told)
    paused = why_not(snap, state.lane) if state.phase == "queued" else ""
    return msgspec.structs.replace(view, waiting=paused) if paused else view


def _body(snap: Snapshot, task_id: str) -> TaskBody:
    return snap.get("body", (task_id,)) or TaskBody(description="")


def _events(snap: Snapshot, _query: Any, task_id: str) -> views.TaskEvents | None:
    if snap.get("task", (task_id,)) is None:
        return None
    events = snap.scan("history", (task_id,), limit=10 * SLICE)
    return views.TaskEvents(task_id=task_id, events=[views.history_line(row) for _, row in events])


# --- lists of tasks --------------------------------------------------------------------------------


class Walk(NamedTuple):
    """A stretch of an index whose keys end in a task's id."""

    table: str
    prefix: Key


def _walks(query: TaskQuery) -> list[Walk]:
    if query.assigned_to:
        return [Walk("by_agent", (query.assigned_to,))]
    if query.submitter:
        return [Walk("by_submitter", (query.submitter,))]
    if not (query.status or query.priority):
        return [Walk("task", ())]
    lanes = (query.priority,) if query.priority else LANES
    found = (walk for phase in phases(query) or PHASES for lane in lanes for walk in _walks_of(phase, lane))
    return list(dict.fromkeys(found))  # the held phases share one walk


def _walks_of(phase: Phase, lane: Lane) -> tuple[Walk, ...]:
    if phase in LISTED:
        return (Walk("by_phase", (phase, lane)),)
    if phase == "queued":
        return (Walk("ready", (lane,)), Walk("waiting", (lane,)))
    return (Walk("by_agent", ()),)


def _fits(query: TaskQuery, task: TaskState) -> bool:
    return (
        (query.status is None or task.phase in phases(query))
        and query.priority in (None, task.lane)
        and query.assigned_to in ("", task.holder)
        and query.submitter in ("", task.submitter)
    )


class Place(NamedTuple):
    """Behind which key of which walk a page ended: what the key has after the walk's prefix."""

    walk: int
    rest: tuple[str | int, ...]


def encode_cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_cursor(text: str) -> Place:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place = msgspec.json.decode(raw, type=Place)
    except (binascii.Error, ValueError) as error:
        raise Refused("bad_frame", "not a cursor of this hub", path="cursor") from error
    return place


def _tasks(snap: Snapshot, query: TaskQuery, _key: str) -> views.TaskList:
    limit = query.limit or UNPAGED
    start = decode_cursor(query.cursor) if query.cursor else None
    found: list[views.TaskView] = []
    examined, last = 0, start
    for place, task_id in _ids(snap, _walks(query), start):
        if len(found) == limit or examined == EXAMINED:
            assert last is not None
            return views.TaskList(tasks=found, count=len(found), next_cursor=encode_cursor(last))
        examined, last = examined + 1, place
        task: TaskState | None = snap.get("task", (task_id,))
        if task is not None and _fits(query, task):
            told = views.Told(assigned_at=_assigned_at(snap, task))
            found.append(views.task_view(task, _body(snap, task_id), told))
    return views.TaskList(tasks=found, count=len(found))


def _assigned_at(snap: Snapshot, task: TaskState) -> int | None:
    """Of a held task, of which there are few."""
    if not task.holder:
        return None
    events = snap.scan("history", (task.id,), limit=SLICE, reverse=True)
    return views.assigned_ms(row for _, row in events)


def _ids(snap: Snapshot, walks: list[Walk], start: Place | None) -> Iterator[tuple[Place, str]]:
    for n, walk in enumerate(walks):
        if start is not None and n < start.walk:
            continue
        after = (*walk.prefix, *start.rest) if start is not None and n == start.walk else None
        while slice_ := _slice(snap, walk, after):
            for key, _row in slice_:
                yield Place(n, key[len(walk.prefix) :]), str(key[-1])
            after = slice_[-1][0]


def _slice(snap: Snapshot, walk: Walk, after: Key | None) -> list[Found]:
    try:
        return snap.scan(walk.table, walk.prefix, after=after, limit=SLICE)
    except KeyRefused as error:  # the prefix is ours
        raise Refused("bad_frame", "not a cursor of this hub", path="cursor") from error


def _dead_letter(snap: Snapshot, query: TaskQuery, key: str) -> views.TaskList:
    return _tasks(snap, msgspec.structs.replace(query, status="dead_letter"), key)


def _stats(snap: Snapshot, _query: Any, _key: str) -> views.TaskStats:
    counts = {(lane, phase): snap.count("tasks", lane, phase) for lane in LANES for phase in PHASES}
    by_status: dict[str, int] = {phase: sum(counts[lane, phase] for lane in LANES) for phase in PHASES}
    by_status |= _held(snap)
    waiting: dict[str, int] = {lane: counts[lane, "queued"] + counts[lane, "scheduled"] for lane in LANES}
    return views.TaskStats(
        by_status=by_status,
        by_priority=waiting,
        dead_letter=by_status["dead_letter"],
        queued_index_size=by_status["queued"],
        paused=paused_lanes(snap),
        drained=is_paused(snap, "hub"),
    )


def _held(snap: Snapshot) -> dict[str, int]:
    """How many tasks are in each of the held phases: counters know only their sum."""
    counts: dict[str, int] = dict.fromkeys(sorted(HELD), 0)
    for _, task_id in _ids(snap, [Walk("by_agent", ())], None):
        task: TaskState | None = snap.get("task", (task_id,))
        if task is not None and task.phase in counts:
            counts[task.phase] += 1
    return counts


# --- what the directory keeps ----------------------------------------------------------------------


def _every(snap: Snapshot, table: str) -> Iterator[Any]:
    after: Key | None = None
    while slice_ := snap.scan(table, (), after=after, limit=SLICE):
        yield from (row for _, row in slice_)
        after = slice_[-1][0]


def _tokens(snap: Snapshot, _query: Any, _key: str) -> views.TokenList:
    return views.TokenList([views.token_view(row) for row in _every(snap, "token")])


def _agent_tokens(snap: Snapshot, _query: Any, _key: str) -> list[TokenPrefix]:
    tokens = (row for row in _every(snap, "token") if row.role == "agent" and not row.revoked_ms)
    return [TokenPrefix(row.subject, row.token_id[:8]) for row in tokens]


def _repos(snap: Snapshot, _query: Any, _key: str) -> views.RepoList:
    default = snap.get("config", ("default_repo",)) or ""
    return views.RepoList([views.repo_view(row, default) for row in _every(snap, "repo")])


def _pulls(snap: Snapshot, query: PullQuery, _key: str) -> views.PullList:
    if query.task_id is None:
        rows = [row for _, row in snap.scan("pull", (), limit=query.limit)]
    else:
        ids = snap.scan("pull_by_task", (query.task_id,), limit=query.limit)
        rows = [snap.get("pull", (key[-1],)) for key, _ in ids]
    return views.PullList([views.pull_view(row) for row in rows if row is not None])


def _pull(snap: Snapshot, _query: Any, pr_id: str) -> views.PullView | None:
    row = snap.get("pull", (pr_id,))
    return None if row is None else views.pull_view(row)


def _audit(snap: Snapshot, query: AuditQuery, _key: str) -> views.AuditList:
    after = decode_cursor(query.cursor).rest if query.cursor else None
    try:
        found = snap.scan("audit", (), after=after, limit=query.limit, reverse=True)
    except KeyRefused as error:  # a cursor that this hub did not make has such a key
        raise Refused("bad_frame", "not a cursor of this hub", path="cursor") from error
    more = encode_cursor(Place(0, found[-1][0])) if len(found) == query.limit else None
    return views.AuditList([views.audit_line(row) for _, row in found], more)


MetricsQuery = tuple[int, int, dict[str, dict[str, Any]], dict[str, int]]
"""The time, how many agents are connected, what the parts say of themselves, how much protocol 1 is used."""


def _metrics(snap: Snapshot, query: MetricsQuery, key: str) -> Metrics:
    """Only what is known: there is no window of the last hour."""
    now_ms, online, said, compat = query
    stats = _stats(snap, None, key)
    held = sum(stats.by_status[phase] for phase in HELD)
    done, dead = stats.by_status["completed"], stats.dead_letter
    return Metrics(
        timestamp=now_ms,
        queue_depth={"current": stats.by_status["queued"] + stats.by_status["scheduled"]},
        agent_utilization={
            "total": sum(1 for _ in _every(snap, "agent")),
            "online": online,
            "idle": max(0, online - held),
            "working": held,
            "percent": round(100 * held / online, 1) if online else 0.0,
        },
        error_rates={
            "cumulative": {
                "total": done + dead,
                "dead_letter": dead,
                "failure_rate": round(100 * dead / (done + dead), 1) if done + dead else 0.0,
            }
        },
        dets_health={name: said[name] for name in ("store", "snapshots") if name in said},
        compat=compat,
    )


HealthQuery = tuple[int, dict[str, dict[str, Any]], list[str]]
"""What the gateway knows by itself: how many agents are connected, what the parts say of themselves, alerts."""


def _health(snap: Snapshot, query: HealthQuery, _key: str) -> views.Health:
    connected, said, alerts = query
    parts = dict(said)
    return views.Health(
        status="degraded" if alerts else "ok",
        service="agent_com",
        agents_connected=connected,
        epoch=snap.get("meta", ("epoch",)) or 1,
        store={"seq": snap.seq, **parts.pop("store", {})},
        parts=parts,
        alerts=alerts,
    )


_QUESTIONS: dict[str, Callable[[Snapshot, Any, str], Any]] = {
    "task.get": _task,
    "task.events": _events,
    "task.list": _tasks,
    "task.dead_letter": _dead_letter,
    "task.stats": _stats,
    "token.list": _tokens,
    "repo.list": _repos,
    "pull.list": _pulls,
    "pull.get": _pull,
    "audit.list": _audit,
    "admin.token_list": _agent_tokens,
    "metrics.show": _metrics,
    "health": _health,
    **talk_queries.QUESTIONS,
    **figure_queries.QUESTIONS,
    **dashboard_queries.QUESTIONS,
    **event_queries.QUESTIONS,
    **metric_queries.QUESTIONS,
}
