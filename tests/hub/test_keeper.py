"""The keeper as a real process, with a few lines of Python in the hub's place."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agentcom.keeper import is_wanted

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0
slow = pytest.mark.slow
HEAD = """
import os, signal, sys
from pathlib import Path
from agentcom import keeper, keeping
from agentcom.plain_log import PlainLog

keeping.BASE_S = float(os.environ.get("BASE_S", "1"))
leash = keeper.keep(PlainLog("info", "json"))
lives = Path(sys.argv[1])
life = len(lives.read_text()) if lives.exists() else 0
lives.write_text("x" * (life + 1))
"""


def as_at_a_terminal():
    """The tests themselves may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Starts a keeper whose child does this; what still runs is killed at the end, as one group."""
    made = []

    def begin(child, base_s=1.0, **options):
        script = HEAD + textwrap.dedent(child)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "BASE_S": str(base_s)}
        options.setdefault("preexec_fn", as_at_a_terminal)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "lives")],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        made.append(process)
        return process

    yield begin
    for process in made:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def logged(stderr, event):
    told = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    return [line for line in told if line["event"] == event]


@slow
def test_a_killed_child_comes_back_where_it_served_before(start):
    keeper = start("""
        if life == 0:
            leash.served(4321)
            os.kill(os.getpid(), signal.SIGKILL)
        print(life, leash.port)
    """)
    out, err = keeper.communicate(timeout=DEADLINE_S)
    assert (keeper.returncode, out) == (0, "1 4321\n")
    assert [(line["code"], line["again_in_s"]) for line in logged(err, "hub.ended")] == [(-9, 0.0)]


@slow
def test_a_child_that_gives_up_again_and_again_is_given_up_with_its_code(start):
    keeper = start("leash.served(1)\nsys.exit(70)", base_s=0.001)
    _, err = keeper.communicate(timeout=DEADLINE_S)
    assert keeper.returncode == 70
    assert len(logged(err, "hub.ended")) == 5
    assert [line["code"] for line in logged(err, "keeper.gave_up")] == [70]


@slow
@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_start_that_is_refused_is_not_repeated(start, code):
    keeper = start(f"leash.served(1)\nsys.exit({code})")
    _, err = keeper.communicate(timeout=DEADLINE_S)
    assert keeper.returncode == code
    assert err == ""


@slow
def test_a_child_killed_before_it_served_is_told_and_not_repeated(start):
    keeper = start("os.kill(os.getpid(), signal.SIGBUS)")
    _, err = keeper.communicate(timeout=DEADLINE_S)
    assert keeper.returncode == 128 + signal.SIGBUS
    assert [line["signal"] for line in logged(err, "hub.killed")] == [signal.SIGBUS]


@slow
def test_standard_input_and_output_are_the_childs(start):
    keeper = start("print(sys.stdin.read().upper())")
    assert keeper.communicate("hello", timeout=DEADLINE_S) == ("HELLO\n", "")


@slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_is_passed_on_and_ends_with_the_childs_code(start, number):
    keeper = start(f"""
        leash.served(1)
        signal.signal({int(number)}, lambda *_: sys.exit(75))
        print("up", flush=True)
        while True:
            signal.pause()
    """)
    assert keeper.stdout.readline() == "up\n"
    keeper.send_signal(number)
    _, err = keeper.communicate(timeout=DEADLINE_S)
    assert keeper.returncode == 75
    assert err == ""


@slow
def test_other_signals_reach_the_child_and_stop_nothing(start):
    keeper = start("""
        signal.signal(signal.SIGUSR1, lambda *_: (print("used", flush=True), sys.exit(0)))
        print("up", flush=True)
        signal.pause()
    """)
    assert keeper.stdout.readline() == "up\n"
    keeper.send_signal(signal.SIGUSR1)
    assert keeper.communicate(timeout=DEADLINE_S)[0] == "used\n"


@slow
def test_a_stop_during_the_wait_ends_the_keeper(start):
    keeper = start("leash.served(1)\nsys.exit(3)", base_s=1_000.0)
    assert json.loads(keeper.stderr.readline())["again_in_s"] == 0.0
    assert json.loads(keeper.stderr.readline())["again_in_s"] > 20
    keeper.terminate()
    keeper.communicate(timeout=DEADLINE_S)
    assert keeper.returncode == 3


@slow
@pytest.mark.parametrize(
    "waits",
    [
        pytest.param("signal.pause()", id="by its signal"),
        pytest.param(
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "import socket; assert socket.socket(fileno=leash.fileno()).recv(1) == b''",
            id="by its leash",
        ),
    ],
)
def test_no_child_outlives_a_killed_keeper(start, waits):
    """Standard output is the child's too: it ends when the last of both is gone."""
    keeper = start(f"print('up', flush=True)\n{waits}")
    assert keeper.stdout.readline() == "up\n"
    keeper.kill()
    assert keeper.communicate(timeout=DEADLINE_S)[0] == ""


@slow
def test_the_childs_signals_are_as_the_keeper_found_them(start):
    """Ignored by nohup stays ignored; what stops a hub stops one started in the background too."""

    def in_background():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    keeper = start(
        """
        names = ("SIGHUP", "SIGTERM", "SIGCHLD", "SIGUSR1")
        print([signal.getsignal(getattr(signal, name)).name for name in names], signal.pthread_sigmask(0, []))
        """,
        preexec_fn=in_background,
    )
    out, _ = keeper.communicate(timeout=DEADLINE_S)
    assert out == "['SIG_IGN', 'SIG_DFL', 'SIG_DFL', 'SIG_DFL'] set()\n"


@slow
def test_the_keeper_loads_nothing_of_the_hub():
    script = (
        "from agentcom.cli.main import main; main.get_command(None, 'hub'); import sys; print(*sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    heavy = {
        "thespian",
        "lmdb",
        "asyncio",
        "uvloop",
        "uvicorn",
        "litestar",
        "httpx",
        "rich",
        "structlog",
        "ctypes",
    }
    assert loaded & heavy == set()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, True),
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, False),
        ({"INVOCATION_ID": "1", "SYSTEMD_EXEC_PID": "7"}, False),
        ({"INVOCATION_ID": "1"}, False),
        ({"INVOCATION_ID": "1", "SYSTEMD_EXEC_PID": "3"}, True),
    ],
)
def test_a_hub_has_a_keeper_unless_systemd_started_it(environ, wanted):
    """A shell in a terminal that systemd started has that terminal's INVOCATION_ID."""
    assert is_wanted("auto", environ, 7) == wanted


def test_who_asks_for_a_keeper_or_for_none_gets_that():
    assert is_wanted("on", {"NOTIFY_SOCKET": "/run/systemd/notify"}, 7)
    assert not is_wanted("off", {}, 7)
