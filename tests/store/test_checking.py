"""The check before a start: quick after a clean stop, held to the journal's tail after a crash."""

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from agentcom.protocol.rows import Mark
from agentcom.store.checking import check_start
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.layout import Layout
from tests.store.sound import put_raw, put_row, raw_of, sound_store

ID = "task-{:020x}".format


@pytest.fixture
def store(tmp_path):
    made = sound_store(tmp_path)
    yield made
    made.close()


def tool(folder: Path):
    return Tool("checking").run({"store": str(Layout(folder).store)})


def found(store):
    return [(p.table, p.key, p.seq) for p in check_start(store.env).problems]


def test_a_sound_store_passes_after_a_crash_and_after_a_clean_stop(store):
    crashed = check_start(store.env)
    assert (crashed.clean, crashed.problems, crashed.seq, crashed.epoch) == (False, [], 15, 1)
    assert (crashed.entries, crashed.rows > 30) == (15, True)
    store.env.mark_clean()
    clean = check_start(store.env)
    assert (clean.clean, clean.problems, clean.seq, clean.rows) == (True, [], 15, 0)


def test_the_tool_says_the_same(store):
    here = msgspec.to_builtins(check_start(store.env))
    store.close()
    assert tool(store.folder) == here


@pytest.mark.parametrize(
    ("table", "key", "seq"),
    [("task", (ID(6),), 11), ("body", (ID(1),), 1), ("counter", ("tasks", "normal", "queued"), 13)],
)
def test_a_row_the_journal_wrote_must_be_there_as_it_was_written(store, table, key, seq):
    for raw in (raw_of(store, table, key)[:-1] + b"\7", None):
        put_raw(store, table, key, raw)
        assert (table, "/".join(map(str, key)), seq) in found(store)


def test_a_row_the_journal_deleted_must_be_gone(store):
    put_row(store, "by_agent", ("bob", ID(6)), Mark())
    assert found(store) == [("by_agent", f"bob/{ID(6)}", 11)]


def test_only_the_tail_is_compared(store):
    put_raw(store, "body", (ID(1),), None)
    assert check_start(store.env, tail=14).problems == []
    assert check_start(store.env, tail=15).problems != []


def test_a_gap_in_the_tail_is_found(store):
    put_raw(store, "journal", (14,), None)
    assert ("journal", "15", 15) in found(store)


def test_a_damaged_entry_ends_the_comparison_and_is_told(store):
    put_raw(store, "journal", (14,), b"\0\0\0\0rubbish")
    put_raw(store, "body", (ID(1),), None)
    assert found(store) == [("journal", "14", 14)]


def test_a_counter_that_does_not_decode_is_found_after_a_clean_stop_too(store):
    put_raw(store, "counter", ("other", "", ""), b"\0\0\0\0rubbish")
    store.env.mark_clean()
    assert found(store) == [("counter", "other//", 0)]


def test_a_newer_schema_is_told_as_such(store):
    put_row(store, "meta", ("schema",), 99)
    store.close()
    with pytest.raises(ToolFailed) as failed:
        tool(store.folder)
    assert failed.value.kind == "NewerSchema"
    assert "has schema 99" in str(failed.value)


def test_a_file_cut_short_ends_the_tool_and_not_its_caller(store):
    store.close()
    data = store.folder / "store" / "data.mdb"
    os.truncate(data, 3 * 4096)
    with pytest.raises(ToolFailed) as failed:
        tool(store.folder)
    assert failed.value.kind in {"signal", "StoreUnreadable"}


@pytest.mark.parametrize("content", [None, b"", b"\0" * 65_536, b"no store at all " * 4096])
def test_what_is_no_store_is_unreadable(store, content):
    store.close()
    shutil.rmtree(store.folder / "store")
    if content is not None:
        (store.folder / "store").mkdir()
        (store.folder / "store" / "data.mdb").write_bytes(content)
    with pytest.raises(ToolFailed) as failed:
        tool(store.folder)
    assert failed.value.kind == "StoreUnreadable"
