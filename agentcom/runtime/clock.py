"""Time comes in through the door: what anything in the project may know about clocks. Imports nothing."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall seconds for what is written down, monotonic seconds for windows and deadlines."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """Stands still until told otherwise."""

    def __init__(self, at: float = 0.0) -> None:
        self._wall = at
        self._passed = 0.0

    def now(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._passed

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"time cannot go backwards, got {seconds}")
        self._wall += seconds
        self._passed += seconds

    def jump(self, seconds: float) -> None:
        """Moves the wall clock alone, as an operator or a time server does."""
        self._wall += seconds
