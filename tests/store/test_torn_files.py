"""A file whose pages are gone: verify and the check before a start end with a sentence, never a traceback or a hang."""

import gc
import random
import shutil
from pathlib import Path
from typing import Any

import lmdb
import pytest

from agentcom.store import checking, verifying
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.errors import StoreUnreadable
from tests.store.damage import hurt
from tests.store.sound import sound_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    store = sound_store(tmp_path_factory.mktemp("sound"))
    store.close()
    return store.folder / "store"


def outcome(name: str, store: Path) -> list[dict[str, Any]] | ToolFailed:
    """Its problems, or why there is no list of them."""
    try:
        problems: list[dict[str, Any]] = Tool(name).run({"store": str(store)})["problems"]
    except ToolFailed as failed:
        return failed
    return problems


def check(seed: int, sound: Path, folder: Path) -> None:
    store = folder / f"store-{seed}"
    shutil.copytree(sound, store)
    hurt(store / "data.mdb", random.Random(seed))
    for name in ("checking", "verifying"):
        told = outcome(name, store)
        if isinstance(told, ToolFailed):
            assert told.kind in {"signal", "StoreUnreadable"}, told
        else:
            assert all(problem["table"] and problem["what"] for problem in told)


@pytest.mark.parametrize(("tool", "walk"), [(checking, "check_start"), (verifying, "verify")])
def test_damage_that_ends_the_whole_transaction_is_an_unreadable_store(tool, walk, sound, monkeypatch):
    def fail(*_: object) -> None:
        raise lmdb.BadTxnError("must abort")

    monkeypatch.setattr(tool, walk, fail)
    monkeypatch.setattr(gc, "disable", lambda: None)
    with pytest.raises(StoreUnreadable):
        tool.work({"store": str(sound)})


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_told_in_sentences(seed, sound, tmp_path):
    check(seed, sound, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_a_damaged_file_is_told_in_sentences_whatever_is_damaged(seed, sound, tmp_path):
    check(seed, sound, tmp_path)
