"""A table read in batches, each checked as a whole: what is right costs little, and what is wrong is not told here.

The checks run over hundreds of rows in one call. Where one of them fails there is a `Doubt`, and whoever wants to know
what is wrong walks the store row by row (agentcom.store.walking).
May import: agentcom.store.{errors,reader,tables}, msgspec.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from operator import lt
from typing import Any
from zlib import crc32

import msgspec

from agentcom.protocol.ops import Key
from agentcom.store.errors import CorruptRow, StoreError
from agentcom.store.reader import View
from agentcom.store.tables import Table, decode_key

SIZE, STEP = 512, 32
LARGE = 1 << 20
"""A batch ends at so many rows, or with the step that makes it this many bytes: memory stays small with rows of any
size.
"""

Keys = Sequence[bytes]
Item = tuple[bytes, bytes]
Batch = tuple[Keys, Keys]  #: keys and raw rows


class Doubt(StoreError):
    """Something is not as it must be, or only looks so from afar; a careful check says which."""


def batches(view: View, number: int, start: bytes = b"") -> Iterator[Batch]:
    """Every entry from `start` on. Raises `Doubt` when keys are not in order: such a walk might never end."""
    entries, last = view.forward(number, start, None), b""
    while items := _some(entries):
        keys, raws = zip(*items, strict=True)
        if keys[0] <= last or not all(map(lt, keys, keys[1:])):
            raise Doubt("keys are not in order")
        last = keys[-1]
        yield keys, raws


def _some(entries: Iterator[Item]) -> list[Item]:
    found: list[Item] = []
    size = 0
    while len(found) < SIZE and size < LARGE and (more := list(islice(entries, STEP))):
        found += more
        size += sum([len(raw) for _, raw in more])
    return found


def fingerprint(number: int, keys: Keys, raws: Keys) -> int:
    """A sum over entries, in any order: two sets of entries with the same sum are the same.

    By Python's hash of 64 bits with a secret of the process: damage, which knows no secret, goes unseen once in 2⁶⁴.
    It is that of the journal's ops, (number, key, row).
    """
    return sum(map(hash, zip(repeat(number), keys, raws)))


def decoded(table: Table, raws: Keys) -> list[Any]:
    """The rows. Raises `Doubt`."""
    bodies = [raw[4:] for raw in raws]
    if struct.pack(f">{len(bodies)}I", *map(crc32, bodies)) != b"".join([raw[:4] for raw in raws]):
        raise Doubt("a checksum does not match")
    try:
        return list(map(table.decoder.decode, bodies))
    except msgspec.DecodeError as error:
        raise Doubt(str(error)) from None


def parts_of(table: Table, keys: Keys) -> list[Key]:
    """The keys, taken apart. Raises `Doubt`."""
    try:
        return [decode_key(table, key) for key in keys]
    except CorruptRow as error:
        raise Doubt(str(error)) from None


def check_keys(table: Table, keys: Keys) -> None:
    """That all could be taken apart. Raises `Doubt`."""
    if not table.texts:
        parts_of(table, keys)
        return
    try:
        b"".join(keys).decode()  # each ends with a zero byte, so none runs into the next
    except UnicodeDecodeError as error:
        raise Doubt(str(error)) from None
    if {key[-1] for key in keys} != {0} or {key.count(0) for key in keys} != {table.depth}:
        raise Doubt("a key does not decode")
