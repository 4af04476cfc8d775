"""Which store is in force when `store.current` does not say it: the right one; nothing that was in force is removed."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agentcom import starting
from agentcom.config import Config
from agentcom.protocol.ops import Put
from agentcom.store import pointing, restore, restore_sources, salvage
from agentcom.store.layout import DATA, POINTER, WHOLE, Layout
from agentcom.store.tables import TABLES
from agentcom.store.verify import check_rows
from tests.store.helpers import LmdbStore, Writer, all_rows, task
from tests.store.history import InProcess, folders_in, hub_with_history
from tests.store.test_restoring import KILLED, ROOT, before, decoded, lowered
from tests.store.test_rewriting import STEPS

RAISE = 1 << 20


@pytest.fixture(autouse=True)
def _in_process(monkeypatch):
    for module in (restore, restore_sources, salvage, starting):
        monkeypatch.setattr(module, "Tool", InProcess)


@pytest.fixture
def folder(tmp_path):
    """A hub's: `store-7` is in force, and there are a snapshot and an archive of it."""
    made = hub_with_history(tmp_path / "hub")
    (made / "admin.token").write_text("secret")
    (made / "store").rename(made / "store-7")
    point(made, "store-7\n")
    return made


def point(folder, said):
    (folder / POINTER).write_text(said) if said is not None else (folder / POINTER).unlink()


def look(folder):
    layout = Layout(folder)
    return pointing.look(layout, mend=True), layout.store.name


def older(folder, name):
    """The store as it is now, left behind under another name when the one in force goes on."""
    shutil.copytree(folder / "store-7", folder / name)
    store = LmdbStore(folder)
    for n in range(3):
        Writer(store, "lane.low").commit(Put("task", (f"later-{n}",), task(f"later-{n}")))
    store.close()


def unfinished(folder, name):
    """A copy of the file alone, as a rewrite or a restore leaves it that was killed."""
    (folder / name).mkdir()
    shutil.copy(folder / "store-7" / DATA, folder / name / DATA)


def test_a_pointer_that_names_a_store_is_followed_and_nothing_else_is_looked_at(folder, monkeypatch):
    older(folder, "store-8")
    monkeypatch.setattr(pointing, "said_by", None)
    assert look(folder) == (None, "store-7")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "store.current is missing"),
        ("", "store.current is empty"),
        ("gar\0bage", "store.current names no store"),
        ("../store-7", "store.current names no store"),
        ("aside", "store.current names no store"),
        ("store-99", "store.current names store-99, which is not there"),
    ],
)
def test_without_a_pointer_the_store_is_found_by_what_is_in_it(folder, said, why):
    point(folder, said)
    astray, name = look(folder)
    assert (astray.why, name) == (why, "store-7")
    assert str(astray) == f"{why}; found store-7, up to entry {astray.found.seq}"


def test_of_two_that_were_in_force_the_one_that_goes_further_is(folder):
    for name in ("store-6", "store-8"):
        older(folder, name)
    point(folder, None)
    astray, name = look(folder)
    assert name == "store-7"
    assert [each.path.name for each in astray.others] == ["store-6", "store-8"]


def test_one_that_was_never_in_force_is_not_taken_whatever_its_number(folder):
    unfinished(folder, "store-8")
    point(folder, "")
    assert look(folder)[1] == "store-7"


def test_a_copy_that_goes_further_than_the_store_is_not_taken_before_it_is_finished(folder):
    """A restore raises every number while it is not finished."""
    unfinished(folder, "store-8")
    point(folder, "store-8")
    store = LmdbStore(folder)
    Writer(store, "lane.low").commit(Put("task", ("mine",), task("mine")))
    store.close()
    (folder / "store-8" / "checkpoint").unlink()
    (folder / "store-8" / WHOLE).unlink(missing_ok=True)
    point(folder, None)
    assert look(folder)[1] == "store-7"


def test_a_store_that_was_restored_over_is_not_taken_when_there_is_another(folder):
    older(folder, "store-6")
    Layout(folder).condemn(folder / "store-7", "when")
    point(folder, None)
    assert look(folder)[1] == "store-6"


def test_the_first_store_needs_no_pointer_unless_another_went_on_from_it(folder):
    older(folder, "store")
    point(folder, None)
    astray, name = look(folder)
    assert (astray.why, name) == ("store.current is missing", "store-7")
    shutil.rmtree(folder / "store")
    shutil.copytree(folder / "store-7", folder / "store")
    assert look(folder) == (None, "store")
    shutil.rmtree(folder / "store-7")
    assert look(folder) == (None, "store")


def test_a_file_that_nobody_can_read_counts_by_its_redo_log(folder):
    older(folder, "store-6")
    (folder / "store-7" / DATA).write_bytes(b"rubbish")
    point(folder, None)
    astray, name = look(folder)
    assert name == "store-7"
    assert astray.found.seq > next(iter(astray.others)).seq


def test_a_store_that_could_not_be_put_in_force_does_not_count_as_one_that_was(folder):
    unfinished(folder, "store-8")
    point(folder, None)
    (folder / POINTER).mkdir()
    with pytest.raises(IsADirectoryError):
        Layout(folder).switch_to(folder / "store-8")
    assert not (folder / "store-8" / WHOLE).exists()
    (folder / POINTER).rmdir()
    assert look(folder)[1] == "store-7"


def test_looking_only_changes_nothing(folder):
    older(folder, "store-6")
    point(folder, None)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "lock.mdb"}
    assert pointing.look(Layout(folder), mend=False) is not None
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "lock.mdb"} == files


# --- killed at a step, and the pointer is lost too --------------------------------------------------


def started(folder):
    """The rows a hub would serve after it, the problems in them, and what it tells."""
    found = starting.start(Config(), folder)
    try:
        return all_rows(found.env), check_rows(found.env).problems, found
    finally:
        found.env.close()


def files_kept(folder):
    """Of stores, wherever they are now."""
    return len(list(folder.glob(f"store*/{DATA}"))) + len(list(folder.glob(f"aside/*/store*/{DATA}")))


@pytest.mark.parametrize("pointer", [None, ""])
@pytest.mark.parametrize("step", STEPS)
def test_killed_in_a_rewrite_and_without_its_pointer_every_commit_is_there(tmp_path, step, pointer):
    args = [sys.executable, "-m", "tests.store.dying", str(tmp_path), step]
    done = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, timeout=60)
    had = files_kept(tmp_path)
    point(tmp_path, "")
    point(tmp_path, pointer)
    rows, _, found = started(tmp_path)
    assert sum(1 for number, _ in rows if number == TABLES["task"].number) == STEPS[step][1], done.stdout
    lost = (
        pointer is not None or step == "rewrite.swept"
    )  # `store` needs none, while it goes as far as any other
    assert (found.recovery is not None) == lost
    assert files_kept(tmp_path) == (had if lost else 1)
    assert Layout(tmp_path).leftovers() == []


@pytest.mark.parametrize("step", ["begun", "copied", "replayed", "raised", "switched", "set_aside"])
def test_killed_in_a_restore_and_without_its_pointer_the_right_store_is_in_force(folder, step):
    was = {10: before(folder, 10), None: before(folder)}
    killed = textwrap.dedent(KILLED.replace("seq=10", "") if step == "copied" else KILLED)
    code = [sys.executable, "-c", killed, str(folder), f"restore.{step}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == -signal.SIGKILL, done.stderr
    had = files_kept(folder)
    point(folder, None)
    rows, problems, found = started(folder)
    restored = step in ("switched", "set_aside")
    assert (lowered(rows, RAISE) if restored else decoded(rows)) == decoded(was[10 if restored else None])
    assert (problems, found.epoch, found.recovery.how) == ([], 2 if restored else 1, "found")
    assert files_kept(folder) == had
    assert Layout(folder).leftovers() == []
    assert folders_in(folder).snapshots.is_dir()


def test_killed_before_the_pointer_was_written_the_next_start_finds_it_again(folder, monkeypatch):
    older(folder, "store-6")
    point(folder, None)
    with monkeypatch.context() as patched:
        patched.setattr(Layout, "switch_to", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            starting.start(Config(), folder)
    assert started(folder)[2].recovery.how == "found"
    assert Layout(folder).named == "store-7"
    assert [path.name for path in folder.glob("aside/*/store*")] == ["store-6"]


def test_killed_after_the_pointer_was_written_what_else_there_was_is_still_set_aside(folder, monkeypatch):
    older(folder, "store-6")
    point(folder, None)
    with monkeypatch.context() as patched:
        patched.setattr(starting, "open_store", lambda _, lock, tell: os.close(lock) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            starting.start(Config(), folder)
    assert Path(folder, "store-6").is_dir()
    started(folder)
    assert [path.name for path in folder.glob("aside/*/store*")] == ["store-6"]
