"""The programs against a real hub process: it starts or says why not, works, and stops in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from agentcom.cli import exits

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def base_env():
    ours = {k: v for k, v in os.environ.items() if not k.startswith("AGENTCOM_")}
    return {**ours, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


class Process:
    def __init__(self, env, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder, self.log = folder, folder / "hub.log"
        argv = [sys.executable, "-m", "agentcom.cli.main", "hub", "--port", str(self.port)]
        with self.log.open("ab") as log:  # an earlier life may still be writing its last lines
            self.popen = subprocess.Popen(argv, cwd=folder, env=env, stderr=log)
        until = time.monotonic() + 30
        while not self.ready():
            assert self.popen.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def ready(self):
        try:
            return httpx.get(f"{self.url}/ready", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self):
        """The hub itself and the keeper, which is stopped first so that it cannot start another."""
        hub = int((self.folder / "agentcom-data" / "hub.lock").read_text())
        self.popen.send_signal(signal.SIGSTOP)
        os.kill(hub, signal.SIGKILL)
        self.popen.kill()
        self.popen.wait()

    def stop(self):
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


@pytest.fixture(scope="module")
def hub(base_env, folder):
    """One for all tests that leave it as it was, but for some tasks."""
    process = Process(base_env, folder)
    yield process
    assert process.stop() == 0


@pytest.fixture
def command(base_env, folder, hub):
    """Run a program in the hub's folder."""

    def run(program, *arguments, **env):
        argv = [sys.executable, "-m", f"agentcom.cli.{program}", *map(str, arguments)]
        env = {**base_env, "AGENTCOM_HUB": hub.url, **env}
        return subprocess.run(
            argv, cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False
        )

    return run


def tasks(command, **env):
    return json.loads(command("admin", "tasks", "--limit", 1000, "--json", **env).stdout)["tasks"]


def test_a_hub_leaves_an_admin_token_that_only_its_owner_can_read(hub, folder):
    assert (folder / "agentcom-data" / "admin.token").stat().st_mode & 0o777 == 0o600


def test_smoke_finds_a_working_hub(command):
    done = command("main", "smoke", "--tasks", 12)
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert "12 tasks completed once each by 3 agents" in done.stdout


def test_a_second_hub_on_the_same_data_names_the_first(hub, command, folder):
    done = command("main", "hub", "--port", "0")
    assert done.returncode == exits.REFUSED
    assert f"process {(folder / 'agentcom-data' / 'hub.lock').read_text().strip()};" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_in_use_is_named_and_nothing_is_made(hub, command, folder):
    done = command("main", "hub", "--data", "other", "--port", hub.port)
    assert done.returncode == exits.REFUSED
    assert f"127.0.0.1:{hub.port}" in done.stderr
    assert not (folder / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "lease.acept_s=3"], "acept_s"),
        (["--set", "lease.accept_s=soon"], "lease.accept_s"),
        (["--set", "lease"], "key=value"),
        (["--config", "absent.toml"], "absent.toml"),
        (["--config", "bad.toml"], "bad.toml is not valid TOML"),
        (["--port", "70000"], "--port"),
    ],
)
def test_a_bad_setting_is_named_and_nothing_is_made(command, folder, arguments, told):
    (folder / "bad.toml").write_text("registration = ")
    done = command("main", "hub", "--data", "other", *arguments)
    assert done.returncode == exits.USAGE
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "other").exists()


def test_a_host_that_is_not_ours_is_one_sentence(command):
    done = command("main", "hub", "--data", "other", "--host", "203.0.113.7", "--port", "0")
    assert done.returncode == exits.REFUSED
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["a" * 300, "[bad"])
def test_a_host_that_has_no_address_is_named(command, host):
    done = command("main", "hub", "--data", "other", "--host", host, "--port", "0")
    assert done.returncode == exits.USAGE
    assert "hub.host" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit", "x", "--repo", "lost"], "lost"),
        (["submit", "x", "--deadline", "2001-01-01"], "complete_by"),
    ],
)
def test_what_only_the_hub_can_know_is_refused_by_it(command, arguments, told):
    before = tasks(command)
    done = command("main", *arguments)
    assert done.returncode == exits.REFUSED
    assert told in done.stderr
    assert tasks(command) == before


def test_a_repeated_key_is_the_same_task_and_another_text_a_conflict(command):
    first, again = (command("main", "submit", "x", "--idempotency-key", "k", "--json") for _ in range(2))
    assert json.loads(first.stdout)["task_id"] == json.loads(again.stdout)["task_id"]
    assert command("main", "submit", "y", "--idempotency-key", "k").returncode == exits.REFUSED


def test_a_task_can_be_moved_explained_and_cancelled(command):
    task = json.loads(command("main", "submit", "paint", "--needs", "paint", "--json").stdout)["task_id"]
    assert command("admin", "prioritise", task, "urgent").returncode == exits.OK
    shown = json.loads(command("admin", "task", task, "--json").stdout)
    assert (shown["lane"], shown["status"]) == ("urgent", "queued")
    assert "No agent has what it needs (paint)" in command("admin", "why", task).stdout
    assert command("admin", "cancel", task, "--reason", "no paint").returncode == exits.OK
    assert "no paint" in command("admin", "why", task).stdout
    done = command(
        "main",
        "submit",
        "paint",
        "--idempotency-key",
        "other",
        "--target",
        "nobody",
        "--wait",
        "--timeout",
        1,
    )
    assert done.returncode == exits.TIMED_OUT


def test_a_file_of_ideas_becomes_tasks(command, folder):
    (folder / "ideas.txt").write_text("one idea\ntwo ideas\nthree ideas\n")
    assert command("main", "submit", "--file", "ideas.txt", "--lane", "low").returncode == exits.OK
    assert [t["description"] for t in tasks(command) if "idea" in t["description"]] == [
        "one idea",
        "two ideas",
        "three ideas",
    ]


def test_a_hub_that_was_killed_has_its_tasks_and_then_stops_in_order(base_env, tmp_path, command):
    first = Process(base_env, tmp_path)
    here = {"AGENTCOM_TOKEN": (tmp_path / "agentcom-data" / "admin.token").read_text().strip()}
    submitted = command("main", "submit", "x", "--json", **here, AGENTCOM_HUB=first.url)
    first.kill()
    again = Process(base_env, tmp_path)
    try:
        found = tasks(command, **here, AGENTCOM_HUB=again.url)
    finally:
        assert again.stop() == 0
    assert [t["task_id"] for t in found] == [json.loads(submitted.stdout)["task_id"]]
    assert json.loads(again.log.read_text().splitlines()[-1])["event"] == "hub.stopped"


def test_an_operator_token_may_look_but_not_administer(command):
    assert command("admin", "token", "create", "eve", "--out", "eve.token").returncode == exits.OK
    assert command("admin", "tasks", "--token-file", "eve.token").returncode == exits.OK
    assert command("admin", "tree", "--token-file", "eve.token").returncode == exits.REFUSED


def test_an_actor_can_be_inspected_and_restarted(command):
    told = command("admin", "restart", "presence", "--json")
    assert (told.returncode, json.loads(told.stdout)) == (exits.OK, {"status": "ok", "name": "presence"})
    shown = json.loads(command("admin", "inspect", "presence", "--json").stdout)
    assert shown["name"] == "presence"
    assert shown["actor"] == "actors.presence:PresenceActor"
    assert shown["budget"] == {"intensity": 10, "period_s": 60.0, "spent": 0, "shared": True}
    assert "hub" in command("admin", "inspect", "hub").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["restart", "nobody"], "there is no actor nobody"),
        (["restart", ".."], "there is no actor .."),
        (["inspect", "schedule"], "did you mean scheduler?"),
        (["restart", "hub"], "hub is the root of the tree"),
        (["crash", "store"], "runs without `chaos.enabled`"),
        (["crash", "stor"], "did you mean store?"),
    ],
)
def test_what_the_tree_cannot_do_is_refused_in_a_sentence(command, arguments, told):
    done = command("admin", *arguments)
    assert done.returncode == exits.REFUSED
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
