"""Who decides in a simulation: by a random generator, or by a script that a property test shrinks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

SCRIPT_RANGE = 256


class Chooser(Protocol):
    """Every decision of a simulation that is not determined comes from here, by the name of `what` it is about.

    The smallest answers, 0 and False, are the dullest: oldest first, no delay, no fault.
    """

    def choose(self, n: int, what: str) -> int:
        """One of 0 … n-1. Called only with n > 1."""

    def happens(self, what: str, rate: float) -> bool:
        """Whether something of this probability happens now. Called only with a rate above 0."""


class RandomChooser:
    """Decides by a generator alone."""

    def __init__(self, random: Random) -> None:
        self._draw = random.random

    def choose(self, n: int, what: str) -> int:
        return int(self._draw() * n)

    def happens(self, what: str, rate: float) -> bool:
        return self._draw() < rate


class ScriptedChooser:
    """Decides by a list of integers in 0 … 255, and dully when that has run out.

    So `lists(integers(0, 255))` of a property test is a whole schedule, and a shorter list is a duller one.
    """

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self._next = 0

    def choose(self, n: int, what: str) -> int:
        return self._take() % n

    def happens(self, what: str, rate: float) -> bool:
        return self._take() >= SCRIPT_RANGE * (1 - rate)

    def _take(self) -> int:
        if self._next >= len(self._script):
            return 0
        self._next += 1
        return self._script[self._next - 1]


def chooser_of(seed: int | Random | Chooser) -> Chooser:
    if isinstance(seed, Random):
        return RandomChooser(seed)
    if isinstance(seed, int):
        return RandomChooser(Random(seed))  # noqa: S311 - to be repeated is its purpose
    if not (hasattr(seed, "choose") and hasattr(seed, "happens")):
        raise TypeError(f"a seed is an int, a random.Random or a Chooser, got a {type(seed).__name__}")
    return seed
