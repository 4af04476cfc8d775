"""Snapshots on disk and what is said of them.

    SNAPSHOTS/EEEEEE-SSSSSSSSSSSSSSSSSSSS/data.mdb        epoch and newest journal seq, decimal
                                         /manifest.json

A folder without a readable manifest is no snapshot: the manifest is written when the copy was verified, and the folder
gets its name last. What is being made has a name that begins with a dot.
May import: agentcom.store.layout, msgspec, operating system.
"""

from pathlib import Path

import msgspec

from agentcom.store.layout import DATA as DATA
from agentcom.store.layout import write_whole
from agentcom.store.segments import Line

FORMAT = 1
MANIFEST = "manifest.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Of one snapshot. Fields are only ever appended, with a default."""

    format: int = FORMAT
    schema: int
    epoch: int
    seq: int  #: the newest journal entry it contains
    line: Line = ()  #: see agentcom.store.segments
    made_ms: int  #: when the copy was begun
    entry_ms: int  #: the time of the newest journal entry in it
    rows: dict[str, int]  #: by table
    bytes: int  #: of data.mdb
    digest: str  #: "blake2b:" and the hex digest (32 bytes) of data.mdb
    version: str  #: of the release that made it
    store: str = ""  #: the id of the store it is a copy of (meta's `store`); "" of before there were any


def release() -> str:
    """The version of the program that runs; "" when it is not installed."""
    from importlib import metadata  # it takes longer to load than most of what asks for it

    try:
        return metadata.version("agentcom")
    except metadata.PackageNotFoundError:
        return ""


class SnapshotFile(msgspec.Struct, frozen=True):
    path: Path
    manifest: Manifest


def name_of(epoch: int, seq: int) -> str:
    return f"{epoch:06d}-{seq:020d}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_whole(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def read_manifest(folder: Path) -> Manifest | None:
    """None when there is none, or none that this release can read."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    return manifest if manifest.format <= FORMAT else None


def snapshots_in(folder: Path) -> list[SnapshotFile]:
    """By epoch and seq, newest last; an absent folder has none."""
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = ((path, read_manifest(path)) for path in paths if (path / DATA).is_file())
    return [SnapshotFile(path, manifest) for path, manifest in found if manifest is not None]
