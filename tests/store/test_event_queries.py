"""A stream of what changed: all of it once, in order, wherever it is taken up; and no secrets."""

from typing import Any

import msgspec
import pytest

from agentcom.protocol import rows
from agentcom.protocol.alerts import THRESHOLDS, WINDOW
from agentcom.protocol.dashboard import EventsQuery
from agentcom.protocol.events import EventGap, EventsTold, EventStreamQuery
from agentcom.protocol.ops import Delete, Op, Put
from agentcom.store import MemoryStore, event_queries, queries
from agentcom.store.trimming import trim
from tests.store.helpers import Writer

HASH = "0123456789abcdef" + "f" * 48
SECRET = "what nobody may read"


def history(task_id: str, n: int) -> Op:
    return Put("history", (task_id, n), rows.Event(n, "submitted", "queued", 0))


def look(store: Any, after: str | None) -> EventsTold:
    found: EventsTold = queries.answer(store.reader, "event.stream", EventStreamQuery(after=after), "")
    return found


def all_after(store: Any, after: str) -> list[tuple[str, Any]]:
    found, told = [], look(store, after)
    while True:
        found += told.events
        if not told.more:
            return found
        assert told.place != after
        after = told.place
        told = look(store, after)


@pytest.fixture
def told(store, lane):
    """Three commits, of which the second tells three things and the third nothing; and a fourth."""
    lane.commit(history("t-1", 0))
    lane.commit(history("t-1", 1), history("t-2", 0), history("t-3", 0))
    lane.commit(Put("body", ("t-1",), rows.TaskBody(SECRET)))
    lane.commit(history("t-2", 1))
    return store


def test_each_event_has_the_place_right_after_it(told):
    assert [place for place, _ in all_after(told, "0")] == ["1", "2.1", "2.2", "2", "4"]


@pytest.mark.parametrize("entries", [1, 2, 500])
@pytest.mark.parametrize("events", [1, 2, 1_000])
def test_from_every_place_the_rest_is_told_once_however_much_one_look_tells(
    told, monkeypatch, entries, events
):
    whole = all_after(told, "0")
    monkeypatch.setattr(event_queries, "ENTRIES", entries)
    monkeypatch.setattr(event_queries, "EVENTS", events)
    assert all_after(told, "0") == whole
    for n, (place, _) in enumerate(whole):
        assert all_after(told, place) == whole[n + 1 :]


def test_without_a_place_it_begins_now(told):
    assert look(told, None) == EventsTold([], "4")
    assert look(told, "4") == EventsTold([], "4")


def test_of_an_empty_journal_nothing_is_told():
    assert look(MemoryStore(), None) == look(MemoryStore(), "0") == EventsTold([], "0")


@pytest.mark.parametrize(("after", "first"), [("0", "0"), ("1", "1"), ("2.1", "2.1"), ("2.2", "2.2")])
def test_what_is_too_old_is_told_as_a_gap_and_the_rest_follows(told, after, first):
    trim(getattr(told, "env", told), 2, 500)
    gap, *rest = all_after(told, after)
    assert gap == ("2", EventGap(after=first, seq=2))
    assert [place for place, _ in rest] == ["4"]


def test_who_comes_from_a_later_time_is_told_of_a_gap(told):
    assert look(told, "9000") == EventsTold([("4", EventGap(after="9000", seq=4))], "4")


# --- what is told ----------------------------------------------------------------------------------


def by(writer: str, *ops: Op) -> tuple[str, tuple[Op, ...]]:
    return writer, ops


TOKEN = rows.Token(HASH[:16], "ada", "agent", 1)
ALERT = {"state": "active", "since_ms": 1, "told_ms": 1, "message": "no agent is connected"}
MESSAGE = rows.Message("m-1", 5, "ada", "bob", "", False, "chat", {"text": SECRET}, "m-1")
PULL = rows.PullRequest("pr-1", "demo", "t-1", "ada/t-1", "main", "c0ffee", "T", SECRET, (), "ada", 1, 1)
CASES: dict[str, tuple[tuple[str, tuple[Op, ...]], dict[str, str]]] = {
    "a task": (by("lane.normal", history("t-1", 0)), {"type": "task_event", "event": "submitted"}),
    "a pull request": (
        by("directory", Put("pull", ("pr-1",), PULL)),
        {"type": "pull_event", "event": "opened", "name": "pr-1", "task_id": "t-1"},
    ),
    "a new agent": (
        by("directory", Put("agent", ("ada",), rows.Agent("ada", (), 1, 1))),
        {"type": "agent_event", "event": "registered", "agent_id": "ada"},
    ),
    "a changed agent": (
        by("directory", Put("agent", ("ada",), rows.Agent("ada", ("x",), 1, 2))),
        {"type": "agent_event", "event": "changed"},
    ),
    "a token": (
        by("directory", Put("token", (HASH,), TOKEN)),
        {"type": "token_event", "event": "saved", "name": HASH[:16], "subject": "ada", "status": "valid"},
    ),
    "a revoked token": (
        by("directory", Put("token", (HASH,), msgspec.structs.replace(TOKEN, revoked_ms=2))),
        {"type": "token_event", "event": "saved", "status": "revoked"},
    ),
    "a login": (
        by("directory", Put("token", (HASH,), msgspec.structs.replace(TOKEN, parent="e" * 64))),
        {"type": "token_event", "event": "saved", "status": "login"},
    ),
    "an invite": (
        by("directory", Put("invite", (HASH,), rows.Invite(HASH[:16], (), 1, 9))),
        {"type": "invite_event", "event": "saved", "name": HASH[:16], "status": "open"},
    ),
    "a used invite": (
        by("directory", Put("invite", (HASH,), rows.Invite(HASH[:16], (), 1, 9, "ada"))),
        {"type": "invite_event", "status": "used", "agent_id": "ada"},
    ),
    "a repo": (
        by("directory", Put("repo", ("demo",), rows.Repo("demo", f"https://{SECRET}@x", paused=True))),
        {"type": "repo_event", "event": "saved", "name": "demo", "status": "paused"},
    ),
    "a setting": (
        by("directory", Put("config", ("default_repo",), SECRET)),
        {"type": "config_event", "event": "saved", "name": "default_repo"},
    ),
    "a channel": (
        by("channel.builds", Put("channels", ("builds",), rows.Channel("builds", SECRET, "@olga", 1))),
        {"type": "channel_event", "event": "saved", "name": "builds"},
    ),
    "a subscription": (
        by("channel.builds", Put("subscribers", ("builds", "ada"), rows.Subscriber(1))),
        {"type": "channel_event", "event": "subscribed", "name": "builds", "agent_id": "ada"},
    ),
    "a message": (
        by("agent.ada", Put("messages", ("m-1",), MESSAGE)),
        {"type": "message_event", "event": "sent", "name": "m-1", "agent_id": "ada"},
    ),
    "an alert": (
        by("alerter", Put("alerts", ("no_agents_online",), ALERT)),
        {"type": "alert_event", "event": "active", "name": "no_agents_online", "reason": ALERT["message"]},
    ),
    "thresholds": (
        by("alerter", Put("alerts", (THRESHOLDS,), {})),
        {"type": "config_event", "event": "saved", "name": "alert-thresholds"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_is_told_by_names_and_public_ids_without_a_secret(store, case):
    (writer, ops), fields = CASES[case]
    Writer(store, writer).commit(*ops)
    [(_, event)] = all_after(store, "0")
    shown = msgspec.to_builtins(event)
    assert shown.items() >= fields.items()
    text = msgspec.json.encode(event).decode()
    assert not [part for part in (SECRET, HASH, "eeee") if part in text]


@pytest.mark.parametrize(
    ("case", "event", "name"),
    [
        ("a token", "removed", HASH[:16]),
        ("an invite", "removed", HASH[:16]),
        ("a repo", "removed", "demo"),
        ("a setting", "removed", "default_repo"),
        ("a channel", "removed", "builds"),
        ("a subscription", "unsubscribed", "builds"),
    ],
)
def test_what_is_gone_is_told_too(store, case, event, name):
    (writer, [put]), _ = CASES[case]
    actor = Writer(store, writer)
    actor.commit(put)
    actor.commit(Delete(put.table, put.key))
    _, (_, gone) = all_after(store, "0")
    assert (gone.event, gone.name) == (event, name)


@pytest.mark.parametrize(
    ("writer", "op"),
    [
        ("alerter", Put("alerts", (WINDOW,), [])),
        ("lane.normal", Put("body", ("t-1",), rows.TaskBody(SECRET))),
        ("agent.ada", Put("inbox", ("ada",), rows.Inbox())),
        ("lane.normal", Delete("history", ("t-1", 0))),
        ("agent.ada", Delete("messages", ("m-1",))),
    ],
)
def test_what_parts_keep_for_themselves_and_what_is_old_is_not_told(store, writer, op):
    Writer(store, writer).commit(op)
    assert all_after(store, "0") == []


def test_dashboards_hear_of_tasks_and_pull_requests_only(store):
    for (writer, ops), _ in CASES.values():
        Writer(store, writer).commit(*ops)
    told = queries.answer(store.reader, "dashboard.events", EventsQuery(), "")
    assert [event.type for event in told.events] == ["task_event", "pull_event"]
