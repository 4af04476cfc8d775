"""Wakeups in a heap: what is due, in order of deadline and then of setting. Pure; imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

Fire = Callable[[Any, Any], None]

# due, order of setting, owner (whose death ends it), what to call, with owner and this
Timer = tuple[float, int, Any, Fire, Any]


class TimerHeap:
    """Never hands out a timer early. A dead owner's timers are skipped, and swept when they are many."""

    def __init__(self, is_dead: Callable[[Any], bool]) -> None:
        self._heap: list[Timer] = []
        self._is_dead = is_dead
        self._order = 0
        self._sweep_at = 1024

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, owner: Any, fire: Fire, argument: Any) -> None:
        self._order += 1
        heappush(self._heap, (due, self._order, owner, fire, argument))
        if len(self._heap) >= self._sweep_at:
            self._sweep()

    def next_due(self) -> float | None:
        while self._heap and self._is_dead(self._heap[0][2]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Timer | None:
        due = self.next_due()
        return heappop(self._heap) if due is not None and due <= now else None

    def dues_of(self, owner: Any) -> list[float]:
        return sorted(timer[0] for timer in self._heap if timer[2] is owner)

    def clear(self) -> None:
        self._heap.clear()

    def _sweep(self) -> None:
        """The next sweep comes after the heap has doubled, so that sweeping stays O(1) for each timer."""
        self._heap = [timer for timer in self._heap if not self._is_dead(timer[2])]
        heapify(self._heap)
        self._sweep_at = max(1024, 2 * len(self._heap))
