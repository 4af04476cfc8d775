"""Shipping the journal to its archive, entry by entry, while the store goes on.

Lives here: the archivist. It is blocking and belongs on a thread, one call at a time. What the world does to its folder
(gone, full, read-only, another store's) is in its report and never raised; it looks anew at each call.
May import: agentcom.store.{errors,holding,layout,reader,segments,shipping,steps,tables}, operating system.
"""

import contextlib
from pathlib import Path

from agentcom.store.errors import CorruptRow
from agentcom.store.holding import (
    JOURNAL,
    ArchiveRefused,
    Claim,
    Owner,
    agreed,
    between,
    check_owner,
    is_begun,
    make_folder,
    next_along,
    owner_of,
    remember,
    stretch_of,
    tail_of,
)
from agentcom.store.layout import sync_folder
from agentcom.store.reader import Readable
from agentcom.store.segments import FORMAT, Entry, Header, Segment, SegmentWriter, listed, set_aside
from agentcom.store.shipping import Report
from agentcom.store.steps import reached
from agentcom.store.tables import TABLES, decode_row

SLICE_ROWS, SLICE_BYTES = 500, 1 << 20
"""Of one read transaction."""
BUDGET_BYTES = 8 << 20
"""Of one call of `ship`, so that a long backlog is told of, and can be interrupted, on its way."""


class Archivist:
    """Nothing it calls archived is lost by a crash or a power cut; what it is not sure of it ships again."""

    def __init__(
        self, source: Readable, folder: Path, *, segment_bytes: int, marker: Path | None = None
    ) -> None:
        """`source` has the journal and the store's meta. With a `marker` (a file in the data folder) a folder that
        an archive was begun in is not made again when it is gone.
        """
        self.folder = folder
        self._source, self._segment_bytes, self._marker = source, segment_bytes, marker
        self._claim: Claim | None = None
        self._writer: SegmentWriter | None = None
        self._owner = Owner("", 1, [])
        #: up to here it is on the archive's disk; None before anything is known
        self._synced: int | None = None
        self._taken = 0  #: up to here it is read from the journal
        self._segments = self._bytes = 0
        self._told: list[str] = []
        self._ever_told: set[str] = set()
        self._has_more = False

    def ship(self, now_ms: int, budget: int = BUDGET_BYTES) -> Report:
        """Copy what was committed since, about `budget` bytes at most; what is reported as archived is on disk.

        Raises `StoreClosed` and LMDB's errors, as reading the journal does.
        """
        problem = ""
        try:
            if self._claim is None or not self._is_in_place():
                self._open()
            self._copy(budget)
        except ArchiveRefused as error:
            problem = str(error)
        except OSError as error:
            problem = f"the archive folder {self.folder} cannot be used: {error.strerror or error}"
        if problem:
            self.close()
        return self._report(now_ms, problem)

    def close(self) -> None:
        """Let the folder go, without a write. The next `ship` looks at it anew."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    # --- finding out where to go on ------------------------------------------------------------------

    def _is_in_place(self) -> bool:
        assert self._claim is not None
        return self._claim.is_held and (self._writer is None or self._writer.is_there())

    def _open(self) -> None:
        """Everything is read from disk again, as after a failed write nothing in memory is to be trusted."""
        self.close()
        make_folder(self.folder, self._marker)
        claim = Claim(self.folder)
        try:
            self._look_around()
        except BaseException:
            claim.release()
            raise
        self._claim = claim

    def _look_around(self) -> None:
        sync_folder(self.folder)
        self._owner = owner_of(self._source)
        segments = listed(self.folder)
        if not segments and is_begun(self.folder, self._marker):
            self._tell(
                f"the archive folder {self.folder} is empty, though this archive was begun in it before"
            )
        self._tell(*check_owner(self.folder, segments, self._owner))
        self._synced = self._taken = self._last_good(segments)
        segments = listed(self.folder)
        self._segments = len(segments)
        self._bytes = sum(segment.path.stat().st_size for segment in segments)

    def _last_good(self, segments: list[Segment]) -> int:
        """The seq after which to go on; 0 is an archive without an entry of this line."""
        for stretch in reversed(self._owner.line):
            own = [segment for segment in segments if segment.epoch == stretch.epoch]
            tail = tail_of(own, stretch.last)
            if tail is None:
                continue
            if stretch.last is not None:
                return tail.entry.seq
            if tail.torn:
                self._tell(f"{tail.torn}; a new one begins after entry {tail.entry.seq}")
            last = agreed(self._source, own, tail)
            if last < tail.entry.seq:
                self._discard(own, last, tail.entry.seq)
            return last or self._last_good([segment for segment in segments if segment not in own])
        return 0

    def _discard(self, segments: list[Segment], last: int, wrong: int) -> None:
        """Newest first: an interruption leaves no hole. In the segment that has `last`, the next one overrides it."""
        for segment in reversed(segments):
            if segment.first > last:
                set_aside(segment.path, "discarded")
        self._tell(
            f"entries {last + 1} to {wrong} of the archive are not what the journal says: the store was put back to "
            "an earlier state; they are kept beside it, and it goes on after what both have"
        )

    # --- copying -------------------------------------------------------------------------------------

    def _copy(self, budget: int) -> None:
        left = budget
        while left > 0 and (found := self._slice(min(left, SLICE_BYTES))):
            if self._taken == self._synced:
                reached("archive.begun")
            for entry in found:
                self._append(entry)
                left -= len(entry.row)
        self._sync()
        self._has_more = left <= 0

    def _slice(self, most: int) -> list[Entry]:
        """The next entries of the line, about `most` bytes."""
        line, found, size = self._owner.line, [], 0
        with self._source.reading() as view:
            for key, row in view.forward(JOURNAL, _key(next_along(line, self._taken)), None):
                seq = int.from_bytes(key, "big")
                if seq < line[-1].first and stretch_of(line, seq) is None:
                    continue
                found.append(Entry(seq, row))
                size += len(row)
                if len(found) >= SLICE_ROWS or size >= most:
                    break
        return found

    def _append(self, entry: Entry) -> None:
        writer = self._writer
        if writer is None or writer.next != entry.seq or writer.size >= self._segment_bytes:
            writer = self._begin(entry.seq)
        writer.append(entry)
        self._taken = entry.seq

    def _begin(self, seq: int) -> SegmentWriter:
        """A new segment. The end of an epoch is the end of a segment, as the next one begins much later."""
        self._end()
        due = next_along(self._owner.line, self._taken)
        if seq != due:
            self._tell(
                f"the journal no longer has the entries {due} to {seq - 1}: they are not in the archive, "
                "and only a snapshot that is newer than them can bring them back"
            )
        stretch = stretch_of(self._owner.line, seq)
        assert stretch is not None  # others are not taken
        store, schema, _ = self._owner
        header = Header(FORMAT, schema, stretch.epoch, seq, stretch.line, store)
        self._writer = SegmentWriter(self.folder, header)
        self._segments += 1
        return self._writer

    def _end(self) -> None:
        """Rotation: what the old segment has is on disk before a new one begins."""
        if self._writer is None:
            return
        self._sync()
        self._bytes += self._writer.size
        self._writer.close()
        self._writer = None
        reached("archive.rotated")

    def _sync(self) -> None:
        if self._writer is None or self._taken == self._synced:
            return
        self._writer.flush()
        reached("archive.written")
        self._writer.sync()
        self._synced = self._taken
        reached("archive.synced")
        if self._marker is not None and not is_begun(self.folder, self._marker):
            # no room in the data folder is not the archive's trouble; next time
            with contextlib.suppress(OSError):
                remember(self.folder, self._marker)

    # --- telling -------------------------------------------------------------------------------------

    def _tell(self, *sentences: str) -> None:
        """Each once, as a folder that fails is looked at again and again."""
        self._told += [sentence for sentence in sentences if sentence not in self._ever_told]
        self._ever_told.update(sentences)

    def _report(self, now_ms: int, problem: str) -> Report:
        told, self._told = tuple(self._told), []
        with self._source.reading() as view:
            last = view.last_key(JOURNAL)
            newest = 0 if last is None else int.from_bytes(last, "big")
            late = view.first(JOURNAL, _key(next_along(self._owner.line, self._synced or 0)))
        known = self._synced is not None
        return Report(
            folder=str(self.folder),
            newest=newest,
            archived=self._synced,
            lag=between(self._owner.line, self._synced or 0, newest) if known else None,
            age_s=(0.0 if late is None else _age_s(*late, now_ms)) if known else None,
            segments=self._segments,
            bytes=self._bytes + (self._writer.size if self._writer is not None else 0),
            has_more=self._has_more and not problem,
            problem=problem,
            told=told,
        )


def _key(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def _age_s(key: bytes, row: bytes, now_ms: int) -> float:
    try:
        ms = int(decode_row(TABLES["journal"], row, key).ms)
    except CorruptRow:  # it is copied as it is; verify is who tells of it
        return 0.0
    return max(0.0, (now_ms - ms) / 1000)
