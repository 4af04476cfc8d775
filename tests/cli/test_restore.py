"""`agentcom-admin restore`: what it asks, what it says, and that a dry run changes nothing."""

import json
import shutil

import pytest
from click.testing import CliRunner

from agentcom.cli import admin_store, exits
from agentcom.cli.admin import main
from agentcom.store import restore, restore_sources
from agentcom.store.env import lock_folder
from agentcom.store.layout import Layout
from tests.store.helpers import LmdbStore
from tests.store.history import InProcess, hub_with_history


@pytest.fixture(autouse=True)
def _in_process(monkeypatch):
    monkeypatch.setattr(restore, "Tool", InProcess)
    monkeypatch.setattr(restore_sources, "Tool", InProcess)


@pytest.fixture
def folder(tmp_path):
    return hub_with_history(tmp_path / "hub")


def run(folder, *args, **kwargs):
    return CliRunner().invoke(main, ["restore", "--data", str(folder), *args], **kwargs)


def newest(folder):
    store = LmdbStore(folder)
    found = store.reader.last_seq(), store.env.meta("epoch") or 1
    store.close()
    return found


def test_a_dry_run_tells_the_plan_and_changes_nothing(folder):
    before = newest(folder)
    done = run(folder, "--to", "5", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "5 journal entries after it, up to entry 5" in done.output
    assert "entries 6 to 16 are left out, as was asked for" in done.output
    assert "nothing was changed" in done.output
    assert newest(folder) == before


def test_it_goes_to_an_entry_and_says_where_what_was_there_is_now(folder):
    done = run(folder, "--to", "5", "--yes")
    assert done.exit_code == 0, done.output
    assert "epoch 2 is in force" in done.output
    assert f"what was there before is in {folder / 'aside'}" in done.output
    assert newest(folder)[1] == 2


def test_json_tells_the_same_to_programs(folder):
    done = run(folder, "--json")
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert (body["made"]["reached"], body["made"]["lost"]) == (16, [0, 0])
    assert body["done"]["epoch"] == 2
    assert json.loads(run(folder, "--json", "--dry-run").stdout)["done"] is None


def test_on_a_terminal_it_asks_and_a_no_changes_nothing(folder, monkeypatch):
    monkeypatch.setattr(admin_store, "is_asked", lambda: True)
    before = newest(folder)
    done = run(folder, input="n\n")
    assert "Restore" in done.output
    assert done.exit_code != 0
    assert newest(folder) == before


def test_an_entry_that_there_is_not_is_refused(folder):
    done = run(folder, "--to", "99", "--yes")
    assert (done.exit_code, newest(folder)[1]) == (exits.REFUSED, 1)
    assert "entry 99 cannot be reached: the newest one that is known before it is 16" in done.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--to", "99"), exits.REFUSED),
        (("--to", "2001-01-01T00:00"), exits.REFUSED),
        (("--config", "absent.toml"), exits.USAGE),
    ],
)
def test_with_json_a_refusal_is_an_object(folder, arguments, code):
    done = run(folder, *arguments, "--json")
    told = json.loads(done.stderr)
    assert (done.exit_code, told["exit"], told["error"]) == (code, code, "failed")
    assert told["message"]


def test_with_a_lost_pointer_it_restores_over_the_store_that_is_found_and_says_so(folder):
    (folder / "store").rename(folder / "store-7")
    shutil.copytree(folder / "store-7", folder / "store-6")
    (folder / "store.current").write_text("")
    planned = run(folder, "--dry-run", "--json")
    assert json.loads(planned.stdout)["pointer"] == "store.current is empty; found store-7, up to entry 16"
    assert not list(folder.glob("aside*"))
    done = run(folder, "--yes")
    assert done.exit_code == 0, done.output
    assert "store.current is empty; found store-7, up to entry 16" in done.output
    assert "nothing was lost" in done.output
    assert newest(folder)[1] == 2
    Layout(folder).sweep()
    assert sorted(path.name for path in folder.glob("aside/*/store-*")) == ["store-6", "store-7"]


def test_a_time_before_everything_is_refused(folder):
    done = run(folder, "--to", "2001-01-01T00:00", "--yes")
    assert done.exit_code == exits.REFUSED
    assert "nothing can be restored" in done.output


def test_a_running_hub_is_named_by_its_pid(folder):
    import os

    lock = lock_folder(folder)
    done = run(folder)
    os.close(lock)
    assert done.exit_code == exits.REFUSED
    assert f"in use by process {os.getpid()}" in done.output


def test_a_hub_moves_to_an_empty_folder(folder, tmp_path):
    new = tmp_path / "elsewhere" / "hub"
    args = ("--from", str(folder / "snapshots"), "--archive", str(folder / "archive"))
    assert run(new, *args, "--dry-run").exit_code == 0
    assert not new.exists()
    done = run(new, *args)
    assert done.exit_code == 0, done.output
    assert "what was written from entry 16 on, if anything, could not be brought back" in done.output
    assert newest(new)[1] == 2
    assert restore.records(Layout(new))[0].by_itself is False


@pytest.mark.parametrize("to", ["yesterday", "-5", "10 parsecs"])
def test_a_point_that_is_none_is_bad_usage(folder, to):
    assert run(folder, "--to", to).exit_code == exits.USAGE
