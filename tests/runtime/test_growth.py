"""A million actors come and go, and nothing of them stays."""

import gc
import os
import time
from pathlib import Path

import pytest
from thespian.actors import Actor, ActorExitRequest

from agentcom.runtime import LoopSystemBase

CYCLES, A_TURN = 1_000_000, 1_000


class Idle(Actor):
    def receiveMessage(self, msg, sender):
        pass


class Mother(Actor):
    """Makes children and ends them, some in each turn, until all have been."""

    def receiveMessage(self, msg, sender):
        if isinstance(msg, tuple):
            left, asker = msg
            for _ in range(A_TURN):
                self.send(self.createActor(Idle), ActorExitRequest())
            if left > A_TURN:
                self.send(self.myAddress, (left - A_TURN, asker))
            else:
                self.send(asker, "done")
        elif isinstance(msg, int):
            self.send(self.myAddress, (msg, sender))


def resident_bytes():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def until_gone(base):
    """The mother says that she is done when the last children are told to end; the loop's thread ends them then."""
    deadline = time.monotonic() + 60
    while len(base.dispatcher.space) >= 10:
        assert time.monotonic() < deadline, f"{len(base.dispatcher.space)} addresses are still held"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_million_lives_leave_nothing_behind():
    base = LoopSystemBase()
    mother = base.newPrimaryActor(Mother)
    assert base.ask(mother, 200_000, 120) == "done"  # pools and the allocator have their size by then
    until_gone(base)
    objects, size = len(gc.get_objects()), resident_bytes()
    assert base.ask(mother, CYCLES, 300) == "done"
    until_gone(base)
    assert resident_bytes() - size < 4_000_000  # four bytes an actor: no object is as small
    assert len(gc.get_objects()) - objects < 1_000
    base.shutdown()
