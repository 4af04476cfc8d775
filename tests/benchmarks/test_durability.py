"""A piece beside a snapshot is compared with its neighbours without, so that the machine's own changes do not count."""

import os
from pathlib import Path

import pytest

from benchmarks import durability
from benchmarks.durability import shares


def test_each_piece_beside_it_is_compared_with_the_two_around_it():
    assert list(shares([100, 80, 100, 40, 60])) == [0.8, 0.5]


def test_a_machine_that_becomes_slower_all_the_time_does_not_count():
    assert list(shares([100, 90, 80, 70, 60])) == [1.0, 1.0]


@pytest.mark.parametrize("rates", [[], [100], [100, 80], [0, 0, 0]])
def test_without_a_neighbour_on_each_side_nothing_is_said(rates):
    assert list(shares(rates)) == []


def test_only_the_tools_of_a_snapshot_are_stopped(monkeypatch):
    assert not durability._is_tool(os.getpid())
    program, _, _ = Path("/proc/self/cmdline").read_bytes().partition(b"\0")
    monkeypatch.setattr(durability, "TOOLS", (program,))
    assert durability._is_tool(os.getpid())
    assert not durability._is_tool(2**22 + 1)  # no such process
