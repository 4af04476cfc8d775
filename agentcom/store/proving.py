"""Does a copy of a store hold what it should? The tool that reads it whole (`python -m agentcom.store.proving`).

In a child process of its own: what it finds may end it.
May import: agentcom.store.{child,errors,flushing,foreign,manifests,pacing,reader,segments,verify}, lmdb, msgspec.
"""

import gc
from hashlib import blake2b
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store import child
from agentcom.store.errors import StoreError
from agentcom.store.flushing import drop
from agentcom.store.foreign import Foreign
from agentcom.store.manifests import DATA
from agentcom.store.pacing import resting
from agentcom.store.reader import Reader
from agentcom.store.segments import Line
from agentcom.store.verify import check_rows

PART = 1 << 20
FEW = 3
"""Problems that are told; `agentcom-admin verify` tells all."""


class Order(msgspec.Struct, frozen=True):
    folder: str


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. With problems the other fields may be nothing."""

    bytes: int
    digest: str  #: of the file, as in a manifest
    schema: int = 0
    store: str = ""
    epoch: int = 1
    line: Line = ()
    seq: int = 0
    entry_ms: int = 0
    rows: dict[str, int] = {}
    problems: list[str] = []  #: the first few
    more: int = 0


def work(argument: Any) -> Proven:
    gc.disable()  # rows are dropped as they are read and have no cycles
    order = msgspec.convert(argument, Order)
    with resting():
        return prove(Path(order.folder))


def prove(folder: Path) -> Proven:
    """Read the file's bytes, then every row. Damage is in the answer; raises `OSError`."""
    size, digest = digest_of(folder / DATA)
    try:
        return _prove(folder, size, digest)
    except (StoreError, lmdb.Error) as error:
        return Proven(bytes=size, digest=digest, problems=[str(error)])
    finally:
        with (folder / DATA).open("rb") as file:
            drop(file.fileno())


def _prove(folder: Path, size: int, digest: str) -> Proven:
    with Foreign(folder, lock=False) as copy:
        report = check_rows(copy)
        if report.problems:
            told = [str(problem) for problem in report.problems]
            return Proven(
                bytes=size, digest=digest, problems=told[:FEW], more=report.more + max(0, len(told) - FEW)
            )
        with Reader(copy).snapshot() as view:
            entry = view.get("journal", (view.seq,))
            return Proven(
                bytes=size,
                digest=digest,
                schema=view.get("meta", ("schema",)) or 0,
                store=view.get("meta", ("store",)) or "",
                epoch=view.get("meta", ("epoch",)) or 1,
                line=tuple((int(a), int(b)) for a, b in view.get("meta", ("line",)) or ()),
                seq=view.seq,
                entry_ms=entry.ms if entry is not None else 0,
                rows=report.rows,
            )


def digest_of(path: Path) -> tuple[int, str]:
    """A file's size, and its digest as manifests have it."""
    digest, at = blake2b(digest_size=32), 0
    with path.open("rb", buffering=0) as file:
        while part := file.read(PART):
            digest.update(part)
            at += len(part)
    return at, f"blake2b:{digest.hexdigest()}"


if __name__ == "__main__":
    child.main(work)
