"""What the same machine does in the same minute without a hub: a bare web server, bare commits, plain Python.

The speed of a shared machine changes between runs and within one; a ratio of two figures of one run hardly does.
May import: lmdb, msgspec, benchmarks.{hub, mix, specs, stats}.
"""

import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from benchmarks import mix, specs
from benchmarks.hub import ROOT
from benchmarks.stats import spread

PEER_S = 2.5  #: of each peer; more would say no more
BARE = (sys.executable, "-m", "benchmarks.bare")
START_S = 30.0
STOP_S = 10.0
MAP_BYTES = 1 << 30
ADDITIONS = 100_000  #: between two looks at the clock

Clock = Callable[[], float]


class PeerError(Exception):
    """The bare server did not start, or did not end when it was told."""


@contextmanager
def bare_server(command: tuple[str, ...] = BARE) -> Iterator[specs.Target]:
    """A web server that does nothing, in a process of its own. Raises PeerError."""
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield specs.Target("127.0.0.1", _port_of(server), "none", server.pid)
        _end(server)
    finally:
        _see_it_gone(server)


def _port_of(server: "subprocess.Popen[bytes]") -> int:
    assert server.stdout is not None
    ready, _, _ = select.select([server.stdout], [], [], START_S)
    said = server.stdout.readline() if ready else b""
    if not said.strip().isdigit():
        raise PeerError(f"the bare web server did not start within {START_S:.0f} s: it said {said!r}")
    return int(said)


def _end(server: "subprocess.Popen[bytes]") -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        code = server.wait(STOP_S)
    except subprocess.TimeoutExpired as exc:
        raise PeerError(f"the bare web server did not end within {STOP_S:.0f} s") from exc
    if code:
        raise PeerError(f"the bare web server ended with {code}")


def _see_it_gone(server: "subprocess.Popen[bytes]") -> None:
    """Whatever happened, nothing of it is left."""
    server.kill()
    server.wait()
    for pipe in (server.stdin, server.stdout):
        assert pipe is not None
        pipe.close()


def commits(folder: Path, seconds: float, clock: Clock = time.perf_counter) -> specs.Outcome:
    """One put a transaction, each on disk before the next begins, in a new environment under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    value = msgspec.json.encode(mix.task(mix.Mix(), 0))
    with tempfile.TemporaryDirectory(prefix="peer-", dir=folder) as place, _environment(place) as env:
        _put(env, 0, value)  # makes the files
        return _timed(lambda number: _put(env, number, value), seconds, clock)


def _environment(place: str) -> Any:
    return lmdb.open(place, map_size=MAP_BYTES, max_spare_txns=8, sync=True)


def _put(env: Any, number: int, value: bytes) -> None:
    with env.begin(write=True) as txn:
        txn.put(number.to_bytes(8, "big"), value)


def _timed(act: Callable[[int], object], seconds: float, clock: Clock) -> specs.Outcome:
    """One after the other until the time is over; the last one counts whole."""
    durations: list[float] = []
    began = now = clock()
    while now - began < seconds:
        act(len(durations) + 1)
        before, now = now, clock()
        durations.append(now - before)
    return specs.Outcome(count=len(durations), seconds=now - began, spread=spread(durations))


def additions(seconds: float, clock: Clock = time.perf_counter) -> float:
    """Million additions a second in a plain loop: how fast one core runs Python just now."""
    outcome = _timed(lambda _number: _add(ADDITIONS), seconds, clock)
    return outcome.rate * ADDITIONS / 1e6


def _add(count: int) -> int:
    total = 0
    for number in range(count):
        total += number
    return total
