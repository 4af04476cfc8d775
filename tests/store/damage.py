"""Ways to hurt a store's file, as disks do, and what a damaged one is made of."""

import os
import random
from collections.abc import Iterable
from pathlib import Path

from agentcom.store.pages import Holes, PagedFile

PAGE = 4096


def hurt(data: Path, rng: random.Random) -> str:
    """Zeroes or noise in some pages behind the two metas, or a file cut short."""
    size = data.stat().st_size
    kind = rng.choice(["zeroed", "noise", "swapped", "cut"])
    if kind == "cut":
        os.truncate(data, rng.randrange(2 * PAGE, size))
        return kind
    with data.open("r+b") as file:
        for _ in range(rng.randint(1, 6)):
            page = rng.randrange(2, size // PAGE)
            file.seek(rng.randrange(2, size // PAGE) * PAGE)
            other = file.read(PAGE)
            file.seek(page * PAGE)
            file.write({"zeroed": bytes(PAGE), "noise": rng.randbytes(PAGE), "swapped": other}[kind])
    return kind


def replace(data: Path, pages: Iterable[int], old: bytes, new: bytes) -> int:
    """In these pages; in how many it was."""
    raw, found = bytearray(data.read_bytes()), 0
    for page in pages:
        part = bytes(raw[page * PAGE : (page + 1) * PAGE])
        raw[page * PAGE : (page + 1) * PAGE] = part.replace(old, new)
        found += old in part
    data.write_bytes(raw)
    return found


def zero(data: Path, *pages: int) -> None:
    with data.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(bytes(PAGE))


def leaves(data: Path, table: str, *, trees: int = 1) -> list[int]:
    """The pages of a table that have its rows; of two trees, also those of the state before the last commit."""
    pages = {}
    with PagedFile(data) as file:
        for tree in file.trees()[:trees]:
            before = set(tree._seen)
            list(tree.rows(table, Holes()))
            pages |= {number: file.page(number) for number in tree._seen - before}
    return sorted(number for number, page in pages.items() if page is not None and page.is_leaf)
