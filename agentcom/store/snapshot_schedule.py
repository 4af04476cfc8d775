"""What the snapshot actor does next, when the next snapshot is due, and how the snapshots are doing.

Lives here: pure functions of what is known of them, and the look that tells it. Times are the wall clock's, as they
outlive the process.
May import: agentcom.protocol.views, agentcom.store.{manifests,pruning,reader,restore_plan,segments,snapshotting},
msgspec.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from agentcom.protocol.upkeep_views import SnapshotList, SnapshotMade, SnapshotView
from agentcom.store.manifests import SnapshotFile, snapshots_in
from agentcom.store.pruning import Standing, Tip, remains
from agentcom.store.reader import Reader
from agentcom.store.restore_plan import Way, straight
from agentcom.store.segments import Line
from agentcom.store.snapshotting import Made

RETRY_S, LONGEST_RETRY_S = 15.0, 900.0
LATE = 2
"""So many times `every_s` old, the newest snapshot is an alert."""


class Rules(msgspec.Struct, frozen=True):
    every_s: float
    first_s: float


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the snapshot actor knows."""

    folder: str
    started_ms: int  #: of the actor
    epoch: int = 1  #: of the store
    line: Line = ()
    files: tuple[SnapshotFile, ...] = ()  #: oldest first, as last looked at
    remains: tuple[str, ...] = ()  #: see `pruning.remains`
    failures: int = 0  #: tries since the last one that went well
    failed_ms: int = 0
    problem: str = ""  #: why the last try failed
    noted: str = ""  #: what else went wrong; there is a new snapshot all the same
    running: bool = False
    looked: bool = False  #: `files` is as the folder is, as far as anybody here knows

    @property
    def newest(self) -> SnapshotFile | None:
        """Of this epoch. An earlier epoch's is history of a store that was restored since."""
        return next((each for each in reversed(self.files) if each.manifest.epoch == self.epoch), None)

    @property
    def promised(self) -> tuple[int, int]:
        """Epoch and seq up to which a snapshot has everything; 0, 0 when there is none to be found now."""
        newest = self.newest
        return (newest.manifest.epoch, newest.manifest.seq) if newest else (0, 0)


class Seen(NamedTuple):
    """What a look at the folders found; the fields are those of `Known`."""

    epoch: int
    line: Line
    files: tuple[SnapshotFile, ...]
    remains: tuple[str, ...]


def look(reader: Reader, folder: Path, archive: Path | None) -> Seen:
    """Blocks as the folders' disks do. Raises `StoreClosed` and `OSError`."""
    with reader.snapshot() as snap:
        way = Way(snap.get("meta", ("epoch",)) or 1, straight(snap.get("meta", ("line",)) or ()))
    files = tuple(snapshots_in(folder))
    return Seen(*way, files, tuple(remains(way, files, archive)))


Step = Literal["rest", "list", "look", "make"]


def next_step(known: Known, rules: Rules, now_ms: int, *, busy: bool, wanted: bool, listing: bool) -> Step:
    """What the actor does now: nothing, answer who waits for the list, look at the folder, make a snapshot.

    `busy`: it looks at the folder, or makes one. `wanted`: somebody waits for a snapshot; `listing`: for the list. The
    list tells of a folder just looked at, but nobody waits for it while a snapshot is made. A look follows each try.
    """
    if known.running:
        return "list" if listing else "rest"
    if busy:
        return "rest"
    if listing or not known.looked:
        return "look"
    return "make" if wanted or now_ms >= due_ms(known, rules, now_ms) else "rest"


def begun(known: Known) -> Known:
    return msgspec.structs.replace(known, running=True)


def saw(known: Known, seen: Seen) -> Known:
    return msgspec.structs.replace(known, looked=True, **seen._asdict())


def succeeded(known: Known, one: Made) -> Known:
    new = SnapshotFile(Path(one.path), one.manifest)
    others = (each for each in known.files if each.path != new.path and each.path.name not in one.removed)
    return msgspec.structs.replace(
        known, running=False, looked=False, failures=0, problem="", noted=one.problem, files=(*others, new)
    )


def failed(known: Known, why: str, now_ms: int) -> Known:
    """A try did."""
    return msgspec.structs.replace(
        known, running=False, looked=False, failures=known.failures + 1, failed_ms=now_ms, problem=why
    )


def lost(known: Known, why: str, now_ms: int) -> Known:
    """A try or a look raised: nothing is promised of a folder that may be out of reach. The next try looks again."""
    return msgspec.structs.replace(failed(known, why, now_ms), looked=True, files=())


def due_ms(known: Known, rules: Rules, now_ms: int) -> int:
    """When to make the next one. A snapshot of the future (the clock was put back) counts as made now."""
    newest = known.newest
    if newest is None:
        due = known.started_ms + _ms(rules.first_s)
    else:
        due = min(newest.manifest.made_ms, now_ms) + _ms(rules.every_s)
    if not known.failures:
        return due
    pause_s = min(RETRY_S * 2.0 ** min(known.failures - 1, 10), LONGEST_RETRY_S, rules.every_s)
    return max(due, min(known.failed_ms, now_ms) + _ms(pause_s))


def facts(known: Known, rules: Rules, now_ms: int) -> dict[str, Any]:
    """For `/health`."""
    newest = known.newest
    said: dict[str, Any] = {
        "folder": known.folder,
        "count": len(known.files),
        "bytes": sum(each.manifest.bytes for each in known.files),
        "newest": newest.path.name if newest else None,
        "epoch": newest.manifest.epoch if newest else None,
        "seq": newest.manifest.seq if newest else None,
        "age_s": max(0, now_ms - newest.manifest.made_ms) // 1000 if newest else None,
        "due_s": max(0, due_ms(known, rules, now_ms) - now_ms) // 1000,
        "running": known.running,
    }
    if known.problem:
        said["problem"] = known.problem
    return said


def alerts(known: Known, rules: Rules, now_ms: int) -> tuple[str, ...]:
    """Sentences for operators; none when all is well."""
    told = []
    if known.problem:
        told.append(f"the last snapshot failed: {known.problem}")
    if known.noted:
        told.append(f"snapshots in {known.folder}: {known.noted}")
    newest = known.newest
    late_ms = _ms(LATE * rules.every_s)
    if newest is not None and now_ms - newest.manifest.made_ms > late_ms:
        age_s = (now_ms - newest.manifest.made_ms) // 1000
        told.append(
            f"the newest snapshot in {known.folder} is {age_s} s old; one is due every {rules.every_s:g} s"
        )
    elif newest is None and now_ms - known.started_ms > _ms(rules.first_s) + late_ms:
        told.append(f"there is no snapshot of this store in {known.folder}")
    return tuple(told)


def listed(known: Known, rules: Rules, now_ms: int) -> SnapshotList:
    """For `GET /api/snapshots`."""
    tip = Tip(Way(known.epoch, known.line))
    return SnapshotList(
        folder=known.folder,
        running=known.running,
        due_at=max(now_ms, due_ms(known, rules, now_ms)),
        snapshots=[view_of(each, tip.standing(each.manifest)) for each in reversed(known.files)],
        problem=known.problem,
        remains=list(known.remains),
    )


def made(one: Made) -> SnapshotMade:
    """For `POST /api/snapshots`."""
    snapshot = view_of(SnapshotFile(Path(one.path), one.manifest))
    return SnapshotMade(snapshot=snapshot, seconds=one.seconds, renewed=one.renewed, removed=one.removed)


def view_of(file: SnapshotFile, standing: Standing = "here") -> SnapshotView:
    of = file.manifest
    return SnapshotView(
        name=file.path.name, path=str(file.path), epoch=of.epoch, seq=of.seq, entry_at=of.entry_ms,
        made_at=of.made_ms, bytes=of.bytes, rows=of.rows, digest=of.digest, version=of.version, standing=standing,
    )  # fmt: skip


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
