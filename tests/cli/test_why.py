"""Why a task is where it is: sentences for every state."""

import pytest

from agentcom.cli.why import why
from agentcom.protocol.rows import PHASES

ADA = {"agent_id": "ada", "state": "idle", "capabilities": ["python"]}
BUSY = {"agent_id": "bob", "state": "working", "capabilities": ["python", "docs"]}
GONE = {"agent_id": "eve", "state": "offline", "capabilities": ["rust"]}
NOW = 10_000


@pytest.mark.parametrize(
    ("fields", "agents", "told"),
    [
        ({}, [ADA], "ada (idle) can do it"),
        ({"needed_capabilities": ["docs"]}, [ADA, BUSY], "busy: bob (working)"),
        ({"needed_capabilities": ["rust"]}, [ADA, GONE], "offline: eve"),
        ({"needed_capabilities": ["go"]}, [ADA], "No agent has what it needs (go)"),
        ({"target": "eve"}, [ADA, GONE], "aimed at eve, which is not online"),
        ({}, [ADA | {"state": "working", "withheld": "paused"}], "get no new work: ada (paused)"),
        (
            {"needed_capabilities": ["docs"]},
            [BUSY | {"state": "draining", "withheld": "draining"}],
            "bob (draining)",
        ),
        ({"waiting": "lane high is paused"}, [ADA], "waits for: lane high is paused."),
        (
            {"waiting": "excluded: ada", "waiting_until": 13_000},
            [ADA],
            "excluded: ada. It looks again in 3.0 s.",
        ),
        ({"waiting": "excluded: ada", "waiting_until": 9_000}, [ADA], "excluded: ada. It looks again now."),
        ({"waiting": "its repo is paused"}, [ADA], "its repo is paused"),
        (
            {"status": "scheduled", "not_before": 13_000, "attempts": 1, "last_error": "no net"},
            [],
            "again in 3.0 s",
        ),
        ({"status": "scheduled", "not_before": 11_700}, [], "It runs in 1.7 s."),
        ({"status": "scheduled", "not_before": 9_000}, [], "Its time has come"),
        (
            {"status": "working", "assigned_to": "bob", "note": "tests run", "percent": 50},
            [BUSY],
            "(50 %): tests run",
        ),
        ({"status": "working", "assigned_to": "bob"}, [BUSY], "worked on by bob since 8.0 s (generation 0)"),
        ({"status": "working", "assigned_to": "bob", "assigned_at": 7_000}, [BUSY], "by bob since 3.0 s"),
        ({"status": "assigned", "assigned_to": "bob"}, [BUSY], "given to bob 8.0 s ago (generation 0)"),
        ({"status": "assigned", "assigned_to": "eve"}, [GONE], "eve is not online"),
        (
            {"status": "blocked", "assigned_to": "bob", "question": "which one?"},
            [BUSY],
            "bob asks: which one?",
        ),
        ({"status": "completed", "result": {"branch": "ada/t"}}, [], "on branch ada/t"),
        ({"status": "dead_letter", "reason": "3 failures", "attempts": 3}, [], "failures 3 of 3"),
        ({"status": "cancelled", "reason": "not wanted"}, [], "not wanted"),
    ],
)
def test_each_state_has_its_sentence(a_task, fields, agents, told):
    assert told in " ".join(why(a_task(**fields), agents, NOW))


@pytest.mark.parametrize("waiting", ["excluded: ada; no other online agent fits", "lane normal is paused"])
def test_agents_that_look_free_are_left_out_when_the_hub_says_what_it_waits_for(a_task, waiting):
    assert "ada (idle)" not in " ".join(why(a_task(waiting=waiting), [ADA], NOW))


@pytest.mark.parametrize("status", PHASES)
def test_no_state_is_left_without_a_sentence(a_task, status):
    assert why(a_task(status=status), [], NOW)
