"""What must change in a store that an older release wrote, and how it is changed.

Lives here: the list of schemas and the way from each to the next. A migration only says which rows to put and delete,
read from a view; so the same function is the dry run and the change. All of a migration is one transaction with its
entries in the journal (stream "migration"), so that a store has the one schema or the other, whatever ends the
process, and its journal still folds to its rows.
May import: agentcom.protocol, agentcom.store.{errors,layout,reader,steps,tables,transactions}, operating system.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from agentcom.protocol import index
from agentcom.protocol.rows import Journal, TaskState, counted
from agentcom.store.errors import CannotMigrate, CorruptRow, StorageFull
from agentcom.store.layout import Layout, sync_folder
from agentcom.store.reader import View
from agentcom.store.steps import reached
from agentcom.store.tables import BY_NUMBER, TABLES, decode_key, decode_row, encode_key, encode_row

SCHEMA = 2
"""What this release writes. 2: queued and held tasks have no row in `by_phase`, `by_agent` says the lane, counters know
held tasks as one phase; and beside LMDB's file there is the redo log, of which releases of schema 1 know nothing."""

ENTRY_OPS = 500
"""Changes of one journal entry."""

TELL_EACH = 50_000
"""Changes between two words of how far a migration is."""

Change = tuple[int, bytes, bytes | None]
_JOURNAL, _TASK = TABLES["journal"], TABLES["task"]
_BY_PHASE, _BY_AGENT, _COUNTER = TABLES["by_phase"], TABLES["by_agent"], TABLES["counter"]


class Migration(NamedTuple):
    """The way from one schema to the next; `changes` raises `CorruptRow` where it cannot go on."""

    before: int
    after: int
    summary: str
    changes: Callable[[View], Iterator[Change]]


class Planned(msgspec.Struct, frozen=True):
    """What a migration would do, or did: rows put and deleted, by table."""

    before: int
    after: int
    summary: str
    puts: dict[str, int] = {}
    deletes: dict[str, int] = {}
    copy: str = ""  #: of the store as it was, when it was done


class Underway(NamedTuple):
    """How far a migration is: a million tasks take a minute, and who waits should know what for."""

    before: int
    after: int
    step: str  #: "counting", "copying", "changing"
    changes: int  #: of rows, that were counted or made so far
    of: int = 0  #: in all; 0 while they are counted


Tell = Callable[[Underway], object]


def untold(_: Underway) -> None:
    """For who does not want to know."""


class Migratable(Protocol):
    """An open environment, as agentcom.store.env has it."""

    folder: Path

    @property
    def raw(self) -> Any: ...
    @property
    def redo(self) -> Any: ...
    def reading(self) -> Any: ...
    def writing(self) -> Any: ...
    def meta(self, name: str) -> Any: ...
    def put_meta(self, txn: Any, name: str, value: Any) -> None: ...
    def disk_room(self) -> int: ...
    def file_bytes(self) -> int: ...
    def free_bytes(self) -> int: ...


def pending(found: int) -> tuple[Migration, ...]:
    """The way from schema `found` to this release's, in order."""
    return tuple(migration for migration in MIGRATIONS if migration.before >= found)


def plan(view: View, migration: Migration, tell: Tell = untold) -> Planned:
    """The dry run. Raises `CannotMigrate`."""
    before, after, _, _ = migration
    tell(Underway(before, after, "counting", 0))
    puts: Counter[str] = Counter()
    deletes: Counter[str] = Counter()
    try:
        for n, (number, _, value) in enumerate(migration.changes(view), 1):
            (deletes if value is None else puts)[BY_NUMBER[number].name] += 1
            if n % TELL_EACH == 0:
                tell(Underway(before, after, "counting", n))
    except CorruptRow as error:
        raise CannotMigrate(migration.before, migration.after, str(error)) from error
    return Planned(*migration[:3], dict(puts), dict(deletes))


def bring_up(env: Migratable, tell: Tell = untold) -> tuple[Planned, ...]:
    """Every pending migration of a store that was just opened, before its life begins. Returns what was done.

    Each is run dry and the store is copied to DATA/aside before it changes anything. Raises `CannotMigrate`, or
    `StorageFull` when there is no room for the copy; then the store is as it was.
    """
    done = []
    for migration in pending(env.meta("schema")):
        with env.reading() as view:
            planned = plan(view, migration, tell)
        reached("migrate.begun")
        of = sum(planned.puts.values()) + sum(planned.deletes.values())
        tell(Underway(migration.before, migration.after, "copying", 0, of))
        copy = _copy(env, migration.after)
        reached("migrate.copied")
        _change(env, migration, of, tell)
        reached("migrate.done")
        done.append(msgspec.structs.replace(planned, copy=str(copy)))
    return tuple(done)


def _copy(env: Migratable, schema: int) -> Path:
    """The store as it is, compacted, where nothing of ours ever deletes it."""
    needs, room = env.file_bytes() - env.free_bytes(), env.disk_room()
    if room < needs:
        raise StorageFull(
            f"before its schema changes the store is copied, which needs {needs >> 20} MiB; "
            f"the disk of {env.folder} has {room >> 20} MiB"
        )
    aside = Layout(env.folder).aside
    place = aside / time.strftime(f"%Y%m%dT%H%M%SZ-before-schema-{schema}", time.gmtime())
    new = place.with_name(place.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "store").mkdir(parents=True, mode=0o700)
    env.raw.copy(str(new / "store"), compact=True)
    _sync(new / "store" / "data.mdb")
    sync_folder(new / "store")
    shutil.rmtree(place, ignore_errors=True)  # of this very second: an attempt that was cut off
    new.rename(place)
    sync_folder(aside)
    sync_folder(env.folder)
    return place


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _change(env: Migratable, migration: Migration, of: int, tell: Tell) -> None:
    """In one transaction, which is durable at the checkpoint behind it. Changes are read from the state before it."""
    with env.reading() as view, env.writing() as txn:
        seq = int(decode_key(_JOURNAL, view.last_key(_JOURNAL.number) or bytes(8))[0])
        changes = migration.changes(view)
        done = 0
        while some := tuple(islice(changes, ENTRY_OPS)):
            if done % TELL_EACH < ENTRY_OPS:
                tell(Underway(migration.before, migration.after, "changing", done, of))
            done += len(some)
            seq += 1
            _write(txn, some)
            txn.put(_JOURNAL.number, [(encode_key(_JOURNAL, (seq,)), _entry(migration, some))], append=True)
        env.put_meta(txn, "schema", migration.after)
        reached("migrate.written")
    env.redo.checkpoint()


def _write(txn: Any, changes: Iterable[Change]) -> None:
    for number, key, value in changes:
        if value is None:
            txn.delete(number, key)
        else:
            txn.put(number, [(key, value)])


def _entry(migration: Migration, changes: tuple[Change, ...]) -> bytes:
    event = f"schema {migration.before} to {migration.after}"
    return encode_row(Journal(int(time.time() * 1000), "migration", event, changes))


# --- from 1 to 2 ---------------------------------------------------------------------------------------


def _lists_from_tasks(view: View) -> Iterator[Change]:
    """`by_phase`, `by_agent` and the counters of tasks, as `agentcom.protocol.index` has them for each task."""
    counts: Counter[bytes] = Counter()
    for raw, value in view.forward(_TASK.number, b"", None):
        task = decode_row(_TASK, value, raw)
        counts[encode_key(_COUNTER, ("tasks", task.lane, counted(task.phase)))] += 1
        for (number, key), row in _listed(task).items():
            if view.get(number, key) != row:
                yield number, key, row
    for table in (_BY_PHASE, _BY_AGENT):
        for raw, _ in view.forward(table.number, b"", None):
            if (table.number, raw) not in _listed_of(view, str(decode_key(table, raw)[-1])):
                yield table.number, raw, None
    yield from _counters(view, counts)


def _listed(task: TaskState) -> dict[tuple[int, bytes], bytes]:
    return {
        (TABLES[name].number, encode_key(TABLES[name], key)): encode_row(row)
        for (name, key), row in index.entries(task)
        if name in ("by_phase", "by_agent")
    }


def _listed_of(view: View, task_id: str) -> dict[tuple[int, bytes], bytes]:
    raw = view.get(_TASK.number, encode_key(_TASK, (task_id,)))
    return {} if raw is None else _listed(decode_row(_TASK, raw, task_id))


def _counters(view: View, counts: Counter[bytes]) -> Iterator[Change]:
    prefix = b"tasks\0"
    for raw, value in view.forward(_COUNTER.number, prefix, b"tasks\1"):
        if raw not in counts:
            yield _COUNTER.number, raw, None
        elif value != encode_row(counts[raw]):
            yield _COUNTER.number, raw, encode_row(counts[raw])
    for raw, count in sorted(counts.items()):
        if view.get(_COUNTER.number, raw) is None:
            yield _COUNTER.number, raw, encode_row(count)


MIGRATIONS = (
    Migration(
        1,
        2,
        "lists by phase hold only scheduled and finished tasks, those by agent say the lane, "
        "held tasks are counted together",
        _lists_from_tasks,
    ),
)
