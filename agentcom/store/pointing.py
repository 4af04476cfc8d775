"""Which store is in force when `store.current` does not say it: lost, empty, not a store's name, or of a store that is
not there.

Every folder is asked how far it goes. Seqs only rise, through rewrites and restores too, so the one that goes furthest
was in force last. One that was never in force is told by its folder: a rewrite begins the redo log of its copy only
when that is complete and on disk, and whatever is put in force is marked `whole` before. Where only an unfinished copy
is left, or a later store is known to be gone, the one that is found is a source to restore from, not a store to go on
with.

For who holds the folder's lock, but for `look` without `mend`.
May import: agentcom.store.{errors,layout,redo_format,restore,restore_plan,restore_sources}, operating system.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agentcom.store import redo_format, restore
from agentcom.store.errors import StoreError
from agentcom.store.layout import CONDEMNED, DATA, POINTER, STORE, WHOLE, Layout
from agentcom.store.restore import Folders, Record
from agentcom.store.restore_plan import Target
from agentcom.store.restore_sources import OldStore, said_by


class Standing(NamedTuple):
    """How far the store in one folder goes."""

    path: Path
    has_file: bool
    whole: bool  #: it was in force once, or was complete before
    replaced: bool  #: a restore has put another one in its place
    seq: int  #: of its newest entry; 0 when neither its file nor its redo log says it
    said: OldStore | None  #: None when the file cannot be read

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Of whole stores the highest was in force last; of two that are equal either has every commit."""
        return (not self.replaced, self.seq, self.said.life if self.said else 0)

    @property
    def number(self) -> int:
        return int(self.path.name.removeprefix(STORE).removeprefix("-") or 0)

    def __str__(self) -> str:
        upto = f"up to entry {self.seq}" if self.seq else "of which nothing can be read"
        return (
            f"{self.path.name}, {upto}" if self.has_file else f"{self.path.name}, {upto}, without its {DATA}"
        )


class Astray(NamedTuple):
    """A pointer that is not to be followed, and what was found without it."""

    why: str  #: what is wrong with it
    found: Standing
    others: tuple[Standing, ...]
    doubt: str  #: why the one that was found must not simply go on; "" when it may

    def __str__(self) -> str:
        return f"{self.why}; found {self.found}"


def look(layout: Layout, *, mend: bool) -> Astray | None:
    """Find the store in force: from now on `layout.store` is it. None, and nothing has changed, when the pointer is
    sound, or when there is no file to be found: that is damage, and told as such.

    `mend`: what a power cut left in a file is seen to first, as opening it would; else nothing on disk is changed.
    Raises `OSError`.
    """
    paths, named = layout.stores, layout.named
    is_there = (layout.store / DATA).is_file()
    by_default = is_there and not (layout.folder / POINTER).exists()
    if (is_there and named) or (by_default and len(paths) == 1):
        return None
    standings = [_standing(path, mend=mend) for path in paths]
    found = chosen(standings)
    if found is None or not any(each.has_file for each in standings):
        return None
    if by_default and not _beats(found, next(each for each in standings if each.path == layout.store)):
        return None
    why = _why(layout)
    layout.instead = found.path
    return Astray(why, found, tuple(each for each in standings if each != found), _doubt(found, named))


def chosen(standings: Iterable[Standing]) -> Standing | None:
    """The one that was in force last; of unfinished copies the best, when there is nothing else."""
    standings = list(standings)
    fit = [each for each in standings if each.whole] or [each for each in standings if each.has_file]
    return max(fit, key=lambda each: (each.rank, each.number), default=None)


def behind(layout: Layout, folders: Folders, found: Standing) -> str:
    """Whether snapshots or archive know of entries that the store which was found lacks; "" when they do not."""
    try:
        made = restore.dry_run(layout, folders, Target())
    except StoreError:
        return ""  # what cannot be read says nothing
    return f"snapshots and archive go up to entry {made.reached}" if made.reached > found.seq else ""


def keep(layout: Layout, standings: Iterable[Standing], ms: int) -> None:
    """These are set aside once a store is open, not removed: nobody can be sure that they were not in force."""
    for each in standings:
        if (each.has_file or each.whole) and not each.replaced:
            layout.condemn(each.path, restore.when_of(ms))


def take(layout: Layout, astray: Astray, ms: int) -> Record:
    """The store that was found is in force, and the pointer says so. Written down first: it never happens silently."""
    found, kept = astray.found, [each for each in astray.others if each.has_file or each.whole]
    said = found.said or OldStore(1, (), 0)
    record = Record(
        how="found",
        ms=ms,
        why=astray.why,
        epoch=said.epoch,
        line=said.line,
        store=str(found.path),
        aside=str(layout.aside / restore.when_of(ms)) if kept else "",
        summary=(f"{found}, was in force", *(f"kept aside: {each}" for each in kept)),
    )
    restore.write_down(layout, record)
    layout.switch_to(found.path)
    return record


def next_best(layout: Layout, astray: Astray) -> None:
    """From now on `layout.store` is what else was found and can be read."""
    best = chosen(each for each in astray.others if each.has_file)
    if best is not None:
        keep(layout, [astray.found], restore.now_ms())
        layout.instead = best.path


def _standing(path: Path, *, mend: bool) -> Standing:
    has_file = (path / DATA).is_file()
    if mend and has_file:
        redo_format.recover(path)
    said, _ = said_by(path)
    checkpoint = redo_format.newest_checkpoint(path)
    last = max(said.last if said else 0, checkpoint.seq if checkpoint else 0)
    logged = redo_format.after(path, last)
    return Standing(
        path=path,
        has_file=has_file,
        whole=checkpoint is not None or (path / WHOLE).exists(),
        replaced=(path / CONDEMNED).exists(),
        seq=int.from_bytes(logged[-1][0], "big") if logged else last,
        said=said,
    )


def _beats(found: Standing, default: Standing) -> bool:
    """Without a pointer `store` is in force, unless another one went on from there."""
    return found.whole and (found.rank > default.rank or not default.whole)


def _why(layout: Layout) -> str:
    pointer = layout.folder / POINTER
    if layout.named:
        return f"{POINTER} names {layout.named}, which " + (
            f"has no {DATA}" if layout.store.is_dir() else "is not there"
        )
    if not pointer.exists():
        return f"{POINTER} is missing"
    return f"{POINTER} names no store" if pointer.stat().st_size else f"{POINTER} is empty"


def _doubt(found: Standing, named: str) -> str:
    if not found.whole:
        return f"{found.path.name} cannot be told from an unfinished copy"
    return f"{named} was in force" if named and named != found.path.name else ""
