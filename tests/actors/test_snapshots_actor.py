"""The snapshot actor under supervision: when it makes one, who is answered, and what is told when it cannot."""

import asyncio
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import snapshots
from actors.snapshots import SnapshotArgs
from actors.store import StoreArgs
from agentcom.core.messages import AskSnapshotted, Condition, Fault, Maintain, Reply, Snapshotted
from agentcom.runtime import LoopSystemBase
from agentcom.store.disk import Settings
from agentcom.store.env import opened
from agentcom.store.manifests import snapshots_in
from agentcom.store.snapshot_schedule import Rules
from agentcom.store.snapshotting import Failed, Made, Order
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.store.test_pruning import lay, manifest

DEADLINE_S = 30.0
NEVER_S = 100_000.0
said: list[Condition] = []


class Gateway(Supervised):
    """Hears what parts say of themselves."""

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Condition) and msg.name == "snapshots":
            said.append(msg)


class Stage:
    def __init__(self, base: LoopSystemBase, folder: Path) -> None:
        self.base, self.data, self.snapshots = base, folder / "data", folder / "snapshots"
        self.mail: asyncio.Queue[Any] = asyncio.Queue()
        self.port = base.open_port(lambda msg, _: self.mail.put_nowait(msg))

    async def build(self, first_s: float = NEVER_S, every_s: float = NEVER_S, marker: str = "") -> None:
        order = Order(store="", into=str(self.snapshots), version="test", marker=marker)
        args = SnapshotArgs(str(self.data), Rules(every_s, first_s), order)
        children = (
            ChildSpec(name="registry", actor="supervisors.registry:Registry"),
            ChildSpec(
                name="store", actor="actors.store:StoreActor", args=StoreArgs(Settings(str(self.data)))
            ),
            ChildSpec(name="gateway", actor=f"{__name__}:Gateway"),
            ChildSpec(name="snapshots", actor="actors.snapshots:SnapshotActor", args=args),
        )
        self.root = await Root.start(self.base, SupervisorSpec(strategy="rest_for_one", children=children))

    async def send(self, msg: type[Any], request: int = 1, **fields: Any) -> None:
        address = await self.root.where("snapshots")
        assert address is not None
        self.port.send(address, msg(reply_to=self.port.address, request=request, **fields))

    async def reply(self) -> Reply:
        async with asyncio.timeout(DEADLINE_S):
            while not isinstance(reply := await self.mail.get(), Reply):
                pass
        return reply

    async def asks(self, verb: str) -> Any:
        await self.send(Maintain, verb=verb)
        return (await self.reply()).body

    async def promised(self) -> tuple[int, int]:
        await self.send(AskSnapshotted)
        body = (await self.reply()).body
        assert isinstance(body, Snapshotted)
        return body.epoch, body.seq

    async def until(self, met: Callable[[Condition], Any]) -> Condition:
        async with asyncio.timeout(DEADLINE_S):
            while not (said and met(said[-1])):
                await asyncio.sleep(0.01)
        return said[-1]


Scene = Callable[[Stage], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    monkeypatch.setattr(snapshots, "LOOK_S", 0.05)
    said.clear()

    def run_it(scene: Scene) -> None:
        async def inside() -> None:
            base = LoopSystemBase(strict=True, loop=asyncio.get_running_loop())
            stage = Stage(base, tmp_path)
            try:
                await scene(stage)
                await stage.root.stop()
            finally:
                await base.aclose()
                if (left := opened(stage.data)) is not None:
                    left.close()

        asyncio.run(inside())

    return run_it


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> "Held":
    return Held(monkeypatch)


class Held:
    """In place of the tool's process: snapshots that wait for `go`, without content; or `result` comes out.

    Unrealistic: nothing of the store is read.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.runs = threading.Event(), 0
        self.stopped = False
        self.result: Made | Failed | None = None
        monkeypatch.setattr(snapshots, "run", self)
        monkeypatch.setattr(snapshots, "Tool", lambda name: self)

    def __call__(self, _tool: Any, order: Order) -> Made | Failed:
        self.runs += 1
        assert self.go.wait(DEADLINE_S)
        return self.result or self.make(Path(order.into))

    def make(self, into: Path) -> Made:
        of = manifest(1, self.runs, time.time_ns() // 1_000_000)
        return Made(path=str(lay(into, of)), manifest=of, seconds=0.0)

    def stop(self) -> None:
        self.stopped = True
        self.go.set()


def test_one_is_made_when_it_is_due_and_health_and_compaction_hear_of_it(play: Any) -> None:
    async def scene(s: Stage) -> None:
        await s.build(first_s=0.05)
        heard = await s.until(lambda of: of.facts["count"] == 1)
        assert (heard.alerts, heard.facts["folder"]) == ((), str(s.snapshots))
        (only,) = snapshots_in(s.snapshots)
        assert await s.promised() == (only.manifest.epoch, only.manifest.seq)
        assert heard.facts["newest"] == only.path.name

    play(scene)


def test_a_restart_makes_none_before_its_time(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        held.go.set()
        await s.build()
        await s.asks("snapshot.make")
        await s.root.stop()
        await s.build(first_s=0.05)
        await s.until(lambda of: of.facts["count"] == 1 and of.facts["due_s"] > NEVER_S - 100)
        assert held.runs == 1

    play(scene)


def test_what_is_asked_for_is_answered_with_its_manifest_and_who_joins_gets_the_same(
    play: Any, held: Held
) -> None:
    async def scene(s: Stage) -> None:
        await s.build()
        await s.asks("snapshot.list")  # it has looked at its folder
        for request in (1, 2):
            await s.send(Maintain, request, verb="snapshot.make")
        async with asyncio.timeout(DEADLINE_S):
            while not (
                view := await s.asks("snapshot.list")
            ).running:  # what is asked for waits for the first look
                await asyncio.sleep(0.01)
        assert view.snapshots == []
        held.go.set()
        first, second = await s.reply(), await s.reply()
        assert (first.request, second.request) == (1, 2)
        assert first.body == second.body
        assert (first.status, held.runs) == (201, 1)
        view = await s.asks("snapshot.list")
        assert (view.running, view.snapshots) == (False, [first.body.snapshot])

    play(scene)


def test_a_failure_is_told_alerted_and_tried_again(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        held.result = Failed("the disk is full")
        held.go.set()
        await s.build(first_s=0.05, every_s=1.0)
        heard = await s.until(lambda of: any("the disk is full" in each for each in of.alerts))
        assert heard.facts["problem"] == "the disk is full"
        await s.until(lambda _: held.runs > 1)
        held.result = None
        await s.until(lambda of: of.facts["count"] == 1 and "problem" not in of.facts and not of.alerts)

    play(scene)


def test_who_asked_hears_why_there_is_none(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        held.result = Failed("the disk is full")
        held.go.set()
        await s.build()
        body = await s.asks("snapshot.make")
        assert isinstance(body, Fault)
        assert (body.code, body.message) == ("unavailable", "there is no new snapshot: the disk is full")

    play(scene)


def test_a_folder_that_is_gone_promises_nothing_and_comes_back(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        held.go.set()
        await s.build()
        await s.asks("snapshot.make")
        assert await s.promised() == (1, 1)
        away = s.snapshots.with_name("unplugged")
        s.snapshots.rename(away)
        held.result = Failed("mount its disk")
        assert isinstance(await s.asks("snapshot.make"), Fault)
        await s.until(lambda of: of.facts["count"] == 0 and of.alerts)
        assert await s.promised() == (0, 0)
        away.rename(s.snapshots)
        held.result = None
        assert not isinstance(await s.asks("snapshot.make"), Fault)
        await s.until(lambda of: of.facts["count"] == 2 and not of.alerts)

    play(scene)


def test_a_folder_that_cannot_be_read_is_a_state(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async def scene(s: Stage) -> None:
        monkeypatch.setattr(snapshots.schedule, "look", fail)
        await s.build()
        await s.until(lambda of: any("Input/output error" in each for each in of.alerts))
        assert (await s.asks("snapshot.list")).problem
        assert [node.start for node in (await s.root.tree()) if node.name == "snapshots"] == [1]

    play(scene)


def test_snapshots_that_someone_removed_are_not_listed(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        held.go.set()
        await s.build()
        made = await s.asks("snapshot.make")
        assert [each.name for each in (await s.asks("snapshot.list")).snapshots] == [made.snapshot.name]
        shutil.rmtree(made.snapshot.path)
        assert (await s.asks("snapshot.list")).snapshots == []

    play(scene)


def test_a_stop_waits_for_no_snapshot(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        await s.build()
        await s.send(Maintain, verb="snapshot.make")
        await s.until(lambda of: of.facts["running"])
        await s.root.stop()
        body = (await s.reply()).body
        assert isinstance(body, Fault)
        assert held.stopped

    play(scene)


def test_views_go_over_the_wire(play: Any, held: Held) -> None:
    async def scene(s: Stage) -> None:
        held.go.set()
        await s.build()
        for verb in ("snapshot.make", "snapshot.list"):
            body = await s.asks(verb)
            assert msgspec.json.decode(msgspec.json.encode(body), type=type(body)) == body

    play(scene)
