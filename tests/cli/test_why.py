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
        ({"waiting": "lane high is paused"}, [ADA], "lane high is paused. ada (idle) can do it."),
        ({"waiting": "its repo is paused"}, [ADA], "its repo is paused"),
        (
            {"status": "scheduled", "not_before": 13_000, "attempts": 1, "last_error": "no net"},
            [],
            "again in 3.0 s",
        ),
        ({"status": "scheduled", "not_before": 9_000}, [], "Its time has come"),
        (
            {"status": "working", "assigned_to": "bob", "note": "tests run", "percent": 50},
            [BUSY],
            "(50 %): tests run",
        ),
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


@pytest.mark.parametrize("status", PHASES)
def test_no_state_is_left_without_a_sentence(a_task, status):
    assert why(a_task(status=status), [], NOW)
