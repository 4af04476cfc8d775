"""A million actors come and go, and nothing of them stays."""

import gc
import os
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


@pytest.mark.slow
def test_a_million_lives_leave_nothing_behind():
    base = LoopSystemBase()
    mother = base.newPrimaryActor(Mother)
    assert base.ask(mother, 200_000, 120) == "done"  # pools and the allocator have their size by then
    objects, size = len(gc.get_objects()), resident_bytes()
    assert base.ask(mother, CYCLES, 300) == "done"
    assert resident_bytes() - size < 4_000_000  # four bytes an actor: no object is as small
    assert len(gc.get_objects()) - objects < 1_000
    assert len(base.dispatcher.space) < 10
    base.shutdown()
