"""Reading an archive: the entries of one line of epochs, in order, for restore and verify.

Lives here: which segment has the next entry, and where and why there is no next one. What segments and lines are is
in agentcom.store.segments. A folder is read without being changed; it may be written to meanwhile.
May import: agentcom.store.segments, operating system.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from agentcom.store.segments import RAISE, DamagedSegment, Entry, Line, Segment, SegmentReader, listed

Kind = Literal["end", "torn", "gap", "damaged"]


class Stretch(NamedTuple):
    """What one epoch contributes to a line; `last` is None for the newest one."""

    epoch: int
    first: int
    last: int | None
    line: Line  #: of the segments of this epoch


class Stop(NamedTuple):
    """Where an archive stops: `seq` is the first entry that it does not have.

    `end` and `torn` are how an archive ends that misses nothing it ever promised: nothing is there any more, or the
    last segment goes on behind its last good record (a write was interrupted). `gap`: later entries are there or are
    needed, but not this one. `damaged`: the segment that should have it cannot be used.
    """

    seq: int
    kind: Kind
    reason: str


def stretches(line: Iterable[Sequence[int]], epoch: int) -> list[Stretch]:
    """The line as it is in `meta` or a header, with the epoch that it leads to."""
    known = tuple((int(of), int(last)) for of, last in line)
    found, first = [], 1
    for n, (of, last) in enumerate(known):
        found.append(Stretch(of, first, last, known[:n]))
        first = last + RAISE + 1
    return [*found, Stretch(epoch, first, None, known)]


class Along:
    """Iterate once; then `stopped` says where and why it ended. Raises `OSError` as the disk does."""

    def __init__(self, folder: Path, line: Iterable[Sequence[int]], epoch: int, after_seq: int) -> None:
        self._folder = folder
        self._stretches = stretches(line, epoch)
        self._segments: list[Segment] = []
        self._due = after_seq + 1
        self._doubt: tuple[Kind, str] | None = None
        self.stopped: Stop | None = None

    def __iter__(self) -> Iterator[Entry]:
        self._segments = listed(self._folder)
        for stretch in self._stretches:
            if stretch.last is not None and self._due > stretch.last:
                continue
            self._due = max(self._due, stretch.first)
            yield from self._through(stretch)
            if stretch.last is None or self._due <= stretch.last:
                self.stopped = self._why(stretch)
                return

    def _through(self, stretch: Stretch) -> Iterator[Entry]:
        """Segment by segment; the one that begins last has the say."""
        segments = [segment for segment in self._segments if segment.epoch == stretch.epoch]
        read = 0
        while stretch.last is None or self._due <= stretch.last:
            at = sum(segment.first <= self._due for segment in segments)
            if at == read:  # nothing continues what was read
                return
            read = at
            after = segments[at].first - 1 if at < len(segments) else None
            ends = [seq for seq in (after, stretch.last) if seq is not None]
            yield from self._within(segments[at - 1], stretch, min(ends, default=None))

    def _within(self, segment: Segment, stretch: Stretch, last: int | None) -> Iterator[Entry]:
        self._doubt = None
        if not segment.path.stat().st_size:
            self._doubt = ("torn", f"archive segment {segment.path} is empty")
            return
        try:
            reader = SegmentReader(segment.path)
        except DamagedSegment as error:
            self._doubt = ("damaged", str(error))
            return
        with reader:
            if stranger := _stranger(reader, segment, stretch):
                self._doubt = ("damaged", f"archive segment {segment.path}: {stranger}")
                return
            for entry in reader:
                if last is not None and entry.seq > last:
                    return
                if entry.seq == self._due:
                    self._due += 1
                    yield entry
            if reader.torn:
                self._doubt = ("torn", f"archive segment {segment.path} is torn at byte {reader.end}")

    def _why(self, stretch: Stretch) -> Stop:
        later = [s for s in self._segments if s.epoch == stretch.epoch and s.first > self._due]
        kind: Kind
        kind, why = self._doubt or ("end", f"nothing newer of epoch {stretch.epoch} is in {self._folder}")
        if later:
            why = f"{why}; the next segment, {later[0].path}, begins at {later[0].first}"
        elif stretch.last is not None:
            why = f"{why}; the line needs the entries of this epoch up to {stretch.last}"
        if kind != "damaged" and (later or stretch.last is not None):
            kind = "gap"
        return Stop(self._due, kind, f"entry {self._due} is not there: {why}")


def entries_along(folder: Path, line: Iterable[Sequence[int]], epoch: int, after_seq: int = 0) -> Along:
    """The journal's entries after `after_seq` along `line` and then of `epoch`, contiguous within each epoch.

    An iterable of `Entry`; when it has ended, `.stopped` says at which seq and why. Rows are not decoded:
    `decode_row(TABLES["journal"], entry.row, (entry.seq,))` does that and checks their own CRC.
    """
    return Along(folder, line, epoch, after_seq)


def _stranger(reader: SegmentReader, segment: Segment, stretch: Stretch) -> str:
    """Why a readable segment is not the one that its name and the line promise; "" when it is."""
    header = reader.header
    if (header.epoch, header.first) != segment[1:]:
        return f"it begins at {header.first} of epoch {header.epoch}, so its name is wrong"
    if header.line != stretch.line:
        return f"it belongs to another line of epochs, {header.line}, than {stretch.line}"
    return ""
