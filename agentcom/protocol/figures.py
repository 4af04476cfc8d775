"""The figures kept of each agent: counters, written in the commits of what they count, so that they survive anything.

`("agent", agent_id, what)` counts for ever, `("hourly", agent_id, "HOUR.what")` by the hour, for a day. `GIVEN_UP` is
of no agent.
May import: agentcom.protocol.
"""

from collections.abc import Iterable

from agentcom.protocol.ops import Add, Delete, Key, Op

HOUR_MS = 3_600_000
HOURS = 24
GIVEN_UP: Key = ("given_up", "", "")
"""Tasks that the hub itself sent to the dead letter: lost too often, past their deadline, over their budget."""
TOTALS = ("sent", "completed", "failed", "rejected", "tokens")


def agent_figures(agent_id: str, event: str, tokens: int) -> tuple[Op, ...]:
    """Of a task's end: `event` is completed, failed or rejected."""
    ended = Add("counter", ("agent", agent_id, event), 1)
    return (ended, Add("counter", ("agent", agent_id, "tokens"), tokens)) if tokens else (ended,)


def sent_figures(sender: str, now_ms: int) -> tuple[Op, ...]:
    """Of a message. Operators have no hours: nobody would tidy them up."""
    total = Add("counter", ("agent", sender, "sent"), 1)
    return (total,) if sender.startswith("@") else (total, hourly(sender, "sent", 1, now_ms))


def hourly(agent_id: str, what: str, count: int, now_ms: int) -> Op:
    return Add("counter", ("hourly", agent_id, f"{now_ms // HOUR_MS:010d}.{what}"), count)


def hour_of(key: Key) -> int:
    """Since 1970."""
    return int(str(key[2]).partition(".")[0])


def old_hours(keys: Iterable[Key], now_ms: int) -> tuple[Op, ...]:
    """What removes the hours that are no longer shown."""
    return tuple(Delete("counter", key) for key in keys if hour_of(key) <= now_ms // HOUR_MS - HOURS)
