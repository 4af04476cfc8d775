"""Compaction's actor under supervision: a rewrite ends with a smaller file, a failed one leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors import compaction, file_rewriter
from actors.compaction import CompactionArgs
from actors.store import StoreArgs
from agentcom.core.clock_trust import DAY_MS
from agentcom.core.compaction import Found, RewriteRules
from agentcom.core.messages import (
    Archived,
    AskArchived,
    AskSnapshotted,
    Fault,
    Keep,
    Maintain,
    Reply,
    Snapshotted,
)
from agentcom.protocol.ops import Delete, Put
from agentcom.runtime import LoopSystemBase
from agentcom.store import Reader, handle
from agentcom.store.child import ToolFailed
from agentcom.store.disk import Settings
from agentcom.store.env import opened
from agentcom.store.messages import Answers, Commit, Open, Opened
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.store.helpers import task

DEADLINE_S = 20.0
KEEP = Keep(1, 1, 1, 1, 1, 1)
NEVER = RewriteRules(0.99, 1 << 40)


class Keeper(Supervised):
    """Has all of the journal, as archive and as snapshots."""

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, AskArchived):
            self.send(msg.reply_to, Reply(msg.request, Archived(1_000_000)))
        elif isinstance(msg, AskSnapshotted):
            self.send(msg.reply_to, Reply(msg.request, Snapshotted(1, 1_000_000)))


class Stage:
    def __init__(self, base: LoopSystemBase, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.reader = Reader(handle(folder))
        self.mail: asyncio.Queue[Any] = asyncio.Queue()
        self.port = base.open_port(lambda msg, _: self.mail.put_nowait(msg))

    async def build(self, **args: Any) -> None:
        given = {"keep": KEEP, "journal_s": 0.001, "rules": NEVER, "every_s": 3_600.0, "slice": 10, **args}
        here = f"{__name__}:Keeper"
        children = (
            ChildSpec(name="registry", actor="supervisors.registry:Registry"),
            ChildSpec(
                name="store", actor="actors.store:StoreActor", args=StoreArgs(Settings(str(self.folder)))
            ),
            ChildSpec(name="archive", actor=here),
            ChildSpec(name="snapshots", actor=here),
            ChildSpec(
                name="compaction",
                actor="actors.compaction:CompactionActor",
                args=CompactionArgs(str(self.folder), **given),
            ),
        )
        self.root = await Root.start(self.base, SupervisorSpec(strategy="rest_for_one", children=children))

    async def fill(self) -> None:
        store = await self.root.where("store")
        self.port.send(store, Open("lane.normal"))
        while not isinstance(opened_ := await self.next(), Opened):
            pass
        keys = [(f"t{n}",) for n in range(300)]
        for ticket, ops in enumerate(
            (
                tuple(Put("task", key, task(str(key[0]), note="x" * 1000)) for key in keys),
                tuple(Delete("task", key) for key in keys[1:]),
            ),
            1,
        ):
            self.port.send(store, Commit("lane.normal", opened_.incarnation, ticket, "test", ops))
            while not isinstance(await self.next(), Answers):
                pass

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            return await self.mail.get()

    async def asks(self, verb: str) -> Any:
        """Asked again while the actor that answers is starting."""
        async with asyncio.timeout(DEADLINE_S):
            while (address := await self.root.where("compaction")) is None or isinstance(
                body := await self.asked(address, verb), Fault
            ):
                await asyncio.sleep(0.01)
        return body

    async def asked(self, address: Any, verb: str) -> Any:
        self.port.send(address, Maintain(reply_to=self.port.address, request=1, verb=verb))
        while not isinstance(reply := await self.next(), Reply):
            pass
        return reply.body

    async def compacted(self) -> Any:
        view = await self.asks("compaction.run")
        wanted = view.asked
        async with asyncio.timeout(DEADLINE_S):
            while view.done < wanted:
                await asyncio.sleep(0.01)
                view = await self.asks("compaction.get")
        return view


def on_stage(folder: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        base = LoopSystemBase(strict=True, loop=asyncio.get_running_loop())
        try:
            await scene(Stage(base, folder))
        finally:
            await base.aclose()
            if (left := opened(folder)) is not None:
                left.close()

    asyncio.run(main())


def stores(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("store*") if path.is_dir())


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not met():
            await asyncio.sleep(0.01)


def test_a_rewrite_that_is_asked_for_trims_the_journal_and_gives_the_room_back(tmp_path):
    async def scene(stage: Stage) -> None:
        await stage.build()
        await stage.fill()
        view = await stage.compacted()
        assert (view.problem, view.state) == ("", "idle")
        assert view.removed["entries of the journal"] == 1  # the newest stays
        assert view.last.bytes_after < view.last.bytes_before
        assert [key for key, _ in stage.reader.scan("task")] == [("t0",)]
        await until(lambda: stores(tmp_path) == ["store-1"])  # the store's upkeep removes the old one
        await stage.root.stop()

    on_stage(tmp_path, scene)


def test_a_file_with_much_free_room_is_rewritten_by_itself(tmp_path):
    async def scene(stage: Stage) -> None:
        await stage.build(rules=RewriteRules(0.2, 1), every_s=0.05)
        await stage.fill()
        await until(lambda: (tmp_path / "store.current").exists())
        await stage.root.stop()

    on_stage(tmp_path, scene)


class Broken:
    """The tool as it is when its process is killed: what it wrote is still there."""

    def __init__(self, name: str) -> None:
        pass

    def run(self, order: Any) -> Any:
        (Path(order.into) / "data.mdb").write_bytes(b"half")
        raise ToolFailed("rewriting", "signal", "it was ended by SIGKILL")

    def stop(self) -> None:
        pass


def test_a_copy_that_fails_is_removed_and_said_and_nothing_else_has_changed(tmp_path, monkeypatch):
    async def scene(stage: Stage) -> None:
        await stage.build()
        await stage.fill()
        before = stage.reader.scan("task")
        monkeypatch.setattr(file_rewriter, "Tool", Broken)
        view = await stage.compacted()
        assert view.problem == "rewriting: it was ended by SIGKILL"
        assert stores(tmp_path) == ["store"]
        assert stage.reader.scan("task") == before
        monkeypatch.undo()
        view = await stage.compacted()
        assert (view.problem, view.done) == ("", 2)
        await stage.root.stop()

    on_stage(tmp_path, scene)


def test_without_room_for_a_copy_none_is_begun(tmp_path, monkeypatch):
    async def scene(stage: Stage) -> None:
        await stage.build()
        monkeypatch.setattr(file_rewriter, "look", lambda _: tuple(Found(1 << 30, 0, 1 << 20)))
        view = await stage.compacted()
        assert "the disk has 1 MB left" in view.problem
        assert stores(tmp_path) == ["store"]
        await stage.root.stop()

    on_stage(tmp_path, scene)


def test_while_the_clock_is_not_believed_nothing_is_removed_and_the_file_is_still_looked_after(
    tmp_path, monkeypatch
):
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(compaction, "leap_of", lambda *_: 40 * DAY_MS)
        await stage.build()
        await stage.fill()
        view = await stage.compacted()
        assert (view.removed, view.problem) == ({}, "")
        assert view.last.bytes_after < view.last.bytes_before
        await stage.root.stop()

    on_stage(tmp_path, scene)


@pytest.mark.parametrize("who", ["compaction", "store"])
def test_a_crash_in_the_middle_of_a_copy_leaves_nothing_that_a_later_one_would_not_remove(tmp_path, who):
    async def scene(stage: Stage) -> None:
        await stage.build()
        await stage.fill()
        view = await stage.asks("compaction.run")
        while view.state != "rewriting":
            view = await stage.asks("compaction.get")
        await stage.root.crash(who)
        view = await stage.compacted()
        assert view.problem == ""
        assert [key for key, _ in stage.reader.scan("task")] == [("t0",)]
        await until(lambda: len(stores(tmp_path)) == 1)
        await stage.root.stop()

    on_stage(tmp_path, scene)
