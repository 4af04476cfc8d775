"""Restoring a data folder: another store takes the place of the one in force, which is kept aside.

For who holds the folder's lock. The new store is made by a child process; only when it is whole and on disk is it
put in force here, so that whenever this process is killed, one whole store is.

    FOLDER/aside/WHEN/restored.json    what was done, for people and for `/health`

May import: agentcom.store.{child,errors,layout,restore_plan,restore_sources,restoring,steps}, msgspec.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from agentcom.store.child import Tool, ToolFailed
from agentcom.store.errors import StorageFull, StoreError
from agentcom.store.layout import ADMIN, Layout, sync_folder, write_whole
from agentcom.store.restore_plan import Target
from agentcom.store.restore_sources import Ask
from agentcom.store.restoring import Made, NothingToRestore
from agentcom.store.steps import reached

RECORD = "restored.json"
SCRATCH = ".restoring-"


class Folders(NamedTuple):
    snapshots: Path
    archive: Path


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Of one store that took another's place, or was found without the pointer. Fields are only ever appended, with a
    default.
    """

    how: Literal["restored", "salvaged", "emptied", "found"]
    ms: int
    why: str
    epoch: int
    line: tuple[tuple[int, int], ...]
    store: str  #: the new store's folder
    aside: str  #: where the old one is; "" when there was none
    summary: tuple[str, ...]  #: sentences
    by_itself: bool = True  #: at a start, without anybody asking
    lost: tuple[int, int] = (0, 0)
    """Entries that could not be brought back, see `restore_plan.Lost`. Of a store that was salvaged or emptied: all
    there were, as nobody knows which of them are missing.
    """


def dry_run(layout: Layout, folders: Folders, target: Target) -> Made:
    """What `restore` would do. Changes nothing. Raises as it does."""
    with scratch_in(None) as scratch:
        return _run(ask_of(layout, folders, target, scratch))


def restore(
    layout: Layout, folders: Folders, target: Target, why: str, *, by_itself: bool = False
) -> tuple[Made, Record]:
    """Make the store and put it in force.

    Raises `NothingToRestore`, `StorageFull`, or `StoreError` when the tool failed otherwise; then nothing was changed.
    """
    clear_scratch(layout)
    fresh = layout.fresh()
    try:
        with scratch_in(layout.folder) as scratch:
            made = _run(ask_of(layout, folders, target, scratch, into=fresh))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    record = Record(
        how="restored",
        ms=now_ms(),
        why=why,
        epoch=made.epoch,
        line=made.line,
        store=str(fresh),
        aside="",
        summary=sentences(made),
        by_itself=by_itself,
        lost=made.lost,
    )
    return made, put_in_force(layout, fresh, record, knows_admin=made.knows_admin)


def put_in_force(layout: Layout, fresh: Path, record: Record, *, knows_admin: bool) -> Record:
    """Switch to `fresh`, keep what was in force, and write down what was done.

    An admin token that the new store does not know is set aside too: the hub makes another one at its start.
    """
    when = when_of(record.ms)
    old = layout.store
    if old.is_dir():
        layout.condemn(old, when)
    layout.switch_to(fresh)
    reached("restore.switched")
    aside = layout.set_aside(old, when) if old.is_dir() else None
    record = msgspec.structs.replace(record, aside=str(aside or ""))
    token = layout.folder / ADMIN
    if token.exists() and not knows_admin:
        layout.set_aside(token, when)
    write_down(layout, record)
    reached("restore.set_aside")
    return record


def when_of(ms: int) -> str:
    """The name in `aside/` of what was done then."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def write_down(layout: Layout, record: Record) -> None:
    """For `records`; on disk on return."""
    place = layout.aside / when_of(record.ms)
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    for folder in (layout.aside, layout.folder):
        sync_folder(folder)


def sentences(made: Made) -> tuple[str, ...]:
    """What was, or would be, done."""
    begin = f"snapshot {made.snapshot}" if made.snapshot else "an empty store"
    at = datetime.fromtimestamp(made.reached_ms / 1000).astimezone().isoformat(timespec="milliseconds")
    told = [
        f"begins with {begin}, up to entry {made.base}",
        f"{made.entries} journal entries after it, up to entry {made.reached} of {at}",
    ]
    if made.discarded:
        told.append(f"entries {made.reached + 1} to {made.discarded} are left out, as was asked for")
    return (*told, str(made.lost), *(f"not used: {why}" for why in made.told))


def records(layout: Layout) -> list[Record]:
    """Of every replacement in this folder, oldest first."""
    found = []
    for path in sorted(layout.aside.glob(f"*/{RECORD}")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Record))
        except (OSError, msgspec.DecodeError):
            continue  # one that cannot be read says nothing; what it was about is beside it
    return found


def clear_scratch(layout: Layout) -> None:
    """What a killed restore left besides a store's folder."""
    for path in layout.folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def scratch_in(parent: Path | None) -> Iterator[Path]:
    """A folder that goes with the block; where files of this system go when there is no parent."""
    path = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def ask_of(
    layout: Layout, folders: Folders, target: Target, scratch: Path, *, into: Path | None = None
) -> Ask:
    """The argument of the tools, for this folder as it is."""
    old = layout.store
    return Ask(
        folder=str(layout.folder),
        snapshots=str(folders.snapshots),
        archive=str(folders.archive),
        store=str(old) if old.is_dir() else "",
        into=str(into or ""),
        to_seq=target.seq,
        to_ms=target.ms,
        known=tuple((record.epoch, record.line) for record in records(layout)),
        scratch=str(scratch),
    )


def _run(ask: Ask) -> Made:
    try:
        return msgspec.convert(Tool("restoring").run(ask), Made)
    except ToolFailed as failed:
        raise told_as(failed) from failed


def told_as(failed: ToolFailed) -> StoreError:
    """A tool's failure as the error that it had."""
    if failed.kind == "NothingToRestore":
        return NothingToRestore(failed.why.removeprefix("nothing can be restored: "))
    if failed.kind == "StorageFull" or "No space left" in failed.why:
        return StorageFull(failed.why)
    return failed


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
