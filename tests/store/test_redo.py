"""What a power cut may leave of LMDB's file, and that nothing acknowledged is missing after it.

The disk is simulated at its worst: every page that was written since the last finished flush has, each by itself,
any of the contents it had meanwhile.
"""

import errno
import os
import random
import shutil
import tempfile
import threading
from pathlib import Path

import hypothesis.strategies as st
import lmdb
import pytest
from hypothesis import given, settings

from agentcom.protocol.ops import Add, Append, Delete, Put
from agentcom.protocol.rows import Mail
from agentcom.store import redo, redo_format
from agentcom.store.errors import StorageFull
from agentcom.store.messages import Committed, Failed
from agentcom.store.redo import Redo
from tests.store.helpers import LmdbStore, Writer, all_rows, folded, task

PAGE = 4096


class Gate:
    """Holds checkpoints' flushes back until the test lets them go."""

    def __init__(self, monkeypatch):
        self.open = threading.Event()
        self.open.set()
        flush = Redo._flush_pages

        def held(me, record):
            self.open.wait(30)
            flush(me, record)

        monkeypatch.setattr(Redo, "_flush_pages", held)


@pytest.fixture
def gate(monkeypatch):
    """Checkpoints begin only when a test says so."""
    monkeypatch.setattr(redo, "EVERY_S", 1e9)
    return Gate(monkeypatch)


class Life:
    """A store on a disk that forgets: `versions` are the file's contents since the last finished flush began."""

    def __init__(self, folder, gate):
        self.store, self.gate = LmdbStore(folder), gate
        self.lane = Writer(self.store)
        self.data = folder / "store" / "data.mdb"
        self.versions = [self.data.read_bytes()]
        self.begun = None

    def commit(self, rng):
        ops = [Put("task", (f"t{rng.randrange(40)}",), task("t", order=rng.randrange(9))) for _ in range(3)]
        ops += [Delete("task", (f"t{rng.randrange(40)}",)), Add("counter", ("n", "", ""), 1)]
        ops.append(Append("mailbox", ("a",), Mail("m" * rng.randrange(900), 1)))
        assert isinstance(self.lane.commit(*ops), Committed)
        self.versions.append(self.data.read_bytes())

    def begin(self, _rng):
        """A checkpoint's flush is on its way; commits go on."""
        if self.begun is None:
            self.gate.open.clear()
            self.begun = len(self.versions) - 1
            self.store.env.redo._begin()

    def finish(self, _rng):
        if self.begun is not None:
            self.gate.open.set()
            self.store.env.redo._wait()
            self.versions = self.versions[self.begun :]
            self.begun = None

    def cut(self, folder, rng):
        """The data folder as the power cut leaves it."""
        kept = all_rows(self.store)
        shutil.copytree(self.data.parent, folder / "store")
        (folder / "store" / "data.mdb").write_bytes(self._mixed(rng))
        self._torn(folder / "store", rng)
        self.finish(rng)
        self.store.close()
        return kept

    def _mixed(self, rng):
        size = max(map(len, self.versions))
        padded = [version.ljust(size, b"\0") for version in self.versions]
        return b"".join(rng.choice(padded)[at : at + PAGE] for at in range(0, size, PAGE))

    def _torn(self, store, rng):
        """What was on its way at that moment: an entry nobody was told of, and a checkpoint half written."""
        with (store / redo_format.LOGS[self.store.env.redo._which]).open("r+b") as log:
            log.seek(self.store.env.redo._at)
            log.write(rng.randbytes(rng.randrange(400)))
        newest = redo_format.newest_checkpoint(store).number
        with (store / redo_format.CHECKPOINT).open("r+b") as marks:
            marks.seek((newest + 1) % 2 * redo_format.SLOT)
            marks.write(rng.randbytes(200))


def survives(steps, seed, gate):
    """Two power cuts: what the first one left in the logs must not confuse the second."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "0"
        for number in range(1, 3):
            life = Life(folder, gate)
            for step in steps:
                getattr(life, step)(rng)
            folder = Path(name) / str(number)
            kept = life.cut(folder, rng)
            after = LmdbStore(folder)
            assert all_rows(after) == kept
            assert folded(after) == kept
            assert not after.env.was_clean
            after.close()


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.sampled_from(["commit", "commit", "commit", "begin", "finish"]), max_size=25),
    st.integers(0, 2**32),
)
def test_a_power_cut_takes_nothing_that_was_acknowledged(steps, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redo, "EVERY_S", 1e9)
        survives(["commit", *steps], seed, Gate(patch))


@pytest.mark.slow
def test_no_power_cut_in_a_long_run_takes_anything(gate):
    for seed in range(40):
        rng = random.Random(seed)
        survives(rng.choices(["commit", "begin", "finish"], [8, 1, 1], k=120), seed, gate)


def test_without_the_pin_a_power_cut_would_tear_the_file(gate, monkeypatch):
    """So that the tests above would see it: LMDB reuses the pages of a state that nobody reads."""
    begin = Redo._begin

    def unpinned(me):
        begin(me)
        me._next_pin.abort()
        me._next_pin = None

    monkeypatch.setattr(Redo, "_begin", unpinned)
    seen = []
    for seed in range(20):
        try:
            survives(["commit"] * 12, seed, gate)
        except Exception as error:  # noqa: BLE001  # a torn tree fails in any way
            seen.append(error)
    assert len(seen) > 10


def test_under_the_same_kernel_the_file_is_trusted_as_it_is(tmp_path, gate):
    life = Life(tmp_path, gate)
    life.commit(random.Random(1))
    assert redo_format.recover(tmp_path / "store") == []
    assert life.data.read_bytes() == life.versions[-1]
    life.store.close()


def test_after_a_flush_that_failed_not_even_the_same_kernel_is_trusted(tmp_path, gate, monkeypatch):
    life = Life(tmp_path, gate)
    life.commit(random.Random(1))
    kept = all_rows(life.store)

    def fail(*_):
        raise OSError(errno.EIO, "the disk is broken")

    with monkeypatch.context() as broken:
        broken.setattr(redo, "trickle", fail)
        with pytest.raises(OSError, match="broken"):
            life.store.env.redo.checkpoint()
    assert redo_format.newest_checkpoint(tmp_path / "store").place == ("", 0, 0)
    shutil.copytree(tmp_path / "store", tmp_path / "next" / "store")
    after = LmdbStore(tmp_path / "next")
    assert all_rows(after) == kept
    after.close()
    life.store.close()


def test_entries_that_lmdb_could_not_take_do_not_come_back(tmp_path, gate, monkeypatch):
    life = Life(tmp_path / "a", gate)
    rng = random.Random(1)
    life.commit(rng)
    kept = all_rows(life.store)

    class Full:
        def __init__(self, txn):
            self._txn = txn

        def __getattr__(self, name):
            return getattr(self._txn, name)

        def commit(self):
            self._txn.abort()
            raise lmdb.MapFullError("full")

    raw = life.store.env.raw

    class Raw:
        def __getattr__(self, name):
            return getattr(raw, name)

        def begin(self, **kinds):
            return Full(raw.begin(**kinds)) if kinds.get("write") else raw.begin(**kinds)

    life.store.env.file.raw = Raw()
    answer = life.lane.commit(Put("task", ("lost",), task("lost")))
    assert isinstance(answer, Failed)
    assert answer.code == "storage_full"
    life.store.env.file.raw = raw
    assert life.cut(tmp_path / "b", rng) == kept
    after = LmdbStore(tmp_path / "b")
    assert all_rows(after) == kept
    after.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_log_without_room_is_storage_full_and_changes_nothing(tmp_path, gate, monkeypatch, code):
    life = Life(tmp_path, gate)
    kept = all_rows(life.store)

    def pwrite(*_):
        raise OSError(code, "no room")

    with monkeypatch.context() as full:
        real = os.pwrite
        full.setattr(os, "pwrite", lambda fd, data, at: pwrite() if len(data) > 16 else real(fd, data, at))
        answer = life.lane.commit(Put("task", ("x",), task("x")))
    assert isinstance(answer, Failed)
    assert answer.code == "storage_full"
    assert all_rows(life.store) == kept
    life.lane.open()
    life.commit(random.Random(2))
    life.store.close()


def test_a_short_write_is_a_full_disk(monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda *_: 1)
    with pytest.raises(StorageFull, match="only 1 of 3"):
        redo_format.put(7, b"abc", 0)


def test_a_flush_of_one_log_never_waits_for_the_other_turn(tmp_path, gate):
    """Logs are reused by turns, and both stay small however long the hub runs."""
    life = Life(tmp_path, gate)
    rng = random.Random(3)
    for _ in range(30):
        life.commit(rng)
        life.begin(rng)
        life.finish(rng)
    assert sum((tmp_path / "store" / name).stat().st_size for name in redo_format.LOGS) < 2 << 20
    life.store.close()
