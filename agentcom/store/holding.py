"""What an archive folder holds, whose it is, and who may write it: what an archivist must know before its first write.

Lives here: the claim on a folder, the check that it is this store's, its last good entry, and up to where it says the
same as the journal.
May import: agentcom.store.{errors,layout,reader,replay,segments,tables}, operating system.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from agentcom.store.errors import StoreError
from agentcom.store.layout import write_whole
from agentcom.store.reader import Readable, Reader, View
from agentcom.store.replay import Stretch, stretches
from agentcom.store.segments import DamagedSegment, Entry, Header, Segment, SegmentReader
from agentcom.store.tables import TABLES

LOCK = "archive.lock"
JOURNAL = TABLES["journal"].number


class ArchiveRefused(StoreError):
    """A folder that must not be written to until someone acts."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(str(folder), why)
        self.folder, self.why = folder, why

    def __str__(self) -> str:
        return f"the archive folder {self.folder} {self.why}"


class Owner(NamedTuple):
    """Whose entries they are, as the store's own meta says."""

    store: str
    schema: int
    line: list[Stretch]  #: epochs that it has, or had, entries of

    @property
    def epoch(self) -> int:
        return self.line[-1].epoch


def owner_of(source: Readable) -> Owner:
    with Reader(source).snapshot() as snap:
        store, schema, epoch, line = (
            snap.get("meta", (name,)) for name in ("store", "schema", "epoch", "line")
        )
    return Owner(store or "", schema or 1, own_stretches(stretches(line or (), epoch or 1)))


def own_stretches(line: list[Stretch]) -> list[Stretch]:
    """Those that are more than a name. A store that was salvaged or emptied continues nothing: its line begins with
    epoch 0, an empty store, and names those before its own only to be above their numbers. What an archive has of them
    is older, and not of its line.
    """
    if line[0].epoch:
        return line
    return [s for s in line[1:] if s.last is None or s.first <= s.last]


class Claim:
    """The right to write one folder: a lock that ends with the process; a later claim of this process takes it over."""

    _held: dict[tuple[int, int], "Claim"] = {}  #: one for the process, as its locks are

    def __init__(self, folder: Path) -> None:
        """Raises `ArchiveRefused` when another process has it."""
        self._place = folder.stat()
        self._folder = folder
        key = (self._place.st_dev, self._place.st_ino)
        earlier = self._held.get(key)
        if earlier is None:
            self._lock = _lock(folder)
        else:
            self._lock, earlier._lock = earlier._lock, -1
        self._held[key] = self

    @property
    def is_held(self) -> bool:
        """Whether this is still the newest claim of this process, and the folder still where it was."""
        try:
            there = self._folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return self._lock >= 0 and os.path.samestat(there, self._place)

    def release(self) -> None:
        if self._lock < 0:
            return
        self._held.pop((self._place.st_dev, self._place.st_ino), None)
        os.close(self._lock)
        self._lock = -1


def _lock(folder: Path) -> int:
    """A file system without locks is used without one."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ArchiveRefused(folder, "is being written by another hub; give this one its own") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            os.close(handle)
            raise
    return handle


def make_folder(folder: Path, marker: Path | None) -> None:
    """`marker` remembers that an archive was begun there, so that the folder is not made again on the disk below the
    one that is not mounted.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise ArchiveRefused(folder, "is a file; move it away")
    if is_begun(folder, marker):
        raise ArchiveRefused(folder, "is gone; mount its disk, or make the folder to begin a new archive")
    folder.mkdir(mode=0o700, parents=True)


def is_begun(folder: Path, marker: Path | None) -> bool:
    return marker is not None and marker.is_file() and marker.read_text(encoding="utf-8") == f"{folder}\n"


def remember(folder: Path, marker: Path) -> None:
    write_whole(marker, f"{folder}\n".encode())


def check_owner(folder: Path, segments: list[Segment], owner: Owner) -> list[str]:
    """Raises `ArchiveRefused` unless the folder is empty or this store's; returns what is wrong beside that."""
    told: list[str] = []
    lines = {stretch.epoch: stretch.line for stretch in owner.line}
    for epoch, group in groupby(segments, key=lambda segment: segment.epoch):
        header = _newest_header(list(group), told)
        if header is None:
            continue
        if header.store not in ("", owner.store):
            raise ArchiveRefused(
                folder,
                f"belongs to another store ({header.store}, this one is {owner.store}); "
                "give this hub a folder of its own (archive.dir)",
            )
        if epoch > owner.epoch or header.line != lines.get(epoch, header.line):
            raise ArchiveRefused(
                folder,
                f"has entries of epoch {epoch} that this store (epoch {owner.epoch}) does not come from: its data is "
                "older than a restore; start the restored data, or give this hub a folder of its own (archive.dir)",
            )
    return told


def _newest_header(segments: list[Segment], told: list[str]) -> Header | None:
    for segment in reversed(segments):
        try:
            with SegmentReader(segment.path) as reader:
                return reader.header
        except DamagedSegment as error:
            if segment.path.stat().st_size:
                told.append(str(error))
    return None


class Tail(NamedTuple):
    """The last good entry of an epoch's segments."""

    entry: Entry
    torn: str  #: a sentence, when its segment goes on behind it


def tail_of(segments: list[Segment], last: int | None) -> Tail | None:
    """The last entry that is on disk, of those up to `last`; None when there is none."""
    for segment in reversed(segments):
        if last is None or segment.first <= last:
            _settle(segment.path)
            tail = _tail_within(segment, last)
            if tail is not None:
                return tail
    return None


def _tail_within(segment: Segment, last: int | None) -> Tail | None:
    found = None
    try:
        with SegmentReader(segment.path) as reader:
            for entry in reader:
                if last is not None and entry.seq > last:
                    break
                found = entry
    except DamagedSegment:
        return None
    torn = f"archive segment {segment.path} is torn at byte {reader.end}" if reader.torn else ""
    return None if found is None else Tail(found, torn)


def _settle(path: Path) -> None:
    """What a killed hub had written is not on disk yet, and what a failed sync left in memory may never be: write the
    one, forget the other, so that what is read next is what a power cut would leave.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def agreed(source: Readable, segments: list[Segment], tail: Tail) -> int:
    """Up to which entry the archive says what the journal says: all of it, unless the store was put back to an earlier
    state (or lost its newest entries to a power cut, with `store.sync = "interval"`) and went on from there.
    """
    with source.reading() as view:
        first = view.first(JOURNAL, b"")
        oldest = None if first is None else int.from_bytes(first[0], "big")
        if _same(view, tail.entry, oldest):
            return tail.entry.seq
        for segment in reversed(segments):
            if last := _agreed_within(view, segment, oldest):
                return last
    return 0


def _agreed_within(view: View, segment: Segment, oldest: int | None) -> int:
    last = 0
    try:
        with SegmentReader(segment.path) as reader:
            for entry in reader:
                if not _same(view, entry, oldest):
                    break
                last = entry.seq
    except DamagedSegment:
        return 0
    return last


def _same(view: View, entry: Entry, oldest: int | None) -> bool:
    """What was trimmed can no longer be compared."""
    row = view.get(JOURNAL, entry.seq.to_bytes(8, "big"))
    return row == entry.row if row is not None else oldest is not None and entry.seq < oldest


def stretch_of(line: Iterable[Stretch], seq: int) -> Stretch | None:
    """The epoch that a seq belongs to; None for one that a restore left out."""
    fitting = (s for s in line if s.first <= seq and (s.last is None or seq <= s.last))
    return next(fitting, None)


def next_along(line: Iterable[Stretch], seq: int) -> int:
    """The seq that follows `seq` on a line of epochs."""
    for stretch in line:
        if stretch.last is None or seq < stretch.last:
            return max(seq + 1, stretch.first)
    return seq + 1


def between(line: Iterable[Stretch], after: int, upto: int) -> int:
    """How many entries a line has behind `after`, up to `upto`."""
    ends = ((max(after, s.first - 1), upto if s.last is None else min(upto, s.last)) for s in line)
    return sum(max(0, last - before) for before, last in ends)
