"""A snapshot is a state the store was in, or it does not count: with writers, kills, full disks and damage."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentcom.protocol.ops import Put
from agentcom.store import child, pruning, snapshotting, steps
from agentcom.store.copying import NoRoom
from agentcom.store.fold import fold
from agentcom.store.foreign import Foreign
from agentcom.store.layout import Layout
from agentcom.store.manifests import DATA, MANIFEST, name_of, read_manifest, snapshots_in, write_manifest
from agentcom.store.proving import digest_of
from agentcom.store.reader import Reader
from agentcom.store.snapshotting import (
    LOCK,
    Failed,
    Made,
    NotProven,
    Order,
    SnapshotRefused,
    make,
    run,
)
from agentcom.store.tables import TABLES, encode_row
from tests.small_disk import small_disk
from tests.store.helpers import LmdbStore, Writer, all_rows
from tests.store.history import InProcess
from tests.store.sound import put_raw, sound_store

STEPS = [step for step in steps.STEPS if step.startswith("snapshot.")]
ROOT = Path(__file__).parent.parent.parent


def order(folder: Path, **fields: Any) -> Order:
    """For a store in FOLDER/data."""
    given = {
        "store": str(Layout(folder / "data").store),
        "into": str(folder / "snapshots"),
        "version": "test",
    }
    return Order(**{**given, **fields})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof runs in this process: for tests that damage nothing which would end it."""
    monkeypatch.setattr(child, "Tool", InProcess)
    monkeypatch.setattr("agentcom.store.proving.resting", contextlib.nullcontext)


@pytest.fixture
def closed(tmp_path: Path, quick: None) -> Path:
    """A folder with a sound store that nobody has open."""
    sound_store(tmp_path / "data").close()
    return tmp_path


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    def act_at(step: str, act: Callable[[], None]) -> None:
        monkeypatch.setattr(steps.Hook, "act", staticmethod(lambda name: act() if name == step else None))

    return act_at


def rows_of(path: Path) -> dict[tuple[int, bytes], bytes]:
    with Foreign(path, lock=False) as copy:
        return all_rows(copy)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".") and path.name != LOCK)


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0xFF
    path.write_bytes(raw)


def change(store: LmdbStore, n: int, value: Any = 1) -> None:
    Writer(store, "directory").commit(Put("config", (f"c{n}",), value))


# --- a state of the store -------------------------------------------------------------------------------


class Busy:
    """Commits as fast as it can, two rows that belong together each time, until it is told to stop."""

    def __init__(self, folder: Path) -> None:
        self.store = LmdbStore(folder)
        self.writer = Writer(self.store, "directory")
        self.stop, self.n = threading.Event(), 0
        self.thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self.stop.is_set():
            self.n += 1
            self.writer.commit(Put("config", (f"n{self.n:06}",), self.n), Put("config", ("last",), self.n))

    def __enter__(self) -> "Busy":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.store.close()


def test_a_copy_taken_while_others_write_is_what_the_journal_up_to_its_entry_folds_to(tmp_path: Path) -> None:
    with Busy(tmp_path / "data") as busy:
        made = run(child.Tool("snapshotting"), order(tmp_path))
        assert isinstance(made, Made), made
        seq = made.manifest.seq
        assert 0 < seq < busy.store.reader.last_seq()  # the writer went on
        entries = busy.store.reader.scan("journal", limit=seq)
        assert entries[-1][0] == (seq,)
    assert rows_of(Path(made.path)) == fold(entry for _, entry in entries)
    assert made.manifest.entry_ms == entries[-1][1].ms


def test_the_manifest_says_what_is_in_it(closed: Path) -> None:
    made = make(order(closed))
    path, told = Path(made.path), made.manifest
    assert path == closed / "snapshots" / name_of(1, told.seq)
    assert (told.bytes, told.digest) == digest_of(path / DATA)
    with Foreign(path, lock=False) as copy, Reader(copy).snapshot() as view:
        assert view.seq == told.seq
        assert told.rows["task"] == len(view.scan("task")) == 7
    assert set(told.rows) == set(TABLES)
    assert [each.manifest for each in snapshots_in(closed / "snapshots")] == [told]
    assert (path.stat().st_mode & 0o777, (path / DATA).stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_store_of_a_later_epoch_names_its_line(closed: Path) -> None:
    store = LmdbStore(closed / "data")
    put_raw(store, "meta", ("epoch",), encode_row(2))
    put_raw(store, "meta", ("line",), encode_row([[1, 7]]))
    store.close()
    told = make(order(closed)).manifest
    assert (told.epoch, told.line) == (2, ((1, 7),))


# --- nothing new ----------------------------------------------------------------------------------------


def test_when_nothing_was_committed_the_newest_is_read_again_and_is_as_good_as_new(closed: Path) -> None:
    first = make(order(closed))
    inode = (Path(first.path) / DATA).stat().st_ino
    second = make(order(closed))
    assert second.renewed
    assert second.path == first.path
    assert (Path(first.path) / DATA).stat().st_ino == inode
    assert second.manifest.made_ms > first.manifest.made_ms
    assert read_manifest(Path(first.path)) == second.manifest


def test_one_that_its_disk_changed_since_is_made_anew(closed: Path) -> None:
    first = make(order(closed))
    flip(Path(first.path) / DATA, first.manifest.bytes - 1)
    second = make(order(closed))
    assert not second.renewed
    assert digest_of(Path(second.path) / DATA)[1] == second.manifest.digest


def test_a_folder_with_its_name_but_no_manifest_is_replaced(closed: Path) -> None:
    first = make(order(closed))
    (Path(first.path) / MANIFEST).unlink()
    assert snapshots_in(closed / "snapshots") == []
    assert make(order(closed)).path == first.path
    assert len(snapshots_in(closed / "snapshots")) == 1


# --- what does not count --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_leaves_no_half_snapshot_and_the_next_one_works(
    tmp_path: Path, step: str
) -> None:
    sound_store(tmp_path / "data").close()
    given = order(tmp_path)
    argument = msgspec.json.encode(given).decode()
    dead = subprocess.run(
        [sys.executable, "-m", "tests.store.dying_snapshot", step, argument], cwd=ROOT, check=False
    )
    assert dead.returncode == -signal.SIGKILL
    found = snapshots_in(tmp_path / "snapshots")
    assert len(found) == (step in ("snapshot.named", "snapshot.pruned"))
    for each in found:
        assert digest_of(each.path / DATA)[1] == each.manifest.digest
    made = run(child.Tool("snapshotting"), given)
    assert isinstance(made, Made), made
    assert len(snapshots_in(tmp_path / "snapshots")) == 1
    assert leftovers(tmp_path / "snapshots") == []


def test_a_copy_that_changes_on_its_way_to_disk_does_not_count(closed: Path, at_step: Any) -> None:
    snapshots = closed / "snapshots"
    at_step("snapshot.copied", lambda: flip(next(snapshots.glob(".making-*")) / DATA, 20_000))
    with pytest.raises(NotProven, match="not what was written: look at its disk"):
        make(order(closed))
    assert snapshots_in(snapshots) == []
    assert leftovers(snapshots) == []


def test_a_damaged_row_of_the_store_is_an_alarm_about_the_store(closed: Path) -> None:
    store = LmdbStore(closed / "data")
    put_raw(store, "task", ("task-broken",), b"\0\0\0\0rubbish")
    store.close()
    with pytest.raises(NotProven, match=r"STORE may be damaged.*agentcom-admin verify.*task task-broken"):
        make(order(closed))
    assert snapshots_in(closed / "snapshots") == []


def test_a_store_that_ends_who_copies_it_is_an_alarm_about_the_store(tmp_path: Path) -> None:
    store = sound_store(tmp_path / "data")
    store.close()
    os.truncate(Layout(tmp_path / "data").store / DATA, 8_192)
    done = run(child.Tool("snapshotting"), order(tmp_path))
    assert isinstance(done, Failed)
    assert "STORE may be damaged" in done.why, done.why
    assert snapshots_in(tmp_path / "snapshots") == []


def test_a_copy_that_somebody_ended_says_nothing_of_the_store(tmp_path: Path) -> None:
    class Ended(child.Tool):
        def run(self, argument: Any) -> Any:
            raise child.ToolFailed("snapshotting", "signal", "it was ended by SIGKILL")

    assert run(Ended("snapshotting"), order(tmp_path)) == Failed("it was ended by SIGKILL")


def test_the_snapshots_there_are_outlive_a_failure(closed: Path, at_step: Any) -> None:
    kept = make(order(closed)).path
    store = LmdbStore(closed / "data")
    put_raw(store, "task", ("task-broken",), b"\0\0\0\0rubbish")
    change(store, 1)
    store.close()
    for _ in range(3):
        with pytest.raises(NotProven):
            make(order(closed, hourly=1, daily=1))
    assert [str(each.path) for each in snapshots_in(closed / "snapshots")] == [kept]


# --- the folder -----------------------------------------------------------------------------------------


def test_a_folder_that_was_begun_is_not_begun_again_below_a_disk_that_is_not_mounted(closed: Path) -> None:
    given = order(closed, into=str(closed / "disk" / "snapshots"), marker=str(closed / "data" / "begun"))
    (closed / "disk").mkdir()
    make(given)
    (closed / "disk").rename(closed / "unplugged")
    for mount in (lambda: None, lambda: (closed / "disk" / "snapshots").mkdir(parents=True)):
        mount()
        with pytest.raises(SnapshotRefused, match="mount its disk, or delete"):
            make(given)
    (closed / "disk" / "snapshots").rmdir()
    (closed / "disk").rmdir()
    (closed / "unplugged").rename(closed / "disk")
    assert make(given).renewed
    (closed / "disk").rename(closed / "unplugged")
    Path(given.marker).unlink()  # as the sentence says
    assert not make(given).renewed


def test_snapshots_of_another_store_are_left_alone(closed: Path) -> None:
    made = make(order(closed))
    path = Path(made.path)
    stranger = msgspec.structs.replace(made.manifest, store="somebody else")
    write_manifest(path, stranger)
    with pytest.raises(SnapshotRefused, match="has snapshots of another store"):
        make(order(closed))
    assert read_manifest(path) == stranger


def test_two_do_not_write_one_folder_at_a_time(closed: Path, at_step: Any) -> None:
    refused: list[str] = []

    def again() -> None:
        try:
            make(order(closed))
        except SnapshotRefused as error:
            refused.append(str(error))

    at_step("snapshot.copied", again)
    make(order(closed))
    assert len(refused) == 1
    assert "another process" in refused[0]
    assert len(snapshots_in(closed / "snapshots")) == 1


def test_a_file_in_the_folders_place_is_told(closed: Path) -> None:
    (closed / "snapshots").write_text("")
    with pytest.raises(SnapshotRefused, match="is a file; move it away"):
        make(order(closed))


def test_what_cannot_be_removed_is_told_and_the_new_one_counts(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "old")

    monkeypatch.setattr(snapshotting, "prune", fail)
    made = make(order(closed))
    assert "cannot be removed" in made.problem
    assert len(snapshots_in(closed / "snapshots")) == 1


def test_a_new_one_removes_what_is_not_kept_any_longer(closed: Path) -> None:
    for n in range(4):
        made = make(order(closed, hourly=1, daily=1))
        store = LmdbStore(closed / "data")
        change(store, n)
        store.close()
    assert len(made.removed) == 1
    assert len(snapshots_in(closed / "snapshots")) == pruning.ALWAYS


def test_no_room_is_said_before_the_disk_is_full(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshotting, "RESERVE", 1 << 60)
    with pytest.raises(NoRoom, match=r"are needed and .* are free"):
        make(order(closed))
    assert leftovers(closed / "snapshots") == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Any]:
    with small_disk(tmp_path / "small", 4) as disk:
        yield disk


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_next_one_works_when_there_is_room(
    tmp_path: Path, small: Any, quick: None
) -> None:
    store = sound_store(tmp_path / "data")
    for n in range(900):
        change(store, n, "x" * 1_000)
    store.close()
    given = order(tmp_path, into=str(tmp_path / "small" / "snapshots"))
    filler = tmp_path / "small" / "filler"
    filler.write_bytes(b"x" * (3 << 20))
    with pytest.raises(NoRoom):
        make(given)
    assert snapshots_in(Path(given.into)) == []
    filler.unlink()
    assert make(given).manifest.rows["config"] == 900
