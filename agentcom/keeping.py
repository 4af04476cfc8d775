"""Whether a hub that ended is started again, and when: pure.

Lives here: the keeper's decision. The arithmetic is that of `supervisors.restarts`, which a test holds it to; it is
written again because importing that would load Thespian into a process that should be small.
May import: agentcom.exit_codes. Never: a clock, a process.
"""

from typing import NamedTuple

INTENSITY = 5
PERIOD_S = 600.0
BASE_S = 1.0
CAP_S = 30.0
"""A hub that lived longer than this begins a new row of failures."""

FINAL = frozenset({0, 1, 2})
"""Orderly ends, and what starting again cannot change: a refused start (1), a bad setting or flag (2)."""


class End(NamedTuple):
    """How one life of the hub ended. `code` below zero is the signal that killed it."""

    code: int
    lived_s: float
    served: bool


class Past(NamedTuple):
    window: tuple[float, ...] = ()
    failures: int = 0
    ever_served: bool = False


class Again(NamedTuple):
    """Start it once more, `wait_s` from now."""

    past: Past
    wait_s: float


class Enough(NamedTuple):
    """End with the hub's own code."""

    code: int
    gave_up: bool


def decide(past: Past, end: End, now: float) -> Again | Enough:
    """A hub that never served once is not started again: whoever started it is still looking."""
    served = past.ever_served or end.served
    if end.code in FINAL or not served:
        return Enough(exit_code(end.code), gave_up=False)
    window = (*(at for at in past.window if at > now - PERIOD_S), now)
    if len(window) > INTENSITY:
        return Enough(exit_code(end.code), gave_up=True)
    failures = 1 if end.lived_s > CAP_S else past.failures + 1
    return Again(Past(window, failures, served), wait_s(failures))


def wait_s(failures: int) -> float:
    """The first restart comes at once, as agents wait; a row of them ever later."""
    return 0.0 if failures < 2 else min(CAP_S, BASE_S * 2.0 ** min(failures - 2, 60))


def exit_code(code: int) -> int:
    """As shells write it: 128 and the number of the signal."""
    return code if code >= 0 else 128 - code
