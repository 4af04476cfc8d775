"""A tool: makes a store of what can still be read of a damaged one, when nothing better is left.

Argument: `restore_sources.Ask`. Result: `Salvaged`. The new epoch continues an empty store: all that was read are its
first journal entries.
May import: agentcom.store.{child,drafts,errors,raising,reading_out,rebuilding,restore_plan,steps,tables}.
"""

import heapq
import shutil
import time
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from agentcom.store import child
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.drafts import Draft
from agentcom.store.env import SCHEMA
from agentcom.store.layout import DATA
from agentcom.store.raising import OPS, Write, knows_admin, write_epoch
from agentcom.store.reading_out import records
from agentcom.store.rebuilding import LEFT_OUT, Rebuilding, Told, bundles, kept
from agentcom.store.restore_plan import anew
from agentcom.store.restore_sources import Ask, Sources
from agentcom.store.segments import RAISE, Line
from agentcom.store.tables import TABLES, Table

BEYOND = 1 << 36
"""What is added to a copy that was cut short: pages of nothing are an error to LMDB, where none are a signal."""


UNKNOWN = 1 << 40
"""Taken for the newest seq when nothing says what it was: above all that a hub can have written."""
TABLES_READ = [table for table in TABLES.values() if table.name not in LEFT_OUT]


class Salvaged(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    dropped: tuple[str, ...]  #: sentences
    epoch: int
    line: Line
    seq: int
    knows_admin: bool  #: see `raising.knows_admin`


def work(argument: Any) -> Salvaged:
    ask = msgspec.convert(argument, Ask)
    sources, scratch = Sources(ask), Path(ask.scratch)
    store = _copied(Path(ask.store), scratch) if (Path(ask.store) / DATA).is_file() and ask.store else None
    way = anew(sources.highest_epoch + 1, sources.highest_seq() or UNKNOWN)
    salvage = Salvage(ReadOut(store, scratch) if store else None)
    with Draft(Path(ask.into)) as draft:
        draft.put_meta(schema=SCHEMA)
        if sources.store:
            draft.put_meta(store=sources.store)
        life = sources.old.life if sources.old else 0
        seq = write_epoch(draft, way, salvage.entries(draft), int(time.time() * 1000), life)
        known = knows_admin(draft, Path(ask.folder))
        draft.finish()
    dropped = (*sources.told, *salvage.dropped())
    return Salvaged(
        rows=salvage.count, dropped=dropped, epoch=way.epoch, line=way.line, seq=seq, knows_admin=known
    )


class Salvage:
    """What the new epoch's entries hold: the rows that were read, then what makes them whole."""

    def __init__(self, found: "ReadOut | None") -> None:
        self.count = 0
        self._found = found
        self._told = Told()

    def entries(self, draft: Draft) -> Iterator[tuple[str, list[Write]]]:
        yield "epoch", []
        for table in TABLES_READ if self._found else ():
            rows = self._found.rows(table) if self._found else ()
            for event, ops in bundles("salvaged", kept(table, rows, RAISE, self._told), OPS):
                self.count += len(ops)
                yield event, ops
        yield from bundles("rebuilt", Rebuilding(draft, RAISE, self._told).ops(), OPS)

    def dropped(self) -> Iterator[str]:
        if self._found:
            yield from self._found.unread
        yield from self._told.sentences()


def _copied(store: Path, scratch: Path) -> Path:
    """A copy that ends in nothing rather than too early; the file itself when there is no room for one."""
    copy = scratch / "copy"
    copy.mkdir()
    try:
        shutil.copyfile(store / DATA, copy / DATA)
        with (copy / DATA).open("r+b") as file:
            file.truncate((store / DATA).stat().st_size + BEYOND)
    except OSError:
        shutil.rmtree(copy)
        return store
    return copy


class ReadOut:
    """All tables of a store, read out into files: forward, and from the end when that kills the reader."""

    def __init__(self, store: Path, scratch: Path) -> None:
        self.unread: list[str] = []
        self._parts: dict[int, list[tuple[Path, int, bool]]] = {}
        jobs = [(table.number, False) for table in TABLES_READ]
        for n in range(2 * len(jobs) + 1):
            if not jobs:
                break
            file = scratch / f"rows-{n}"
            jobs = self._run(store, file, jobs)

    def _run(self, store: Path, file: Path, jobs: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
        """The jobs that are left after one run."""
        why = ""
        try:
            Tool("reading_out").run({"store": str(store), "into": str(file), "jobs": jobs})
        except ToolFailed as error:
            why = error.why
        begun = -1
        if file.exists():
            for job, key, _ in records(file):
                if not key:
                    begun = job
                    number, backward = jobs[job]
                    self._parts.setdefault(number, []).append((file, job, backward))
        if not why:
            return []
        if begun < 0:
            self.unread.append(f"nothing of it can be read: {why}")
            return []
        number, backward = jobs[begun]
        self.unread.append(f"a part of table {_name(number)} cannot be read: {why}")
        again = [] if backward else [(number, True)]
        return [*again, *jobs[begun + 1 :]]

    def rows(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """In key order, once each."""
        parts = [self._part(*part) for part in self._parts.get(table.number, ())]
        for _, same in groupby(heapq.merge(*parts, key=itemgetter(0)), key=itemgetter(0)):
            yield next(same)

    def _part(self, file: Path, job: int, backward: bool) -> Iterator[tuple[bytes, bytes]]:
        found = ((key, row) for at, key, row in records(file) if at == job and key)
        return iter(list(found)[::-1]) if backward else found


def _name(number: int) -> str:
    return next(table.name for table in TABLES.values() if table.number == number)


if __name__ == "__main__":
    child.main(work)
