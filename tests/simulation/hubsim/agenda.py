"""Virtual time, and what of the outside is due when."""

import heapq
from collections.abc import Callable
from typing import Any

NEVER = float("inf")
EPOCH_S = 1_700_000_000.0


class VirtualClock:
    """Seconds that pass only when told to. The wall can be set without any time passing, as people do to clocks."""

    def __init__(self) -> None:
        self._passed = 1_000.0
        self._wall_ahead = EPOCH_S - self._passed

    def monotonic(self) -> float:
        return self._passed

    def now(self) -> float:
        return self._passed + self._wall_ahead

    def pass_until(self, at: float) -> None:
        self._passed = max(self._passed, at)

    def set_wall(self, by_s: float) -> None:
        self._wall_ahead += by_s


class Agenda:
    """Calls at their times; equal times in the order they were asked for."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._asked = 0

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self._asked += 1
        at = self.clock.monotonic() + max(0.0, seconds)
        heapq.heappush(self._heap, (at, self._asked, call, args))

    def next_at(self) -> float:
        return self._heap[0][0] if self._heap else NEVER

    def run_due(self) -> bool:
        """Make the first call that is due; False when none is."""
        if not self._heap or self._heap[0][0] > self.clock.monotonic():
            return False
        _, _, call, args = heapq.heappop(self._heap)
        call(*args)
        return True
