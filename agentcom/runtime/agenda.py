"""What is due when in a simulation: the process' timers, what is on its way inside it, and the world outside.

Imports timers and clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from agentcom.runtime.cell import DEAD, Cell
from agentcom.runtime.clock import ManualClock
from agentcom.runtime.timers import TimerHeap

Call = Callable[[], object]


class Agenda:
    """`next_due` is the earliest of all; what a dead actor had set never fires."""

    def __init__(self, clock: ManualClock) -> None:
        self.next_due = inf
        self._clock = clock
        self._world = TimerHeap(_is_dead)
        self.lose_process()

    def lose_process(self) -> None:
        self._process = TimerHeap(_is_dead)
        self.on_its_way = 0
        self._look()

    def add(self, delay_s: float, owner: Cell | None, call: Call) -> None:
        due = self._clock.monotonic() + delay_s
        self._process.add(due, owner, _fire, call)
        self.next_due = min(self.next_due, due)

    def add_on_its_way(self, delay_s: float, call: Call) -> None:
        """Whoever waits for idleness waits for this."""
        self.on_its_way += 1
        self.add(delay_s, None, lambda: self._arrived(call))

    def add_world(self, delay_s: float, call: Call) -> None:
        due = self._clock.monotonic() + max(0.0, delay_s)
        self._world.add(due, None, _fire, call)
        self.next_due = min(self.next_due, due)

    def fire_next(self) -> None:
        """The process' own first, where both are due."""
        now = self._clock.monotonic()
        timer = self._process.pop_due(now) or self._world.pop_due(now)
        self._look()
        if timer is not None:
            _, _, owner, fire, call = timer
            fire(owner, call)

    def move_on(self, end: float | None = None) -> bool:
        """Moves the clock to what is next, if there is something, and not beyond `end`."""
        self._look()
        if self.next_due == inf or (end is not None and self.next_due > end):
            return False
        self._clock.reach(self.next_due)
        return True

    def left_of(self, cell: Cell) -> list[float]:
        now = self._clock.monotonic()
        return [max(0.0, due - now) for due in self._process.dues_of(cell)]

    def _arrived(self, call: Call) -> None:
        self.on_its_way -= 1
        call()

    def _look(self) -> None:
        dues = (self._process.next_due(), self._world.next_due())
        self.next_due = min((due for due in dues if due is not None), default=inf)


def _fire(owner: object, call: Call) -> None:
    call()


def _is_dead(owner: object) -> bool:
    return isinstance(owner, Cell) and owner.state is DEAD
