"""The whole check of a store as a tool: every row, and the fold of the journal onto the newest snapshot.

It is a child process, as a damaged file may end the process that reads it, and a large one keeps it busy for minutes.
It reads the store of a running hub on one consistent view, so that pages freed meanwhile are not reused until it ends.
First quickly, which finds that all is well or that it is in doubt; then carefully what was in doubt, rows or fold.
May import: agentcom.store.{batches,child,env,errors,facts,findings,folding,foreign,manifests,quick_fold,reader,
replay,segments,sweeping,verify,walking}, lmdb.
"""

import contextlib
import gc
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store import child
from agentcom.store.batches import Doubt
from agentcom.store.env import SCHEMA
from agentcom.store.errors import NewerSchema, StoreUnreadable
from agentcom.store.facts import Facts, file_facts
from agentcom.store.findings import Findings, Report
from agentcom.store.folding import Archive, base_for, check_fold
from agentcom.store.foreign import Foreign
from agentcom.store.manifests import SnapshotFile, snapshots_in
from agentcom.store.quick_fold import QuickFold
from agentcom.store.reader import Snapshot, View
from agentcom.store.replay import entries_along
from agentcom.store.segments import Entry
from agentcom.store.sweeping import sweep
from agentcom.store.verify import examine, report_of
from agentcom.store.walking import Look


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to check, as JSON. Folders that do not exist have no snapshots and no archive."""

    store: str
    snapshots: str = ""
    archive: str = ""
    rows_only: bool = False
    lock: bool = True  #: a hub may be running; False for a file that nobody writes


def verify(job: Job) -> Report:
    """Raises `StoreUnreadable`, `NewerSchema`; everything else that is wrong is in the report."""
    begun = time.monotonic()
    findings = Findings()
    with Foreign(Path(job.store), lock=job.lock) as source:
        facts = _facts(source)
        if facts.schema > SCHEMA:
            raise NewerSchema(job.store, facts.schema, SCHEMA)
        try:
            report = _quickly(source, job, facts, findings)
        except (Doubt, lmdb.Error):
            report = examine(source, findings)
        if not job.rows_only and not report.fold:
            report.fold = _fold(source, job, facts, findings)
    report.more, report.seconds = findings.more, time.monotonic() - begun
    return report


def _quickly(source: Foreign, job: Job, facts: Facts, findings: Findings) -> Report:
    """All rows are well; with `fold` when they are also what the journal says. Raises `Doubt`, and what LMDB raises."""
    begun = time.monotonic()
    with source.reading() as view, contextlib.ExitStack() as stack:
        fold = None if job.rows_only else _quick_fold(view, job, facts, stack)
        swept = sweep(view, None if fold is None else fold.feed)
        said = fold.said(swept.total) if fold else ""
    report = report_of(swept, source, findings, begun)
    report.fold = said
    return report


def _quick_fold(view: View, job: Job, facts: Facts, stack: contextlib.ExitStack) -> QuickFold | None:
    chosen, base = _base(view, job, facts), None
    if chosen is not None:
        try:
            base = stack.enter_context(stack.enter_context(Foreign(chosen.path, lock=False)).reading())
        except StoreUnreadable:
            return None
    return QuickFold(view, base, _archive(job, facts), facts)


def _facts(source: Foreign) -> Facts:
    with source.reading() as view:
        return file_facts(Look(view, Findings()))


def _fold(source: Foreign, job: Job, facts: Facts, findings: Findings) -> str:
    """The careful way. The view may be newer than the one whose rows were walked: each is consistent in itself."""
    archive = _archive(job, facts)
    with source.reading() as view:
        chosen = _base(view, job, facts)
    if chosen is None:
        return check_fold(source, None, archive, findings)
    try:
        with Foreign(chosen.path, lock=False) as base:
            return check_fold(source, base, archive, findings)
    except StoreUnreadable as error:
        return f"not folded: {error}"


def _base(view: View, job: Job, facts: Facts) -> SnapshotFile | None:
    snapshots = snapshots_in(Path(job.snapshots)) if job.snapshots else []
    return base_for(snapshots, Snapshot(view).seq, facts.epoch, facts.line)


def _archive(job: Job, facts: Facts) -> Archive:
    archive = Path(job.archive) if job.archive else None

    def archived(after: int) -> Iterable[Entry]:
        if archive is None or not archive.is_dir():
            return ()
        return entries_along(archive, facts.line, facts.epoch, after)

    return archived


def work(argument: Any) -> Any:
    """A `Job`; the result is a `Report`."""
    gc.disable()  # rows are dropped as they are read and have no cycles: the collector only costs time
    job = msgspec.convert(argument, Job)
    try:
        return msgspec.to_builtins(verify(job))
    except lmdb.Error as error:  # a damaged page ends the whole transaction, not only the walk that met it
        raise StoreUnreadable(job.store, str(error)) from error


if __name__ == "__main__":
    child.main(work)
