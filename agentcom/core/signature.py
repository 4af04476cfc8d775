"""Sets of capabilities, named so that they fit a key.

May import: the standard library's hashlib.
"""

from collections.abc import Iterable
from hashlib import blake2b


def normal(capabilities: Iterable[str]) -> tuple[str, ...]:
    """The set in its one written form."""
    return tuple(sorted(set(capabilities)))


def signature(capabilities: Iterable[str]) -> str:
    """16 hex digits that stand for the set, whatever its order and repeats."""
    return blake2b("\0".join(normal(capabilities)).encode(), digest_size=8).hexdigest()


def first(capabilities: Iterable[str]) -> str:
    """The set's least member, "" for the empty set: agents with it are the only ones that can fit."""
    return min(capabilities, default="")
