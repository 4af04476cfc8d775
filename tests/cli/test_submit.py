"""`agentcom submit`: what it sends, what it says, how it exits."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentcom.cli import exits
from agentcom.cli.main import main

ROOT = Path(__file__).parent.parent.parent
POST = ("POST", "/api/tasks")
BATCH = ("POST", "/api/tasks/batch")
TASK = ("GET", "/api/tasks/task-1")


@pytest.fixture
def nowhere(monkeypatch):
    """Where nothing listens and nothing will."""
    monkeypatch.setattr("agentcom.cli.connect.STARTING_S", 0.2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture
def submitted(hub, a_submitted):
    hub.answers[POST] = (201, a_submitted)
    return hub


def test_a_text_becomes_a_task_with_what_was_asked_for(run, submitted):
    done = run(
        main,
        "submit",
        "fix it",
        "--lane",
        "high",
        "--needs",
        "python",
        "--needs",
        "docs",
        "--repo",
        "demo",
        "--target",
        "ada",
    )
    assert done.exit_code == exits.OK
    assert "task-1" in done.output
    sent = submitted.body(*POST)
    assert sent.pop("idempotency_key")
    assert sent == {
        "description": "fix it",
        "priority": "high",
        "needed_capabilities": ["python", "docs"],
        "repo": "demo",
        "target": "ada",
    }


def test_the_token_comes_from_the_environment_and_travels_as_bearer(run, submitted):
    run(main, "submit", "fix it")
    assert submitted.asked[-1][4] == "Bearer secret"


def test_a_token_file_wins_over_the_environment(run, submitted, tmp_path):
    (tmp_path / "t").write_text("from-file\n")
    run(main, "submit", "fix it", "--token-file", "t")
    assert submitted.asked[-1][4] == "Bearer from-file"


def test_a_hub_of_this_folder_needs_no_token_to_be_named(run, submitted, tmp_path):
    (tmp_path / "agentcom-data").mkdir()
    (tmp_path / "agentcom-data" / "admin.token").write_text("of-this-folder")
    run(main, "submit", "fix it", env={"AGENTCOM_TOKEN": ""})
    assert submitted.asked[-1][4] == "Bearer of-this-folder"


def test_a_dash_reads_the_text_from_stdin(run, submitted):
    run(main, "submit", "-", input="a long story\n")
    assert submitted.body(*POST)["description"] == "a long story"


def test_the_same_key_is_sent_as_it_was_given(run, submitted):
    run(main, "submit", "fix it", "--idempotency-key", "k1")
    assert submitted.body(*POST)["idempotency_key"] == "k1"


def test_a_deadline_may_be_a_span_from_now(run, submitted):
    run(main, "submit", "fix it", "--deadline", "2h")
    assert submitted.body(*POST)["complete_by"] > 7_200_000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit"], "say what should be done"),
        (["submit", ""], "description"),
        (["submit", "x" * 10_001], "description"),
        (["submit", "x", "--lane", "soon"], "--lane"),
        (["submit", "x", "--deadline", "tomorrow"], "a span like 90s"),
        (["submit", "x", "--target", "Not An Agent"], "target"),
        (["submit", "x", "--hub", "localhost:4000"], "http://"),
        (["submit", "x", "--token-file", "absent"], "absent"),
        (["submit", "x", "--token", "secret"], "--token"),
    ],
)
def test_a_slip_is_told_before_anything_is_sent(run, hub, arguments, told):
    done = run(main, *arguments)
    assert done.exit_code == exits.USAGE
    assert told in done.output
    assert hub.asked == []


def test_a_refusal_is_one_sentence_that_names_the_field(run, hub):
    hub.answers[POST] = (422, {"error": "bad_frame", "message": "there is no repo lost", "path": "repo"})
    done = run(main, "submit", "fix it", "--repo", "lost")
    assert done.exit_code == exits.REFUSED
    assert done.output == "error: there is no repo lost (at repo)\n"


def test_with_json_a_refusal_is_an_object(run, hub):
    hub.answers[POST] = (403, {"error": "forbidden", "message": "not allowed"})
    done = run(main, "submit", "fix it", "--json")
    assert json.loads(done.stderr) == {"error": "forbidden", "message": "not allowed", "exit": exits.REFUSED}


def test_without_a_token_the_refusal_says_where_one_is_read(run, hub):
    hub.answers[POST] = (401, {"error": "invalid_token", "message": "no token"})
    done = run(main, "submit", "fix it", env={"AGENTCOM_TOKEN": ""})
    assert "AGENTCOM_TOKEN" in done.output


@pytest.mark.parametrize("command", [["submit", "fix it"], ["smoke"]])
def test_a_hub_that_is_away_is_waited_for_and_has_its_own_exit_code(run, nowhere, command):
    done = run(main, *command, "--hub", nowhere)
    assert done.exit_code == exits.UNAVAILABLE
    assert f"nothing listens at {nowhere} yet" in done.stderr
    assert "Is the hub running?" in done.stderr


def test_with_json_a_hub_that_is_away_is_an_object_and_nothing_else(run, nowhere):
    done = run(main, "submit", "fix it", "--json", "--hub", nowhere)
    assert json.loads(done.stderr)["error"] == "unavailable"


def test_a_hub_that_is_starting_is_waited_for_and_its_token_read_then(starting_hub, a_submitted, tmp_path):
    """It writes the folder's token before it answers, so a command that was early has not seen it."""
    starting_hub.answers[POST] = (201, a_submitted)
    outside = {key: value for key, value in os.environ.items() if not key.startswith("AGENTCOM_")}
    early = subprocess.Popen(
        [sys.executable, "-m", "agentcom.cli.main", "submit", "fix it", "--hub", starting_hub.url],
        cwd=tmp_path, env={**outside, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "yet" in early.stderr.readline()
    (tmp_path / "agentcom-data").mkdir()
    (tmp_path / "agentcom-data" / "admin.token").write_text("of-this-folder")
    starting_hub.listen()
    told, complaint = early.communicate(timeout=60)
    assert (early.returncode, complaint) == (exits.OK, "")
    assert "task-1" in told
    assert starting_hub.asked[-1][4] == "Bearer of-this-folder"


def test_a_hub_that_answers_an_error_is_not_waited_for(run, submitted):
    submitted.answers["GET", "/ready"] = (503, {"error": "unavailable", "message": "it recovers"})
    done = run(main, "submit", "fix it")
    assert (done.exit_code, done.stderr) == (exits.OK, "")
    assert [ask[:2] for ask in submitted.asked] == [("GET", "/ready"), POST]


def test_waiting_ends_with_the_task_and_tells_its_branch(run, submitted, a_task):
    done_task = a_task(status="completed", result={"summary": "fixed", "branch": "ada/task-1-fix"})
    submitted.answers[TASK] = [(200, a_task(status="working")), (200, done_task)]
    done = run(main, "submit", "fix it", "--wait")
    assert done.exit_code == exits.OK
    assert "completed" in done.output
    assert "ada/task-1-fix" in done.output


def test_a_task_that_was_given_up_has_its_own_exit_code(run, submitted, a_task):
    submitted.answers[TASK] = (200, a_task(status="dead_letter", reason="tests fail"))
    done = run(main, "submit", "fix it", "--wait")
    assert done.exit_code == exits.NOT_COMPLETED
    assert "tests fail" in done.output


def test_when_the_wait_is_over_the_exit_code_says_so(run, submitted, a_task):
    submitted.answers[TASK] = (200, a_task(status="working"))
    done = run(main, "submit", "fix it", "--wait", "--timeout", "0.1")
    assert done.exit_code == exits.TIMED_OUT
    assert "still open" in done.output


def test_json_of_a_waited_task_is_the_task(run, submitted, a_task):
    submitted.answers[TASK] = (200, a_task(status="completed"))
    done = run(main, "submit", "fix it", "--wait", "--json")
    assert json.loads(done.output)["status"] == "completed"


def test_a_file_of_ideas_is_one_batch(run, hub, tmp_path, a_submitted):
    (tmp_path / "ideas.txt").write_text("# mine\n\nfirst idea\nsecond idea\n")
    hub.answers[BATCH] = (200, {"tasks": [a_submitted, {**a_submitted, "task_id": "task-2"}]})
    done = run(main, "submit", "--file", "ideas.txt", "--idempotency-key", "k")
    assert done.exit_code == exits.OK
    sent = hub.body(*BATCH)["tasks"]
    assert [(task["description"], task["idempotency_key"]) for task in sent] == [
        ("first idea", "k-3"),
        ("second idea", "k-4"),
    ]
    assert "task-2" in done.output


def test_an_idea_that_was_refused_is_shown_and_told_by_the_exit_code(run, hub, tmp_path, a_submitted):
    (tmp_path / "ideas.txt").write_text("first idea\nsecond idea\n")
    hub.answers[BATCH] = (200, {"tasks": [a_submitted, {"error": "bad_frame", "message": "no such repo"}]})
    done = run(main, "submit", "--file", "ideas.txt")
    assert done.exit_code == exits.REFUSED
    assert "no such repo" in done.output


def test_a_bad_line_is_named_and_nothing_is_sent(run, hub, tmp_path):
    (tmp_path / "ideas.txt").write_text("good\n" + "x" * 10_001)
    done = run(main, "submit", "--file", "ideas.txt")
    assert done.exit_code == exits.USAGE
    assert "line 2" in done.output
    assert hub.asked == []


def test_a_file_without_a_task_is_a_slip(run, hub, tmp_path):
    (tmp_path / "ideas.txt").write_text("# nothing\n")
    assert run(main, "submit", "--file", "ideas.txt").exit_code == exits.USAGE
