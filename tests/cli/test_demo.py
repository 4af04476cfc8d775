"""The demo as a user runs it, with real processes."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DEMO = [sys.executable, "-m", "agentcom.cli.demo"]
pytestmark = pytest.mark.slow


@pytest.fixture
def env(tmp_path):
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}


def processes_of(folder):
    """Pids whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_nine_tasks_become_branches_and_the_hopeless_one_a_dead_letter(env, tmp_path):
    done = subprocess.run(DEMO, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✔ 9 tasks are branches" in done.stdout
    assert "dead letter  Make 1 equal 2" in done.stdout
    assert done.stderr == ""
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes_of(tmp_path) == []


def test_an_interrupted_demo_leaves_nothing_behind(env, tmp_path):
    with subprocess.Popen(DEMO, env=env, stdout=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            if "working" in line:
                break
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes_of(tmp_path) == []


def test_a_demo_that_was_started_in_the_background_can_be_interrupted(env, tmp_path):
    """A shell without job control makes what it starts with `&` ignore SIGINT."""
    script = 'trap "" INT; exec "$@"'
    with subprocess.Popen(
        ["sh", "-c", script, "sh", *DEMO], env=env, stdout=subprocess.PIPE, text=True
    ) as demo:
        for line in demo.stdout:
            if "working" in line:
                break
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_kept_demo_runs_on_and_says_how_to_stop_it(env, tmp_path):
    done = subprocess.run(
        [*DEMO, "--keep"], env=env, capture_output=True, text=True, timeout=240, check=False
    )
    pids = [int(pid) for pid in re.search(r"kill ([\d ]+) && rm -r", done.stdout)[1].split()]
    try:
        assert done.returncode == 0, done.stdout
        assert set(pids) <= set(processes_of(tmp_path))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)


def test_a_hub_that_cannot_start_is_told_with_the_end_of_its_log(env, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; 'hub' in sys.argv and sys.exit('no hub today')")
    env["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    done = subprocess.run(DEMO, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no hub today" in done.stdout
    assert "The logs are in" in done.stdout
