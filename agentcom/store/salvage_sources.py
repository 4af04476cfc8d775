"""What salvage can draw on: the damaged store's file, snapshots that cannot be restored, archive, redo log.

Nothing here changes any of them, and none is opened by LMDB.
May import: agentcom.store.{env,errors,evidence,layout,manifests,pages,replay,restore_plan,restore_sources,segments},
agentcom.store.tables.
"""

import contextlib
from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from agentcom.store.env import SCHEMA
from agentcom.store.errors import CorruptRow
from agentcom.store.evidence import Evidence
from agentcom.store.layout import DATA
from agentcom.store.manifests import read_manifest
from agentcom.store.pages import Holes, PagedFile, Tree
from agentcom.store.replay import stretches
from agentcom.store.restore_plan import Way, straight, way_of
from agentcom.store.restore_sources import Ask, Sources
from agentcom.store.segments import DamagedSegment, Entry, Header, Segment, SegmentReader, listed
from agentcom.store.tables import TABLES, decode_key, decode_row

META = TABLES["meta"]
MOST_SNAPSHOTS = 3
"""So many are read, as each takes as long as the store itself."""
NEWEST = 1 << 62
"""The seq of a state that nothing dates: above all there is, so that older words only fill its holes."""


class Who(NamedTuple):
    """Whose a file is, as it or its manifest says."""

    way: Way
    store: str
    schema: int
    life: int = 0


class Copy(NamedTuple):
    """A snapshot that may be damaged."""

    path: Path
    who: Who
    seq: int


def who_is(tree: Tree) -> Who | None:
    """None when it cannot be read."""
    holes, said = Holes(), {}
    for key, raw in tree.rows(META.name, holes):
        try:
            said[decode_key(META, key)[0]] = decode_row(META, raw, key)
        except CorruptRow:
            return None
    if holes or not said:
        return None
    way = Way(said.get("epoch") or 1, straight(said.get("line") or ()))
    return Who(way, said.get("store") or "", said.get("schema") or 1, said.get("life") or 0)


class Finds:
    """All of it, and what is to be told of it. A context manager: it keeps the store's file open."""

    def __init__(self, ask: Ask, sources: Sources) -> None:
        self._sources = sources
        self.told: list[str] = []
        self._open = contextlib.ExitStack()
        self._trees = self._trees_of(Path(ask.store)) if ask.store else []
        self.who = next((who for tree in self._trees if (who := who_is(tree)) is not None), None)
        self.store = self.who.store if self.who and self.who.store else sources.store
        places = Path(ask.snapshots)
        folders = sorted(places.iterdir(), reverse=True) if places.is_dir() else []
        self._folders = [p for p in folders if not p.name.startswith(".") and (p / DATA).is_file()]
        self._copies = [copy for path in self._folders if (copy := self._copy(path)) is not None]
        self.store = self.store or next((copy.who.store for copy in self._copies if copy.who.store), "")
        self.way = self._way()

    @property
    def is_nothing(self) -> bool:
        """Whether there is neither a snapshot nor an archive, of whatever use."""
        return not self._folders and not listed(Path(self._sources.ask.archive))

    @property
    def highest(self) -> tuple[int, int]:
        """The highest epoch and seq of what was found here."""
        ways = [*([self.who.way] if self.who else []), *(copy.who.way for copy in self._copies)]
        return max((way.epoch for way in ways), default=1), max((c.seq for c in self._copies), default=0)

    def gather(self, evidence: Evidence) -> None:
        """All that counts of it."""
        redo = self._redo()
        otherwise = redo[0].seq - 1 if redo else NEWEST
        for tree, name in zip(
            self._trees, ("the damaged store", "the damaged store one commit earlier"), strict=False
        ):
            if evidence.wants_more:
                evidence.read(tree, name, otherwise=otherwise, line=self.way.line)
                otherwise = evidence.states[0].seq - 1
        for copy in self._usable():
            if evidence.wants_more:
                self._read(copy, evidence)
        parts = (self._archived(), evidence.journal(), redo)
        entries = groupby(merge(*parts, key=itemgetter(0)), key=itemgetter(0))
        evidence.lay(next(same) for _, same in entries)

    def _read(self, copy: Copy, evidence: Evidence) -> None:
        with PagedFile(copy.path / DATA) as file:
            trees = file.trees()
            if trees:
                evidence.read(trees[0], f"snapshot {copy.path}", copy.seq, line=copy.who.way.line)
            else:
                self.told.append(f"nothing in the file of snapshot {copy.path} leads to its tables")

    def _trees_of(self, store: Path) -> list[Tree]:
        try:
            trees = self._open.enter_context(PagedFile(store / DATA)).trees()
        except OSError as error:
            self.told.append(f"the damaged store cannot be read: {error}")
            return []
        if not trees:
            self.told.append("nothing in the damaged store's file leads to its tables")
        return trees

    def _way(self) -> Way:
        """The one of the store itself, else of the highest epoch there is anything of."""
        if self.who is not None:
            return self.who.way
        old = self._sources.old
        if old is not None:
            return Way(old.epoch, old.line)
        found = [*self._sources.lines(), *((c.who.way.epoch, c.who.way.line) for c in self._copies)]
        return way_of(found) or Way(1)

    # --- snapshots ---------------------------------------------------------------------------------

    def _copy(self, path: Path) -> Copy | None:
        """As its manifest says, else as its own tables and its name do."""
        manifest = read_manifest(path)
        if manifest is not None:
            way = Way(manifest.epoch, straight(manifest.line))
            return Copy(path, Who(way, manifest.store, manifest.schema), manifest.seq)
        who = None
        with contextlib.suppress(OSError), PagedFile(path / DATA) as file:
            who = next((who_is(tree) for tree in file.trees()[:1]), None)
        seq = path.name.rpartition("-")[2]
        if who is None or not seq.isdigit():
            self.told.append(f"snapshot {path} has lost its manifest, and its file does not say whose it is")
            return None
        return Copy(path, who, int(seq))

    def _usable(self) -> list[Copy]:
        """Those of this store on its way, newest first."""
        found = []
        for copy in self._copies:
            (epoch, line), store, schema, _ = copy.who
            if store and self.store and store != self.store:
                why = "is of another hub"
            elif schema > SCHEMA:
                why = f"has schema {schema}, this release knows up to {SCHEMA}"
            elif not self.way.continues(epoch, line) or self.way.cut(epoch, copy.seq) != copy.seq:
                why = "is not on the way that led to this store"
            else:
                found.append(copy)
                continue
            self.told.append(f"snapshot {copy.path} {why}")
        newest = sorted(found, key=lambda copy: -copy.seq)
        self.told += [
            f"snapshot {copy.path} was not read: there are newer ones" for copy in newest[MOST_SNAPSHOTS:]
        ]
        return newest[:MOST_SNAPSHOTS]

    # --- entries -----------------------------------------------------------------------------------

    def _redo(self) -> list[Entry]:
        """Those of the newest epoch: the log does not name its own, but its numbers do."""
        first = stretches(self.way.line, self.way.epoch)[-1].first
        found = (Entry(int.from_bytes(key, "big"), row) for key, row in self._sources.redo)
        return [entry for entry in found if entry.seq >= first]

    def _archived(self) -> Iterator[Entry]:
        """The archive's entries on the way, over every gap. Of two segments that have the same one, the later has the
        say.
        """
        segments = [(s, h) for s, h in self._sources.segments if h is not None and self._is_ours(s, h)]
        if strange := sum(h is not None for _, h in self._sources.segments) - len(segments):
            self.told.append(f"{strange} segments of the archive are not on the way that led to this store")
        for n, (segment, header) in enumerate(segments):
            later = [after for after, _ in segments[n + 1 : n + 2] if after.epoch == segment.epoch]
            end = later[0].first - 1 if later else NEWEST
            with contextlib.suppress(OSError, DamagedSegment), SegmentReader(segment.path) as reader:
                for entry in reader:
                    if entry.seq > end or self.way.cut(header.epoch, entry.seq) != entry.seq:
                        break
                    yield entry

    def _is_ours(self, segment: Segment, header: Header) -> bool:
        named = (header.epoch, header.first) == segment[1:]
        mine = not header.store or not self.store or header.store == self.store
        return named and mine and self.way.continues(header.epoch, header.line)

    def __enter__(self) -> "Finds":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
