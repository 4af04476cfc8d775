"""Stores that older releases wrote, opened by this one.

`tests/data/schema-N/data.mdb.gz` were written by real hubs of those releases, with tasks in every phase, by
`tests/data/make_store.py`. A new schema gets a new one; the old ones stay as they are.
"""

import gzip
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentcom.cli.admin import main
from agentcom.protocol.index import entries
from agentcom.protocol.rows import PHASES, Mark, counted
from agentcom.protocol.views import TaskQuery
from agentcom.store import NewerSchema, Reader, StorageFull, env, migrations, open_environment
from agentcom.store.errors import CannotMigrate
from agentcom.store.foreign import Foreign
from agentcom.store.layout import Layout
from agentcom.store.migrating import look
from agentcom.store.queries import answer
from agentcom.store.tables import TABLES, UNFOLDED, encode_key, encode_row
from tests.store.helpers import LmdbStore, all_rows, folded

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SCHEMAS = tuple(range(1, migrations.SCHEMA + 1))
INDEXES = ("ready", "waiting", "due", "deadline", "by_phase", "by_agent")
STEPS = ("migrate.begun", "migrate.copied", "migrate.written", "migrate.done")


def unpacked(schema, folder):
    (folder / "store").mkdir(parents=True)
    packed = DATA / f"schema-{schema}" / "data.mdb.gz"
    (folder / "store" / "data.mdb").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


@pytest.fixture
def old(tmp_path):
    return unpacked(1, tmp_path / "data")


def rows_of(folder):
    """The schema, and every row but the file's own."""
    with Foreign(Layout(folder).store) as foreign:
        return foreign.meta("schema"), all_rows(foreign)


def test_a_migration_says_how_far_it_is(old, monkeypatch):
    monkeypatch.setattr(migrations, "TELL_EACH", 10)
    monkeypatch.setattr(migrations, "ENTRY_OPS", 5)
    heard = []
    opened = open_environment(old, tell=heard.append)
    (done,) = opened.migrated
    opened.close()
    of = sum(done.puts.values()) + sum(done.deletes.values())
    assert of > 20
    assert [at.changes for at in heard if at.step == "counting"] == list(range(0, of + 1, 10))
    assert [(at.changes, at.of) for at in heard if at.step == "copying"] == [(0, of)]
    assert [(at.changes, at.of) for at in heard if at.step == "changing"] == [
        (n, of) for n in range(0, of, 10)
    ]


def check(folder):
    """What must hold in a store of this release."""
    store = LmdbStore(folder)
    tasks = [row for _, row in store.reader.scan("task", limit=1_000)]
    wanted = {entry: row for task in tasks for entry, row in entries(task)}
    found = {(table, key): row for table in INDEXES for key, row in store.reader.scan(table, limit=1_000)}
    assert found == wanted
    counts = Counter(("tasks", task.lane, counted(task.phase)) for task in tasks)
    assert {k: n for k, n in store.reader.scan("counter", ("tasks",)) if n} == counts
    for phase in PHASES:
        listed = answer(store.reader, "task.list", TaskQuery(status=phase, limit=100), "")
        assert {task.task_id for task in listed.tasks} == {task.id for task in tasks if task.phase == phase}
    assert folded(store) == all_rows(store)
    assert store.env.meta("schema") == migrations.SCHEMA
    store.close()
    return tasks


def test_there_is_a_way_from_every_schema_and_a_store_of_each():
    assert [(way.before, way.after) for way in migrations.MIGRATIONS] == [(n, n + 1) for n in SCHEMAS[:-1]]
    assert sorted(path.name for path in DATA.glob("schema-*")) == [f"schema-{n}" for n in SCHEMAS]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_store_of_each_release_opens_whole_and_with_every_phase(schema, tmp_path):
    unpacked(schema, tmp_path)
    _, before = rows_of(tmp_path)
    tasks = check(tmp_path)
    assert {task.phase for task in tasks} == set(PHASES)
    assert len(tasks) == 30
    kept = [number for name, table in TABLES.items() if name not in ("by_phase", "by_agent", "counter")
            and name not in UNFOLDED for number in (table.number,)]  # fmt: skip
    _, after = rows_of(tmp_path)
    assert {k: v for k, v in before.items() if k[0] in kept} == {
        k: v for k, v in after.items() if k[0] in kept
    }


def test_a_dry_run_says_what_the_start_then_does_and_changes_nothing(old):
    before = (old / "store" / "data.mdb").read_bytes()
    [planned] = look(old).steps
    assert planned.deletes == {"by_phase": 14, "counter": 8}
    assert planned.puts == {"by_agent": 3, "counter": 1}
    assert (old / "store" / "data.mdb").read_bytes() == before
    opened = open_environment(old)
    [done] = opened.migrated
    assert (done.puts, done.deletes) == (planned.puts, planned.deletes)
    opened.close()
    assert look(old).steps == []


def test_the_store_as_it_was_is_kept_aside(old):
    before = rows_of(old)
    opened = open_environment(old)
    [done] = opened.migrated
    opened.close()
    assert rows_of(Path(done.copy)) == before
    assert before[0] == 1


def test_its_changes_are_in_the_journal_as_ordinary_entries(old, monkeypatch):
    monkeypatch.setattr(migrations, "ENTRY_OPS", 10)
    store = LmdbStore(old)
    written = [row for _, row in store.reader.scan("journal", limit=10_000) if row.stream == "migration"]
    assert [(entry.event, len(entry.ops)) for entry in written] == [
        ("schema 1 to 2", 10), ("schema 1 to 2", 10), ("schema 1 to 2", 6),
    ]  # fmt: skip
    store.close()
    check(old)


def test_a_store_that_has_the_rows_already_gets_the_number_only(old):
    """As a restore leaves it: the journal was replayed, the file's own rows are the snapshot's."""
    opened = open_environment(old)
    with opened.writing() as txn:
        opened.put_meta(txn, "schema", 1)
    opened.close()
    [planned] = look(old).steps
    assert (planned.puts, planned.deletes) == ({}, {})
    check(old)


def test_a_store_it_cannot_change_stays_as_it_was(old, monkeypatch):
    with monkeypatch.context() as past:
        past.setattr(env, "SCHEMA", 1)
        opened = open_environment(old)
        with opened.writing() as txn:
            key, _ = next(opened.reading().forward(TABLES["task"].number, b"", None))
            txn.put(TABLES["task"].number, [(key, b"damaged row")])
        opened.close()
    before = rows_of(old)
    for attempt in (open_environment, look):
        with pytest.raises(CannotMigrate, match=r"damaged row in table 'task' .*nothing was changed"):
            attempt(old)
    assert rows_of(old) == before
    assert before[0] == 1


def test_without_room_for_the_copy_nothing_is_changed(old, monkeypatch):
    before = rows_of(old)
    with monkeypatch.context() as full:
        full.setattr(env.Environment, "disk_room", lambda _: 1_000)
        with pytest.raises(StorageFull, match="before its schema changes the store is copied"):
            open_environment(old)
    assert rows_of(old) == before
    check(old)


@pytest.mark.parametrize(
    "step", [*(pytest.param(step, marks=pytest.mark.slow) for step in STEPS[:2]), *STEPS[2:]]
)
def test_killed_at_any_step_it_has_one_schema_whole_and_the_next_start_goes_on(step, old):
    before = rows_of(old)
    code = f"""if True:
        import os, pathlib, signal, sys
        from agentcom.store import open_environment, steps
        steps.Hook.act = lambda name: name == {step!r} and os.kill(os.getpid(), signal.SIGKILL)
        open_environment(pathlib.Path(sys.argv[1]))
    """
    done = subprocess.run([sys.executable, "-c", code, str(old)], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    schema, rows = rows_of(old)
    assert (rows == before[1]) == (schema == 1) == (step != "migrate.done")
    check(old)
    assert not list((old / "aside").glob("*.new"))


@pytest.mark.slow
def test_the_clean_mark_outlives_a_change_without_a_hub(old):
    for was_clean in (False, True):
        opened = open_environment(old)
        assert opened.was_clean == was_clean
        with opened.writing() as txn:
            opened.put_meta(txn, "schema", 1)
        opened.mark_clean()
        opened.close()
        shown = CliRunner().invoke(main, ["migrate", "--data", str(old)])
        assert shown.exit_code == 0
        assert "the store as it was: " in shown.output


def test_the_command_says_what_would_change(old):
    shown = CliRunner().invoke(main, ["migrate", "--dry-run", "--data", str(old)])
    assert shown.exit_code == 0
    assert "has schema 1, this release writes 2" in shown.output
    assert "by_phase: 14 rows removed" in shown.output
    assert "nothing was changed" in shown.output
    assert rows_of(old)[0] == 1
    open_environment(old).close()
    assert "nothing to do" in CliRunner().invoke(main, ["migrate", "--dry-run", "--data", str(old)]).output


@pytest.mark.parametrize("flag", ["--dry-run", "--json"])
def test_a_store_whose_pointer_is_lost_is_left_to_the_next_start(old, flag):
    (old / "store").rename(old / "store-7")
    (old / "store.current").write_text("")
    shown = CliRunner().invoke(main, ["migrate", flag, "--data", str(old)])
    assert shown.exit_code == 1
    assert "store.current is empty; found store-7" in shown.output
    assert "the next start of the hub puts it in force again" in shown.output
    assert not (old / "store").exists()


@pytest.mark.slow
def test_the_command_says_why_it_cannot(tmp_path, old):
    absent = CliRunner().invoke(main, ["migrate", "--data", str(tmp_path / "absent")])
    assert (absent.exit_code, "there is no" in absent.output) == (1, True)
    opened = open_environment(old)
    with opened.writing() as txn:
        opened.put_meta(txn, "schema", 9)
    opened.close()
    newer = CliRunner().invoke(main, ["migrate", "--data", str(old)])
    assert (newer.exit_code, "start the newer release again" in newer.output) == (1, True)
    with pytest.raises(NewerSchema):
        open_environment(old)


def test_an_index_row_without_a_task_goes(old, monkeypatch):
    stray = encode_key(TABLES["by_phase"], ("completed", "low", "nobody's"))
    with monkeypatch.context() as past:
        past.setattr(env, "SCHEMA", 1)
        opened = open_environment(old)
        with opened.writing() as txn:
            txn.put(TABLES["by_phase"].number, [(stray, encode_row(Mark()))])
        opened.close()
    opened = open_environment(old)
    assert Reader(opened).get("by_phase", ("completed", "low", "nobody's")) is None
    opened.close()
