"""Stores to test against, and short ways to write commits."""

from pathlib import Path
from typing import Any

from agentcom.protocol.ops import Op
from agentcom.protocol.rows import TaskState
from agentcom.store import Engine, Environment, MemoryStore, Reader, open_environment
from agentcom.store.commits import Answer
from agentcom.store.fold import fold
from agentcom.store.messages import Commit, Open, Opened
from agentcom.store.tables import BY_NUMBER, UNFOLDED

LANE = "lane.normal"


class LmdbStore:
    """`MemoryStore`'s face over a data folder."""

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self.folder, self.sync = folder, sync
        self._open()

    def _open(self) -> None:
        self.env: Environment = open_environment(self.folder, sync=self.sync)
        self.engine = Engine(self.env)
        self.reader = Reader(self.env)

    def reopen(self) -> None:
        self.env.close()
        self._open()

    def commit(self, *commits: Any) -> list[Answer]:
        return self.engine.commit(*commits)

    def reading(self) -> Any:
        return self.env.reading()

    def close(self) -> None:
        self.env.close()


Store = MemoryStore | LmdbStore


class Writer:
    """An actor's side of the store: its incarnation and rising tickets."""

    def __init__(self, store: Store, name: str = LANE) -> None:
        self.store, self.name, self.ticket = store, name, 0
        self.open()

    def open(self) -> None:
        (opened,) = self.store.commit(Open(self.name))
        assert isinstance(opened, Opened)
        self.incarnation = opened.incarnation

    def asks(self, *ops: Op, must: tuple[Any, ...] = (), event: str = "test") -> Commit:
        self.ticket += 1
        return Commit(self.name, self.incarnation, self.ticket, event, ops, must)

    def commit(self, *ops: Op, must: tuple[Any, ...] = ()) -> Any:
        return self.store.commit(self.asks(*ops, must=must))[0]


def task(task_id: str, **fields: Any) -> TaskState:
    given = {
        "lane": "normal",
        "phase": "queued",
        "order": 1,
        "signature": "s",
        "created_ms": 1,
        "updated_ms": 1,
    }
    return TaskState(**{"id": task_id, "submitter": "me", **given, **fields})


def all_rows(store: Any) -> dict[tuple[int, bytes], bytes]:
    """Every raw row that the journal should fold to."""
    with store.reading() as view:
        return {
            (number, key): value
            for number, table in BY_NUMBER.items()
            if table.name not in UNFOLDED
            for key, value in view.forward(number, b"", None)
        }


def folded(store: Store) -> dict[tuple[int, bytes], bytes]:
    entries = store.reader.scan("journal", limit=1_000_000)
    assert [key[0] for key, _ in entries] == list(range(1, len(entries) + 1))
    return fold(entry for _, entry in entries)
