"""Time comes in through the door: what anything in the project may know about clocks. Imports nothing of ours."""

import time
from typing import Any, Protocol


class Clock(Protocol):
    """Wall seconds for what is written down, monotonic seconds for windows and deadlines."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clocks, without a call in between: actors look at them for each message."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


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

    def reach(self, monotonic: float) -> None:
        """Exactly there, so that what is due then is due."""
        if monotonic > self._passed:
            self._wall += monotonic - self._passed
            self._passed = monotonic

    def jump(self, seconds: float) -> None:
        """Moves the wall clock alone, as an operator or a time server does."""
        self._wall += seconds


_SYSTEM = SystemClock()


def clock_of(actor: Any) -> Clock:
    """The clock of the base that the actor runs on: virtual in a simulation, the machine's on Thespian's bases."""
    clock: Clock = getattr(actor._myRef, "clock", _SYSTEM)
    return clock


def monotonic_of(actor: Any) -> float:
    """Seconds of the actor's clock, for windows and deadlines."""
    return clock_of(actor).monotonic()
