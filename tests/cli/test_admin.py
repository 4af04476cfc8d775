"""`agentcom-admin`: what it asks, what it shows, how it exits."""

import json

import pytest

from agentcom.cli import exits
from agentcom.cli.admin import main

NODES = [
    {
        "name": "hub",
        "parent": "",
        "kind": "supervisor",
        "state": "up",
        "start": 1,
        "incarnation": 1,
        "restarts": 0,
        "last_crash": "",
        "uptime_s": 61.0,
        "address": "a1",
        "mailbox": 0,
        "handled": 7,
    },
    {
        "name": "store",
        "parent": "hub",
        "kind": "worker",
        "state": "up",
        "start": 3,
        "incarnation": 3,
        "restarts": 2,
        "last_crash": "ValueError: broken",
        "uptime_s": 1.0,
        "address": "a2",
        "mailbox": 0,
        "handled": 7,
    },
    {
        "name": "agent.ada",
        "parent": "hub",
        "kind": "worker",
        "state": "quarantined",
        "start": 4,
        "incarnation": 4,
        "restarts": 4,
        "last_crash": "KeyError",
        "uptime_s": 0.0,
        "address": "",
        "mailbox": 0,
        "handled": 7,
    },
]
AGENTS = [{"agent_id": "ada", "state": "idle", "capabilities": ["python"], "since_ms": 1_000, "task_id": ""}]


def test_an_agent_that_works_but_gets_no_more_is_shown_so(run, hub):
    working = AGENTS[0] | {"state": "working", "task_id": "t-1", "withheld": "draining", "status": "busy"}
    hub.answers["GET", "/api/agents"] = (200, {"agents": [working]})
    assert "draining, busy" in run(main, "agents").output


def test_the_tree_shows_who_is_whose_child_and_what_crashed(run, hub):
    hub.answers["GET", "/api/actors"] = (200, {"actors": NODES})
    shown = run(main, "tree").output
    assert shown.index("hub") < shown.index("store") < shown.index("agent.ada")
    assert "ValueError: broken" in shown
    assert "quarantined" in shown


def test_inspect_asks_for_one_actor_and_shows_it(run, hub):
    hub.answers["GET", "/api/actors/store"] = (200, NODES[1])
    done = run(main, "inspect", "store")
    assert done.exit_code == exits.OK
    assert "ValueError: broken" in done.output
    assert "agent.ada" not in done.output
    assert json.loads(run(main, "inspect", "store", "--json").output) == NODES[1]


@pytest.mark.parametrize("command", ["inspect", "restart", "crash"])
def test_an_actor_that_is_not_there_is_refused_in_the_hubs_words(run, hub, command):
    sentence = "there is no actor stor; did you mean store?"
    refusal = (404, {"error": "not_found", "message": sentence})
    hub.answers["GET", "/api/actors/stor"] = hub.answers["POST", "/api/actors/stor/restart"] = refusal
    done = run(main, command, "stor")
    assert done.exit_code == exits.REFUSED
    assert done.output == f"error: {sentence}\n"


def test_a_hub_without_chaos_says_so_when_asked_to_crash(run, hub):
    hub.answers["GET", "/api/actors/store"] = (200, NODES[1])
    hub.answers["POST", "/api/actors/store/crash"] = (404, {"error": "not_found", "message": "no such route"})
    done = run(main, "crash", "store")
    assert done.exit_code == exits.REFUSED
    assert done.output == "error: this hub lets nobody crash its actors: it runs without `chaos.enabled`\n"


def test_a_hub_with_chaos_crashes_the_actor(run, hub):
    hub.answers["GET", "/api/actors/store"] = (200, NODES[1])
    hub.answers["POST", "/api/actors/store/crash"] = (200, {"status": "ok", "name": "store"})
    done = run(main, "crash", "store")
    assert (done.exit_code, done.output) == (exits.OK, "store is crashing\n")


def test_tasks_pass_their_filters_on(run, hub, a_task):
    hub.answers["GET", "/api/tasks"] = (
        200,
        {"tasks": [a_task(assigned_to="ada")], "count": 1, "next_cursor": "c2"},
    )
    shown = run(
        main, "tasks", "--status", "working", "--lane", "high", "--agent", "ada", "--limit", "5"
    ).output
    assert hub.asked[-1][3] == {"status": "working", "priority": "high", "assigned_to": "ada", "limit": "5"}
    assert "task-1" in shown
    assert "--cursor c2" in shown


def test_one_task_is_shown_with_its_history(run, hub, a_task):
    hub.answers["GET", "/api/tasks/task-1"] = (200, a_task(status="dead_letter", reason="tests fail"))
    event = {
        "event": "assigned",
        "ms": 1_500,
        "status": "assigned",
        "generation": 1,
        "agent_id": "ada",
        "reason": "",
    }
    hub.answers["GET", "/api/tasks/task-1/events"] = (200, {"task_id": "task-1", "events": [event]})
    shown = run(main, "task", "task-1").output
    assert "tests fail" in shown
    assert "ada" in shown


def test_the_dead_letter_tells_the_reasons(run, hub, a_task):
    hub.answers["GET", "/api/tasks"] = (
        200,
        {"tasks": [a_task(status="dead_letter", reason="tests fail")], "count": 1},
    )
    assert "tests fail" in run(main, "dead-letter").output
    assert hub.asked[-1][3]["status"] == "dead_letter"


def test_why_answers_in_sentences(run, hub, a_task):
    hub.answers["GET", "/api/tasks/task-1"] = (200, a_task(needed_capabilities=["rust"]))
    hub.answers["GET", "/api/agents"] = (200, {"agents": AGENTS})
    assert "No agent has what it needs (rust)" in run(main, "why", "task-1").output


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (["cancel", "task-1", "--reason", "old"], "POST", "/api/tasks/task-1/cancel", {"reason": "old"}),
        (["retry", "task-1"], "POST", "/api/tasks/task-1/retry", None),
        (["prioritise", "task-1", "urgent"], "POST", "/api/tasks/task-1/prioritise", {"priority": "urgent"}),
        (["answer", "task-1", "yes"], "POST", "/api/tasks/task-1/answer", None),
        (["restart", "agent.ada"], "POST", "/api/actors/agent.ada/restart", None),
        (["token", "revoke", "t1"], "DELETE", "/api/tokens/t1", None),
    ],
)
def test_a_command_asks_the_route_it_is_for(run, hub, arguments, method, path, body):
    hub.answers[method, path] = (200, {"status": "ok"})
    done = run(main, *arguments)
    assert done.exit_code == exits.OK, done.output
    assert body is None or hub.body(method, path) == body


def test_an_answer_goes_out_as_it_was_typed(run, hub):
    hub.answers["POST", "/api/tasks/task-1/answer"] = (200, {"status": "working"})
    assert run(main, "answer", "task-1", "yes").exit_code == exits.OK
    assert hub.body("POST", "/api/tasks/task-1/answer")["answer"] == "yes"


def test_a_repo_in_a_folder_is_told_by_its_absolute_path(run, hub, tmp_path):
    hub.answers["PUT", "/api/repos/demo"] = (200, {"name": "demo"})
    hub.answers["PUT", "/api/repos/default"] = (200, {"status": "ok"})
    assert run(main, "repo", "add", "demo", "remote.git", "--default").exit_code == exits.OK
    assert hub.body("PUT", "/api/repos/demo")["url"] == str(tmp_path / "remote.git")
    assert hub.body("PUT", "/api/repos/default") == {"name": "demo"}


@pytest.mark.parametrize("url", ["https://example.org/x.git", "git@example.org:x.git"])
def test_a_repo_elsewhere_keeps_its_url(run, hub, url):
    hub.answers["PUT", "/api/repos/demo"] = (200, {"name": "demo"})
    run(main, "repo", "add", "demo", url)
    assert hub.body("PUT", "/api/repos/demo")["url"] == url


def test_a_new_token_goes_to_a_file_that_others_cannot_read(run, hub, tmp_path):
    issued = {"token_id": "t1", "token": "shown-once", "subject": "eve", "role": "operator"}
    hub.answers["POST", "/api/tokens"] = (201, issued)
    done = run(main, "token", "create", "eve", "--out", "eve.token", "--json")
    assert (tmp_path / "eve.token").read_text() == "shown-once\n"
    assert (tmp_path / "eve.token").stat().st_mode & 0o777 == 0o600
    assert "shown-once" not in done.output


def test_a_refused_token_leaves_no_file(run, hub, tmp_path):
    hub.answers["POST", "/api/tokens"] = (403, {"error": "forbidden", "message": "not allowed"})
    assert run(main, "token", "create", "eve", "--out", "eve.token").exit_code == exits.REFUSED
    assert not (tmp_path / "eve.token").exists()


def test_a_file_that_is_there_is_never_overwritten_by_a_token(run, hub, tmp_path):
    (tmp_path / "eve.token").write_text("mine")
    assert run(main, "token", "create", "eve", "--out", "eve.token").exit_code == exits.USAGE
    assert hub.asked == []


LISTS = {
    "tree": ("/api/actors", {"actors": NODES}),
    "tasks": ("/api/tasks", {"tasks": [], "count": 0, "next_cursor": None}),
    "dead-letter": ("/api/tasks", {"tasks": [], "count": 0, "next_cursor": None}),
    "agents": ("/api/agents", {"agents": AGENTS}),
    "pulls": ("/api/pulls", {"pulls": []}),
    "repo list": ("/api/repos", {"repos": []}),
    "token list": ("/api/tokens", {"tokens": []}),
}


@pytest.mark.parametrize("command", LISTS)
def test_json_is_what_the_hub_answered(run, hub, command):
    path, answer = LISTS[command]
    hub.answers["GET", path] = (200, answer)
    assert json.loads(run(main, *command.split(), "--json").output) == answer


@pytest.mark.parametrize("command", LISTS)
def test_an_empty_or_full_list_can_be_read_by_people(run, hub, command):
    path, answer = LISTS[command]
    hub.answers["GET", path] = (200, answer)
    done = run(main, *command.split())
    assert done.exit_code == exits.OK
    assert done.output.strip()
