"""`agentcom-admin tail`: what it shows of what changes, and how it ends."""

import json

import pytest

from agentcom.cli import exits
from agentcom.cli.admin import main
from agentcom.cli.admin_tail import line
from agentcom.client import Hub

EVENTS = [
    {"id": "1", "type": "task_event", "event": "dead_letter", "task_id": "t-1", "timestamp": 1, "status": "dead_letter",
     "agent_id": "ada", "reason": "it\nfailed"},
    {"id": "2", "type": "token_event", "event": "saved", "name": "0123", "timestamp": 1, "subject": "olga",
     "status": "revoked"},
    {"id": "3", "type": "gap", "after": "2", "seq": 3},
    {"id": "4", "type": "agent_event", "event": "registered", "agent_id": "ada", "timestamp": 1},
    {"id": "5", "type": "pull_event", "event": "opened", "task_id": "t-2", "timestamp": 1, "agent_id": "ada",
     "url": "ada/t-2", "name": "pr-1"},
]  # fmt: skip
LINES = [
    "task  t-1  dead letter  ada  it failed",
    "token  0123  saved  (revoked)  olga",
    "-- some of what happened after 2 cannot be told --",
    "agent  ada  registered",
    "pull  t-2  opened  ada  ada/t-2",
]


@pytest.fixture
def stream(monkeypatch, hub):
    """A hub that tells these and is then given up by its user."""
    hub.answers["GET", "/health"] = (200, {})
    began = []

    async def follow(_, after):
        began.append(after)
        for event in EVENTS:
            yield event
        raise KeyboardInterrupt

    monkeypatch.setattr(Hub, "follow", follow)
    return began


@pytest.mark.parametrize(("event", "shown"), list(zip(EVENTS, LINES, strict=True)))
def test_an_event_is_one_line_without_what_it_says_twice(event, shown):
    assert line(event).endswith(shown)
    assert "\n" not in line(event)


def test_what_changes_is_shown_until_ctrl_c(run, stream):
    done = run(main, "tail", "--after", "7")
    assert done.exit_code == exits.OK
    assert [told.endswith(shown) for told, shown in zip(done.output.splitlines(), LINES, strict=True)] == [
        True
    ] * 5
    assert stream == ["7"]


def test_one_task_is_picked_out_and_gaps_are_shown(run, stream):
    done = run(main, "tail", "--task", "t-2", "--json")
    assert [json.loads(told) for told in done.output.splitlines()] == [EVENTS[2], EVENTS[4]]


def test_a_token_that_may_not_is_told_so(run, hub):
    hub.answers["GET", "/health"] = (200, {})
    hub.answers["GET", "/api/events"] = (403, {"error": "forbidden", "message": "this needs role operator"})
    done = run(main, "tail")
    assert (done.exit_code, "this needs role operator" in done.output) == (exits.REFUSED, True)
