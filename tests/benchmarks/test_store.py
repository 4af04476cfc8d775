"""The store's benchmark: what it measures is really committed, and every figure has a name."""

import asyncio
import sqlite3

import pytest

from agentcom.store import Reader, open_environment
from benchmarks import store
from benchmarks.figures import KINDS, of_commits, shares
from benchmarks.specs import Outcome
from benchmarks.stats import spread


def test_every_counted_commit_is_in_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "WRITERS", (1, 3))
    monkeypatch.setattr(store, "WARMUP_S", 0.0)
    found = asyncio.run(store.commits(tmp_path, 0.15))
    assert set(found) == {"store_lmdb", "store_sqlite", "store1", "store1_busy", "store3", "store3_busy"}
    assert all(outcome.count and outcome.seconds >= 0.15 for outcome in found.values())
    ours = sum(outcome.count for name, outcome in found.items() if name[5].isdigit())
    opened = open_environment(tmp_path / "data")
    assert opened.was_clean
    assert Reader(opened).last_seq() == len(Reader(opened).scan("task", limit=1_000_000)) >= ours
    opened.close()
    with sqlite3.connect(tmp_path / "sqlite" / "peer.sqlite") as db:
        assert db.execute("SELECT count(*) FROM task").fetchone() == (found["store_sqlite"].count,)


def test_sqlite_syncs_each_commit_as_we_do(tmp_path, monkeypatch):
    asked = []
    connect = sqlite3.connect

    def watched(*args, **kwargs):
        asked.append(connect(*args, **kwargs))
        return asked[0]

    monkeypatch.setattr(sqlite3, "connect", watched)
    with store.sqlite_wal(tmp_path) as insert:
        insert()
        assert asked[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert asked[0].execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("writers", store.WRITERS)
def test_each_figure_has_a_line_and_its_ratio(writers):
    outcome = Outcome(count=100, seconds=1.0, spread=spread([0.001] * 100))
    names = (store.name_of(writers, busy=False), store.name_of(writers, busy=True), "store_lmdb")
    figures = [figure for name in names for figure in of_commits(name, 0, outcome)]
    assert {figure.name for figure in figures} >= {f"{name}.rate" for name in names}
    assert all(figure.name in KINDS for figure in figures)
    assert [figure.value for figure in shares(figures)] == [1.0]
