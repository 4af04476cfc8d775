"""What a restore can draw on: snapshots, the archive, and the journal of the store that is to be replaced.

Nothing here changes any of them. The old store may be damaged, so only a child process opens it.
May import: agentcom.store.{carrying,child,drafts,errors,manifests,replay,restore_plan,segments,tables}, hashlib.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agentcom.store import redo_format
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.env import SCHEMA
from agentcom.store.layout import DATA
from agentcom.store.manifests import SnapshotFile, snapshots_in
from agentcom.store.replay import Along, Stop, entries_along, stretches
from agentcom.store.restore_plan import Base, Target, Way, straight, way_of
from agentcom.store.segments import (
    FORMAT,
    DamagedSegment,
    Entry,
    Header,
    Line,
    Segment,
    SegmentReader,
    SegmentWriter,
    listed,
)
from agentcom.store.steps import reached

CHUNK = 1 << 20


class OldStore(msgspec.Struct, frozen=True):
    """What the store that is to be replaced could still say of itself."""

    epoch: int
    line: Line
    life: int
    store: str | None = None  #: its id
    last: int = 0  #: the seq of its newest entry; 0 when it cannot be read to its end


class Ask(msgspec.Struct, frozen=True):
    """What a restore is asked for; the argument of the tool `restoring`. Folders are paths."""

    folder: str
    snapshots: str
    archive: str
    store: str = ""  #: of the store to be replaced; "" when there is none
    into: str = ""  #: an empty folder for the new one; "" to say only what would be done
    to_seq: int | None = None
    to_ms: int | None = None
    known: tuple[tuple[int, Line], ...] = ()  #: epochs that earlier restores of this folder began
    scratch: str = ""  #: an empty folder that is removed afterwards

    @property
    def target(self) -> Target:
        return Target(self.to_seq, self.to_ms)


def said_by(store: Path) -> tuple[OldStore | None, str]:
    """What a store's file says of itself, None when that cannot be read; and why its end is not known, if it is not."""
    if not (store / DATA).is_file():
        return None, ""
    said: list[Any] = []
    last, why = 0, ""
    try:
        found = Tool("carrying", said.append).run(
            {"store": str(store), "into": "", "after": 0, "entries": False}
        )
        last = found["last"]
    except ToolFailed as error:
        why = error.why
    return (msgspec.structs.replace(msgspec.convert(said[0], OldStore), last=last) if said else None), why


class Sources:
    """Everything that was found, and what is to be told of it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.told: list[str] = []
        self.old = self._old_store()
        self.redo = redo_format.logged(Path(ask.store)) if ask.store else []
        self._archive = Path(ask.archive)
        self.segments = [(segment, self._header(segment)) for segment in listed(self._archive)]
        self._snapshots = [s for s in snapshots_in(Path(ask.snapshots)) if self._is_usable(s)]
        self._leave_foreign()
        self.way = way_of(self.lines())
        self._carried: tuple[int, Path] | None = None

    # --- what is there -----------------------------------------------------------------------------

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Every epoch of which something was found. One that was begun and left nothing counts too: what it discarded
        must not come back.
        """
        yield from self.ask.known
        yield from ((s.manifest.epoch, s.manifest.line) for s in self._snapshots)
        yield from ((header.epoch, header.line) for _, header in self.segments if header is not None)
        if self.old is not None and (self.old.last or self.old.epoch > 1):
            yield self.old.epoch, self.old.line
        if self.redo and _seq(self.redo[0]) == 1:
            yield 1, ()  # killed before anything was archived: all there ever was is in the log

    @property
    def store(self) -> str:
        """The hub's id, by which it knows its archive again; "" when nothing tells it."""
        if self.old is not None and self.old.store:
            return self.old.store
        return next((h.store for _, h in reversed(self.segments) if h is not None and h.store), "")

    @property
    def highest_epoch(self) -> int:
        """Of anything, also of what cannot be read: the next one must be above it."""
        by_name = [segment.epoch for segment, _ in self.segments]
        by_name += [snapshot.manifest.epoch for snapshot in self._snapshots]
        return max([self.old.epoch if self.old else 1, *by_name, *(epoch for epoch, _ in self.ask.known)])

    def bases(self) -> list[Base]:
        return [
            Base(str(s.path), m.epoch, straight(m.line), m.seq, m.entry_ms)
            for s in self._snapshots
            for m in [s.manifest]
        ]

    def _old_store(self) -> OldStore | None:
        if not self.ask.store:
            return None
        found, why = said_by(Path(self.ask.store))
        if why:
            self.told.append(f"the old store's journal cannot be read to its end: {why}")
        return found

    def _header(self, segment: Segment) -> Header | None:
        try:
            with SegmentReader(segment.path) as reader:
                return reader.header
        except (DamagedSegment, OSError) as error:
            self.told.append(str(error))
            return None

    def _is_usable(self, snapshot: SnapshotFile) -> bool:
        schema = snapshot.manifest.schema
        if schema > SCHEMA:
            self.told.append(
                f"snapshot {snapshot.path} has schema {schema}, this release knows up to {SCHEMA}"
            )
        return schema <= SCHEMA

    def _leave_foreign(self) -> None:
        """An archive that another hub writes says nothing of this one."""
        mine = self.old.store if self.old else None
        others = {header.store for _, header in self.segments if header is not None and header.store}
        if mine and others and mine not in others:
            self.told.append(f"the archive {self._archive} belongs to another hub ({min(others)})")
            self._archive = self._archive / "none"
            self.segments = []

    # --- entries -----------------------------------------------------------------------------------

    def entries(self, way: Way, after: int) -> "Trail":
        return Trail(
            way,
            after,
            [lambda _: self._archive, lambda at: self._carry(way, at), lambda at: self._log(way, at)],
        )

    def _carry(self, way: Way, after: int) -> Path | None:
        """The old store's own entries after a seq, as segments."""
        old = self.old
        if old is None or not way.continues(old.epoch, old.line):
            return None
        if self._carried is not None and self._carried[0] <= after:
            return self._carried[1]
        into = Path(self.ask.scratch) / f"after-{after}"
        into.mkdir()
        argument = {"store": self.ask.store, "into": str(into), "after": after, "entries": True}
        with contextlib.suppress(ToolFailed):  # what it read is there; that the end is missing was told
            Tool("carrying").run(argument)
        self._carried = after, into
        return into

    def _log(self, way: Way, at: int) -> Path | None:
        """The entries of its redo log that come right after a seq, as a segment. It needs no LMDB to be read.

        The log does not name its epoch. That an entry follows without a gap on the newest known line is enough: the
        first one of any later epoch would be far above.
        """
        at = max(at, stretches(way.line, way.epoch)[-1].first - 1)
        into = Path(self.ask.scratch) / f"log-{at}"
        entries = [
            Entry(int.from_bytes(key, "big"), row) for key, row in redo_format.following(self.redo, at)
        ]
        if not entries or into.exists():
            return None
        into.mkdir()
        writer = SegmentWriter(into, Header(FORMAT, SCHEMA, way.epoch, entries[0].seq, way.line))
        for entry in entries:
            writer.append(entry)
        writer.flush()
        writer.close()
        return into

    @property
    def _last_logged(self) -> int:
        return _seq(self.redo[-1]) if self.redo else 0

    def highest_seq(self) -> int:
        """Of anything, on any way."""
        known = [base.seq for base in self.bases()] + [_last_in(segment) for segment, _ in self.segments]
        return max([*known, self.old.last if self.old else 0, self._last_logged])

    def newest(self, way: Way, at: int) -> int:
        """The highest seq on the way that is known to have existed, when `at` was reached."""
        known = [at, *(way.cut(b.epoch, b.seq) for b in self.bases() if way.continues(b.epoch, b.line))]
        if self.old is not None and way.continues(self.old.epoch, self.old.line):
            known.append(way.cut(self.old.epoch, self.old.last))
        if self.redo and _seq(self.redo[0]) >= stretches(way.line, way.epoch)[-1].first:
            known.append(self._last_logged)
        for segment, header in self.segments:
            if header is None or not way.continues(header.epoch, header.line):
                continue
            if way.cut(segment.epoch, segment.first) == segment.first and segment.first > at:
                known.append(way.cut(segment.epoch, _last_in(segment)))
        return max(known)

    def knows_end(self, way: Way, at: int) -> bool:
        """Whether nothing can have been written after `at`: the old store itself, or its log, ends there."""
        old = self.old
        if self.redo and self._last_logged == at:
            return True
        return old is not None and old.epoch == way.epoch and old.line == way.line and old.last == at


class Trail:
    """Entries after a seq along a way, as far as any of several archives leads. Iterate once; then see `stops`."""

    def __init__(self, way: Way, after: int, sources: list[Callable[[int], Path | None]]) -> None:
        """Each source is asked for its folder when it is its turn, with the seq that was reached."""
        self._way, self.at, self._sources = way, after, sources
        self.stops: list[Stop] = []

    def __iter__(self) -> Iterator[Entry]:
        before = -1
        while before != self.at:
            before, self.stops = self.at, []
            for source in self._sources:
                folder = source(self.at)
                if folder is not None:
                    yield from self._along(entries_along(folder, self._way.line, self._way.epoch, self.at))

    def _along(self, along: Along) -> Iterator[Entry]:
        for entry in along:
            self.at = entry.seq
            yield entry
        if along.stopped is not None:
            self.stops.append(along.stopped)


def _seq(logged: tuple[bytes, bytes]) -> int:
    return int.from_bytes(logged[0], "big")


def _last_in(segment: Segment) -> int:
    last = segment.first
    with contextlib.suppress(OSError, DamagedSegment), SegmentReader(segment.path) as reader:
        for entry in reader:
            last = entry.seq
    return last


def copy_snapshot(snapshot: Path, into: Path | None, manifest_digest: str) -> str:
    """Copy its file into a store's folder, or only read it; why it is no good, "" when it is as it was made."""
    seen = hashlib.blake2b(digest_size=32)
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context((snapshot / DATA).open("rb"))
            target = stack.enter_context((into / DATA).open("wb")) if into is not None else None
            while chunk := source.read(CHUNK):
                seen.update(chunk)
                if target is not None:
                    target.write(chunk)
    except FileNotFoundError as error:
        return f"snapshot {snapshot} cannot be read: {error}"
    if f"blake2b:{seen.hexdigest()}" != manifest_digest:
        return f"snapshot {snapshot} is damaged: its file is not what its manifest says"
    reached("restore.copied")
    return ""
