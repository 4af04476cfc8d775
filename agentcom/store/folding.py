"""Are the rows what the journal says? The newest snapshot and every later entry, applied in order, must equal them.

Only what the entries wrote is kept in memory, and of that only so much that it fits: when it is more, the fold is
done in several passes, each over a share of the keys. All else is compared by walking both files side by side.
May import: agentcom.store.{errors,facts,findings,manifests,reader,segments,tables,walking}.
"""

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any
from zlib import crc32

from agentcom.protocol.rows import Journal
from agentcom.store.errors import CorruptRow, StoreError
from agentcom.store.facts import file_facts, follows, starts
from agentcom.store.findings import Findings, difference
from agentcom.store.manifests import SnapshotFile
from agentcom.store.reader import Readable, Snapshot, View
from agentcom.store.segments import Entry, Line
from agentcom.store.tables import BY_NUMBER, TABLES, UNFOLDED, Table, decode_row
from agentcom.store.walking import Look

MOST_KEYS = 1_000_000
"""Of a pass: some hundred bytes each."""

Archive = Callable[[int], Iterable[Entry]]
"""The archive's entries after a seq, along the line of epochs of the store that is checked."""
Item = tuple[bytes, bytes]
Changed = dict[bytes, tuple[int, bytes | None]]  #: by key: the newest entry that wrote it, and what

_JOURNAL = TABLES["journal"]
_END: Item = (b"\xff" * 512, b"")


class MissingEntries(StoreError):
    """Entries between the snapshot and the rows that are neither in the journal nor in the archive."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.first, self.last = first, last

    def __str__(self) -> str:
        return f"the entries {self.first} to {self.last} are neither in the journal nor in the archive"


def base_for(snapshots: Sequence[SnapshotFile], seq: int, epoch: int, line: Line) -> SnapshotFile | None:
    """The newest snapshot that the store's journal continues: of its own epoch, or of what its line kept of another."""
    kept = {**{int(of): int(last) for of, last in line}, epoch: seq}
    fit = [s for s in snapshots if s.manifest.seq <= kept.get(s.manifest.epoch, -1)]
    return max(fit, key=lambda s: (s.manifest.epoch, s.manifest.seq), default=None)


def check_fold(source: Readable, base: Readable | None, archive: Archive | None, findings: Findings) -> str:
    """Tell `findings` of each row that is not what it folds to; returns a sentence about what was folded.

    `base` None is the empty store, onto which a journal folds that still has, or whose archive has, its first entry.
    What `findings` knows already is not told again.
    """
    with source.reading() as view, _reading(base) as onto:
        fold = _Fold(Look(view, findings), onto, archive)
        try:
            fold.run()
        except MissingEntries as error:
            if base is None:
                return (
                    "not folded: there is no snapshot to begin with, and the journal's beginning is not there"
                )
            findings.tell(_JOURNAL, error.first.to_bytes(8, "big"), f"not folded: {error}")
            return f"not folded: {error}"
        except CorruptRow as error:  # told by the walk of the journal, or it is the archive's
            findings.tell(_JOURNAL, b"", f"not folded: {error}")
            return f"not folded: {error}"
        return sentence(fold.entries, fold.seq, None if base is None else fold.after)


def sentence(entries: int, seq: int, onto: int | None) -> str:
    """What was folded; `onto` is the newest entry of the snapshot, None when there is none."""
    what = "nothing" if onto is None else f"the snapshot at entry {onto}"
    return f"{entries} journal entries up to {seq} were folded onto {what}"


def archived_entries(
    view: View, after: int, seq: int, archive: Archive | None, line: frozenset[int]
) -> Iterator[Entry]:
    """What the archive has after a seq that the journal, whose newest entry is `seq`, does not have any more."""
    oldest = next(iter(view.forward(_JOURNAL.number, b"", None)), None)
    first = seq + 1 if oldest is None else int.from_bytes(oldest[0], "big")
    if archive is not None and not follows(first, after, line) and first > after:
        yield from takewhile(lambda entry: entry.seq < first, archive(after))


class _Empty:
    """The view of a store before its first entry."""

    def last_key(self, _: int) -> None:
        return None

    def forward(self, *_: Any) -> Iterator[Item]:
        return iter(())


def _reading(base: Readable | None) -> contextlib.AbstractContextManager[Any]:
    return base.reading() if base is not None else contextlib.nullcontext(_Empty())


class _Fold:
    """One fold; `parts` is how many passes it takes."""

    def __init__(self, look: Look, onto: View, archive: Archive | None) -> None:
        self.look, self.tell = look, look.findings.tell
        self._onto, self._archive = Look(onto, Findings()), archive
        self._line = starts(file_facts(Look(look.view, Findings())).line)
        self.after = Snapshot(onto).seq
        self.seq = Snapshot(look.view).seq
        self.entries = 0

    def run(self) -> None:
        parts = 1
        while (changed := self._collect(0, parts, MOST_KEYS)) is None:
            parts *= 2
        self._compare_all(changed, 0, parts)
        for part in range(1, parts):
            rest = self._collect(part, parts, 0)
            assert rest is not None  # without a bound
            self._compare_all(rest, part, parts)
        for problem in self._onto.findings.problems:
            self.tell(TABLES[problem.table], b"", f"the snapshot cannot be read: {problem.what}")

    # --- the journal -------------------------------------------------------------------------------

    def _collect(self, part: int, parts: int, most: int) -> dict[int, Changed] | None:
        """What the entries wrote to the keys of one part, by table; None when that is more than `most`."""
        changed: dict[int, Changed] = {number: {} for number in BY_NUMBER}
        self.entries = 0
        for seq, entry in self._journal():
            self.entries += 1
            for number, key, value in entry.ops:
                if parts == 1 or crc32(key) % parts == part:
                    changed[number][key] = seq, value
            if most and sum(map(len, changed.values())) > most:
                return None
        return changed

    def _journal(self) -> Iterator[tuple[int, Journal]]:
        """Every entry after the base, contiguous. Raises `MissingEntries`, `CorruptRow`."""
        before = self.after
        for seq, raw in self._raw_entries():
            if not follows(seq, before, self._line):
                raise MissingEntries(before + 1, seq - 1)
            before = seq
            yield seq, decode_row(_JOURNAL, raw, (seq,))
        if before < self.seq:
            raise MissingEntries(before + 1, self.seq)

    def _raw_entries(self) -> Iterator[tuple[int, bytes]]:
        """From the archive what the journal does not have any more."""
        start = (self.after + 1).to_bytes(8, "big")
        yield from archived_entries(self.look.view, self.after, self.seq, self._archive, self._line)
        for key, raw in self.look.view.forward(_JOURNAL.number, start, None):
            yield int.from_bytes(key, "big"), raw

    # --- the rows ----------------------------------------------------------------------------------

    def _compare_all(self, changed: dict[int, Changed], part: int, parts: int) -> None:
        for table in TABLES.values():
            if table.name not in UNFOLDED and table.name not in self.look.findings.broken:
                self._compare(table, changed[table.number], part, parts)

    def _compare(self, table: Table, changed: Changed, part: int, parts: int) -> None:
        rows = self._share(self.look.raw(table), part, parts)
        key, raw = next(rows, _END)
        for due, value in _merged(self._share(self._onto.raw(table), part, parts), changed):
            while key < due:
                self._differs(table, key, raw, changed)
                key, raw = next(rows, _END)
            if key > due:
                self._differs(table, due, None, changed)
            else:
                if raw != value:
                    self._differs(table, key, raw, changed)
                key, raw = next(rows, _END)
        while key < _END[0]:
            self._differs(table, key, raw, changed)
            key, raw = next(rows, _END)

    @staticmethod
    def _share(items: Iterator[Item], part: int, parts: int) -> Iterator[Item]:
        if parts == 1:
            return items
        return (item for item in items if crc32(item[0]) % parts == part)

    def _differs(self, table: Table, key: bytes, raw: bytes | None, changed: Changed) -> None:
        if (table.number, key) in self.look.findings.told:
            return
        if table.name in self.look.findings.broken | self._onto.findings.broken:
            return  # nobody knows what the rest of it is
        if key in changed:
            seq, value = changed[key]
            self.tell(table, key, difference(raw, value), seq)
        elif raw is None:
            self.tell(
                table, key, "the row is missing: the snapshot has it, and no entry since then deleted it"
            )
        else:
            self.tell(table, key, "the row is not what the snapshot has, and no entry since then wrote it")


def _merged(base: Iterator[Item], changed: Changed) -> Iterator[Item]:
    """What the rows must be, in the order of their keys."""
    if not changed:
        return base
    kept = (item for item in base if item[0] not in changed)
    put = sorted((key, value) for key, (_, value) in changed.items() if value is not None)
    return heapq.merge(kept, put)
