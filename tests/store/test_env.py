"""One folder, one hub; damage and newer files are told, not read."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest

from agentcom.protocol.ops import Add, Delete, Put
from agentcom.protocol.rows import Mark
from agentcom.store import (
    CorruptRow,
    DataFolderLocked,
    Engine,
    NewerSchema,
    Reader,
    StoreClosed,
    env,
    handle,
    open_environment,
    transactions,
)
from agentcom.store.env import opened
from agentcom.store.errors import SupersededStore
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.tables import TABLES, encode_key
from tests.store.helpers import LmdbStore, Writer, all_rows, folded, task

ROOT = Path(__file__).parents[2]


def test_a_second_hub_is_refused_with_the_pid_of_the_first(tmp_path):
    held = open_environment(tmp_path)
    code = "import sys, pathlib, agentcom.store as s; s.open_environment(pathlib.Path(sys.argv[1]))"
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert second.returncode != 0
    assert f"{tmp_path} is in use by process {os.getpid()}" in second.stderr
    with pytest.raises(DataFolderLocked) as refused:
        open_environment(tmp_path)
    assert refused.value.pid == os.getpid()
    held.close()
    open_environment(tmp_path).close()


def test_a_newer_schema_is_refused_and_stays_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "SCHEMA", 7)
    open_environment(tmp_path).close()
    monkeypatch.undo()
    before = (tmp_path / "store" / "data.mdb").read_bytes()
    with pytest.raises(NewerSchema, match="has schema 7, this release knows up to 2"):
        open_environment(tmp_path)
    assert (tmp_path / "store" / "data.mdb").read_bytes() == before
    monkeypatch.setattr(env, "SCHEMA", 7)
    open_environment(tmp_path).close()


def test_each_open_is_a_new_life_and_a_clean_stop_is_remembered_once(tmp_path):
    first = open_environment(tmp_path)
    assert (first.life, first.was_clean) == (1, False)
    first.mark_clean()
    first.close()
    second = open_environment(tmp_path)
    assert (second.life, second.was_clean) == (2, True)
    second.close()
    third = open_environment(tmp_path)
    assert (third.life, third.was_clean) == (3, False)
    third.close()
    third.close()
    assert third.closed


def test_an_engine_of_an_earlier_life_writes_no_more(tmp_path):
    """A crashed store actor's thread may still be at it when the next one takes the environment over."""
    store = LmdbStore(tmp_path)
    lane = Writer(store)
    lane.commit(Put("task", ("a",), task("a")))
    store.env.begin_life()
    with pytest.raises(SupersededStore):
        lane.commit(Put("task", ("b",), task("b")))
    assert [key for key, _ in store.reader.scan("task")] == [("a",)]
    assert opened(tmp_path) is store.env
    store.close()
    assert opened(tmp_path) is None


def test_a_reader_made_by_handle_outlives_a_reopen_and_can_be_pickled(tmp_path):
    reader = pickle.loads(pickle.dumps(Reader(handle(tmp_path))))
    with pytest.raises(StoreClosed, match="is not open"):
        reader.last_seq()
    store = LmdbStore(tmp_path)
    Writer(store).commit(Put("task", ("a",), task("a")))
    assert reader.last_seq() == 1
    store.reopen()
    assert reader.get("task", ("a",)) == task("a")
    store.close()


def test_a_damaged_row_is_named_and_its_neighbours_are_served(tmp_path):
    store = LmdbStore(tmp_path)
    Writer(store).commit(Put("task", ("a",), task("a")), Put("task", ("b",), task("b")))
    table = TABLES["task"]
    with store.env.writing() as txn:
        raw = bytearray(txn.get(table.number, encode_key(table, ("a",))))
        raw[-1] ^= 1
        txn.put(table.number, [(encode_key(table, ("a",)), bytes(raw))])
    with pytest.raises(CorruptRow, match=r"'task' at \('a',\)"):
        store.reader.get("task", ("a",))
    with pytest.raises(CorruptRow):
        store.reader.scan("task")
    assert store.reader.get("task", ("b",)) == task("b")
    store.close()


def test_bytes_flipped_in_the_file_do_not_pass_as_a_row(tmp_path):
    store = LmdbStore(tmp_path)
    Writer(store).commit(Put("task", ("a",), task("a", note="find me here")))
    store.close()
    file = tmp_path / "store" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"find me here", b"find m3 here"))
    store = LmdbStore(tmp_path)
    with pytest.raises(CorruptRow):
        store.reader.get("task", ("a",))
    store.close()


def test_readers_may_be_on_any_thread(tmp_path):
    store = LmdbStore(tmp_path)
    Writer(store).commit(Put("task", ("a",), task("a")))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(store.reader.get("task", ("a",)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [task("a")] * 4
    store.close()


def test_the_reserve_is_kept_for_deletes(tmp_path):
    opened = open_environment(tmp_path, max_bytes=1)
    engine = Engine(opened, reserve=1)
    (lane,) = engine.commit(Open("lane.low"))
    put = Commit("lane.low", lane.incarnation, 1, "e", (Put("task", ("t",), task("t")),))
    counted = (Delete("task", ("t",)), Add("counter", ("n", "", ""), -1))
    assert engine.commit(put)[0].code == "storage_full"
    (lane,) = engine.commit(Open("lane.low"))
    answer = engine.commit(Commit("lane.low", lane.incarnation, 1, "e", counted))[0]
    assert isinstance(answer, Committed)
    assert Reader(opened).count("n") == -1
    opened.close()


def test_a_full_map_is_answered_and_served_again_when_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "MAP_SIZE", 1 << 20)
    store = LmdbStore(tmp_path)
    lane = Writer(store)
    wide = [Put("task", (f"t{n}",), task(f"t{n}", note="x" * 2000)) for n in range(400)]
    assert lane.commit(*wide).code == "storage_full"
    lane.open()
    assert store.reader.scan("task") == []
    assert isinstance(lane.commit(wide[0]), Committed)
    store.close()


def test_what_is_not_full_is_not_answered_as_full(tmp_path):
    assert transactions.is_full(lmdb.MapFullError("x"))
    assert transactions.is_full(OSError(28, "No space left on device"))
    assert not transactions.is_full(lmdb.CorruptedError("x"))
    assert not transactions.is_full(OSError(5, "Input/output error"))


def _write_until_killed(folder: str, told: Any) -> None:
    store = LmdbStore(Path(folder))
    lane = Writer(store)
    n = store.reader.count("n")
    while True:
        n += 1
        add = Add("counter", ("n", "", ""), 1)
        answer = lane.commit(Put("task", (f"{n:08}",), task("t")), add, Put("due", ("low", n, "t"), Mark()))
        assert isinstance(answer, Committed)
        told.send(n)


@pytest.mark.slow
def test_kill_nine_loses_nothing_acknowledged_and_shows_no_half_commit(tmp_path):
    """Process death only: a power cut is another matter, which this cannot show."""
    spawn = multiprocessing.get_context("spawn")
    acknowledged = 0
    for round_ in range(8):
        ours, theirs = spawn.Pipe(duplex=False)
        child = spawn.Process(target=_write_until_killed, args=(str(tmp_path), theirs), daemon=True)
        child.start()
        theirs.close()
        for _ in range(20 + 7 * round_):
            assert ours.poll(60)
            acknowledged = ours.recv()
        child.kill()
        child.join(60)
        try:
            while ours.poll(0):
                acknowledged = ours.recv()
        except EOFError:
            pass  # all that was told has been heard
        _check_after_kill(tmp_path, acknowledged)


def _check_after_kill(folder: Path, acknowledged: int) -> None:
    store = LmdbStore(folder)
    count = store.reader.count("n")
    assert acknowledged <= count <= acknowledged + 1
    assert len(store.reader.scan("task", limit=100_000)) == count
    assert len(store.reader.scan("due", limit=100_000)) == count
    assert not store.env.was_clean
    assert folded(store) == all_rows(store)
    store.close()
