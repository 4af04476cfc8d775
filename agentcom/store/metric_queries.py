"""What GET /metrics tells of rows and of the store: counters that outlast every restart, and how it is now.

No label names a task or an agent: there may be too many of them.
May import: agentcom.protocol, agentcom.store.
"""

from collections.abc import Callable, Iterator
from typing import Any

from agentcom.protocol.figures import GIVEN_UP
from agentcom.protocol.metrics import Family, Known, Labels, by_label, counter, gauge
from agentcom.protocol.rows import LANES, Lane, Phase, TaskState
from agentcom.store.figure_queries import summary
from agentcom.store.reader import Snapshot

PHASES: dict[Phase, str] = {
    "queued": "queued",
    "scheduled": "scheduled",
    "assigned": "held",
    "completed": "completed",
    "dead_letter": "dead_letter",
    "cancelled": "cancelled",
}
"""As counters have them: the held ones together."""
GROUPS = 500
"""Of queued tasks with the same target and needs; each costs one look for its oldest."""


def _metrics(snap: Snapshot, known: Known, _key: str) -> list[Family]:
    rows = (*_tasks(snap, known.now_ms), *_ever(snap), *_here(snap, known))
    return [*rows, *_store(known.parts.get("store")), *_copies(known.parts)]


def _tasks(snap: Snapshot, now_ms: int) -> Iterator[Family]:
    counts: dict[Labels, float] = {
        (("lane", lane), ("phase", shown)): snap.count("tasks", lane, phase)
        for lane in LANES
        for phase, shown in PHASES.items()
    }
    yield Family("tasks", "gauge", "Tasks that the store keeps; held: an agent has it.", counts)
    ages: dict[str, float] = {lane: _age_s(snap, lane, now_ms) for lane in LANES}
    said = "How long the oldest queued task has waited; 0 when none is queued."
    yield by_label("oldest_queued_age_seconds", "gauge", said, "lane", ages)


def _age_s(snap: Snapshot, lane: Lane, now_ms: int) -> float:
    oldest = min(_since_ms(snap, lane), default=now_ms)
    return max(0, now_ms - oldest) / 1000


def _since_ms(snap: Snapshot, lane: Lane) -> Iterator[int]:
    """Since when the first of each group is queued; of tasks that nobody can take, the one with the oldest id."""
    for key, _ in snap.heads("ready", (lane,), 3, limit=GROUPS):
        yield int(key[3]) // 1000
    for key, _ in snap.scan("waiting", (lane,), limit=1):
        task: TaskState | None = snap.get("task", (key[1],))
        if task is not None:
            yield task.order // 1000


def _ever(snap: Snapshot) -> Iterator[Family]:
    total = summary(snap)
    ended = {
        "completed": total.tasks_completed,
        "failed": total.tasks_failed,
        "rejected": total.tasks_rejected,
    }
    yield by_label("reports_total", "counter", "Final reports of agents.", "outcome", ended)
    yield counter(
        "given_up_total",
        "Tasks that the hub itself sent to the dead letter.",
        int(snap.get("counter", GIVEN_UP) or 0),
    )
    yield counter("model_tokens_total", "Model tokens that agents reported.", total.tokens_used)
    yield counter("messages_sent_total", "Messages sent, to whomever.", total.messages_sent)
    yield counter(
        "messages_dropped_total", "Messages removed unread from full mailboxes.", total.messages_dropped
    )
    yield counter(
        "journal_seq_total", "The newest entry of the journal: one for each commit, ever.", snap.seq
    )
    yield gauge("agents", "Registered agents.", total.agents)
    yield gauge("channels", "Channels.", total.channels)


def _here(snap: Snapshot, known: Known) -> Iterator[Family]:
    yield gauge("agents_online", "Agents that are connected.", known.online)
    yield by_label("sessions", "gauge", "Open sessions of agents.", "protocol", known.sessions)
    yield gauge("alerts", "What needs somebody's attention now.", known.alerts)
    yield gauge("epoch", "Grows with each restore.", snap.get("meta", ("epoch",)) or 1)


def _store(facts: dict[str, Any] | None) -> Iterator[Family]:
    """Nothing, until the store has said something."""
    if not facts:
        return
    yield counter("store_commits_total", "Commits since the store started.", facts["commits"])
    yield gauge("store_queued_commits", "Commits that wait for the batch under way.", facts["queued"])
    sizes = {"0.5": facts["batch_p50"], "0.99": facts["batch_p99"]}
    yield by_label(
        "store_batch_commits", "gauge", "Commits of one of the last 500 batches.", "quantile", sizes
    )
    times = {"0.5": facts["commit_p50_ms"] / 1000, "0.99": facts["commit_p99_ms"] / 1000}
    said = "How long writing one of the last 500 batches took."
    yield by_label("store_batch_seconds", "gauge", said, "quantile", times)
    yield gauge("store_file_bytes", "The store's file.", facts["file_bytes"])
    yield gauge("store_free_bytes", "Of the store's file, what may be used again.", facts["free_bytes"])
    yield gauge("store_room_bytes", "By how much the store may grow.", facts["room_bytes"])
    yield gauge("store_full", "1: new work is refused for want of room.", int(facts["full"]))


def _copies(parts: dict[str, dict[str, Any]]) -> Iterator[Family]:
    """How far the archive and the snapshots are behind, as far as they have said."""
    for part, fact, name, said in _COPIES:
        if (value := parts.get(part, {}).get(fact)) is not None:
            yield gauge(name, said, value)


_COPIES = (
    ("archive", "lag", "archive_lag_entries", "Journal entries that are not archived yet."),
    ("archive", "lag_s", "archive_lag_seconds", "For how long the oldest of them has not been."),
    ("snapshots", "age_s", "snapshot_age_seconds", "Age of the newest verified snapshot."),
)


QUESTIONS: dict[str, Callable[[Snapshot, Any, str], Any]] = {"metrics.text": _metrics}
