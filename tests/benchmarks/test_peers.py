"""The peers: what they count by a clock of the test's, and that the bare server never outlives its parent."""

import os
import subprocess
import sys

import msgspec
import pytest

from agentcom.protocol.bodies import Submitted
from benchmarks import bare, peers
from benchmarks.hub import ROOT


class Ticking:
    """A clock that moves by a quarter of a second each time somebody looks at it."""

    def __init__(self):
        self.at = 100.0

    def __call__(self):
        self.at += 0.25
        return self.at


def said_by(*statements):
    return (sys.executable, "-c", "; ".join(statements))


def test_additions_are_counted_in_millions_a_second():
    assert peers.additions(2.0, Ticking()) == peers.ADDITIONS * 4 / 1e6


def test_the_last_commit_counts_whole_even_when_it_ends_after_the_time(tmp_path):
    found = peers.commits(tmp_path, 0.6, Ticking())
    assert (found.count, found.seconds, found.rate) == (3, 0.75, 4.0)
    assert (found.spread.p50, found.spread.count) == (250.0, 3)


def test_each_commit_is_one_put_in_a_transaction_of_its_own(tmp_path, monkeypatch):
    seen = []
    put = peers._put

    def counting(env, number, value):
        put(env, number, value)
        seen.append((env.info()["last_txnid"], env.stat()["entries"], env.flags()["sync"]))

    monkeypatch.setattr(peers, "_put", counting)
    peers.commits(tmp_path, 0.6, Ticking())
    assert seen == [(1, 1, True), (2, 2, True), (3, 3, True), (4, 4, True)]


def test_bare_commits_leave_nothing_in_the_folder(tmp_path):
    peers.commits(tmp_path / "new", 0.1, Ticking())
    assert list((tmp_path / "new").iterdir()) == []


def test_the_bare_answer_is_as_long_as_a_real_one():
    real = Submitted(
        task_id="task-01a2051911fd089fb58b", status="queued", priority=2, created_at=1795381858813
    )
    assert len(bare.BODY) == len(msgspec.json.encode(real))


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["print('no port', flush=True)", "input()"], "did not start"),
        (["raise SystemExit(3)"], "did not start"),
        (["print(1, flush=True)", "import sys", "sys.stdin.read()", "sys.exit(3)"], "ended with 3"),
    ],
)
def test_a_bare_server_that_fails_is_an_error_and_is_gone(statements, says):
    with pytest.raises(peers.PeerError, match=says), peers.bare_server(said_by(*statements)):
        pass


def test_a_bare_server_that_does_not_end_is_killed_and_reported(monkeypatch):
    monkeypatch.setattr(peers, "STOP_S", 0.1)
    deaf = said_by("print(1, flush=True)", "import signal", "signal.pause()")
    with pytest.raises(peers.PeerError, match="did not end"), peers.bare_server(deaf) as target:
        pass
    with pytest.raises(ProcessLookupError):
        bare_process(target.pid)


def test_a_failed_measurement_does_not_leave_the_bare_server_behind():
    deaf = said_by("print(1, flush=True)", "import signal", "signal.pause()")
    with pytest.raises(RuntimeError, match="load"), peers.bare_server(deaf) as target:
        raise RuntimeError("load failed")
    with pytest.raises(ProcessLookupError):
        bare_process(target.pid)


def bare_process(pid):
    """Raises ProcessLookupError when it is gone."""
    os.kill(pid, 0)


@pytest.mark.slow
def test_the_bare_server_ends_when_its_standard_input_does():
    server = subprocess.Popen(peers.BARE, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert int(server.stdout.readline()) > 0
    server.communicate(timeout=30)
    assert server.returncode == 0
