"""Work beside a hub rests, and its writes reach the disk or are told."""

import ctypes
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcom.store import flushing, pacing
from agentcom.store.flushing import write_out
from agentcom.store.pacing import Pace, resting


class Clock:
    """Stands for `time` in agentcom.store.pacing."""

    def __init__(self) -> None:
        self.now = self.cpu = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.cpu

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds

    def pass_(self, took: float, cpu: float) -> None:
        self.now += took
        self.cpu += cpu


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pacing, "time", made)
    return made


@pytest.mark.parametrize(
    ("took", "cpu", "rest"),
    [
        (0.01, 0.0, 0.01),  # a disk that answers: half of its time is for others
        (0.01, 0.01, 0.03),  # a core: a quarter of it
        (0.02, 0.01, 0.02),  # what it waited for the disk counts as rest of the core
        (9.0, 0.0, 0.1),  # a disk that hangs is no reason to hang longer
    ],
)
def test_a_part_is_followed_by_a_rest_that_leaves_disk_and_core_to_others(
    clock: Clock, took: float, cpu: float, rest: float
) -> None:
    pace = Pace(share=0.25)
    for _ in range(2):
        clock.pass_(took, cpu)
        pace.rest()
    assert clock.slept == [rest, rest]


@pytest.fixture
def default_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGPROF)
    yield
    signal.signal(signal.SIGPROF, before)


def test_work_that_does_not_know_of_it_rests_too_and_only_until_the_end(
    clock: Clock, default_signal: None
) -> None:
    with resting(share=0.25):
        while len(clock.slept) < 3:
            pass
    assert clock.slept[:3] == [0.015] * 3
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def answering(code: int) -> Any:
    def call(*_: object) -> int:
        ctypes.set_errno(code)
        return -1

    return call


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "file").open("wb") as file:
        yield file.fileno()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_write_that_the_disk_did_not_take_is_told_at_once(
    handle: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(flushing, "_sync_file_range", answering(code))
    with pytest.raises(OSError, match=os.strerror(code)):
        write_out(handle, 0, 1)


@pytest.mark.parametrize("call", [None, answering(errno.EINVAL)])
def test_where_parts_cannot_be_flushed_the_whole_is(
    handle: int, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(flushing, "_sync_file_range", call)
    monkeypatch.setattr(os, "fsync", flushed.append)
    write_out(handle, 0, 1)
    assert flushed == [handle]
