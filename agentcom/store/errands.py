"""What the store's thread has been given and has not answered, and for how long it has been silent.

Pure: it counts the seconds that it is told of.
May import: the standard library.
"""

from collections import Counter
from typing import Literal, NamedTuple

SLOW_S, STUCK_S = 10, 60
TOLD_EVERY = 5
"""Seconds between two looks of the gateway at figures that change all the time."""

Errand = Literal["open", "apply", "upkeep", "trim", "rewrite", "finish"]
Silence = Literal["", "slow", "stuck"]


class Second(NamedTuple):
    """What is to be done as it passes."""

    silence: Silence  #: each said once while it lasts
    tell: bool  #: the gateway is to be told of the figures, if they changed
    upkeep: bool


class Errands:
    """Its thread does one at a time, in their order."""

    def __init__(self) -> None:
        self.stopping = False
        self._out: Counter[Errand] = Counter()
        self._seconds = self._silent_s = 0

    def begun(self, errand: Errand) -> None:
        self._out[errand] += 1

    def ended(self, errand: Errand) -> None:
        self._out[errand] -= 1
        self._silent_s = 0

    def under_way(self, errand: Errand) -> bool:
        return self._out[errand] > 0

    @property
    def is_finishing(self) -> bool:
        """What is given to the thread from now on finds the store closed."""
        return self.under_way("finish")

    @property
    def is_awaited(self) -> bool:
        """The disk owes an answer. A finish that hangs is for the supervisor to end."""
        return any(count for errand, count in self._out.items() if errand != "finish")

    def second(self) -> Second:
        """One more has passed."""
        self._seconds += 1
        self._silent_s += self.is_awaited
        upkeep = not (self.stopping or self.under_way("open") or self.under_way("upkeep"))
        return Second(self._silence(), self._seconds % TOLD_EVERY == 0, upkeep)

    def _silence(self) -> Silence:
        if not self.is_awaited:
            return ""
        return "slow" if self._silent_s == SLOW_S else "stuck" if self._silent_s == STUCK_S else ""
