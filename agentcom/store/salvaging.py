"""A tool: makes a store of what can still be found of a damaged one, when it cannot be restored.

Argument: `restore_sources.Ask`. Result: `Salvaged`. The new epoch continues an empty store: all that was found are its
first journal entries.
May import: agentcom.store.{child,drafts,env,evidence,raising,rebuilding,restore_plan,restore_sources,salvage_sources},
agentcom.store.segments.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agentcom.store import child
from agentcom.store.drafts import Draft
from agentcom.store.env import SCHEMA
from agentcom.store.evidence import TABLES_READ, Evidence
from agentcom.store.raising import OPS, Write, knows_admin, write_epoch
from agentcom.store.rebuilding import Rebuilding, Told, bundles, kept
from agentcom.store.restore_plan import Way, anew
from agentcom.store.restore_sources import Ask, Sources
from agentcom.store.salvage_sources import Finds
from agentcom.store.segments import RAISE, Line

UNKNOWN = 1 << 40
"""Taken for the newest seq when nothing says what it was: above all that a hub can have written."""


class Salvaged(msgspec.Struct, frozen=True, kw_only=True):
    rows: int  #: that were found
    found: tuple[str, ...]  #: where, in sentences
    unread: tuple[str, ...]  #: a sentence for each table of each file that could not be read whole
    tables_unread: int  #: of the damaged store
    dropped: tuple[str, ...]  #: sentences on what could not be used, and which rows were dropped
    rows_dropped: int
    was_nothing: bool  #: there was neither a snapshot nor an archive
    newest: int  #: the highest seq that is known to have existed; 0 when none is
    epoch: int
    line: Line
    seq: int
    knows_admin: bool  #: see `raising.knows_admin`


def work(argument: Any) -> Salvaged:
    ask = msgspec.convert(argument, Ask)
    sources, place = Sources(ask), Path(ask.scratch) / "evidence"
    place.mkdir()
    with Finds(ask, sources) as finds, Draft(place) as found:
        evidence = Evidence(found)
        finds.gather(evidence)
        return _made(ask, sources, finds, evidence)


def _made(ask: Ask, sources: Sources, finds: Finds, evidence: Evidence) -> Salvaged:
    newest, way = _way(ask, sources, finds, evidence)
    salvage = Salvage(evidence)
    with Draft(Path(ask.into)) as draft:
        draft.put_meta(schema=SCHEMA)
        if finds.store:
            draft.put_meta(store=finds.store)
        life = max(sources.old.life if sources.old else 0, finds.who.life if finds.who else 0)
        seq = write_epoch(draft, way, salvage.entries(draft), int(time.time() * 1000), life)
        known = knows_admin(draft, Path(ask.folder))
        draft.finish()
    return Salvaged(
        rows=salvage.count,
        found=tuple(_found(evidence)),
        unread=tuple(why for state in evidence.states for why in state.unread()),
        tables_unread=sum(1 for state in evidence.states[:1] for _ in state.unread()),
        dropped=tuple(dict.fromkeys((*sources.told, *finds.told, *salvage.told.sentences()))),
        rows_dropped=salvage.told.count.total(),
        was_nothing=finds.is_nothing,
        newest=newest,
        epoch=way.epoch,
        line=way.line,
        seq=seq,
        knows_admin=known,
    )


def _way(ask: Ask, sources: Sources, finds: Finds, evidence: Evidence) -> tuple[int, Way]:
    """The newest seq that is known, and a way above all that can have been."""
    epoch, seq = finds.highest
    newest = max(sources.highest_seq(), seq, evidence.newest)
    begun = max((line[-1][1] + RAISE for _, line in ask.known if line), default=0)
    knows = sources.highest_seq() or any(state.knows_end for state in evidence.states)
    above = max(newest, begun) + (0 if knows else UNKNOWN)
    return newest, anew(max(sources.highest_epoch, epoch) + 1, above)


def _found(evidence: Evidence) -> Iterator[str]:
    for state in evidence.states:
        if state.rows:
            yield f"{state.rows} rows in {state.name}"
    if evidence.changes:
        span = f"entries {evidence.first} to {evidence.last}"
        yield f"{evidence.changes} changes in {span} of the journal, its archive and the redo log"


class Salvage:
    """What the new epoch's entries hold: the rows that were found, then what makes them whole."""

    def __init__(self, evidence: Evidence) -> None:
        self.count = 0
        self._evidence = evidence
        self.told = Told()

    def entries(self, draft: Draft) -> Iterator[tuple[str, list[Write]]]:
        yield "epoch", []
        for table in TABLES_READ:
            rows = self._evidence.rows(table)
            for event, ops in bundles("salvaged", kept(table, rows, RAISE, self.told), OPS):
                self.count += len(ops)
                yield event, ops
        yield from bundles("rebuilt", Rebuilding(draft, RAISE, self.told).ops(), OPS)


if __name__ == "__main__":
    child.main(work)
