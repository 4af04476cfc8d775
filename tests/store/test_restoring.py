"""A restore on real files: what is there afterwards, and what is in force when it is killed."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from agentcom.protocol.ops import Append
from agentcom.protocol.rows import Mail
from agentcom.store import redo_format, restore, restore_sources
from agentcom.store.fold import fold
from agentcom.store.layout import CONDEMNED, DATA, Layout
from agentcom.store.redo_format import LOGS
from agentcom.store.restore_plan import Lost, Target, Way
from agentcom.store.restoring import NothingToRestore
from agentcom.store.segments import RAISE
from agentcom.store.tables import TABLES, decode_row
from agentcom.store.verify import check_rows
from tests.store.helpers import LmdbStore, Writer, all_rows
from tests.store.history import InProcess, archive, folders_in, snapshot
from tests.store.sound import fill

ROOT = Path(__file__).parents[2]
RAISED = {TABLES["task"].number, TABLES["head"].number}
SNAPSHOT_AT, KEPT = 6, 12


@pytest.fixture(autouse=True)
def _in_process(request, monkeypatch):
    if "real" not in request.keywords:
        monkeypatch.setattr(restore, "Tool", InProcess)
        monkeypatch.setattr(restore_sources, "Tool", InProcess)


@pytest.fixture
def folder(tmp_path):
    """A closed store with a snapshot in the middle of its life and all of its journal archived."""
    store = LmdbStore(tmp_path / "hub")
    lane = fill(store)
    for n in range(3):
        lane.submit(100 + n)
    archive(store, 1, 4)
    archive(store, 5, store.reader.last_seq())
    snapshot(store)
    store.close()
    return tmp_path / "hub"


def run(folder, target=None, **kwargs):
    return restore.restore(Layout(folder), folders_in(folder), target or Target(), "test", **kwargs)


def before(folder, seq=None):
    """The rows that the journal comes to, up to an entry."""
    store = LmdbStore(folder)
    entries = [
        entry for key, entry in store.reader.scan("journal", limit=10_000) if seq is None or key[0] <= seq
    ]
    store.close()
    return fold(entries)


def lowered(rows, by):
    """With the numbers that they had before they were raised."""
    found = {}
    for (number, key), raw in rows.items():
        if number in RAISED:
            row = decode_row(next(t for t in TABLES.values() if t.number == number), raw, key)
            row = (
                row - by
                if isinstance(row, int)
                else msgspec.structs.replace(row, generation=row.generation - by)
            )
            found[number, key] = row
        else:
            found[number, key] = raw
    return found


def decoded(rows):
    return lowered(rows, 0)


def test_the_end_is_the_state_that_was(folder):
    was = before(folder)
    made, record = run(folder)
    store = LmdbStore(folder)
    assert lowered(all_rows(store), RAISE) == decoded(was)
    assert check_rows(store.env).problems == []
    assert made.lost == Lost()
    assert (Path(record.aside) / DATA).is_file()
    assert store.env.meta("epoch") == 2
    assert store.env.meta("line") == [[1, made.reached]]
    assert store.reader.last_seq() == made.reached + RAISE + 1 == made.seq
    store.close()


@pytest.mark.parametrize("seq", [1, 4, 5, 12])
def test_an_earlier_entry_is_the_fold_up_to_it_and_the_journal_still_folds_to_the_rows(folder, seq):
    was = before(folder, seq)
    made, _ = run(folder, Target(seq=seq))
    store = LmdbStore(folder)
    assert (made.reached, made.snapshot, made.lost) == (seq, "", Lost())
    assert lowered(all_rows(store), RAISE) == decoded(was)
    assert fold(entry for _, entry in store.reader.scan("journal", limit=10_000)) == all_rows(store)
    assert check_rows(store.env).problems == []
    store.close()


def test_a_time_is_the_last_entry_that_is_not_later(folder):
    store = LmdbStore(folder)
    entries = store.reader.scan("journal", limit=1_000)
    store.close()
    at = entries[7][1].ms
    made, _ = run(folder, Target(ms=at))
    later = next((key[0] for key, entry in entries if entry.ms > at), len(entries) + 1)
    assert made.reached == later - 1


def test_a_dry_run_says_the_same_and_changes_nothing(folder):
    def everything():
        return {
            path: path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "lock.mdb"
        }

    was = everything()
    said = restore.dry_run(Layout(folder), folders_in(folder), Target(seq=7))
    assert everything() == was
    made, _ = run(folder, Target(seq=7))
    assert msgspec.structs.replace(made, seq=0, knows_admin=True) == said


def test_a_damaged_snapshot_is_skipped_and_told(folder):
    (snap,) = folders_in(folder).snapshots.iterdir()
    raw = bytearray((snap / DATA).read_bytes())
    raw[len(raw) // 2] ^= 1
    (snap / DATA).write_bytes(bytes(raw))
    was = before(folder)
    made, _ = run(folder)
    assert (made.snapshot, made.lost) == ("", Lost())
    assert any(str(snap) in told and "damaged" in told for told in made.told)
    store = LmdbStore(folder)
    assert lowered(all_rows(store), RAISE) == decoded(was)
    store.close()


def test_a_lost_disk_is_restored_into_an_empty_folder(folder, tmp_path):
    was = before(folder)
    made, record = (
        restore.restore(Layout(tmp_path / "new"), folders_in(folder), Target(), "test")
        if ((tmp_path / "new").mkdir() is None)
        else None
    )
    store = LmdbStore(tmp_path / "new")
    assert lowered(all_rows(store), RAISE) == decoded(was)
    assert record.aside == ""
    assert made.lost == Lost(made.reached + 1)  # what the lost disk had beyond the archive nobody knows
    store.close()


def test_entries_that_only_the_old_stores_journal_has_come_back_too(folder):
    for path in folders_in(folder).archive.iterdir():
        path.unlink()
    store = LmdbStore(folder)
    Writer(store, "agent.bob").commit(Append("mailbox", ("bob",), Mail("new", 1)))
    store.close()
    was = before(folder)
    made, _ = run(folder)
    assert (made.entries, made.lost) == (1, Lost())
    store = LmdbStore(folder)
    assert lowered(all_rows(store), RAISE) == decoded(was)
    store.close()


def test_a_discarded_tail_never_comes_back_and_no_number_is_minted_twice(folder):
    store = LmdbStore(folder)
    writer = Writer(store, "agent.bob")
    minted = [writer.commit(Append("mailbox", ("bob",), Mail("gone", 1))) for _ in range(3)]
    store.close()
    seqs = {answer.seq for answer in minted}
    mails = {answer.appended[0] for answer in minted}
    for target in (Target(seq=14), Target(), Target(seq=13)):
        run(folder, target)
        store = LmdbStore(folder)
        writer = Writer(store, "agent.bob")
        minted = [writer.commit(Append("mailbox", ("bob",), Mail("kept", 1))) for _ in range(3)]
        assert all(answer.seq > max(seqs) and answer.appended[0] > max(mails) for answer in minted)
        assert "gone" not in {row.message_id for _, row in store.reader.scan("mailbox")}
        seqs |= {answer.seq for answer in minted}
        mails |= {answer.appended[0] for answer in minted}
        assert check_rows(store.env).problems == []
        store.close()


def test_an_epoch_of_which_nothing_is_left_still_keeps_its_discarded_tail_away(folder):
    run(folder, Target(seq=9))
    store = Layout(folder).store
    (store / DATA).write_bytes(b"nothing that can be read")
    made, _ = run(folder)
    assert (made.reached, made.epoch) == (9, 3)


def test_without_snapshot_and_without_the_first_entries_it_refuses_and_changes_nothing(folder):
    for path in (*folders_in(folder).snapshots.glob("*/*"), *folders_in(folder).archive.glob("*-*1.journal")):
        path.unlink()
    for name in LOGS:
        (folder / "store" / name).unlink()
    (folder / "store" / DATA).write_bytes(b"")
    with pytest.raises(NothingToRestore, match="nothing can be restored"):
        run(folder)
    assert Layout(folder).store == folder / "store"
    assert Layout(folder).leftovers() == []


def test_entries_that_only_the_log_knows_of_are_told_as_lost(folder, monkeypatch):
    """It begins behind a gap: what is in it cannot be brought back, but it is known to have existed."""
    logged = redo_format.logged(folder / "store")
    last = int.from_bytes(logged[-1][0], "big")
    monkeypatch.setattr(redo_format, "logged", lambda _: logged[9:])
    for path in (*folders_in(folder).snapshots.glob("*/*"), *folders_in(folder).archive.glob("*-*5.journal")):
        path.unlink()
    (folder / "store" / DATA).unlink()
    made, record = run(folder)
    assert (made.reached, made.lost) == (4, Lost(5, last))
    assert record.lost == (5, last)


def test_a_log_of_an_earlier_epoch_says_nothing_of_a_later_one(folder):
    """Its numbers are below those that the later one begins with."""
    folders, old = folders_in(folder), folder / "store"
    sources = restore_sources.Sources(
        restore_sources.Ask(str(folder), str(folders.snapshots), str(folders.archive), store=str(old))
    )
    assert sources.redo
    assert sources.newest(Way(2, ((1, 3),)), 3) == 3


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from agentcom.store import restore, restore_sources, steps
    from agentcom.store.layout import Layout
    from agentcom.store.restore_plan import Target
    from tests.store.history import InProcess, folders_in
    def act(name):
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)
    steps.Hook.act = staticmethod(act)
    folder = Path(sys.argv[1])
    restore.Tool = restore_sources.Tool = InProcess
    restore.restore(Layout(folder), folders_in(folder), Target(seq=10), "test")
"""


@pytest.mark.parametrize("step", ["begun", "copied", "replayed", "raised", "switched", "set_aside"])
def test_killed_at_any_step_the_old_store_or_the_new_one_is_in_force_whole(folder, step):
    was = {10: before(folder, 10), None: before(folder)}
    if step == "copied":
        store = LmdbStore(folder)
        archive(store, store.reader.last_seq(), store.reader.last_seq())
        store.close()
    target = KILLED.replace("seq=10", "") if step == "copied" else KILLED
    code = [sys.executable, "-c", textwrap.dedent(target), str(folder), f"restore.{step}"]
    done = subprocess.run(
        code,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = LmdbStore(folder)
    layout = Layout(folder)
    if step in ("switched", "set_aside"):
        assert lowered(all_rows(store), RAISE) == decoded(was[10])
    else:
        assert decoded(all_rows(store)) == decoded(was[None])
    assert check_rows(store.env).problems == []
    restore.clear_scratch(layout)
    layout.pardon()
    layout.sweep()
    assert [path.name for path in folder.glob("store*") if path.is_dir()] == [layout.store.name]
    assert list(folder.glob(".restoring-*")) == []
    kept = list(layout.aside.glob(f"*/store/{DATA}"))
    assert len(kept) == (1 if step in ("switched", "set_aside") else 0)
    store.close()


def test_a_store_that_stays_in_force_after_all_is_not_set_aside_later(folder):
    layout = Layout(folder)
    layout.condemn(layout.store, "never")
    layout.pardon()
    assert not (layout.store / CONDEMNED).exists()
