"""Sets of capabilities, named so that they fit a key.

May import: the standard library's hashlib and functools.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple


class Needs(NamedTuple):
    """A set of capabilities in its one written form, its id, and its least member."""

    capabilities: tuple[str, ...]
    signature: str  #: 16 hex digits that stand for the set, whatever its order and repeats
    first: str  #: "" for the empty set; agents that have it are the only ones that can fit


def normal(capabilities: Iterable[str]) -> tuple[str, ...]:
    """The set in its one written form."""
    return tuple(sorted(set(capabilities)))


@lru_cache(maxsize=8_192)
def needs(capabilities: tuple[str, ...]) -> Needs:
    """Fleets submit the same few sets again and again: worked out once."""
    ordered = normal(capabilities)
    name = blake2b("\0".join(ordered).encode(), digest_size=8).hexdigest()
    return Needs(ordered, name, min(ordered, default=""))
