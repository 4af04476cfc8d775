"""The archive's actor under supervision, beside a real store, on the strict loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.archive import ArchiveActor, ArchiveArgs
from actors.store import StoreArgs
from agentcom.core.messages import Archived, AskArchived, Condition, Reply
from agentcom.protocol.ops import Put
from agentcom.runtime import LoopSystemBase
from agentcom.store import Reader, handle
from agentcom.store.archiving import Archivist
from agentcom.store.disk import Settings
from agentcom.store.env import opened
from agentcom.store.messages import Answers, Commit, Open, Opened, Trim, Trimmed
from agentcom.store.replay import entries_along
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.store.helpers import task

DEADLINE_S = 30.0
LANE = "lane.normal"
said: list[Condition] = []


class Gateway(Supervised):
    """Keeps what it is told for `/health`."""

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Condition):
            said.append(msg)


class Hall:
    """A store, an archive and a gateway, and a port that commits, trims and asks."""

    def __init__(self, base: LoopSystemBase, folder: Path) -> None:
        self.base, self.data, self.archive = base, folder / "data", folder / "archive"
        self.reader = Reader(handle(self.data))
        self.mail: list[Any] = []
        self.port = base.open_port(lambda msg, _: self.mail.append(msg))
        self.ticket = 0

    async def build(self) -> None:
        args = ArchiveArgs(str(self.data), str(self.archive), every_s=0.01, segment_bytes=2_000)
        children = (
            ChildSpec(
                name="store",
                actor="actors.store:StoreActor",
                args=StoreArgs(Settings(str(self.data), sync=False)),
            ),
            ChildSpec(name="gateway", actor=f"{__name__}:Gateway"),
            ChildSpec(name="archive", actor="actors.archive:ArchiveActor", args=args),
        )
        self.root = await Root.start(self.base, SupervisorSpec(children=children))
        await self.ask("store", Open(LANE))
        self.incarnation = (await self.heard(Opened)).incarnation

    async def ask(self, name: str, msg: Any) -> None:
        self.mail.clear()
        address = await self.root.where(name)
        assert address is not None
        self.port.send(address, msg)

    async def heard(self, kind: type) -> Any:
        return await until(lambda: next((m for m in self.mail if isinstance(m, kind)), None))

    async def commit(self, number: int) -> None:
        for _ in range(number):
            self.ticket += 1
            put = Put("task", ("t",), task("t", order=self.ticket))
            await self.ask("store", Commit(LANE, self.incarnation, self.ticket, "test", (put,)))
            await self.heard(Answers)

    async def archived(self) -> int:
        await self.ask("archive", AskArchived(reply_to=self.port.address, request=7))
        reply = await self.heard(Reply)
        assert reply.request == 7
        assert isinstance(reply.body, Archived)
        return reply.body.seq

    def seqs(self) -> list[int]:
        return [entry.seq for entry in entries_along(self.archive, (), 1)]


async def until(met: Callable[[], Any]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while not (found := met()):
            await asyncio.sleep(0.005)
    return found


def newest() -> Condition:
    return said[-1] if said else Condition("archive", {})


def hold(folder: Path, scene: Callable[[Hall], Awaitable[None]]) -> None:
    async def main() -> None:
        base = LoopSystemBase(strict=True, loop=asyncio.get_running_loop())
        hall = Hall(base, folder)
        try:
            await hall.build()
            await scene(hall)
        finally:
            await base.aclose()
            left = opened(hall.data)
            if left is not None:
                left.close()

    said.clear()
    asyncio.run(main())


def test_every_commit_is_archived_soon_and_health_says_so(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.commit(20)
        await until(lambda: newest().facts.get("archived_seq") == 20)
        assert newest().facts["lag"] == 0
        assert newest().alerts == ()
        assert await hall.archived() == 20
        assert hall.seqs() == list(range(1, 21))

    hold(tmp_path, scene)


def test_a_folder_that_cannot_be_used_is_an_alert_that_goes_when_it_can(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.commit(3)
        await until(lambda: newest().facts.get("archived_seq") == 3)
        hall.archive.rename(tmp_path / "away")
        hall.archive.write_text("in the way")
        await until(lambda: newest().alerts)
        assert "is a file; move it away" in newest().alerts[0]
        await hall.commit(3)
        assert await hall.archived() == 0
        hall.archive.unlink()
        (tmp_path / "away").rename(hall.archive)
        await until(lambda: newest().facts.get("archived_seq") == 6)
        assert newest().alerts == ()
        assert hall.seqs() == list(range(1, 7))

    hold(tmp_path, scene)


def test_an_orderly_stop_ships_what_is_left(tmp_path):
    async def scene(hall: Hall) -> None:
        await until(lambda: said)
        await hall.commit(40)
        await hall.root.stop()
        assert hall.seqs() == list(range(1, 41))

    hold(tmp_path, scene)


def test_commits_made_during_the_last_pass_are_shipped_by_an_orderly_stop(tmp_path, monkeypatch):
    has_read, stop_came = threading.Event(), threading.Event()
    ship, on_stop = Archivist.ship, ArchiveActor.on_stop
    holding = False

    def slow_ship(self: Archivist, now_ms: int) -> Any:
        report = ship(self, now_ms)
        if holding and not has_read.is_set():
            has_read.set()
            assert stop_came.wait(DEADLINE_S)
        return report

    def noted_stop(self: ArchiveActor) -> None:
        on_stop(self)
        stop_came.set()

    monkeypatch.setattr(Archivist, "ship", slow_ship)
    monkeypatch.setattr(ArchiveActor, "on_stop", noted_stop)

    async def scene(hall: Hall) -> None:
        nonlocal holding
        await hall.commit(5)
        holding = True
        await until(has_read.is_set)
        await hall.commit(5)
        await hall.root.stop()
        assert hall.seqs() == list(range(1, 11))

    hold(tmp_path, scene)


def test_a_crashed_archive_goes_on_without_a_gap_or_a_double(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.commit(5)
        await until(lambda: newest().facts.get("archived_seq") == 5)
        await hall.root.crash("archive")
        await hall.commit(5)
        await until(lambda: newest().facts.get("archived_seq") == 10)
        assert hall.seqs() == list(range(1, 11))

    hold(tmp_path, scene)


@pytest.mark.parametrize("crowd", [1, 30])
def test_the_store_trims_between_commits(tmp_path, crowd):
    async def scene(hall: Hall) -> None:
        await hall.commit(8)
        store = await hall.root.where("store")
        assert store is not None
        hall.mail.clear()
        for _ in range(crowd):
            hall.ticket += 1
            put = Put("task", ("t",), task("t", order=hall.ticket))
            hall.port.send(store, Commit(LANE, hall.incarnation, hall.ticket, "test", (put,)))
            hall.port.send(store, Trim(5, 2))
        trims = await until(
            lambda: (t := [m for m in hall.mail if isinstance(m, Trimmed)])[crowd - 1 :] and t
        )
        assert trims[0] == Trimmed(upto=2, left=3, gone=2)
        assert trims[-1].upto == min(5, 2 * crowd)
        await until(lambda: sum(len(m.items) for m in hall.mail if isinstance(m, Answers)) == crowd)
        assert hall.reader.scan("journal")[0][0] == (min(5, 2 * crowd) + 1,)
        assert hall.reader.last_seq() == 8 + crowd

    hold(tmp_path, scene)
