"""Which tasks fill the queue, and which capabilities the agents have.

Lives here: the plain mix (three signatures, two lanes, all of it work the fleet can do) and the mix of many
signatures (pairs out of a set of capabilities). Both are functions of the task's number.
May import: msgspec.
"""

import functools
import itertools
import math
import os
import time
from typing import Any

import msgspec

FLEET = ("bench", "git", "py")  #: what an agent of the life cycle has; it fits every task of the plain mix
QUICK = ("quick",)  #: what an idle agent of the latency runs has; it fits none of the backlog

DESCRIPTION = (
    "Rename the helper that parses dates, move it beside its callers, and adapt the tests. Keep the public "
    "names, run the whole suite, and say in the pull request what a reader should look at first. Number {}."
)

_LANE_AND_NEEDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *[("normal", ("bench",))] * 6,
    *[("normal", ("bench", "py"))] * 2,
    ("normal", ("bench", "git")),
    ("low", ("bench",)),
)

_PREFIX = os.urandom(5).hex()
_numbers = itertools.count()


class Mix(msgspec.Struct, frozen=True):
    """`signatures` distinct capability sets, or 0 for the plain mix."""

    signatures: int = 0


def key() -> str:
    """An idempotency key as the client makes them: ordered by time, so that rows are written side by side."""
    return f"{time.time_ns() // 1_000_000:012x}{_PREFIX}{next(_numbers):010x}"


def task(mix: Mix, number: int) -> dict[str, Any]:
    """The body of one submit."""
    lane, needs = _LANE_AND_NEEDS[number % 10] if not mix.signatures else ("normal", _pair(mix, number))
    return {
        "description": DESCRIPTION.format(number),
        "priority": lane,
        "needed_capabilities": needs,
        "metadata": {"n": number},
        "idempotency_key": key(),
    }


def quick_task(number: int) -> dict[str, Any]:
    """A task only the idle agents fit; in the lane where most of the backlog is."""
    return {
        "description": DESCRIPTION.format(number),
        "priority": "normal",
        "needed_capabilities": QUICK,
        "metadata": {"n": number},
        "idempotency_key": key(),
    }


def universe(signatures: int) -> list[str]:
    """The fewest capabilities with at least `signatures` distinct pairs."""
    size = math.ceil((1 + math.sqrt(1 + 8 * signatures)) / 2)
    return [f"cap-{n:04d}" for n in range(size)]


def fleet(mix: Mix, agents: int) -> list[tuple[str, ...]]:
    """The capabilities of each agent. With many signatures half of them fit all, half a few per cent."""
    if not mix.signatures:
        return [FLEET] * agents
    everything = universe(mix.signatures)
    few = max(2, len(everything) // 4)
    return [tuple(everything if n % 2 == 0 else everything[:few]) for n in range(agents)]


def _pair(mix: Mix, number: int) -> tuple[str, str]:
    return _pairs(mix.signatures)[number % mix.signatures]


@functools.cache
def _pairs(signatures: int) -> list[tuple[str, str]]:
    return list(itertools.islice(itertools.combinations(universe(signatures), 2), signatures))
