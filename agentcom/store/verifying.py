"""The whole check of a store as a tool: every row, and the fold of the journal onto the newest snapshot.

It is a child process, as a damaged file may end the process that reads it, and a large one keeps it busy for minutes.
It reads the store of a running hub on one consistent view, so that pages freed meanwhile are not reused until it ends.
May import: agentcom.store.{child,env,errors,findings,folding,foreign,manifests,reader,replay,segments,
verify,walking}.
"""

import gc
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store import child
from agentcom.store.env import SCHEMA
from agentcom.store.errors import NewerSchema, StoreUnreadable
from agentcom.store.findings import Findings, Report
from agentcom.store.folding import base_for, check_fold
from agentcom.store.foreign import Foreign
from agentcom.store.manifests import snapshots_in
from agentcom.store.reader import Snapshot
from agentcom.store.replay import entries_along
from agentcom.store.segments import Entry
from agentcom.store.verify import Facts, examine, file_facts
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
        report = examine(source, findings)
        if not job.rows_only:
            report.fold = _fold(source, job, facts, findings)
    report.more, report.seconds = findings.more, time.monotonic() - begun
    return report


def _facts(source: Foreign) -> Facts:
    with source.reading() as view:
        return file_facts(Look(view, Findings()))


def _fold(source: Foreign, job: Job, facts: Facts, findings: Findings) -> str:
    """The view may be newer than the one whose rows were walked: each is consistent in itself."""
    archive = Path(job.archive) if job.archive else None

    def archived(after: int) -> Iterable[Entry]:
        if archive is None or not archive.is_dir():
            return ()
        return entries_along(archive, facts.line, facts.epoch, after)

    with source.reading() as view:
        seq = Snapshot(view).seq
    snapshots = snapshots_in(Path(job.snapshots)) if job.snapshots else []
    chosen = base_for(snapshots, seq, facts.epoch, facts.line)
    if chosen is None:
        return check_fold(source, None, archived, findings)
    try:
        with Foreign(chosen.path, lock=False) as base:
            return check_fold(source, base, archived, findings)
    except StoreUnreadable as error:
        return f"not folded: {error}"


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
