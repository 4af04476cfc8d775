"""A snapshot of a store that is being written, made and proven while the hub goes on.

The tool (`python -m agentcom.store.snapshotting`) copies the store, has the copy read whole by a second process
(agentcom.store.proving), writes its manifest, and gives it its name last: whatever interrupts it, what has a name
counts.
When nothing was committed since the newest snapshot, that one is read again instead, and is as good as new.
May import: agentcom.store.*, msgspec, lmdb, operating system.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store import child
from agentcom.store.copying import Copy, copy_compact
from agentcom.store.errors import StoreError
from agentcom.store.foreign import Foreign
from agentcom.store.layout import sync_folder, write_whole
from agentcom.store.manifests import (
    DATA,
    Manifest,
    SnapshotFile,
    name_of,
    snapshots_in,
    write_manifest,
)
from agentcom.store.proving import Order as Proving
from agentcom.store.proving import Proven
from agentcom.store.pruning import MAKING, place, prune, remove, sweep, tip_of
from agentcom.store.reader import Reader
from agentcom.store.steps import reached

LOCK = ".lock"
RESERVE = 128 << 20
"""Left free on a disk that the hub's store is on too: a copy must not be what makes the hub refuse work."""

SUSPECT = "the STORE may be damaged (run `agentcom-admin verify`)"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the tool is told. Folders are absolute."""

    store: str  #: the folder of LMDB's file; a hub may be writing it
    into: str  #: the folder of the snapshots
    version: str  #: of this release, for the manifest
    hourly: int = 24
    daily: int = 14
    archive: str = ""  #: whose segments are removed once no snapshot needs them; "" leaves them
    #: a file that remembers that `into` was begun; "" when that folder cannot be missing by mistake
    marker: str = ""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What it answers."""

    path: str
    manifest: Manifest
    seconds: float
    renewed: bool = False  #: nothing had been committed since it was made
    removed: list[str] = []  #: snapshots that are not kept any longer
    segments: int = 0  #: of the archive, removed
    problem: str = ""  #: why removing did not go well


class SnapshotRefused(StoreError):
    """A folder that snapshots must not be written to until someone acts."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(str(folder), why)
        self.folder, self.why = folder, why

    def __str__(self) -> str:
        return f"the snapshot folder {self.folder} {self.why}"


class NotProven(StoreError):
    """A copy that does not hold what it should; it was removed."""


class Failed(msgspec.Struct, frozen=True):
    why: str


def run(tool: child.Tool, order: Order) -> Made | Failed:
    """Have the tool make one: `tool` is `Tool("snapshotting")`, and belongs to this call."""
    try:
        return msgspec.convert(tool.run(order), Made)
    except child.ToolFailed as error:
        why = f"{SUSPECT}, as copying it {error.why}" if error.damage else error.why
        return Failed(why)


def work(argument: Any) -> Made:
    return make(msgspec.convert(argument, Order))


def make(order: Order) -> Made:
    """Returns when the snapshot is on disk and proven. Raises `StoreError`, `OSError`; then there is no new one."""
    begun, into = time.monotonic(), Path(order.into)
    with _claim(into, Path(order.marker) if order.marker else None):
        sweep(into)
        reached("snapshot.begun")
        made_ms = time.time_ns() // 1_000_000
        same = _unchanged(Path(order.store), into)
        made = _renewed(same, made_ms) if same is not None else None
        renewed = made is not None
        if made is None:
            made = _fresh(order, into, made_ms)
        reached("snapshot.named")
        removed, segments, problem = _prune(order, into, made.manifest)
        reached("snapshot.pruned")
    return Made(
        path=str(made.path), manifest=made.manifest, seconds=time.monotonic() - begun, renewed=renewed,
        removed=removed, segments=segments, problem=problem,
    )  # fmt: skip


# --- the folder -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _claim(into: Path, marker: Path | None) -> Iterator[None]:
    """One maker at a time, as each removes what it finds half made. The lock ends with the process."""
    _open_folder(into, marker)
    handle = os.open(into / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, into)
        if marker is not None and not _is_begun(into, marker):
            sync_folder(into)
            write_whole(marker, f"{into}\n".encode())
        yield
    finally:
        os.close(handle)


def _open_folder(into: Path, marker: Path | None) -> None:
    """A folder that was begun is not made again: it would be on the disk below the one that is not mounted."""
    begun = marker is not None and _is_begun(into, marker)
    if begun and not (into / LOCK).exists():
        raise SnapshotRefused(
            into,
            f"is not the one that was begun there; mount its disk, or delete {marker} to begin a new one",
        )
    if into.exists() and not into.is_dir():
        raise SnapshotRefused(into, "is a file; move it away")
    into.mkdir(mode=0o700, parents=True, exist_ok=True)


def _is_begun(into: Path, marker: Path) -> bool:
    try:
        return marker.read_text(encoding="utf-8").strip() == str(into)
    except FileNotFoundError:
        return False


def _lock(handle: int, into: Path) -> None:
    """A file system without locks is used without one."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SnapshotRefused(into, "is being written by another process; wait for it to end") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise


# --- one snapshot ---------------------------------------------------------------------------------------


def _unchanged(store: Path, into: Path) -> SnapshotFile | None:
    """The snapshot that already has everything, if there is one. Refuses a folder with those of another store."""
    with Foreign(store) as source, Reader(source).snapshot() as view:
        now, own = (view.get("meta", ("epoch",)) or 1, view.seq), view.get("meta", ("store",)) or ""
    found = snapshots_in(into)
    others = [each for each in found if own and each.manifest.store not in ("", own)]
    if others:
        why = f"has snapshots of another store ({others[0].path.name}); give this one a folder of its own"
        raise SnapshotRefused(into, why)
    return next((each for each in found if place(each.manifest) == now), None)


def _renewed(same: SnapshotFile, made_ms: int) -> SnapshotFile | None:
    """It, if it is still what it was; None when its disk changed it, and then it is gone."""
    proven = _prove(same.path)
    if proven.problems or proven.digest != same.manifest.digest:
        remove(same.path)
        return None
    reached("snapshot.verified")
    manifest = msgspec.structs.replace(same.manifest, made_ms=made_ms)
    write_manifest(same.path, manifest)
    reached("snapshot.described")
    return SnapshotFile(same.path, manifest)


def _fresh(order: Order, into: Path, made_ms: int) -> SnapshotFile:
    making = into / f"{MAKING}{os.getpid()}"
    making.mkdir(mode=0o700)
    try:
        manifest = _filled(making, order, made_ms)
        return SnapshotFile(_named(making, manifest), manifest)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _filled(making: Path, order: Order, made_ms: int) -> Manifest:
    """Copy, proof and manifest, in a folder without a name."""
    copy = _copied(Path(order.store), making)
    reached("snapshot.copied")
    proven = _prove(making)
    if proven.digest and (proven.bytes, proven.digest) != copy:
        raise NotProven(f"the copy in {making.parent} is not what was written: look at its disk")
    if proven.problems:
        more = f" and {proven.more} more" if proven.more else ""
        told = "; ".join(proven.problems)
        raise NotProven(f"{SUSPECT}, as a copy of it is: {told}{more}")
    reached("snapshot.verified")
    manifest = Manifest(
        schema=proven.schema, epoch=proven.epoch, seq=proven.seq, line=proven.line, made_ms=made_ms,
        entry_ms=proven.entry_ms, rows=proven.rows, bytes=proven.bytes, digest=proven.digest,
        version=order.version, store=proven.store,
    )  # fmt: skip
    write_manifest(making, manifest)
    reached("snapshot.described")
    return manifest


def _copied(store: Path, making: Path) -> Copy:
    shared = store.stat().st_dev == making.stat().st_dev
    try:
        with Foreign(store) as source:
            copy = copy_compact(source, making / DATA, reserve=RESERVE if shared else 0)
    except lmdb.Error as error:
        raise NotProven(f"{SUSPECT}, as LMDB cannot copy it: {error}") from error
    sync_folder(making)
    return copy


def _prove(folder: Path) -> Proven:
    """A copy that ends who reads it is damaged."""
    try:
        return msgspec.convert(child.Tool("proving").run(Proving(str(folder))), Proven)
    except child.ToolFailed as error:
        if not error.damage:
            raise
        return Proven(bytes=(folder / DATA).stat().st_size, digest="", problems=[f"reading it {error.why}"])


def _named(making: Path, manifest: Manifest) -> Path:
    """A folder of that name is no snapshot, or it would have been found: its manifest cannot be read."""
    path = making.with_name(name_of(manifest.epoch, manifest.seq))
    if path.exists():
        remove(path)
    making.rename(path)
    sync_folder(path.parent)
    return path


def _prune(order: Order, into: Path, newest: Manifest) -> tuple[list[str], int, str]:
    """What cannot be removed is told, and tried again the next time: there is a new snapshot all the same."""
    archive = Path(order.archive) if order.archive else None
    try:
        return (*prune(tip_of(newest), into, archive, order.hourly, order.daily), "")
    except OSError as error:
        return [], 0, f"what is not kept any longer cannot be removed: {error}"


if __name__ == "__main__":
    child.main(work)
