"""Arithmetic of the figures: percentiles and ratios, oriented so that 1 is the aim and more is better.

May import: msgspec.
"""

import math
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How a set of durations is spread, in milliseconds."""

    count: int
    p50: float
    p99: float
    max: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share` of all values do not exceed."""
    if not ordered:
        raise ValueError("expected at least one value, got none")
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, got: {share}")
    return ordered[math.ceil(share * len(ordered)) - 1]


def spread(seconds: Sequence[float]) -> Spread | None:
    """None when nothing was measured: a missing figure must not look like a fast one."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p99 = percentile(ordered, 0.5), percentile(ordered, 0.99)
    return Spread(len(ordered), p50 * 1e3, p99 * 1e3, ordered[-1] * 1e3)


def ratio_to_aim(value: float, aim: float, *, more_is_better: bool) -> float:
    """1 is the aim, 2 is twice as good, 0.5 is half of it."""
    if more_is_better:
        return value / aim
    return math.inf if value <= 0 else aim / value


def depth_factor(shallow: float, deep: float, *, more_is_better: bool) -> float:
    """How many times worse the deep queue is: 1 is flat, below 1 is better than the shallow one."""
    worse, better = (shallow, deep) if more_is_better else (deep, shallow)
    if better <= 0:
        return math.inf if worse > 0 else 1.0
    return worse / better
