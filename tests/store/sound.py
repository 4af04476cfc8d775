"""A small store with a task in each situation, made as lanes make them, and ways to damage it."""

from pathlib import Path
from typing import Any

from agentcom.core import tasks
from agentcom.core.policy import Policy
from agentcom.core.signature import needs
from agentcom.protocol.bodies import NewTask
from agentcom.protocol.ops import Append, Must, Op, Put
from agentcom.protocol.rows import Idempotent, Mail, Mark, PullRequest, Report, TaskState
from agentcom.store.tables import TABLES, encode_key, encode_row
from tests.store.helpers import LmdbStore, Writer

POLICY = Policy()
NEEDED = needs(("python",))


class Entropy:
    def uniform(self, low: float, high: float) -> float:
        return high

    def task_id(self, now_ms: int) -> str:
        return f"task-{now_ms}"


class Lane:
    """Writes tasks as a lane does."""

    def __init__(self, store: Any) -> None:
        self.writer = Writer(store)
        self.state: dict[str, TaskState] = {}

    def write(self, *ops: Op, must: tuple[Any, ...] = ()) -> None:
        answer = self.writer.commit(*ops, must=must)
        assert getattr(answer, "seq", 0), answer

    def submit(self, n: int, *, key: str = "", **fields: Any) -> str:
        task_id = f"task-{n:020x}"
        new = NewTask(description="do it", idempotency_key=key, **fields)
        step = tasks.create(new, NEEDED, task_id, n, "me", n, POLICY)
        keyed = (Put("idempotency", ("me", key), Idempotent(task_id, "d", n)),) if key else ()
        must = (Must("idempotency", ("me", key)),) if key else ()
        self.write(*step.ops, *keyed, tasks.signature_op(step.state.lane, NEEDED), must=must)
        self.state[task_id] = step.state
        return task_id

    def take(self, task_id: str, step: Any, *more: Op) -> None:
        self.write(*step.ops, *more)
        self.state[task_id] = step.state

    def finish(self, task_id: str) -> None:
        """Assigned, accepted, completed."""
        self.take(task_id, tasks.assign(self.state[task_id], "bob", 50))
        self.take(task_id, tasks.accept(self.state[task_id], 51))
        report = Report(1, "complete", "d", "ok", "bob")
        step = tasks.complete(self.state[task_id], report, 52)
        self.take(task_id, step, tasks.outcome(step.state, report, {"summary": "done"}, 52))


def fill(store: Any) -> Lane:
    """Queued, queued with a key, scheduled, waiting, assigned, completed, cancelled; mail; a pull request."""
    lane = Lane(store)
    lane.submit(1)
    lane.submit(2, key="k", complete_by=9_000)
    lane.submit(3, not_before=9_000)
    waiting = lane.submit(4)
    lane.take(waiting, tasks.park(lane.state[waiting], "its repo is paused", 8_000, 60))
    held = lane.submit(5)
    lane.take(held, tasks.assign(lane.state[held], "bob", 61))
    lane.finish(lane.submit(6))
    gone = lane.submit(7)
    lane.take(gone, tasks.cancel(lane.state[gone], "me", "", 62))
    lane.write(*(Append("mailbox", ("bob",), Mail(f"m{n}", n)) for n in range(3)))
    pull = PullRequest("pr-1", "r", gone, "b", "main", "c", "t", "", (), "bob", 1, 1)
    Writer(store, "directory").commit(
        Put("pull", ("pr-1",), pull), Put("pull_by_task", (gone, "pr-1"), Mark())
    )
    return lane


def sound_store(folder: Path) -> LmdbStore:
    store = LmdbStore(folder)
    fill(store)
    return store


def put_raw(store: Any, table: str, key: tuple[Any, ...], raw: bytes | None) -> None:
    """Change a row behind the journal's back."""
    spec = TABLES[table]
    with store.env.writing() as txn:
        if raw is None:
            txn.delete(spec.number, encode_key(spec, key))
        else:
            txn.put(spec.number, [(encode_key(spec, key), raw)])


def put_row(store: Any, table: str, key: tuple[Any, ...], row: Any) -> None:
    put_raw(store, table, key, encode_row(row))


def raw_of(store: Any, table: str, key: tuple[Any, ...]) -> bytes:
    spec = TABLES[table]
    with store.reading() as view:
        raw = view.get(spec.number, encode_key(spec, key))
    assert raw is not None
    return bytes(raw)
