"""`agentcom-admin verify` says what it walked and each problem on a line, and its exit code says how it went."""

import json

import pytest
from click.testing import CliRunner

from agentcom.cli import admin_verify, exits
from agentcom.cli.admin import main
from agentcom.protocol.rows import Mark
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.env import SCHEMA
from tests.store.sound import put_raw, put_row, sound_store

ID = "task-{:020x}".format


@pytest.fixture
def store(tmp_path):
    made = sound_store(tmp_path / "data")
    yield made
    made.close()


def verify(store, *flags):
    return CliRunner().invoke(main, ["verify", "--data", str(store.folder), *flags])


def test_a_sound_store_in_use_ends_with_0_and_says_what_was_walked(store):
    ended = verify(store)
    assert ended.exit_code == 0, ended.output
    assert "history       13" in ended.output
    assert "epoch 1, up to journal entry 15" in ended.output
    assert "15 journal entries up to 15 were folded onto nothing" in ended.output
    assert ended.output.endswith("no problem was found\n")


def test_each_problem_is_a_line_and_the_end_is_not_0(store):
    put_raw(store, "body", (ID(1),), None)
    put_row(store, "by_submitter", ("eve", ID(1)), Mark())
    ended = verify(store)
    assert ended.exit_code == exits.DAMAGED
    lines = [line for line in ended.output.splitlines() if line.startswith("PROBLEM")]
    assert lines == [
        f"PROBLEM body {ID(1)} (journal entry 1): the row is missing: its task exists",
        f"PROBLEM by_submitter eve/{ID(1)}: the row is too many: its task is queued in lane normal",
    ]
    assert "2 problems were found" in ended.output


def test_rows_only_does_not_fold(store):
    ended = verify(store, "--rows-only")
    assert ended.exit_code == 0
    assert "not folded: only the rows were asked for" in ended.output


def test_json_is_the_whole_report(store):
    ended = verify(store, "--json")
    assert ended.exit_code == 0
    report = json.loads(ended.output)
    assert (report["problems"], report["seq"], report["rows"]["task"]) == ([], 15, 7)


def test_without_a_snapshot_and_the_journals_beginning_it_says_that_there_was_nothing_to_fold_onto(store):
    put_raw(store, "journal", (1,), None)
    ended = verify(store)
    assert ended.exit_code == 0
    assert "not folded: there is no snapshot to begin with" in ended.output


def test_a_folder_without_a_store_is_bad_usage(tmp_path):
    ended = CliRunner().invoke(main, ["verify", "--data", str(tmp_path)])
    assert ended.exit_code == exits.USAGE
    assert f"there is no store in {tmp_path}" in ended.output


@pytest.mark.parametrize("arguments", [(), ("--config", "absent.toml")])
def test_with_json_bad_usage_is_an_object(tmp_path, arguments):
    ended = CliRunner().invoke(main, ["verify", "--data", str(tmp_path), "--json", *arguments])
    assert json.loads(ended.stderr)["exit"] == ended.exit_code == exits.USAGE


def test_with_a_lost_pointer_the_store_that_is_found_is_looked_at_and_nothing_is_changed(store):
    store.close()
    (store.folder / "store").rename(store.folder / "store-7")
    (store.folder / "store.current").write_text("gar\0bage")
    told = "store.current names no store; found store-7, up to entry 15"
    assert json.loads(verify(store, "--json").stdout)["pointer"] == told
    ended = verify(store)
    assert (ended.exit_code, told in ended.output) == (exits.OK, True)
    assert (store.folder / "store.current").read_text() == "gar\0bage"


def test_what_is_no_store_is_told_as_damaged(store):
    store.close()
    (store.folder / "store" / "data.mdb").write_bytes(b"rubbish" * 4096)
    ended = verify(store)
    assert ended.exit_code == exits.DAMAGED
    assert "cannot be read to its end" in ended.output


def test_a_newer_store_is_refused_and_not_called_damaged(store):
    put_row(store, "meta", ("schema",), 99)
    ended = verify(store)
    assert ended.exit_code == exits.REFUSED
    assert f"has schema 99, this release knows up to {SCHEMA}" in ended.output


@pytest.mark.parametrize(
    ("word", "code"), [("SIGBUS", exits.DAMAGED), ("SIGKILL", exits.REFUSED), ("SIGTERM", exits.REFUSED)]
)
def test_a_store_is_called_damaged_only_if_reading_it_ended_the_reader(store, monkeypatch, word, code):
    class Ended(Tool):
        def run(self, argument):
            raise ToolFailed("verifying", "signal", f"it was ended by {word}")

    monkeypatch.setattr(admin_verify, "Tool", Ended)
    ended = verify(store)
    assert ended.exit_code == code
    assert word in ended.output
