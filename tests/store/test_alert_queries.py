"""The figures that alert rules look at."""

from agentcom.protocol.alerts import Asking, Sample, Silent
from agentcom.protocol.ops import Add, Put
from agentcom.protocol.rows import Agent, Event, Held, Token
from agentcom.store import MemoryStore, alert_queries
from agentcom.store.alert_queries import sample
from tests.store.helpers import Writer, task

NOW = 1_000_000


def test_an_empty_hub():
    found = sample(MemoryStore().reader, NOW, 0, ())
    assert found == Sample(NOW, queued=0, completed=0, failed=0, known=0, online=0, silent=(), asking=())


def test_what_ended_is_what_agents_reported_and_what_the_hub_gave_up():
    store = MemoryStore()
    counts = {
        ("agent", "ada", "completed"): 2, ("agent", "ada", "failed"): 3, ("agent", "bob", "completed"): 5,
        ("agent", "bob", "rejected"): 7, ("agent", "bob", "tokens"): 9, ("given_up", "", ""): 11,
        ("hourly", "ada", "0000000001.sent"): 13, ("tasks", "low", "queued"): 17, ("tasks", "high", "queued"): 19,
        ("tasks", "low", "scheduled"): 23,
    }  # fmt: skip
    Writer(store).commit(*[Add("counter", key, n) for key, n in counts.items()])
    found = sample(store.reader, NOW, 1, ())
    assert (found.completed, found.failed, found.queued) == (7, 14, 36)


def test_held_tasks_are_silent_unless_they_are_blocked_or_a_connected_agent_has_them():
    store = MemoryStore()
    phases = {"a": "assigned", "w": "working", "b": "blocked", "spoken": "working"}
    for name, phase in phases.items():
        row = task(name, phase=phase, holder="ada", generation=1, updated_ms=7)
        Writer(store).commit(Put("task", (name,), row), Put("by_agent", ("ada", name), Held("normal")))
    found = sample(store.reader, NOW, 1, frozenset({"spoken"}))
    assert found.silent == (Silent("a", "ada", 7), Silent("w", "ada", 7))
    assert sample(store.reader, NOW, None, ()).silent is None


def blocked(store, name, told, updated_ms, holder="ada"):
    """A blocked task with this history: (event, phase, ms) each."""
    row = task(
        name, phase="blocked", holder=holder, generation=1, updated_ms=updated_ms, history_len=len(told)
    )
    lines = [
        Put("history", (name, n), Event(ms, event, phase, 1)) for n, (event, phase, ms) in enumerate(told)
    ]
    Writer(store).commit(Put("task", (name,), row), Put("by_agent", (holder, name), Held("normal")), *lines)


def test_blocked_tasks_ask_since_they_are_blocked_whoever_speaks_for_them_the_oldest_first():
    store = MemoryStore()
    begun = [("submitted", "queued", 1), ("assigned", "assigned", 2), ("accepted", "working", 3)]
    asks, again = ("blocked", "blocked", 20), [("asked again", "working", 30), ("blocked", "blocked", 30)]
    blocked(store, "young", [*begun, ("blocked", "blocked", 40)], 40)
    blocked(store, "moved", [*begun, asks, ("prioritised", "blocked", 50)], 90, "bob")
    blocked(store, "again", [*begun, ("blocked", "blocked", 10), *again], 30, "eve")
    blocked(
        store, "answered", [*begun, ("blocked", "blocked", 5), ("answered", "working", 6), asks], 20, "dan"
    )
    found = sample(store.reader, NOW, None, frozenset({"young"})).asking
    assert found == (
        Asking(10, "again", "eve"), Asking(20, "answered", "dan"), Asking(20, "moved", "bob"),
        Asking(40, "young", "ada"),
    )  # fmt: skip


def test_of_more_blocked_tasks_than_are_told_the_oldest_are(monkeypatch):
    store = MemoryStore()
    monkeypatch.setattr(alert_queries, "MOST_ASKING", 2)
    for ms, name in ((30, "c"), (10, "z"), (20, "a")):
        blocked(store, name, [("blocked", "blocked", ms)], ms)
    assert [task.task_id for task in sample(store.reader, NOW, 1, ()).asking] == ["z", "a"]


def test_known_are_agents_with_a_token_that_is_good():
    store = MemoryStore()
    tokens = {
        "a": Token("a", "ada", "agent", 1), "b": Token("b", "ada", "agent", 1), "c": Token("c", "bob", "agent", 1),
        "d": Token("d", "gone", "agent", 1, revoked_ms=5), "e": Token("e", "old", "agent", 1, expires_ms=NOW),
        "f": Token("f", "olga", "operator", 1),
    }  # fmt: skip
    agents = [Put("agent", (name,), Agent(name)) for name in ("ada", "bob", "gone", "old")]
    Writer(store, "directory").commit(
        *agents, *[Put("token", (name * 64,), row) for name, row in tokens.items()]
    )
    assert sample(store.reader, NOW, 0, ()).known == 2


def test_a_row_that_cannot_be_read_is_no_sample():
    store = MemoryStore()
    Writer(store).commit(Put("by_agent", ("ada", "t"), Held("normal")), Put("task", ("t",), task("t")))
    for rows in store.tables.values():
        for key in rows.rows:
            rows.rows[key] = b"\0\0\0\0rubbish"
    assert sample(store.reader, NOW, 1, ()) is None
