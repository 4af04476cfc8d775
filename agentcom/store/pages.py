"""LMDB's file read page by page, without LMDB: of a damaged one, all that its trees still lead to.

The file is not mapped, so a torn one is a page that cannot be read where LMDB's own reader would be killed. Each page
is looked at once. One that is not what the page above it says is a hole: of the keys that were there nothing is known.
May import: standard library.
"""

import os
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

Item = tuple[bytes, bytes]

HEAD = struct.Struct("=QHHHH")
"""Of a page: its number, (…), what it is, end of its pointers, begin of its nodes; instead of these two, of a row's own
pages, how many they are.
"""
NODE = struct.Struct("=HHHH")
"""Length of the row, or number of the page below, in two parts; flags; length of the key."""
TREE = struct.Struct("=IHHQQQQQ")
"""Size of a page, (flags, depth, three counts of pages, entries), root."""
META = struct.Struct("=IIQQ48s48sQQ")
"""Magic, version, (…), the trees of free pages and of names, (…), transaction."""
MAGIC = (0xBEEFC0DE, 1)
BRANCH, LEAF, OVERFLOW, KINDS = 1, 2, 4, 0x7F
BIG = 1
"""A node's row is on pages of its own."""
NOTHING = (1 << 64) - 1
"""The root of a tree without an entry."""
SIZES = tuple(1 << n for n in range(9, 17))
DEEPEST = 32


class Holes:
    """The keys of a table of which nothing is known: those between which pages are lost, and single ones; but not those
    that were found there all the same.
    """

    def __init__(self) -> None:
        self._ranges: list[tuple[bytes, bytes | None]] = []
        self._keys: set[bytes] = set()
        self._found: set[bytes] = set()
        self._merged: list[tuple[bytes, bytes | None]] | None = None

    def __bool__(self) -> bool:
        return bool(self._ranges or self._keys)

    def __contains__(self, key: bytes) -> bool:
        if key in self._keys:
            return True
        if not self._ranges or key in self._found:
            return False
        merged = self._in_order()
        at = bisect_right(merged, key, key=lambda range_: range_[0]) - 1
        return at >= 0 and (merged[at][1] is None or key < (merged[at][1] or b""))

    def __str__(self) -> str:
        counts = (len(self._ranges), "page"), (len(self._keys), "single row")
        return " and ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts if n)

    @property
    def at_end(self) -> bool:
        """Whether the table's last keys are among them."""
        return any(high is None for _, high in self._ranges)

    def add(self, low: bytes, high: bytes | None) -> None:
        """All of low <= key < high."""
        self._ranges.append((low, high))
        self._merged = None

    def add_key(self, key: bytes) -> None:
        self._keys.add(key)

    def found(self, keys: list[bytes]) -> None:
        """These are known, though they lie in a range."""
        self._found.update(keys)

    def _in_order(self) -> list[tuple[bytes, bytes | None]]:
        """Without those that begin within another: a damaged key may say anything of its neighbours."""
        if self._merged is None:
            merged: list[tuple[bytes, bytes | None]] = []
            for low, high in sorted(self._ranges, key=lambda range_: range_[0]):
                end = merged[-1][1] if merged else b""
                if merged and (end is None or low <= end):
                    merged[-1] = merged[-1][0], None if end is None or high is None else max(end, high)
                else:
                    merged.append((low, high))
            self._merged = merged
        return self._merged


def rising(keys: list[bytes]) -> list[int]:
    """The places of the longest run, not necessarily unbroken, of keys that rise; all of them, mostly."""
    if all(a < b for a, b in pairwise(keys)):
        return list(range(len(keys)))
    ends: list[bytes] = []  # of the shortest-ending run of each length
    places: list[int] = []
    before: list[int] = []
    for n, key in enumerate(keys):
        at = bisect_left(ends, key)
        before.append(places[at - 1] if at else -1)
        ends[at : at + 1], places[at : at + 1] = [key], [n]
    found, n = [], places[-1]
    while n >= 0:
        found.append(n)
        n = before[n]
    return found[::-1]


class Page(NamedTuple):
    number: int
    is_leaf: bool
    raw: bytes
    pointers: tuple[int, ...]  #: where its nodes are

    def node(self, n: int) -> tuple[int, int, bytes, int] | None:
        """(low 32 bits, flags, key, where the row begins) of a node; None when it leads out of the page."""
        at = self.pointers[n]
        if at < HEAD.size or at + NODE.size > len(self.raw):
            return None
        low, high, flags, length = NODE.unpack_from(self.raw, at)
        begin = at + NODE.size + length
        return (
            (low | high << 16, flags, self.raw[at + NODE.size : begin], begin)
            if begin <= len(self.raw)
            else None
        )


class Tree:
    """One state of all tables, as one of the file's two metas has it. Each table is read once."""

    def __init__(self, file: "PagedFile", root: int, transaction: int) -> None:
        self._file, self.transaction = file, transaction
        self._seen: set[int] = set()
        self.is_readable = root == NOTHING or file.page(root) is not None
        self._roots = {
            name: TREE.unpack(row)[-1] for name, row in self._walk(root, Holes()) if len(row) == TREE.size
        }

    def rows(self, name: str, holes: Holes) -> Iterator[Item]:
        """What can be read of a table, mostly in key order; what cannot be is added to `holes`."""
        root = self._roots.get(name.encode())
        if root is not None:
            yield from self._walk(root, holes)
        else:  # its name is lost; or an older release had none, and no row either
            holes.add(b"", None)

    def _walk(self, root: int, holes: Holes) -> Iterator[Item]:
        if root != NOTHING:
            yield from self._below(root, b"", None, holes, DEEPEST)

    def _below(self, number: int, low: bytes, high: bytes | None, holes: Holes, depth: int) -> Iterator[Item]:
        """A page that was seen before is a stranger here: a damaged pointer leads to it."""
        page = self._file.page(number) if number not in self._seen and depth else None
        if page is None:
            holes.add(low, high)
            return
        self._seen.add(number)
        if page.is_leaf:
            yield from self._leaf(page, low, high, holes)
            return
        nodes = [page.node(n) for n in range(len(page.pointers))]
        ends = [high]
        for node in reversed(nodes[1:]):
            ends.append(node[2] if node else ends[-1])
        begin = low  # the first node's key is left out, as all that is on the page is above it
        for n, node in enumerate(nodes):
            end = ends[-1 - n]
            if node is None:
                holes.add(begin, end)
                continue
            begin = node[2] if n else low
            yield from self._below(node[0] | node[1] << 32, begin, end, holes, depth - 1)

    def _leaf(self, page: Page, low: bytes, high: bytes | None, holes: Holes) -> Iterator[Item]:
        """A key that is out of order was another one, and so is a single one at either end that belongs elsewhere. When
        more do, a key above is damaged: they are rows all the same, but others may be missing here.
        """
        nodes = [node for n in range(len(page.pointers)) if (node := page.node(n)) is not None and node[2]]
        keys = [node[2] for node in nodes]
        good = rising(keys)
        if len(good) > 1 and keys[good[0]] < low <= keys[good[1]]:
            del good[0]
        if len(good) > 1 and high is not None and keys[good[-2]] < high <= keys[good[-1]]:
            del good[-1]
        for n in good:
            row = self._row(page, nodes[n])
            if row is None:
                holes.add_key(keys[n])
            else:
                yield keys[n], row
        fits = not keys or (low <= keys[good[0]] and (high is None or keys[good[-1]] < high))
        if len(good) < len(page.pointers) or not fits:
            holes.add(low, high)
            holes.found([keys[n] for n in good])

    def _row(self, page: Page, node: tuple[int, int, bytes, int]) -> bytes | None:
        size, flags, _, begin = node
        if not flags & BIG:
            return page.raw[begin : begin + size] if begin + size <= len(page.raw) else None
        if begin + 8 > len(page.raw):
            return None
        return self._file.overflow(int.from_bytes(page.raw[begin : begin + 8], sys.byteorder), size)


class PagedFile:
    """An LMDB file; a context manager that closes it. Raises `OSError` when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0
        self._end = os.fstat(self._handle).st_size
        self._metas = self._found()

    def trees(self) -> list[Tree]:
        """Newest first. LMDB keeps the state before the last commit whole, so that is a second one."""
        found = (Tree(self, root, transaction) for transaction, root in self._metas)
        return [tree for tree in found if tree.is_readable]

    def page(self, number: int) -> Page | None:
        """A branch or leaf; None when it is none, or cannot be read."""
        raw = self._read(number * self._size, self._size)
        if len(raw) < self._size:
            return None
        own, _, flags, lower, upper = HEAD.unpack_from(raw)
        kind = flags & KINDS
        fits = HEAD.size <= lower <= upper <= self._size and not lower % 2
        if own != number or kind not in (BRANCH, LEAF) or not fits:
            return None
        count = (lower - HEAD.size) // 2
        return Page(number, kind == LEAF, raw, struct.unpack_from(f"={count}H", raw, HEAD.size))

    def overflow(self, number: int, size: int) -> bytes | None:
        """A row on pages of its own, `size` bytes."""
        head = self._read(number * self._size, HEAD.size)
        if len(head) < HEAD.size:
            return None
        own, _, flags, low, high = HEAD.unpack(head)
        room = (low | high << 16) * self._size - HEAD.size
        if own != number or flags & KINDS != OVERFLOW or size > room:
            return None
        row = self._read(number * self._size + HEAD.size, size)
        return row if len(row) == size else None

    def _found(self) -> list[tuple[int, int]]:
        """(transaction, root of the names) of each meta that can be read, newest first. The first one is where the file
        begins; where the second is depends on the size of a page, which both say.
        """
        roots: dict[int, int] = {}
        for size, n in product(SIZES, (0, 1)):
            raw = self._read(n * size + HEAD.size, META.size)
            if len(raw) < META.size:
                continue
            magic, version, _, _, free, names, _, transaction = META.unpack(raw)
            if (magic, version) == MAGIC and TREE.unpack(free)[0] == size:
                self._size = size
                roots.setdefault(transaction, TREE.unpack(names)[-1])
        return sorted(roots.items(), reverse=True)

    def _read(self, at: int, size: int) -> bytes:
        """What is there of it; nothing where the disk cannot read, or a damaged number leads out of the file."""
        if at >= self._end:
            return b""
        try:
            return os.pread(self._handle, min(size, self._end - at), at)
        except OSError:
            return b""

    def __enter__(self) -> "PagedFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
