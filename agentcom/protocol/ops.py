"""What a decision asks the store to write: ops on logical keys, and what must hold for them.

Keys are tuples of str and int; `agentcom.store.tables` alone knows their bytes.
May import: agentcom.protocol.rows.
"""

from typing import Any, Literal

import msgspec

Key = tuple[str | int, ...]


class Op(msgspec.Struct, frozen=True, gc=False):
    """Base of the five ops."""

    table: str
    key: Key

    def __str__(self) -> str:
        return type(self).__name__


class Put(Op, frozen=True):
    """Write `row` (a `rows.Row`) at `key`, whatever was there."""

    row: Any


class Delete(Op, frozen=True):
    """Remove `key`; absent is fine."""


class Add(Op, frozen=True):
    """Add `delta` to the counter at `key` (absent is 0)."""

    delta: int


class Append(Op, frozen=True):
    """Write `row` at `key` + the next sequence of that key, which the store allocates and returns.

    What a commit appends comes after its puts and deletes.
    """

    row: Any


class AppendMany(Op, frozen=True):
    """`Append` the same `row` once at each text of `key`: what is for many is encoded once."""

    row: Any


class Must(msgspec.Struct, frozen=True, gc=False):
    """A precondition, checked inside the write transaction with the batch's earlier commits visible.

    `absent`: no row at `key`. `equals`: the row at `key` is `row`.
    """

    table: str
    key: Key
    rule: Literal["absent", "equals"] = "absent"
    row: Any = None
