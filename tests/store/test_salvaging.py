"""What salvage brings back of a damaged store when nothing can be restored, from wherever it is whole."""

import shutil
from pathlib import Path

import msgspec
import pytest

from agentcom.protocol.rows import Journal
from agentcom.store import salvage as salvage_module
from agentcom.store.archiving import Archivist
from agentcom.store.env import SCHEMA
from agentcom.store.layout import DATA, Layout
from agentcom.store.manifests import MANIFEST
from agentcom.store.pages import PagedFile
from agentcom.store.redo_format import LOGS
from agentcom.store.restore import RECORD, Record, restore
from agentcom.store.restore_plan import Target
from agentcom.store.restoring import NothingToRestore
from agentcom.store.salvage import salvage
from agentcom.store.salvaging import UNKNOWN
from agentcom.store.segments import RAISE, Entry, Header, SegmentReader, SegmentWriter
from agentcom.store.tables import TABLES, encode_key, encode_row
from agentcom.store.verify import check_rows
from tests.store.damage import leaves, replace, zero
from tests.store.helpers import LmdbStore, all_rows
from tests.store.history import InProcess, archive, empty_entry, folders_in, segment, snapshot
from tests.store.sound import fill, put_raw
from tests.store.test_restoring import decoded, lowered

TASKS = 60
IN_SNAPSHOT, IN_ARCHIVE = range(30), range(30, 50)
"""Which tasks are also there."""


class Hub:
    """A closed store; of its tasks some are in a snapshot, some in an archive without its beginning, all in the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        store = LmdbStore(folder, sync=False)
        lane = fill(store)
        self.tasks = [lane.submit(100 + n) for n in IN_SNAPSHOT]
        self.snapshot = snapshot(store)
        first = store.reader.last_seq() + 1
        self.tasks += [lane.submit(100 + n) for n in IN_ARCHIVE]
        self.last_archived = store.reader.last_seq()
        archive(store, first, self.last_archived)
        self.tasks += [lane.submit(100 + n) for n in range(IN_ARCHIVE.stop, TASKS)]
        self.rows = all_rows(store)
        self.last = store.reader.last_seq()
        self.store_id = store.env.meta("store")
        store.close()

    @property
    def data(self) -> Path:
        return self.folder / "store" / DATA

    def forget(self, *what: str) -> None:
        for name in what:
            if name == "log":
                for log in LOGS:
                    (self.folder / "store" / log).unlink(missing_ok=True)
            else:
                shutil.rmtree(self.folder / name)

    def lose(self, *tables: str) -> None:
        """Every page that has rows of these."""
        zero(self.data, *(page for table in tables for page in leaves(self.data, table, trees=2)))

    def salvage(self) -> Record:
        record = salvage(Layout(self.folder), folders_in(self.folder), "a test", "nothing can be restored")
        (path,) = (self.folder / "aside").glob(f"*/{RECORD}")
        assert msgspec.json.decode(path.read_bytes(), type=Record) == record
        return record

    def found(self) -> set[str]:
        """The tasks that are there now, in a store that is whole."""
        store = LmdbStore(self.folder)
        assert check_rows(store.env).problems == []
        found = {key[0] for key, _ in store.reader.scan("task", limit=1_000)}
        store.close()
        return found & set(self.tasks)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(salvage_module, "Tool", InProcess)
    return Hub(tmp_path / "hub")


def test_a_store_of_which_every_row_can_be_read_comes_back_as_it_was(hub):
    hub.forget("snapshots", "archive", "log")
    record = hub.salvage()
    store = LmdbStore(hub.folder)
    assert lowered(all_rows(store), RAISE) == decoded(hub.rows)
    store.close()
    assert record.how == "salvaged"
    assert record.summary[0].endswith(
        "rows in the damaged store; 0 tables could not be read whole, 0 rows were dropped"
    )
    assert len(record.summary) == 2


def test_what_the_redo_log_has_comes_back(hub):
    hub.forget("snapshots", "archive")
    hub.lose("body", "journal")
    hub.salvage()
    assert hub.found() == set(hub.tasks)


def test_what_an_archive_without_its_beginning_has_comes_back(hub):
    hub.forget("snapshots", "log")
    hub.lose("task", "body", "journal")
    record = hub.salvage()
    assert hub.found() == {hub.tasks[n] for n in IN_ARCHIVE}
    assert any("table body of the damaged store cannot be read whole" in told for told in record.summary)
    assert "of the journal, its archive and the redo log" in record.summary[0]


def test_what_only_the_damaged_stores_own_journal_has_comes_back(hub):
    hub.forget("snapshots", "archive", "log")
    hub.lose("task", "body")
    hub.salvage()
    assert hub.found() == set(hub.tasks)


@pytest.mark.parametrize("flaw", ["manifest", "digest"])
def test_what_a_damaged_snapshot_has_comes_back(hub, flaw):
    hub.forget("archive", "log")
    hub.lose("task", "body", "journal")
    if flaw == "manifest":
        (hub.snapshot / MANIFEST).unlink()
    else:
        with (hub.snapshot / DATA).open("ab") as file:
            file.write(b"!")
    record = hub.salvage()
    assert hub.found() == set(hub.tasks[: IN_SNAPSHOT.stop])
    assert f"rows in snapshot {hub.snapshot}" in record.summary[0]


def test_from_everywhere_together_everything_comes_back(hub):
    hub.lose("task", "body", "journal", "history")
    (hub.snapshot / MANIFEST).unlink()
    hub.salvage()
    assert hub.found() == set(hub.tasks)
    store = LmdbStore(hub.folder)
    assert lowered(all_rows(store), RAISE) == decoded(hub.rows)
    store.close()


def test_a_text_whose_key_is_damaged_comes_back_by_its_task(hub):
    """Nothing shows where it is missing, but a task without a text is none."""
    hub.forget("snapshots", "log")
    hub.lose("journal")
    key = hub.tasks[IN_ARCHIVE[3]].encode()
    assert replace(hub.data, leaves(hub.data, "body", trees=2), key + b"\0", key + b"\1")
    hub.salvage()
    assert hub.found() == set(hub.tasks)


def test_a_task_whose_key_is_damaged_comes_back_by_its_row(hub):
    hub.forget("snapshots", "log", "archive")
    hub.lose("journal")
    key = hub.tasks[-1].encode() + b"\0"
    for page in leaves(hub.data, "task", trees=2):
        hurt_key(hub.data, page, key)
    hub.salvage()
    assert hub.found() == set(hub.tasks)


def hurt_key(data, page, key):
    """Another last letter in a node's key, not in its row."""
    with PagedFile(data) as file:
        nodes = file.page(page)
    for n, pointer in enumerate(nodes.pointers):
        if nodes.node(n)[2] == key:
            raw = bytearray(data.read_bytes())
            raw[page * 4096 + pointer + 8 + len(key) - 2] ^= 1
            data.write_bytes(raw)


def test_a_file_that_is_older_than_its_redo_log_is_followed_by_it(hub):
    """As a power cut leaves it; and its journal, which would say how old it is, cannot be read."""
    shutil.copy(hub.snapshot / DATA, hub.data)
    hub.forget("snapshots", "archive")
    hub.lose("journal")
    hub.salvage()
    assert hub.found() == set(hub.tasks)


def test_a_redo_log_of_an_earlier_epoch_is_not_used(hub):
    hub.forget("snapshots", "archive")
    hub.data.unlink()
    later = Record(
        how="restored", ms=1, why="", epoch=2, line=((1, 3),), store="", aside="", summary=()
    )  # fmt: skip
    place = hub.folder / "aside" / "before"
    place.mkdir(parents=True)
    (place / RECORD).write_bytes(msgspec.json.encode(later))
    made = salvage(Layout(hub.folder), folders_in(hub.folder), "a test", "nothing")
    assert made.how == "emptied"


def test_of_two_segments_with_the_same_entries_the_later_one_has_the_say(hub):
    """The earlier one has a tail that the store never had on disk."""
    hub.forget("snapshots", "log")
    hub.lose("task", "body", "journal")
    (path,) = (hub.folder / "archive").iterdir()
    with SegmentReader(path) as reader:
        entries = list(reader)
    path.unlink()
    victim = encode_key(TABLES["task"], (hub.tasks[IN_ARCHIVE[0]],))
    wrong = Entry(
        entries[-1].seq, encode_row(Journal(1, "test", "test", ((TABLES["task"].number, victim, None),)))
    )
    segment(path.parent, 1, (), [*entries[:-1], wrong])
    segment(path.parent, 1, (), entries[-1:])
    hub.salvage()
    assert hub.found() == {hub.tasks[n] for n in IN_ARCHIVE}


def test_a_segment_of_another_hub_among_ours_is_not_used_and_told(hub):
    hub.forget("snapshots", "log")
    (ours,) = (hub.folder / "archive").iterdir()
    with SegmentReader(ours) as reader:
        entries = list(reader)
    ours.unlink()
    half = len(entries) // 2
    for part, store in ((entries[:half], hub.store_id), (entries[half:], "another")):
        writer = SegmentWriter(ours.parent, Header(1, SCHEMA, 1, part[0].seq, (), store))
        for each in part:
            writer.append(each)
        writer.flush()
        writer.close()
    hub.lose("task", "body", "journal")
    record = hub.salvage()
    assert hub.found() == {hub.tasks[n] for n in IN_ARCHIVE[:half]}
    assert any("1 segments of the archive are not on the way" in told for told in record.summary)


def test_also_when_the_store_itself_is_gone(hub):
    hub.data.unlink()
    (hub.snapshot / MANIFEST).unlink()
    record = hub.salvage()
    assert hub.found() == set(hub.tasks)
    assert record.how == "salvaged"


def test_what_was_deleted_does_not_come_back_from_where_it_was_before(hub):
    store = LmdbStore(hub.folder)
    keys = {"task": (hub.tasks[-1],), "body": (hub.tasks[-1],), "history": (hub.tasks[-1], 0)}
    for table, key in keys.items():  # behind the journal's back: the file is the newest witness
        put_raw(store, table, key, None)
    store.close()
    hub.salvage()
    assert hub.found() == set(hub.tasks[:-1])


def test_what_another_hub_left_is_not_used_and_told(hub):
    hub.forget("snapshots", "log", "archive")
    hub.lose("task", "body", "journal")
    other = LmdbStore(hub.folder.parent / "other", sync=False)
    fill(other)
    shutil.copytree(snapshot(other), hub.folder / "snapshots" / "000001-00000000000000000003")
    other.close()
    (hub.folder / "snapshots" / "000001-00000000000000000003" / MANIFEST).unlink()
    record = hub.salvage()
    assert hub.found() == set()
    assert any("is of another hub" in told for told in record.summary)


def test_all_that_is_lost_is_said_to_be_from_the_first_entry_to_the_newest_that_is_known(hub):
    hub.lose("task")
    assert hub.salvage().lost == (1, hub.last)


def test_an_empty_start_says_that_there_was_nothing(hub):
    hub.forget("snapshots", "archive", "log")
    hub.data.unlink()
    record = hub.salvage()
    assert (record.how, record.lost) == ("emptied", (1, 0))
    assert "there was neither a snapshot nor an archive" in record.summary[0]
    assert record.line[0] == (0, UNKNOWN)


def test_an_empty_start_names_what_was_there_and_not_used(hub):
    hub.forget("log")
    hub.data.unlink()
    (hub.snapshot / MANIFEST).unlink()
    (hub.snapshot / DATA).write_bytes(b"nothing")
    for path in (hub.folder / "archive").iterdir():
        path.write_bytes(b"nothing either")
    record = hub.salvage()
    assert record.how == "emptied"
    assert "neither" not in record.summary[0]
    assert str(hub.snapshot) in record.summary[0]
    assert "its header is damaged" in record.summary[0]


def test_a_salvaged_store_is_archived_in_the_folder_of_the_old_one_and_restored_from_it(hub):
    hub.lose("body")
    hub.forget("log")
    hub.salvage()
    store = LmdbStore(hub.folder)
    report = ship(store, hub.folder)
    assert (report.problem, report.told, report.lag) == ("", (), 0)
    rows = all_rows(store)
    store.close()
    (Layout(hub.folder).store / DATA).unlink()
    made, _ = restore(Layout(hub.folder), folders_in(hub.folder), Target(), "test")
    store = LmdbStore(hub.folder)
    assert lowered(all_rows(store), 2 * RAISE) == lowered(rows, RAISE)
    assert (ship(store, hub.folder).problem, made.epoch) == ("", 3)
    store.close()


def ship(store, folder):
    archivist = Archivist(store.env, folders_in(folder).archive, segment_bytes=1 << 20)
    while (report := archivist.ship(0)).has_more:
        pass
    archivist.close()
    return report


def test_a_folder_that_a_newer_epoch_wrote_is_refused_after_a_salvage_too(hub):
    hub.salvage()
    segment(folders_in(hub.folder).archive, 9, [(0, 5)], [empty_entry(6, 1)])
    store = LmdbStore(hub.folder)
    assert (
        "has entries of epoch 9 that this store (epoch 2) does not come from"
        in ship(store, hub.folder).problem
    )
    store.close()


def test_numbers_after_a_second_salvage_of_nothing_are_above_those_of_the_first(hub):
    hub.forget("snapshots", "archive", "log")
    hub.data.unlink()
    first = hub.salvage()
    Layout(hub.folder).store.joinpath(DATA).unlink()
    second = salvage(Layout(hub.folder), folders_in(hub.folder), "again", "nothing")
    assert second.line[0][1] > first.line[-1][1] + RAISE


def test_nothing_is_restored_that_way_while_there_is_a_better_one(hub):
    """The restore comes first: this is what it cannot do."""
    hub.forget("snapshots")
    hub.data.unlink()
    for name in LOGS:
        (hub.folder / "store" / name).unlink(missing_ok=True)
    with pytest.raises(NothingToRestore):
        restore(Layout(hub.folder), folders_in(hub.folder), Target(), "test")
