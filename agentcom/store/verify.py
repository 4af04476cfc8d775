"""Is a store sound? Every row of every table read, checked by itself and against what else is there.

`check_rows` needs nothing but the store; whether the rows are also what the journal says is `check_fold` of
agentcom.store.folding. Both work on one consistent view, so a hub may go on writing. A store in which all is well is
known by a quick sweep (agentcom.store.sweeping); only one that is in doubt is walked row by row.
May import: agentcom.store.{batches,datafile,facts,findings,reader,sweeping,tables,task_rows,walking}, lmdb.
"""

import time
from typing import Any

import lmdb

from agentcom.store.batches import Doubt
from agentcom.store.datafile import usage_of
from agentcom.store.facts import file_facts, follows, starts
from agentcom.store.findings import Findings, Problem, Report
from agentcom.store.reader import Readable
from agentcom.store.sweeping import Swept, sweep
from agentcom.store.tables import BY_NUMBER, NAMED, TABLES, UNFOLDED, Table, decode_key, encode_key
from agentcom.store.task_rows import WALKED, check_tasks
from agentcom.store.walking import Look

__all__ = ["Problem", "Report", "check_rows", "examine", "report_of"]

_JOURNAL, _HEAD = TABLES["journal"], TABLES["head"]


def check_rows(source: Readable) -> Report:
    """Read `source` whole. Damage is in the report, never an exception, unless the file cannot be opened at all.

    A file that is cut short ends the process with SIGBUS: run this in a child process (agentcom.store.verifying).
    """
    begun = time.monotonic()
    try:
        with source.reading() as view:
            swept = sweep(view)
    except (Doubt, lmdb.Error):
        # damage may end the whole transaction, so the careful check has one of its own
        return examine(source, Findings())
    return report_of(swept, source, Findings(), begun)


def report_of(swept: Swept, source: Readable, findings: Findings, begun: float) -> Report:
    """Of a store in which all rows are well; `begun` is a monotonic time, in seconds."""
    pages, size, used = _file(source)
    return Report(
        problems=findings.problems, more=findings.more, rows=swept.rows, pages=pages, bytes=size, used=used,
        seq=swept.seq, epoch=swept.facts.epoch, seconds=time.monotonic() - begun,
    )  # fmt: skip


def examine(source: Readable, findings: Findings) -> Report:
    """The careful check, for who goes on with what was found: the report's problems are those of `findings`."""
    begun = time.monotonic()
    with source.reading() as view:
        look = Look(view, findings)
        check_tasks(look)
        for table in TABLES.values():
            if table.name not in WALKED and table.name not in UNFOLDED:
                _check_table(look, table)
        facts = file_facts(look)
        seq = _check_journal(look, starts(facts.line))
    pages, size, used = _file(source)
    return Report(
        problems=findings.problems, more=findings.more, rows=look.rows, pages=pages, bytes=size, used=used, seq=seq,
        epoch=facts.epoch, seconds=time.monotonic() - begun,
    )  # fmt: skip


def _check_table(look: Look, table: Table) -> None:
    if table.append:
        _check_appended(look, table)
    elif table.name == "pull":
        _check_pulls(look, table)
    elif table.name in NAMED:
        field = NAMED[table.name]
        for key, row in look.walk(table):
            if row is not None and (getattr(row, field),) != decode_key(table, key):
                look.findings.tell(table, key, f"the row says that it is {getattr(row, field)!r}")
    elif table.name != "pull_by_task":
        for _ in look.walk(table):
            pass


def _check_appended(look: Look, table: Table) -> None:
    """A sequence never goes back: `head` knows the highest one, also when its row is trimmed."""
    last: tuple[bytes, str, int] | None = None
    for key, _ in look.walk(table, keys=False):
        parts = look.parts(table, key)
        if parts is None:
            continue
        if last is not None and parts[0] != last[1]:
            _check_head(look, table, *last)
        last = key, str(parts[0]), int(parts[1])
    if last is not None:
        _check_head(look, table, *last)


def _check_head(look: Look, table: Table, key: bytes, name: str, seq: int) -> None:
    head = encode_key(_HEAD, (table.name, name))
    raw = look.get(_HEAD, head)
    value = look.row(_HEAD, head)
    if raw is None:
        look.lacks(_HEAD, head, f"the row is missing: {table.name} of {name} goes up to {seq}")
    elif value is not None and value < seq:
        look.findings.tell(_HEAD, head, f"it says {value}, but {table.name} of {name} goes up to {seq}")


def _check_pulls(look: Look, table: Table) -> None:
    """Each record is listed once, under its task."""
    listing, found = TABLES["pull_by_task"], 0
    for key, row in look.walk(table):
        if row is None:
            continue
        if (row.pr_id,) != decode_key(table, key):
            look.findings.tell(table, key, f"the row says that it is {row.pr_id!r}")
            continue
        at = encode_key(listing, (row.task_id, row.pr_id))
        if look.get(listing, at) is None:
            look.lacks(listing, at, f"the row is missing: pull request {row.pr_id} is of this task")
        else:
            found += 1
    n = sum(1 for _ in look.walk(listing))
    if n != found and not look.findings.broken & {"pull", "pull_by_task"}:
        _surplus_pulls(look, table, listing)


def _surplus_pulls(look: Look, table: Table, listing: Table) -> None:
    for key, _ in look.raw(listing):
        parts = look.parts(listing, key)
        if parts is None:
            continue
        at = encode_key(table, (parts[1],))
        row = look.row(table, at)
        if row is None and look.get(table, at) is None:
            look.findings.tell(listing, key, f"the row is too many: pull request {parts[1]} does not exist")
        elif row is not None and row.task_id != parts[0]:
            look.findings.tell(listing, key, f"the row is too many: {parts[1]} is of task {row.task_id}")


def _check_journal(look: Look, line: frozenset[int]) -> int:
    """Entries are contiguous and decode; on the way each problem gets the seq of the entry that wrote its row."""
    before = 0
    sought = look.findings.told
    for key, entry in look.walk(_JOURNAL, keys=False):
        if len(key) != 8:
            look.parts(_JOURNAL, key)  # says so
            continue
        seq = int.from_bytes(key, "big")
        if before and not follows(seq, before, line):
            what = f"the entries {before + 1} to {seq - 1} before it are missing"
            look.findings.tell(_JOURNAL, key, what)
        before = seq
        if entry is not None:
            for number, at, _ in entry.ops:
                if number not in BY_NUMBER:
                    look.findings.tell(_JOURNAL, key, f"it writes to table {number}, which does not exist")
                elif sought and (number, at) in sought:
                    look.findings.stamp(number, at, seq)
    return before


def _file(source: Any) -> tuple[int, int, int]:
    """Pages and bytes of the file behind `source`, and the bytes of the pages that hold something."""
    raw = getattr(source, "raw", None)
    if raw is None:
        return 0, 0, 0
    usage, page = usage_of(raw, source.dbs), raw.stat()["psize"]
    return usage.bytes // page, usage.bytes, usage.bytes - usage.free_bytes
