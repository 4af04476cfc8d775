"""What HTTP reads show of agents' figures, from committed counters.

May import: agentcom.protocol, agentcom.store.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from agentcom.protocol.figures import HOUR_MS, HOURS, TOTALS, hour_of
from agentcom.protocol.ops import Key
from agentcom.protocol.rows import Inbox, Seen
from agentcom.protocol.talk_views import (
    AgentFigures,
    AgentFiguresList,
    AnalyticsQuery,
    Hour,
    Hourly,
    Summary,
)
from agentcom.store.reader import Snapshot

MAX_PENDING = 5_000
SLICE = 500


def summary(snap: Snapshot, _query: Any = None, _key: str = "") -> Summary:
    """Of all agents together, ever."""
    totals: Counter[str] = Counter()
    for key, count in _counters(snap, ("agent",)):
        totals[str(key[2])] += count
    return Summary(
        agents=sum(1 for _ in _each(snap, "agent")), channels=snap.count("channels"), messages_sent=totals["sent"],
        messages_dropped=snap.count("mailbox", "dropped"), tasks_completed=totals["completed"],
        tasks_failed=totals["failed"], tasks_rejected=totals["rejected"], tokens_used=totals["tokens"],
    )  # fmt: skip


def _counters(snap: Snapshot, prefix: Key) -> Iterator[tuple[Key, int]]:
    after: Key | None = None
    while found := snap.scan("counter", prefix, after=after, limit=SLICE):
        yield from found
        after = found[-1][0]


def _each(snap: Snapshot, table: str) -> Iterator[Any]:
    after: Key | None = None
    while found := snap.scan(table, (), after=after, limit=SLICE):
        yield from (row for _, row in found)
        after = found[-1][0]


def _agents(snap: Snapshot, query: AnalyticsQuery, _key: str) -> AgentFiguresList:
    after = (query.cursor,) if query.cursor else None
    names = [str(key[0]) for key, _ in snap.scan("agent", (), after=after, limit=query.limit)]
    more = names[-1] if len(names) == query.limit else None
    return AgentFiguresList(agents=[_figures(snap, name) for name in names], next_cursor=more)


def _figures(snap: Snapshot, agent_id: str) -> AgentFigures:
    inbox: Inbox = snap.get("inbox", (agent_id,)) or Inbox()
    seen: Seen | None = snap.get("seen", (agent_id,))
    total = {what: snap.count("agent", agent_id, what) for what in TOTALS}
    pending = len(snap.scan("mailbox", (agent_id,), limit=MAX_PENDING))
    day: Counter[str] = Counter()
    for hour in _hours(snap, agent_id):
        day += Counter(sent=hour.sent, read=hour.read)
    return AgentFigures(
        agent_id=agent_id, messages_sent=total["sent"], messages_received=inbox.read + inbox.dropped + pending,
        messages_read=inbox.read, messages_dropped=inbox.dropped, messages_pending=pending,
        tasks_completed=total["completed"], tasks_failed=total["failed"], tasks_rejected=total["rejected"],
        tokens_used=total["tokens"], sent_24h=day["sent"], read_24h=day["read"],
        last_seen=seen.updated_ms if seen else None,
    )  # fmt: skip


def _hourly(snap: Snapshot, _query: Any, agent_id: str) -> Hourly | None:
    if snap.get("agent", (agent_id,)) is None:
        return None
    return Hourly(agent_id=agent_id, hours=_hours(snap, agent_id))


def _hours(snap: Snapshot, agent_id: str) -> list[Hour]:
    counts: dict[int, Counter[str]] = {}
    for key, count in snap.scan("counter", ("hourly", agent_id), limit=8 * HOURS):
        counts.setdefault(hour_of(key), Counter())[str(key[2]).partition(".")[2]] += count
    newest = sorted(counts)[-HOURS:]
    return [Hour(hour=n * HOUR_MS, sent=counts[n]["sent"], read=counts[n]["read"]) for n in newest]


QUESTIONS: dict[str, Callable[[Snapshot, Any, str], Any]] = {
    "analytics.summary": summary,
    "analytics.agents": _agents,
    "analytics.hourly": _hourly,
}
