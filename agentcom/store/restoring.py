"""A tool: makes the store that a restore leads to, in a folder of its own, or says what it would be.

Argument: `restore_sources.Ask`. Result: `Made`. It puts nothing in force: that is for who holds the folder's lock.
May import: agentcom.store.{child,drafts,errors,raising,restore_plan,restore_sources,segments,steps,tables}, msgspec.
"""

import collections
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store import child
from agentcom.store.drafts import JOURNAL, Draft
from agentcom.store.env import SCHEMA
from agentcom.store.errors import CorruptRow, StorageFull, StoreError, StoreUnreadable
from agentcom.store.manifests import read_manifest
from agentcom.store.raising import begin_epoch, knows_admin
from agentcom.store.restore_plan import Base, Lost, Target, Way, bases, continued, lost, raised_by
from agentcom.store.restore_sources import Ask, Sources, copy_snapshot
from agentcom.store.segments import Entry, Line
from agentcom.store.steps import reached
from agentcom.store.tables import decode_row
from agentcom.store.transactions import is_full
from agentcom.store.verify import check_rows

TOLD = 20
"""Problems of the result that are named; a verify names all."""


class NothingToRestore(StoreError):
    """There is no snapshot that can be used, and no archive that goes back to the beginning."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"nothing can be restored: {self.why}"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore made, or would make."""

    snapshot: str  #: the folder of the one it began with; "" for an empty store
    base: int  #: its newest seq
    entries: int  #: journal entries applied after it
    reached: int  #: the newest seq that is there
    reached_ms: int  #: and its time
    discarded: int  #: the newest known seq after it that was not asked for; 0 when there is none
    lost: Lost
    epoch: int  #: the new one
    line: Line
    seq: int  #: the newest entry of the new store; 0 when it was not made
    told: tuple[str, ...]  #: what could not be used, and why
    knows_admin: bool = True  #: see `raising.knows_admin`


class Replay:
    """Entries on their way into a draft, up to the target; iterate once."""

    def __init__(self, entries: Iterable[Entry], target: Target, begin: int, ms: int) -> None:
        self._entries, self._target = entries, target
        self.at, self.ms = begin, ms  #: the newest entry that was let through
        self.count = 0
        self.stopped = False  #: an entry beyond the target was seen
        self.told: list[str] = []

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            try:
                told = decode_row(JOURNAL, entry.row, (entry.seq,))
            except CorruptRow as error:
                self.told.append(str(error))
                return
            if not self._target.covers(entry.seq, told.ms):
                self.stopped = True
                return
            self.count, self.at, self.ms = self.count + 1, entry.seq, told.ms
            yield entry


def work(argument: Any) -> Made:
    """Raises `NothingToRestore`, `StorageFull`, `OSError`."""
    ask = msgspec.convert(argument, Ask)
    reached("restore.begun")
    sources = Sources(ask)
    if sources.way is None:
        none = f"there is no usable snapshot in {ask.snapshots} and no segment in {ask.archive}"
        raise NothingToRestore("; ".join([none, *sources.told]))
    restore = Restore(ask, sources, sources.way)
    choice = [*bases(sources.way, sources.bases(), ask.target), None]
    for strict, base in [(True, base) for base in choice] + [(False, base) for base in choice]:
        if (made := restore.begin_with(base, strict=strict)) is not None:
            return made
    none = "there is no usable snapshot at or before that point, and not every entry since the beginning"
    raise NothingToRestore("; ".join([none, *sources.told]))


class Restore:
    """One restore, tried with one base after the other."""

    def __init__(self, ask: Ask, sources: Sources, way: Way) -> None:
        self.ask, self.sources, self.way = ask, sources, way
        self.into = Path(ask.into) if ask.into else None

    def begin_with(self, base: Base | None, *, strict: bool) -> Made | None:
        """All of it with this snapshot, or from an empty store; None, and told why, when that does not do.

        `strict`: rows that contradict each other are a reason to try another base. If none gives better ones, they
        were committed so, and are brought back so.
        """
        if base is not None and (why := self._copy(base)):
            self._give_up(why)
            return None
        begin, ms = (base.seq, base.ms) if base else (self.way.beginning, 0)
        replay = Replay(self.sources.entries(self.way, begin), self.ask.target, begin, ms)
        if self.into is None:
            collections.deque(replay, maxlen=0)
            return self._made(base, replay) if base or replay.count else None
        try:
            with Draft(self.into) as draft:
                draft.apply(replay)
                reached("restore.replayed")
                return self._raised(draft, base, replay, strict) if base or replay.count else None
        except (lmdb.Error, StoreUnreadable, CorruptRow) as error:
            if is_full(error):
                raise StorageFull(str(error)) from error
            self._give_up(f"with {_named(base)} it fails: {error}")
            return None

    def _copy(self, base: Base) -> str:
        manifest = read_manifest(Path(base.source))
        if manifest is None:
            return f"snapshot {base.source} has lost its manifest"
        return copy_snapshot(Path(base.source), self.into, manifest.digest)

    def _give_up(self, why: str) -> None:
        """This base is no good: the next one finds an empty folder."""
        self.sources.told.append(why)
        if why in self.sources.told[:-1]:
            self.sources.told.pop()  # of the strict try
        for path in self.into.iterdir() if self.into else ():
            path.unlink()

    def _raised(self, draft: Draft, base: Base | None, replay: Replay, strict: bool) -> Made | None:
        made = self._made(base, replay)
        way = Way(made.epoch, made.line)
        old = self.sources.old
        life = max(draft.meta("life") or 0, old.life if old else 0)
        ms = int(time.time() * 1000)
        draft.put_meta(schema=SCHEMA)
        if (store := draft.meta("store") or self.sources.store) != "":
            draft.put_meta(store=store)
        seq = begin_epoch(draft, way, raised_by(way, made.reached), ms, life)
        reached("restore.raised")
        report = check_rows(draft)
        if report.problems and strict:
            self._give_up(f"with {_named(base)} the result is not whole: {report.problems[0]}")
            return None
        known = knows_admin(draft, Path(self.ask.folder))
        draft.finish()
        problems = tuple(f"in what was brought back: {problem}" for problem in report.problems[:TOLD])
        return msgspec.structs.replace(made, seq=seq, told=(*made.told, *problems), knows_admin=known)

    def _made(self, base: Base | None, replay: Replay) -> Made:
        way, at, target = self.way, replay.at, self.ask.target
        newest = self.sources.newest(way, at)
        next_way = continued(way, at, newest, self.sources.highest_epoch)
        missed = lost(
            at, newest, target, end_is_known=self.sources.knows_end(way, at), stopped=replay.stopped
        )
        return Made(
            snapshot=base.source if base else "",
            base=base.seq if base else way.beginning,
            entries=replay.count,
            reached=at,
            reached_ms=replay.ms,
            discarded=newest if not target.is_end and newest > at else 0,
            lost=missed,
            epoch=next_way.epoch,
            line=next_way.line,
            seq=0,
            told=(*self.sources.told, *replay.told),
        )


def _named(base: Base | None) -> str:
    return f"snapshot {base.source}" if base else "an empty store to begin with"


if __name__ == "__main__":
    child.main(work)
