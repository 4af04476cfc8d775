"""What an archivist does with a folder that is not what it left, and with a journal that is not what it knew."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from agentcom.protocol.ops import Put
from agentcom.store import Engine, Reader, open_environment
from agentcom.store.archiving import Archivist
from agentcom.store.holding import LOCK, own_stretches
from agentcom.store.replay import entries_along, stretches
from agentcom.store.restore_plan import anew, continued
from agentcom.store.segments import RAISE, SegmentReader, SegmentWriter, listed
from agentcom.store.shipping import Report
from agentcom.store.steps import Hook
from agentcom.store.tables import TABLES, decode_row, encode_key, encode_row
from agentcom.store.trimming import trim
from tests.store.helpers import LmdbStore, Writer, task

JOURNAL, META = TABLES["journal"].number, TABLES["meta"]


class QuickStore(LmdbStore):
    """It need not survive a power cut."""

    def _open(self) -> None:
        self.env = open_environment(self.folder, sync=False)
        self.engine = Engine(self.env)
        self.reader = Reader(self.env)


class Scene:
    """A hub's data and its archive."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.archive = folder, folder / "data", folder / "archive"
        self.open()

    def open(self) -> None:
        self.store = QuickStore(self.data)
        self.writer = Writer(self.store)
        self.archivist = Archivist(self.store.env, self.archive, segment_bytes=1_000)

    def close(self) -> None:
        self.archivist.close()
        self.store.close()

    def commit(self, number: int) -> None:
        puts = (Put("task", ("t",), task("t", order=n)) for n in range(number))
        self.store.commit(*[self.writer.asks(put) for put in puts])

    def ship(self) -> Report:
        while (report := self.archivist.ship(0)).has_more:
            pass
        return report

    def journal(self) -> dict[int, bytes]:
        with self.store.env.reading() as view:
            return {int.from_bytes(key, "big"): row for key, row in view.forward(JOURNAL, b"", None)}

    def archived(self) -> dict[int, bytes]:
        return {entry.seq: entry.row for entry in entries_along(self.archive, (), 1)}

    def begin_epoch(self, epoch: int, line: list[tuple[int, int]]) -> None:
        """As a restore does, with its first own entry."""
        first = line[-1][1] + RAISE + 1
        with self.store.env.writing() as txn:
            for name, value in (("epoch", epoch), ("line", line)):
                txn.put(META.number, [(encode_key(META, (name,)), encode_row(value))])
            row = encode_row(decode_row(TABLES["journal"], next(iter(self.journal().values())), ()))
            txn.put(JOURNAL, [(first.to_bytes(8, "big"), row)])
        self.close()
        self.open()


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    made.close()


def test_what_is_shipped_is_the_journal_byte_for_byte(scene):
    scene.commit(30)
    report = scene.ship()
    assert (report.archived, report.newest, report.lag, report.age_s) == (30, 30, 0, 0.0)
    assert report.segments == len(listed(scene.archive)) > 2
    assert report.bytes == sum(s.path.stat().st_size for s in listed(scene.archive))
    assert scene.archived() == scene.journal()


def test_a_long_backlog_is_shipped_in_parts_that_are_each_on_disk(scene):
    scene.commit(30)
    report = scene.archivist.ship(10**15, 1_000)
    assert report.has_more
    assert 0 < report.archived < 30
    assert report.lag == 30 - report.archived
    assert report.age_s > 0
    assert len(scene.archived()) == report.archived
    assert scene.ship().lag == 0


def test_a_restart_goes_on_where_it_stopped(scene):
    scene.commit(5)
    scene.ship()
    scene.close()
    scene.open()
    scene.commit(5)
    assert scene.ship().told == ()
    assert scene.archived() == scene.journal()


def test_what_a_killed_hub_wrote_is_synced_before_it_is_called_archived(scene, monkeypatch):
    def killed(name):
        if name == "archive.written":
            raise KeyboardInterrupt

    scene.commit(3)
    monkeypatch.setattr(Hook, "act", staticmethod(killed))
    with pytest.raises(KeyboardInterrupt):
        scene.ship()
    monkeypatch.undo()
    scene.close()
    scene.open()
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(os.fstat(handle).st_ino))
    assert scene.ship().archived == 3
    assert synced == [listed(scene.archive)[0].path.stat().st_ino]


def test_entries_that_the_journal_no_longer_has_are_told_and_not_waited_for(scene):
    scene.commit(5)
    scene.ship()
    scene.commit(5)
    trim(scene.store.env, 7, 100)
    report = scene.ship()
    assert "no longer has the entries 6 to 7" in report.told[0]
    assert (report.archived, report.lag) == (10, 0)
    along = entries_along(scene.archive, (), 1)
    assert [entry.seq for entry in along] == [1, 2, 3, 4, 5]
    assert along.stopped is not None
    assert (along.stopped.seq, along.stopped.kind) == (6, "gap")
    assert [entry.seq for entry in entries_along(scene.archive, (), 1, 7)] == [8, 9, 10]


def test_a_store_put_back_to_an_earlier_state_overrides_what_the_archive_had_of_the_later_one(scene):
    scene.commit(8)
    scene.ship()
    scene.close()
    shutil.copytree(scene.data, scene.folder / "earlier")
    scene.open()
    scene.commit(20)
    scene.ship()
    scene.close()
    shutil.rmtree(scene.data)
    shutil.move(scene.folder / "earlier", scene.data)
    scene.open()
    scene.commit(3)
    report = scene.ship()
    assert "entries 9 to 28 of the archive are not what the journal says" in report.told[0]
    assert report.archived == 11
    assert scene.archived() == scene.journal()
    assert list(scene.archive.glob("*.discarded"))
    scene.close()
    scene.open()
    assert scene.ship().told == ()
    assert scene.archived() == scene.journal()


def test_another_stores_archive_is_refused_and_left_as_it_is(scene):
    scene.commit(3)
    scene.ship()
    before = {path: path.read_bytes() for path in scene.archive.iterdir()}
    scene.close()
    shutil.rmtree(scene.data)
    scene.open()
    scene.commit(3)
    report = scene.ship()
    assert "belongs to another store" in report.problem
    assert report.promised == 0
    assert {path: path.read_bytes() for path in scene.archive.iterdir()} == before


def test_a_folder_that_another_hub_writes_is_refused_until_that_ends(scene):
    scene.commit(3)
    scene.archive.mkdir()
    with (scene.archive / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "is being written by another hub" in scene.ship().problem
    assert scene.ship().problem == ""
    assert scene.archived() == scene.journal()


def test_a_later_archivist_of_the_process_takes_the_folder_over(scene):
    scene.commit(3)
    scene.ship()
    crashed, scene.archivist = scene.archivist, Archivist(scene.store.env, scene.archive, segment_bytes=1_000)
    scene.commit(3)
    assert scene.ship().archived == 6
    crashed.close()
    scene.commit(3)
    assert scene.ship().archived == 9
    assert scene.archived() == scene.journal()


def test_a_new_epoch_is_shipped_by_its_own_name_and_the_discarded_tail_stays(scene):
    scene.commit(12)
    scene.ship()
    scene.begin_epoch(2, [(1, 9)])
    begin = 9 + RAISE + 1
    report = scene.ship()
    assert (report.archived, report.lag, report.told) == (begin, 0, ())
    with SegmentReader(listed(scene.archive)[-1].path) as reader:
        assert (reader.header.epoch, reader.header.first, reader.header.line) == (2, begin, ((1, 9),))
    assert [e.seq for e in entries_along(scene.archive, [[1, 9]], 2)] == [*range(1, 10), begin]
    assert len(scene.archived()) == 12


def test_entries_of_an_earlier_epoch_that_were_not_archived_yet_are(scene):
    scene.commit(5)
    scene.ship()
    scene.commit(4)
    scene.begin_epoch(2, [(1, 9)])
    begin = 9 + RAISE + 1
    assert scene.ship().told == ()
    assert [e.seq for e in entries_along(scene.archive, [[1, 9]], 2)] == [*range(1, 10), begin]


def test_a_store_that_continues_nothing_goes_on_in_the_folder_of_what_was_before(scene):
    """As after a salvage: the older epochs' entries stay, and it has none of theirs to catch up with."""
    scene.commit(12)
    scene.ship()
    scene.begin_epoch(2, list(anew(2, 12).line))
    report = scene.ship()
    assert (report.problem, report.told, report.lag, report.segments) == ("", (), 0, 3)
    begin = anew(2, 12).line[-1][1] + RAISE + 1
    assert report.archived == report.newest >= begin
    assert [segment.epoch for segment in listed(scene.archive)] == [1, 1, 2]


def test_of_a_line_that_begins_empty_only_epochs_with_entries_are_its_own():
    way = anew(3, 100)
    line = own_stretches(stretches(way.line, way.epoch))
    assert [stretch.epoch for stretch in line] == [3]
    begin = line[0].first
    later = continued(way, begin + 5, begin + 9, 3)
    line = own_stretches(stretches(later.line, later.epoch))
    assert [(s.epoch, s.first, s.last) for s in line] == [(3, begin, begin + 5), (4, begin + 6 + RAISE, None)]


def test_the_lag_of_a_new_epoch_counts_entries_and_not_numbers(scene):
    scene.commit(9)
    scene.ship()
    scene.begin_epoch(2, [(1, 9)])
    assert scene.archivist.ship(0, 0).lag == 1


def test_a_store_from_before_a_restore_does_not_write_to_the_archive_of_the_restored_one(scene):
    scene.commit(9)
    scene.ship()
    scene.close()
    shutil.copytree(scene.data, scene.folder / "earlier")
    scene.open()
    scene.begin_epoch(2, [(1, 9)])
    scene.ship()
    scene.close()
    shutil.rmtree(scene.data)
    shutil.move(scene.folder / "earlier", scene.data)
    scene.open()
    assert "has entries of epoch 2" in scene.ship().problem


def test_a_segment_that_cannot_be_read_is_told_and_kept(scene):
    scene.commit(3)
    scene.ship()
    scene.close()
    (segment,) = listed(scene.archive)
    segment.path.write_bytes(b"x" + segment.path.read_bytes()[1:])
    damaged = segment.path.read_bytes()
    scene.open()
    report = scene.ship()
    assert str(segment.path) in report.told[0]
    assert scene.archived() == scene.journal()
    assert [path.read_bytes() for path in scene.archive.glob("*.damaged")] == [damaged]


def test_a_file_in_the_place_of_the_folder_is_a_problem_until_it_is_gone(scene):
    scene.archive.write_text("mine")
    scene.commit(3)
    report = scene.ship()
    assert "is a file; move it away" in report.problem
    assert (report.archived, report.lag) == (None, None)
    scene.archive.unlink()
    assert scene.ship().archived == 3


def test_a_folder_that_was_deleted_is_begun_anew_with_all_the_journal_has(scene):
    scene.commit(3)
    scene.ship()
    shutil.rmtree(scene.archive)
    scene.commit(3)
    assert scene.ship().archived == 6
    assert scene.archived() == scene.journal()


def test_a_segment_that_was_deleted_under_it_is_noticed(scene):
    scene.commit(3)
    scene.ship()
    for segment in listed(scene.archive):
        segment.path.unlink()
    scene.commit(1)
    scene.ship()
    assert scene.archived() == scene.journal()


def test_a_folder_elsewhere_is_not_made_again_on_the_disk_below_its_own(scene):
    scene.archivist = Archivist(
        scene.store.env, scene.archive, segment_bytes=1_000, marker=scene.data / "archive.begun"
    )
    scene.commit(3)
    assert scene.ship().archived == 3
    scene.archive.rename(scene.folder / "unmounted")
    assert "is gone; mount its disk" in scene.ship().problem
    assert not scene.archive.exists()
    (scene.folder / "unmounted").rename(scene.archive)
    assert scene.ship().problem == ""
    shutil.rmtree(scene.archive)
    scene.archive.mkdir()
    report = scene.ship()
    assert (report.problem, report.archived) == ("", 3)
    assert "is empty, though this archive was begun in it" in report.told[0]


def test_a_store_keeps_its_id_for_life_and_two_have_different_ones(scene, tmp_path):
    first = scene.store.env.meta("store")
    assert len(first) == 16
    scene.close()
    scene.open()
    assert scene.store.env.meta("store") == first
    other = open_environment(tmp_path / "other")
    assert other.meta("store") != first
    other.close()


def test_a_segment_of_before_stores_had_ids_is_continued(scene):
    scene.commit(3)
    scene.ship()
    scene.close()
    (segment,) = listed(scene.archive)
    with SegmentReader(segment.path) as reader:
        entries, header = list(reader), reader.header
    segment.path.unlink()
    writer = SegmentWriter(scene.archive, msgspec.structs.replace(header, store=""))
    for entry in entries:
        writer.append(entry)
    writer.close()
    scene.open()
    scene.commit(2)
    assert scene.ship().problem == ""
    assert scene.archived() == scene.journal()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_is_a_problem_until_there_is_room_and_nothing_is_missing_then(scene):
    scene.archive.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(scene.archive)], check=True, timeout=30
    )
    try:
        scene.archivist = Archivist(scene.store.env, scene.archive, segment_bytes=50_000)
        for _ in range(5):
            scene.commit(700)
            report = scene.ship()
        assert "No space left" in report.problem
        for _ in range(5):
            assert scene.ship().problem
        assert len(list(scene.archive.iterdir())) < 12
        subprocess.run(["mount", "-o", "remount,size=16m", str(scene.archive)], check=True, timeout=30)
        assert scene.ship().problem == ""
        assert scene.archived() == scene.journal()
    finally:
        scene.close()
        subprocess.run(["umount", str(scene.archive)], check=True, timeout=30)
        scene.open()
