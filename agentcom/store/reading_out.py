"""A tool: reads what can be read of a damaged store, row by row, into a plain file.

It may be killed by what it reads; what it wrote before is there, and the next run goes on with the next table.
Argument: {"store", "into", "jobs": [[table number, backward], …]}. Into the file go records, in a job's order, each
begun by its job's place in the list. Result: sentences on what could not be read, by job.
May import: agentcom.store.{child,foreign,tables}, lmdb.
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import lmdb

from agentcom.store import child
from agentcom.store.foreign import Foreign
from agentcom.store.tables import MAX_KEY

HEAD = struct.Struct(">IIQ")
"""Job, length of the key, length of the row. A job begins with a record of both empty."""
DEPTH = 40
"""How often a damaged stretch is halved in search of what is still good in it."""

Item = tuple[bytes, bytes]


class Tolerant(Foreign):
    """A table whose root cannot be read is empty."""

    def _open(self, name: str, number: int) -> None:
        try:
            super()._open(name, number)
        except lmdb.Error:
            self.dbs[number] = None


def work(argument: dict[str, Any]) -> list[str]:
    with Path(argument["into"]).open("wb") as out, Tolerant(Path(argument["store"]), lock=False) as store:
        for n, (number, backward) in enumerate(argument["jobs"]):
            _put(out, n, b"", b"")
            out.flush()
            for key, row in _backward(store, number) if backward else readable(store, number):
                _put(out, n, key, row)
    return []


def _put(out: BinaryIO, job: int, key: bytes, row: bytes) -> None:
    out.write(HEAD.pack(job, len(key), len(row)) + key + row)


def _backward(store: Foreign, number: int) -> Iterator[Item]:
    """From the end, up to what cannot be read."""
    with contextlib.suppress(lmdb.Error), store.reading() as view:
        yield from view.backward(number, b"", None)


def readable(
    store: Foreign, number: int, low: bytes = b"", high: bytes | None = None, depth: int = DEPTH
) -> Iterator[Item]:
    """Rows from `low` to below `high`; around a damaged page, what is on either side of it.

    An error spoils its read transaction, so each attempt has one of its own.
    """
    last = low
    try:
        with store.reading() as view:
            for key, row in view.forward(number, low, high):
                last = key + b"\0"
                yield key, row
    except lmdb.Error:
        middle = _between(last, high)
        if depth and last < middle:
            yield from readable(store, number, last, middle, depth - 1)
        if depth and (high is None or middle < high):
            yield from readable(store, number, middle, high, depth - 1)


def _between(low: bytes, high: bytes | None) -> bytes:
    """A key about half way, as numbers are: keys begin alike, and differ behind that."""
    size = MAX_KEY
    a = int.from_bytes(low[:size].ljust(size, b"\0"), "big")
    b = int.from_bytes((high or b"\xff" * size)[:size].ljust(size, b"\0"), "big")
    return ((a + b) // 2).to_bytes(size, "big")


def records(file: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """What a run wrote: job, key and row; a last one that is cut short is left out. A job's begin has no key."""
    with file.open("rb") as source:
        while len(head := source.read(HEAD.size)) == HEAD.size:
            job, keys, rows = HEAD.unpack(head)
            body = source.read(keys + rows)
            if len(body) < keys + rows:
                return
            yield job, body[:keys], body[keys:]


if __name__ == "__main__":
    child.main(work)
