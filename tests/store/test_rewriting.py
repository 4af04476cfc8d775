"""The store's file is rewritten under readers and a writer: nothing is lost, nobody sees an error, it gets smaller."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcom.protocol.ops import Add, Append, Delete, Put
from agentcom.protocol.rows import Mail
from agentcom.store import Reader, handle, open_environment, switching
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.datafile import DataFile
from agentcom.store.foreign import Foreign
from agentcom.store.layout import Layout
from agentcom.store.messages import Committed, Switched, SwitchStore
from agentcom.store.rewriting import Copied, Order
from agentcom.store.transactions import PlainTransaction
from tests.store.helpers import LmdbStore, Writer, all_rows, folded, task

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    made = LmdbStore(tmp_path / "data", sync=False)
    yield made
    made.close()


def copy(store: LmdbStore) -> tuple[str, Copied]:
    place = switching.place(store.env)
    told = Tool("rewriting").run(Order(place.store, place.into))
    return place.into, Copied(**told)


def switch(store: LmdbStore, into: str, seq: int) -> Switched:
    return switching.switch(store.env, SwitchStore(into, seq), store.env.life)


def fill(writer: Writer, count: int) -> None:
    """Rows of every kind, of which few are left."""
    for n in range(count):
        puts = [Put("task", (f"t{n:05d}-{m}",), task(f"t{n}", note="x" * 400)) for m in range(10)]
        writer.commit(
            *puts,
            Add("counter", ("tasks", "normal", "queued"), 10),
            Append("mailbox", ("ada",), Mail("m", n)),
        )
    for n in range(count):
        writer.commit(*(Delete("task", (f"t{n:05d}-{m}",)) for m in range(9)))


def stores(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("store*") if path.is_dir())


def test_a_rewritten_store_has_the_same_rows_in_a_smaller_file(store):
    writer = Writer(store)
    fill(writer, 100)
    before, usage = all_rows(store), store.env.file.usage()
    into, copied = copy(store)
    switched = switch(store, into, copied.seq)
    assert switched.problem == ""
    assert all_rows(store) == before == folded(store)
    assert switched.bytes_before == usage.bytes
    assert usage.bytes - usage.free_bytes == pytest.approx(copied.bytes, rel=0.02)
    assert switched.bytes_after < switched.bytes_before * 0.8  # the journal still has it all
    assert isinstance(writer.commit(Add("counter", ("tasks", "normal", "queued"), 1)), Committed)
    assert store.reader.count("tasks", "normal", "queued") == 1001


def test_what_was_committed_since_the_copy_is_added_at_the_switch(store):
    writer = Writer(store)
    fill(writer, 5)
    into, copied = copy(store)
    fill(writer, 7)
    writer.commit(Append("mailbox", ("bob",), Mail("m", 1)))
    with store.env.writing() as txn:  # what belongs to the file itself is not in the journal
        store.env.put_meta(txn, "epoch", 3)
    switched = switch(store, into, copied.seq)
    assert (switched.problem, switched.entries) == ("", 15)
    assert all_rows(store) == folded(store)
    assert store.env.meta("epoch") == 3
    assert store.env.meta("life") == store.env.life
    assert writer.commit(Append("mailbox", ("bob",), Mail("m", 2))).appended == (2,)


def test_the_next_start_opens_the_new_store_and_the_old_one_is_gone(store):
    writer = Writer(store)
    fill(writer, 5)
    for name in ("store-1", "store-2"):
        into, copied = copy(store)
        assert switch(store, into, copied.seq).problem == ""
        for path in store.env.close_retired():
            switching._remove([path])
        assert stores(store.folder) == [name]
    before = all_rows(store)
    life = store.env.life
    store.reopen()
    assert all_rows(store) == before
    assert store.env.life == life + 1
    assert store.env.file.folder.name == "store-2"


def test_a_view_of_the_old_file_stays_whole_and_keeps_it_until_it_is_done(store):
    writer = Writer(store)
    fill(writer, 5)
    reader = Reader(handle(store.folder))
    with reader.snapshot() as old:
        seq = old.seq
        into, copied = copy(store)
        assert switch(store, into, copied.seq).problem == ""
        writer.commit(Delete("task", ("t00000-9",)))
        assert store.env.close_retired() == []
        assert (old.seq, old.get("task", ("t00000-9",)).id) == (seq, "t0")
        assert reader.get("task", ("t00000-9",)) is None
    assert [path.name for path in store.env.close_retired()] == ["store"]
    assert store.env.retired == []


def test_whoever_waits_for_the_old_file_to_write_writes_the_new_one(store):
    fill(Writer(store), 2)
    into, _ = copy(store)
    waiting, env = threading.Event(), store.env
    old, lock = env.file, env.file.redo.lock

    class Gate:
        """The old file's lock, which tells that somebody else waits for it."""

        def acquire(self) -> None:
            if threading.current_thread() is thread:
                waiting.set()
            lock.acquire()

        def release(self) -> None:
            lock.release()

    old.redo.lock = Gate()
    thread = threading.Thread(target=env.begin_life)
    new = DataFile(Path(into))
    new.open_tables()
    new.begin_log(sync=False)
    with env.writing() as turn:
        turn.in_vain()
        thread.start()
        waiting.wait(20)
        env.replace(new)
    thread.join(20)
    assert env.meta("life") == env.life == 2
    assert Reader(old).get("meta", ("life",)) == 1
    old.redo.lock = lock


def test_a_writer_and_readers_go_on_through_every_switch(store):
    stop, errors, seen = threading.Event(), [], [0] * 3
    tickets: list[int] = []

    def write() -> None:
        writer = Writer(store)
        n = 0
        while not stop.is_set():
            with turn:
                answer = writer.commit(
                    Put("task", (f"t{n % 50}",), task(f"t{n}")), Append("mailbox", ("ada",), Mail("m", n))
                )
            tickets.append(answer.seq)
            n += 1
            stop.wait(0.001)

    def read(which: int) -> None:
        reader = Reader(handle(store.folder))
        while not stop.is_set():
            with reader.snapshot() as snap:
                assert snap.seq >= seen[which]
                seen[which] = snap.seq
                newest = snap.scan("mailbox", ("ada",), limit=1, reverse=True)
                assert sum(key[1] for key, _ in newest) == snap.head("mailbox", "ada") == snap.seq
            stop.wait(0.001)

    def guarded(what: Any, *args: int) -> None:
        try:
            what(*args)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            stop.set()

    turn = threading.Lock()  # the store's thread does one thing at a time
    threads = [threading.Thread(target=guarded, args=(write,))]
    threads += [threading.Thread(target=guarded, args=(read, n)) for n in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        at = len(tickets)
        while not (len(tickets) > at + 20 and all(seen)) and not stop.is_set():
            stop.wait(0.001)
        into, copied = copy(store)
        with turn:
            assert switch(store, into, copied.seq).problem == ""
            switching.sweep(store.env)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert tickets == list(range(1, len(tickets) + 1))
    assert all_rows(store) == folded(store)
    assert all(seen)


# --- what stands in its way ------------------------------------------------------------------------


def test_a_copy_that_lacks_trimmed_entries_is_not_used_and_nothing_has_changed(store):
    writer = Writer(store)
    fill(writer, 3)
    into, copied = copy(store)
    fill(writer, 3)
    before = all_rows(store)
    with store.env.writing() as txn:
        for seq in range(1, copied.seq + 3):
            txn.delete(31, seq.to_bytes(8, "big"))
    switched = switch(store, into, copied.seq)
    assert switched.problem == (
        f"journal entry {copied.seq + 1} is needed and was trimmed; the first one left is {copied.seq + 3}"
    )
    assert all_rows(store) == before
    assert stores(store.folder) == ["store"]
    assert isinstance(writer.commit(Put("task", ("a",), task("a"))), Committed)


def test_a_copy_with_other_rows_than_the_store_is_not_used(store):
    fill(Writer(store), 3)
    into, copied = copy(store)
    bad = DataFile(Path(into))
    bad.open_tables()
    with PlainTransaction(bad) as txn:
        txn.delete(1, b"t00000-9\0")
    bad.raw.close()
    assert switch(store, into, copied.seq).problem == "the copy has 2 rows in table task, the store has 3"
    assert stores(store.folder) == ["store"]


def test_a_copy_that_is_far_behind_is_not_waited_for(store, monkeypatch):
    monkeypatch.setattr(switching, "MAX_TAIL", 3)
    writer = Writer(store)
    into, copied = copy(store)
    fill(writer, 3)
    assert "writes too fast" in switch(store, into, copied.seq).problem


def test_a_store_of_a_later_life_does_not_switch_for_an_earlier_one(store):
    into, copied = copy(store)
    store.env.begin_life()
    switched = switching.switch(store.env, SwitchStore(into, copied.seq), store.env.life - 1)
    assert switched.problem == "life 2 began after 1"
    assert Layout(store.folder).store.name == "store"


def test_the_pointer_that_cannot_be_written_leaves_the_old_store_in_force(store, monkeypatch):
    into, copied = copy(store)
    (store.folder / "store.current.new").mkdir()
    assert "store.current.new" in switch(store, into, copied.seq).problem
    assert isinstance(Writer(store).commit(Put("task", ("a",), task("a"))), Committed)
    assert store.env.file.folder.name == "store"


def test_a_disk_that_fails_when_the_pointer_is_in_place_is_not_survived(store, monkeypatch):
    """Nobody knows whether its name is on disk: the process must end, and the next start reads what is."""
    into, copied = copy(store)
    really = Layout.switch_to

    def fails(self: Layout, path: Path) -> None:
        really(self, path)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Layout, "switch_to", fails)
    with pytest.raises(OSError, match="Input/output"):
        switch(store, into, copied.seq)


def test_what_an_interrupted_attempt_left_is_removed_by_the_next(store):
    copy(store)
    second = switching.place(store.env)
    assert stores(store.folder) == ["store", Path(second.into).name]
    assert not list(Path(second.into).iterdir())


STEPS = {
    "rewrite.begun": ("store", 50),
    "rewrite.copied": ("store", 50),
    "rewrite.caught_up": ("store", 50),
    "rewrite.synced": ("store", 60),
    "rewrite.switched": ("store-1", 60),
    "rewrite.swept": ("store-1", 70),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_a_whole_store_is_in_force(tmp_path, step):
    args = [sys.executable, "-m", "tests.store.dying", str(tmp_path), step]
    done = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode == -9) == (STEPS[step][1] > 50), done.stderr
    in_force, rows = STEPS[step]
    assert re.findall(r"written (\d+)", done.stdout)[-1] == str(rows)
    assert Layout(tmp_path).store.name == in_force
    Layout(tmp_path).sweep()
    assert stores(tmp_path) == [in_force]
    store = LmdbStore(tmp_path)
    assert len(store.reader.scan("task")) == rows
    assert all_rows(store) == folded(store)
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_copy_with_a_sentence_and_the_store_goes_on(small_disk):
    store = LmdbStore(small_disk, sync=False)
    writer = Writer(store)
    for n in range(100):
        writer.commit(*(Put("task", (f"t{n}-{m}",), task("t", note="x" * 1000)) for m in range(20)))
    store.env.redo.checkpoint()
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * 4096
    filler.write_bytes(bytes(free - (2 << 20)))
    with pytest.raises(ToolFailed, match=r"there is no room in .*; free some"):
        copy(store)
    switching.place(store.env)  # removes what the failed one left
    assert os.statvfs(small_disk).f_bavail > 300
    assert isinstance(writer.commit(Put("task", ("a",), task("a"))), Committed)
    store.close()


def test_a_running_copy_of_another_process_goes_on_with_the_old_file(store):
    """As a snapshot's does: LMDB's file is not changed by the switch, only its name goes."""
    fill(Writer(store), 3)
    code = (
        "import sys, pathlib; from agentcom.store.foreign import Foreign; from agentcom.store import Reader\n"
        "with Foreign(pathlib.Path(sys.argv[1])) as old, Reader(old).snapshot() as snap:\n"
        "    print('open', flush=True); sys.stdin.readline(); print(len(snap.scan('task')), flush=True)"
    )
    args = [sys.executable, "-c", code, str(store.env.file.folder)]
    with subprocess.Popen(args, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        into, copied = copy(store)
        assert switch(store, into, copied.seq).problem == ""
        switching._remove(store.env.close_retired())
        assert stores(store.folder) == ["store-1"]
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "3\n"


def test_a_copy_is_read_like_any_other_store(store):
    fill(Writer(store), 3)
    into, copied = copy(store)
    with Foreign(Path(into)) as found:
        assert Reader(found).last_seq() == copied.seq
    open_environment(store.folder / "other").close()
