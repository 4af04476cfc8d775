"""How fast the store alone is, beside a bare LMDB and SQLite: `python -m benchmarks store`.

Here: `commit`, writers in a closed loop through the real store actor. All are measured in turns in one process, a piece
of each a round, so that what else the machine does meets them all alike. Verify, snapshots and restarts have figures of
their own names in this family.

As a program it reads a `Plan` and writes `Measured`, one JSON line each.
May import: actors.store, agentcom.{hub, protocol, runtime, store}, supervisors, lmdb, sqlite3, uvloop,
benchmarks.{peers, specs, stats}.
"""

import asyncio
import contextlib
import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import structlog
import uvloop

from actors.store import StoreArgs
from agentcom.hub import SWITCH_INTERVAL_S
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import TaskState
from agentcom.runtime import LoopSystemBase
from agentcom.store.messages import Answers, Commit, Committed, Open, Opened
from agentcom.store.settings import Settings
from agentcom.store.tables import TABLES, encode_key, encode_row
from benchmarks.peers import MAP_BYTES
from benchmarks.specs import Outcome
from benchmarks.stats import spread
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec

ROUNDS = 3
WARMUP_S = 0.2  #: of each piece; does not count
WRITERS = (1, 64, 512)
BUSY_SHARE = 0.7  #: of the loop's time, taken by an actor that computes
BUSY_STEP_S = 0.0005  #: as long as it computes at a time


class Plan(msgspec.Struct, frozen=True):
    folder: str
    seconds: float  #: of each figure, all rounds together


Measured = dict[str, Outcome]
_numbers = count()


def task() -> TaskState:
    """One that was never stored: ids rise with time, as the hub's do."""
    number = next(_numbers)
    return TaskState(
        f"task-{number:020x}", "normal", "queued", number, "0123456789abcdef", 1, 1, "somebody",
        idempotency_key=f"key-{number:016x}",
    )  # fmt: skip


class Tally:
    """How long each commit of one figure took, and for how long it was measured."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.seconds = 0.0
        self.waited = 0.0  #: seconds that threads of this process waited for a core meanwhile

    def outcome(self) -> Outcome:
        queued = self.waited / self.seconds if self.seconds else 0.0
        return Outcome(
            count=len(self.durations), seconds=self.seconds, spread=spread(self.durations), queued=queued
        )


# --- the store, by its actor ---------------------------------------------------------------------------


class Writer:
    """One name that commits a task, and the next one when that is on disk."""

    def __init__(self, base: LoopSystemBase, store: Any, name: str) -> None:
        self.name, self.store = name, store
        self.port = base.open_port(self._receive)
        self.incarnation = self.ticket = 0
        self.tally: Tally | None = None
        self.idle = asyncio.Event()
        self.port.send(store, Open(name))

    def begin(self, tally: Tally) -> None:
        self.tally = tally
        self.idle.clear()
        self._commit()

    def _receive(self, message: object, _sender: object) -> None:
        if isinstance(message, Opened):
            self.incarnation = message.incarnation
            self.idle.set()
        elif isinstance(message, Answers):
            self._answered(message)

    def _answered(self, message: Answers) -> None:
        for item in message.items:
            if not isinstance(item, Committed):
                raise TypeError(f"{self.name} was refused: {item}")
            if self.tally is None:
                self.idle.set()
            else:
                self.tally.durations.append(time.perf_counter() - self.sent)
                self._commit()

    def _commit(self) -> None:
        self.ticket += 1
        row = task()
        self.sent = time.perf_counter()
        self.port.send(
            self.store,
            Commit(self.name, self.incarnation, self.ticket, "bench", (Put("task", (row.id,), row),)),
        )


class Hall:
    """A tree with nothing but the store in it, and as many writers as any figure needs."""

    def __init__(self, base: LoopSystemBase, root: Root, store: Any) -> None:
        self.base, self.root = base, root
        self.writers = [Writer(base, store, f"lane.bench-{n}") for n in range(max(WRITERS))]

    @classmethod
    async def build(cls, folder: Path) -> "Hall":
        base = LoopSystemBase(loop=asyncio.get_running_loop())
        child = ChildSpec(
            name="store", actor="actors.store:StoreActor", args=StoreArgs(Settings(str(folder)))
        )
        root = await Root.start(base, SupervisorSpec(children=(child,)))
        hall = cls(base, root, await root.where("store"))
        await asyncio.gather(*(writer.idle.wait() for writer in hall.writers))
        return hall

    async def measure(self, writers: int, seconds: float, tally: Tally, *, busy: bool) -> None:
        working = self.writers[:writers]
        async with computing(BUSY_SHARE if busy else 0.0):
            for writer in working:
                writer.begin(Tally())
            await asyncio.sleep(WARMUP_S)
            began, waited = time.perf_counter(), waited_for_cores()
            for writer in working:
                writer.tally = tally
            await asyncio.sleep(seconds)
            tally.seconds += time.perf_counter() - began
            tally.waited += waited_for_cores() - waited
            for writer in working:
                writer.tally = None
            await asyncio.gather(*(writer.idle.wait() for writer in working))

    async def close(self) -> None:
        await self.root.stop()
        await self.base.aclose()


def waited_for_cores() -> float:
    """Seconds in which threads of this process could have run and had no core; 0 where the kernel does not tell.

    This, and not the store, is the tail of a commit's time where other programs keep the cores busy.
    """
    files = Path("/proc/self/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[1]) for file in files) / 1e9


@contextlib.asynccontextmanager
async def computing(share: float) -> Any:
    """Somebody on this loop computes for so much of the time, in steps, meanwhile."""
    busy = asyncio.create_task(_compute(share)) if share else None
    try:
        yield
    finally:
        if busy is not None:
            busy.cancel()


async def _compute(share: float) -> None:
    began, spent = time.perf_counter(), 0.0
    while True:
        now = time.perf_counter()
        if spent < share * (now - began):
            while (took := time.perf_counter() - now) < BUSY_STEP_S:
                pass
            spent += took
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.001)


# --- the peers -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def bare_lmdb(folder: Path) -> Iterator[Callable[[], None]]:
    """One put a transaction, synced."""
    table = TABLES["task"]
    with lmdb.open(str(folder), map_size=MAP_BYTES, max_spare_txns=8, sync=True) as env:

        def commit() -> None:
            row = task()
            with env.begin(write=True) as txn:
                txn.put(encode_key(table, (row.id,)), encode_row(row))

        yield commit


@contextlib.contextmanager
def sqlite_wal(folder: Path) -> Iterator[Callable[[], None]]:
    """One insert a transaction in WAL mode with synchronous=FULL: synced at each commit, as ours."""
    table = TABLES["task"]
    with contextlib.closing(sqlite3.connect(folder / "peer.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE task (id BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")

        def commit() -> None:
            row = task()
            db.execute("INSERT INTO task VALUES (?, ?)", (encode_key(table, (row.id,)), encode_row(row)))

        yield commit


def measure_peer(commit: Callable[[], None], seconds: float, tally: Tally) -> None:
    """One commit after the other; the last one counts whole."""
    began = now = time.perf_counter()
    while now - began < seconds:
        commit()
        before, now = now, time.perf_counter()
        tally.durations.append(now - before)
    tally.seconds += now - began


# --- all of it -----------------------------------------------------------------------------------------


def name_of(writers: int, *, busy: bool) -> str:
    return f"store{writers}{'_busy' if busy else ''}"


async def commits(folder: Path, seconds: float) -> Measured:
    """Every figure of the family `commit`; `seconds` of each, in rounds."""
    kinds = {name_of(n, busy=busy): (n, busy) for n in WRITERS for busy in (False, True)}
    tallies = {name: Tally() for name in ("store_lmdb", "store_sqlite", *kinds)}
    piece = seconds / ROUNDS
    for place in ("lmdb", "sqlite"):
        (folder / place).mkdir(parents=True)
    with bare_lmdb(folder / "lmdb") as put, sqlite_wal(folder / "sqlite") as insert:
        hall = await Hall.build(folder / "data")
        for _ in range(ROUNDS):
            measure_peer(put, piece, tallies["store_lmdb"])
            measure_peer(insert, piece, tallies["store_sqlite"])
            for name, (writers, busy) in kinds.items():
                await hall.measure(writers, piece, tallies[name], busy=busy)
        await hall.close()
    return {name: tally.outcome() for name, tally in tallies.items()}


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # stdout is for the figures
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="store-", dir=plan.folder) as folder:
        found = uvloop.run(commits(Path(folder), plan.seconds))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    main()
