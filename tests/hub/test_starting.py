"""A damaged store never stops the start, and is never silently emptied."""

import errno
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from agentcom import starting
from agentcom.config import Archive, Config, Snapshots
from agentcom.protocol.ops import Append
from agentcom.protocol.rows import Mail
from agentcom.store import restore, restore_sources, salvage
from agentcom.store.child import ToolFailed
from agentcom.store.errors import DataFolderLocked, NewerSchema, StorageFull
from agentcom.store.layout import DATA, POINTER, Layout
from agentcom.store.redo_format import LOGS
from agentcom.store.restore_plan import Target
from agentcom.store.tables import TABLES
from agentcom.store.verify import check_rows
from tests.store.damage import leaves, zero
from tests.store.helpers import LmdbStore, Writer, all_rows
from tests.store.history import InProcess, archive, folders_in, snapshot
from tests.store.sound import fill
from tests.store.test_restoring import decoded, lowered

RAISE = 1 << 20
CONFIG = Config()


class Unhurt:
    """Looks at nothing and finds nothing."""

    def __init__(self, name):
        self.name = name

    def run(self, argument):
        return {"clean": True, "seq": 0, "epoch": 1, "problems": []}


class Fails(Unhurt):
    kind, why = "signal", "it was ended by SIGBUS"

    def run(self, argument):
        raise ToolFailed("checking", self.kind, self.why)


@pytest.fixture
def made(tmp_path):
    """A closed store and its rows. Its log has all of it: the next opening would begin another."""
    store = LmdbStore(tmp_path / "hub")
    lane = fill(store)
    archive(store, 1, store.reader.last_seq())
    snapshot(store)
    lane.submit(100)  # this one has nothing but the store and its log
    rows = all_rows(store)
    store.close()
    (tmp_path / "hub" / "admin.token").write_text("secret")
    return tmp_path / "hub", rows


@pytest.fixture
def folder(made):
    return made[0]


@pytest.fixture
def was(made):
    return made[1]


@pytest.fixture
def in_process(monkeypatch):
    for module in (restore, restore_sources, salvage):
        monkeypatch.setattr(module, "Tool", InProcess)
    monkeypatch.setattr(starting, "Tool", Unhurt)


def tasks_of(folder):
    store = LmdbStore(folder)
    found = {key for number, key in all_rows(store) if number == TABLES["task"].number}
    store.close()
    return found


def started(folder, config=CONFIG):
    """The rows that a hub would serve, the problems in them, and the recovery it tells of."""
    found = starting.start(config, folder)
    try:
        return all_rows(found.env), check_rows(found.env).problems, found
    finally:
        found.env.close()


def test_a_whole_store_is_opened_as_it_is(folder, was, in_process):
    rows, problems, found = started(folder)
    assert (rows, problems, found.recovery, found.epoch) == (was, [], None, 1)
    assert found.condition() is None


def test_a_new_folder_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(starting, "Tool", Fails)
    assert started(tmp_path / "new")[2].recovery is None


def test_a_missing_file_is_restored_and_health_says_what_was_lost(folder, was, in_process):
    (folder / "store" / DATA).unlink()
    rows, problems, found = started(folder)
    assert (lowered(rows, RAISE), problems, found.epoch) == (decoded(was), [], 2)
    condition = found.condition()
    assert "nothing was lost" in condition.alerts[0]
    assert "is missing" in condition.alerts[0]
    assert condition.facts["how"] == "restored"
    again = started(folder)[2]
    assert again.condition() == condition
    assert Path(condition.facts["aside"], LOGS[0]).exists()


def test_what_only_the_lost_store_had_is_told_as_lost(folder, in_process):
    (folder / "store" / DATA).unlink()
    for name in LOGS:
        (folder / "store" / name).unlink()
    found = started(folder)[2]
    first = found.recovery.lost[0]
    assert (
        f"what was written from entry {first} on, if anything, could not be brought back"
        in found.condition().alerts[0]
    )


def test_after_a_day_a_recovery_is_no_news_any_more(folder, in_process, monkeypatch):
    (folder / "store" / DATA).unlink()
    started(folder)
    monkeypatch.setattr(starting, "TOLD_MS", -1)
    assert started(folder)[2].condition() is None


def test_an_admin_token_that_the_restored_store_does_not_know_is_set_aside(folder, in_process):
    (folder / "store" / DATA).unlink()
    started(folder)
    assert not (folder / "admin.token").exists()
    assert [path.read_text() for path in (folder / "aside").glob("*/admin.token")] == ["secret"]


@pytest.mark.parametrize("word", ["SIGKILL", "SIGTERM"])
def test_a_look_that_somebody_ended_says_nothing_of_the_file(folder, in_process, monkeypatch, word):
    monkeypatch.setattr(starting, "Tool", type("Ended", (Fails,), {"why": f"it was ended by {word}"}))
    assert started(folder)[2].recovery is None


@pytest.mark.parametrize(
    ("kind", "why"), [("signal", "it was ended by SIGBUS"), ("StoreUnreadable", "MDB_INVALID: no LMDB file")]
)
def test_a_file_that_kills_or_refuses_its_reader_is_damaged(folder, in_process, monkeypatch, kind, why):
    monkeypatch.setattr(starting, "Tool", type("Broken", (Fails,), {"kind": kind, "why": why}))
    assert why in started(folder)[2].recovery.why


def test_a_newer_schema_is_refused_and_nothing_is_recovered(folder, monkeypatch):
    monkeypatch.setattr(starting, "Tool", type("Newer", (Fails,), {"kind": "NewerSchema", "why": "schema 7"}))
    from agentcom.store import env

    monkeypatch.setattr(env, "SCHEMA", 0)
    with pytest.raises(NewerSchema):
        starting.start(CONFIG, folder)
    assert not (folder / "aside").exists()


def test_a_second_hub_does_not_look_at_the_store_of_the_first(folder, in_process, monkeypatch):
    first = starting.start(CONFIG, folder)
    monkeypatch.setattr(starting, "Tool", Fails)
    with pytest.raises(DataFolderLocked):
        starting.start(CONFIG, folder)
    first.env.close()


def test_a_new_hub_does_not_take_over_what_another_one_left(folder, tmp_path, in_process):
    for config in (
        Config(snapshots=Snapshots(dir=str(folder / "snapshots"))),
        Config(archive=Archive(dir=str(folder / "archive"))),
    ):
        with pytest.raises(starting.UnclaimedHistory, match="agentcom-admin restore --data"):
            starting.start(config, tmp_path / "new")


def test_a_damaged_store_waits_for_snapshots_that_are_on_a_disk_that_is_away(folder, tmp_path, in_process):
    (folder / "store" / DATA).unlink()
    away = Config(snapshots=Snapshots(dir=str(tmp_path / "unmounted")))
    with pytest.raises(starting.HistoryAway, match=r"snapshots\.dir"):
        starting.start(away, folder)
    shutil.move(folder / "snapshots", tmp_path / "unmounted")
    assert started(folder, away)[2].recovery.how == "restored"


def test_left_over_stores_are_swept_and_condemned_ones_kept_only_once_the_one_in_force_is_open(
    folder, in_process, monkeypatch
):
    layout = Layout(folder)
    layout.fresh()
    old = layout.fresh()
    layout.condemn(old, "when")
    monkeypatch.setattr(starting, "open_store", lambda _, lock, tell: os.close(lock) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        starting.start(CONFIG, folder)
    assert len(layout.leftovers()) == 2
    monkeypatch.undo()
    monkeypatch.setattr(starting, "Tool", Unhurt)
    started(folder)
    assert layout.leftovers() == []
    assert (folder / "aside" / "when" / old.name).is_dir()


# --- the pointer is lost ----------------------------------------------------------------------------


@pytest.fixture
def numbered(folder):
    """As after a rewrite: `store.current` says which store is in force."""
    (folder / "store").rename(folder / "store-7")
    (folder / POINTER).write_text("store-7\n")
    return folder


def without_backups(folder):
    for name in ("snapshots", "archive"):
        shutil.rmtree(folder / name)


def lose(folder, said=None):
    (folder / POINTER).unlink()
    if said is not None:
        (folder / POINTER).write_bytes(said)


def kept(folder):
    """Files of stores that were set aside."""
    return sorted(path.parent.name for path in folder.glob(f"aside/*/store*/{DATA}"))


@pytest.mark.parametrize("backups", [True, False])
@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("said", [None, b"", b"gar\0bage", b"\xff\xfe", b"../store-7"])
def test_a_lost_pointer_costs_nothing_and_is_told(numbered, was, in_process, backups, token, said):
    if not backups:
        without_backups(numbered)
    if not token:
        (numbered / "admin.token").unlink()
    lose(numbered, said)
    rows, problems, found = started(numbered)
    assert (rows, problems, found.epoch) == (was, [], 1)
    condition = found.condition()
    assert (condition.facts["how"], condition.facts["aside"]) == ("found", "")
    assert re.search(
        r"store\.current .*: store-7, up to entry \d+, was in force", condition.alerts[0].split("(")[1]
    )
    assert Layout(numbered).named == "store-7"
    again = started(numbered)
    assert (again[0], again[2].condition()) == (was, condition)


def test_what_else_there_was_when_the_pointer_was_lost_is_set_aside_and_not_removed(
    numbered, was, in_process
):
    shutil.copytree(numbered / "store-7", numbered / "store-6")
    shutil.copytree(numbered / "store-7", numbered / "store-8")
    for name in (*LOGS, "checkpoint"):
        (numbered / "store-8" / name).unlink()
    lose(numbered)
    rows, _, found = started(numbered)
    assert rows == was
    assert kept(numbered) == ["store-6", "store-8"]
    assert f"what else there was is in {found.recovery.aside}" in found.condition().alerts[0]
    assert list(Path(found.recovery.aside).glob("store-*"))
    started(numbered)
    assert kept(numbered) == ["store-6", "store-8"]


def test_an_unfinished_copy_is_still_removed_when_the_pointer_is_sound(numbered, was, in_process):
    shutil.copytree(numbered / "store-7", numbered / "store-8")
    assert started(numbered)[0] == was
    assert Layout(numbered).leftovers() == kept(numbered) == []


@pytest.mark.parametrize("backups", [True, False])
def test_a_store_older_than_the_one_that_is_gone_is_not_simply_gone_on_with(
    numbered, was, in_process, backups
):
    """Numbers that the lost one gave out must not be given out again."""
    if not backups:
        without_backups(numbered)
    (numbered / POINTER).write_text("store-8\n")
    rows, problems, found = started(numbered)
    assert (lowered(rows, RAISE), problems, found.epoch) == (decoded(was), [], 2)
    assert found.recovery.how == "restored"  # by its own journal, which goes back to the beginning
    assert "store.current names store-8, which is not there; found store-7" in found.recovery.why
    assert kept(numbered) == ["store-7"]


def test_a_store_that_lacks_what_was_archived_is_not_simply_gone_on_with(numbered, was, in_process):
    shutil.rmtree(numbered / "archive")
    shutil.copytree(numbered / "store-7", numbered / "store-6")
    store = LmdbStore(numbered)
    Writer(store, "agent.bob").commit(Append("mailbox", ("bob",), Mail("new", 1)))
    archive(store, 1, store.reader.last_seq())
    newer = all_rows(store)
    store.close()
    shutil.rmtree(numbered / "store-7")
    lose(numbered)
    rows, problems, found = started(numbered)
    assert (lowered(rows, RAISE), problems, found.recovery.how) == (decoded(newer), [], "restored")
    assert "snapshots and archive go up to entry" in found.recovery.why
    assert kept(numbered) == ["store-6"]


@pytest.mark.parametrize("backups", [True, False])
def test_of_an_unfinished_copy_alone_everything_is_brought_back_but_it_is_not_gone_on_with(
    numbered, was, in_process, backups
):
    if not backups:
        without_backups(numbered)
    for name in (*LOGS, "checkpoint"):
        (numbered / "store-7" / name).unlink()
    lose(numbered)
    rows, problems, found = started(numbered)
    assert (lowered(rows, RAISE), problems) == (decoded(was), [])
    assert "store-7 cannot be told from an unfinished copy" in found.recovery.why
    assert kept(numbered) == ["store-7"]


def test_a_store_found_without_its_pointer_is_looked_at_like_any_other(
    numbered, was, in_process, monkeypatch
):
    monkeypatch.setattr(starting, "Tool", Fails)
    lose(numbered)
    rows, problems, found = started(numbered)
    assert (lowered(rows, RAISE), problems, found.recovery.how) == (decoded(was), [], "restored")
    assert "store.current is missing; found store-7" in found.recovery.why
    assert kept(numbered) == ["store-7"]


def test_when_the_newest_store_has_lost_its_file_and_nothing_brings_it_back_an_older_one_is_read_out(
    numbered, in_process
):
    without_backups(numbered)
    tasks = tasks_of(numbered)
    shutil.copytree(numbered / "store-7", numbered / "store-6")
    store = LmdbStore(numbered)
    Writer(store, "agent.bob").commit(Append("mailbox", ("bob",), Mail("new", 1)))
    store.close()
    for name in (*LOGS, DATA):
        (numbered / "store-7" / name).unlink()
    rows, problems, found = started(numbered)
    assert {key for number, key in rows if number == TABLES["task"].number} == tasks
    assert (problems, found.recovery.how) == ([], "salvaged")
    assert "store.current names store-7, which has no data.mdb" in found.recovery.why
    assert kept(numbered) == ["store-6"]
    assert [path.parent.name for path in numbered.glob("aside/*/store-7/checkpoint")] == ["store-7"]


@pytest.mark.parametrize("backups", [True, False])
@pytest.mark.parametrize("said", [b"", b"store-9"])
def test_without_any_store_a_folder_with_a_pointer_is_not_new(numbered, was, in_process, backups, said):
    shutil.rmtree(numbered / "store-7")
    (numbered / "admin.token").unlink()
    if not backups:
        without_backups(numbered)
    lose(numbered, said)
    rows, problems, found = started(numbered)
    assert (problems, found.recovery.how) == ([], "restored" if backups else "emptied")
    assert found.condition().alerts
    if backups:
        ours = {key for number, key in rows if number == TABLES["task"].number}
        assert ours < {key for number, key in was if number == TABLES["task"].number}


def test_a_folder_whose_token_is_gone_too_is_not_new_while_it_has_a_store(numbered):
    (numbered / "admin.token").unlink()
    lose(numbered)
    assert not Layout(numbered).is_new


def test_a_full_disk_is_waited_for_when_the_pointer_cannot_be_written(numbered, in_process, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    lose(numbered)
    monkeypatch.setattr(restore, "write_whole", full)
    with pytest.raises(StorageFull, match="no room to put a store in force"):
        starting.start(CONFIG, numbered)
    monkeypatch.undo()
    assert kept(numbered) == []
    assert (numbered / "store-7" / DATA).is_file()


# --- without snapshots and without an archive -------------------------------------------------------


def bare(folder):
    """Nothing is left but the file itself."""
    for name in ("snapshots", "archive"):
        shutil.rmtree(folder / name)
    for name in LOGS:
        (folder / "store" / name).unlink()
    return folder / "store" / DATA


def test_a_store_that_only_contradicts_itself_is_salvaged_whole(folder, was, in_process, monkeypatch):
    """Everything is read; index rows, counters and history follow from the tasks."""
    bare(folder)
    monkeypatch.setattr(starting, "Tool", Fails)
    store = LmdbStore(folder)
    with store.env.writing() as txn:
        for number in (5, 10, 14, 31):  # ready, by_phase, counter, journal
            for key, _ in list(txn._txn.cursor(store.env.dbs[number])):
                txn.delete(number, key)
    store.close()
    rows, problems, found = started(folder)
    assert problems == []
    assert found.recovery.how == "salvaged"
    expected, got = decoded(was), lowered(rows, RAISE)
    assert got == expected


def test_rows_that_are_damaged_are_dropped_and_told(folder, in_process, monkeypatch):
    file = bare(folder)
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"do it", b"do 1t"))
    monkeypatch.setattr(starting, "Tool", Fails)
    _, problems, found = started(folder)
    assert problems == []
    assert any("table task" in line and "its text is lost" in line for line in found.recovery.summary)


def test_when_nothing_can_be_read_it_starts_empty_and_says_so_loudly(folder, in_process):
    bare(folder).unlink()
    _, problems, found = started(folder)
    assert (found.recovery.how, problems) == ("emptied", [])
    assert "it starts empty" in found.condition().alerts[0]
    assert list(found.condition().facts["lost"]) == [1, 0]  # from the first entry on; nobody knows how many


def test_what_only_the_archive_has_of_a_damaged_store_comes_back(folder, was):
    """Without snapshots and without the archive's beginning nothing can be restored."""
    shutil.rmtree(folder / "snapshots")
    shutil.rmtree(folder / "archive")
    store = LmdbStore(folder)
    archive(store, 2, store.reader.last_seq())
    store.close()
    for name in LOGS:
        (folder / "store" / name).unlink()
    file = folder / "store" / DATA
    zero(file, *(page for name in ("task", "body", "journal") for page in leaves(file, name, trees=2)))
    rows, problems, found = started(folder)
    first = min(key for number, key in was if number == TABLES["task"].number)
    assert problems == []
    assert found.recovery.how == "salvaged"
    assert {key for number, key in rows if number == 1} == {key for number, key in was if number == 1} - {
        first
    }
    assert any(
        "table task of the damaged store cannot be read whole" in line for line in found.recovery.summary
    )
    assert found.recovery.lost[0] == 1


# --- real damage, real child processes -------------------------------------------------------------


def truncated(raw, dice):
    return raw[: dice.randrange(0, len(raw))]


def zeroed(raw, dice):
    at = dice.randrange(0, len(raw) // 4096) * 4096
    return raw[:at] + bytes(4096 * 3) + raw[at + 4096 * 3 :]


def flipped(raw, dice):
    raw = bytearray(raw)
    for _ in range(50):
        raw[dice.randrange(0, len(raw))] ^= 1 << dice.randrange(8)
    return bytes(raw)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("harm", [truncated, zeroed, flipped])
def test_whatever_happened_to_the_file_everything_comes_back(folder, was, harm, seed):
    """By itself, when the look at the start sees it; what it does not see, verify tells, and a restore mends."""
    file = folder / "store" / DATA
    file.write_bytes(harm(file.read_bytes(), random.Random(seed)))
    starting.make_whole(Layout(folder), CONFIG)
    if not (folder / "aside").exists():
        restore.restore(Layout(folder), folders_in(folder), Target(), "test")
    rows, problems, _ = started(folder)
    assert problems == []
    assert lowered(rows, RAISE) == decoded(was)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("harm", [truncated, zeroed, flipped])
def test_without_snapshots_and_archive_it_starts_all_the_same_and_says_what_is_gone(folder, was, harm, seed):
    before = {key for number, key in was if number == TABLES["task"].number}
    file = bare(folder)
    file.write_bytes(harm(file.read_bytes(), random.Random(seed)))
    starting.make_whole(Layout(folder), CONFIG)
    if not (folder / "aside").exists():
        return  # what is hurt is nothing that the look at the start sees
    _, problems, found = started(folder)
    assert problems == []
    left = tasks_of(folder)
    assert left <= before
    assert left == before or len(found.recovery.summary) > 1
    assert Path(found.recovery.aside, DATA).is_file()
