"""The store actor under supervision, on the strict loop: what its clients see."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from thespian.actors import ActorAddress

from actors.store import StoreArgs
from agentcom.protocol.ops import Add, Append, Must, Put
from agentcom.protocol.rows import Idempotent, Mail
from agentcom.runtime import LoopSystemBase
from agentcom.store import DataFolderLocked, Reader, env, handle, open_environment
from agentcom.store.disk import Disk, Settings
from agentcom.store.env import opened
from agentcom.store.messages import Answers, Commit, Committed, GetStatus, Open, Opened, StoreStatus
from supervisors.root import Root, RootGaveUpError
from supervisors.specs import Backoff, ChildSpec, SupervisorSpec
from tests.store.helpers import task

DEADLINE_S = 20.0
ONE_STORE = SupervisorSpec(intensity=3)
panics: list[str] = []


def note_panic(reason: str) -> None:
    panics.append(reason)


class Client:
    """A name that commits, as a port on the loop."""

    def __init__(self, hall: "Hall", name: str) -> None:
        self.hall, self.name, self.ticket, self.incarnation = hall, name, 0, 0
        self.mail: list[Any] = []
        self.news = asyncio.Event()
        self.port = hall.base.open_port(self._receive)

    def _receive(self, msg: Any, _sender: ActorAddress) -> None:
        self.mail.append(msg)
        self.news.set()

    def send(self, msg: Any) -> None:
        self.port.send(self.hall.store, msg)

    async def until(self, met: Callable[[list[Any]], Any]) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            while not (found := met(self.mail)):
                self.news.clear()
                await self.news.wait()
        return found

    async def open(self) -> None:
        self.mail.clear()
        self.send(Open(self.name))
        opened_ = (await self.until(lambda mail: [m for m in mail if isinstance(m, Opened)]))[0]
        self.incarnation = opened_.incarnation

    def commit(self, *ops: Any, must: tuple[Must, ...] = ()) -> int:
        self.ticket += 1
        self.send(Commit(self.name, self.incarnation, self.ticket, "test", ops, must))
        return self.ticket

    async def answered(self, *tickets: int) -> list[Any]:
        def met(mail: list[Any]) -> list[Any]:
            got = {a.ticket: a for m in mail if isinstance(m, Answers) for a in m.items}
            return [got[t] for t in tickets] if all(t in got for t in tickets) else []

        return await self.until(met)  # type: ignore[no-any-return]

    async def commits(self, *ops: Any) -> bool:
        return isinstance((await self.answered(self.commit(*ops)))[0], Committed)

    def statuses(self) -> list[StoreStatus]:
        return [m for m in self.mail if isinstance(m, StoreStatus)]


class Hall:
    """A tree with nothing but a store in it."""

    def __init__(self, base: LoopSystemBase, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.reader = Reader(handle(folder))
        self.store: ActorAddress

    async def build(self, *, spec: SupervisorSpec = ONE_STORE, **args: Any) -> None:
        settings = Settings(str(self.folder), **args.pop("disk", {}))
        given = StoreArgs(settings, on_panic=note_panic, **args)
        child = ChildSpec(name="store", actor="actors.store:StoreActor", args=given)
        self.root = await Root.start(self.base, msgspec.structs.replace(spec, children=(child,)))
        await self.find()

    async def find(self) -> None:
        address = await self.root.where("store")
        assert address is not None
        self.store = address

    async def client(self, name: str = "lane.normal") -> Client:
        client = Client(self, name)
        await client.open()
        return client


def hold(folder: Path, scene: Callable[[Hall], Awaitable[None]]) -> None:
    async def main() -> None:
        base = LoopSystemBase(strict=True, loop=asyncio.get_running_loop())
        try:
            await scene(Hall(base, folder))
        finally:
            await base.aclose()
            left = opened(folder)
            if left is not None:
                left.close()

    panics.clear()
    asyncio.run(main())


def test_many_commits_are_answered_in_few_messages_and_are_on_disk(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.build()
        client, other = await hall.client(), await hall.client("agent.ada")
        tickets = [client.commit(Put("task", (f"t{n}",), task(f"t{n}"))) for n in range(200)]
        mail = other.commit(Append("mailbox", ("ada",), Mail("m", 1)))
        answers = await client.answered(*tickets)
        assert all(isinstance(answer, Committed) for answer in answers)
        assert (await other.answered(mail))[0].appended == (1,)
        assert len([m for m in client.mail if isinstance(m, Answers)]) < 20
        assert len(hall.reader.scan("task")) == 200
        assert hall.reader.last_seq() == 201

    hold(tmp_path, scene)


def test_an_orderly_stop_finishes_the_batch_and_leaves_the_clean_mark(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.build()
        client = await hall.client()
        for n in range(50):
            client.commit(Put("task", (f"t{n}",), task(f"t{n}")))
        await hall.root.stop()
        assert opened(tmp_path) is None
        after = open_environment(tmp_path)
        assert after.was_clean
        assert len(Reader(after).scan("task")) == 50
        after.close()

    hold(tmp_path, scene)


def test_a_crashed_store_starts_a_new_life_and_refuses_the_old_ones(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.build()
        client = await hall.client()
        await client.answered(client.commit(Put("task", ("t",), task("t"))))
        crashed, before = hall.store, client.incarnation
        await hall.root.crash("store")
        async with asyncio.timeout(DEADLINE_S):
            while await hall.root.where("store") in (None, crashed):
                pass
        await hall.find()
        assert (await client.answered(client.commit(Put("task", ("u",), task("u")))))[0].code == "failed"
        await client.open()
        assert client.incarnation >> 32 > before >> 32
        assert isinstance(
            (await client.answered(client.commit(Add("counter", ("n", "", ""), 1))))[0], Committed
        )
        assert hall.reader.get("task", ("t",)) == task("t")

    hold(tmp_path, scene)


def test_a_refused_commit_names_the_row_in_its_way(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.build()
        client = await hall.client()
        row, claim = Idempotent("t", "d", 1), (Must("idempotency", ("me", "k")),)
        first = client.commit(Put("idempotency", ("me", "k"), row), must=claim)
        second = client.commit(Put("idempotency", ("me", "k"), row), must=claim)
        _, refused = await client.answered(first, second)
        assert (refused.code, refused.found) == ("refused", row)

    hold(tmp_path, scene)


def test_a_full_disk_is_told_and_served_again_without_a_restart(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        full = threading.Event()
        monkeypatch.setattr(env.os, "statvfs", lambda _: Room(0 if full.is_set() else 1 << 20))
        await hall.build(disk={"reserve": 1 << 30})
        client = await hall.client()
        assert not any(status.full for status in client.statuses())
        full.set()
        await client.until(lambda _: any(status.full for status in client.statuses()))
        assert (await client.answered(client.commit(Put("task", ("t",), task("t")))))[
            0
        ].code == "storage_full"
        full.clear()
        await client.until(lambda _: not client.statuses()[-1].full)
        await client.open()
        assert isinstance(
            (await client.answered(client.commit(Put("task", ("t",), task("t")))))[0], Committed
        )

    hold(tmp_path, scene)


class Room:
    f_frsize = 4096

    def __init__(self, blocks: int) -> None:
        self.f_bavail = blocks


def test_a_crowded_queue_is_told_and_told_again_when_it_is_short(tmp_path):
    async def scene(hall: Hall) -> None:
        await hall.build(max_queue=10)
        client = await hall.client()
        tickets = [client.commit(Add("counter", ("n", "", ""), 1)) for _ in range(100)]
        await client.answered(*tickets)
        await client.until(lambda _: not client.statuses()[-1].overloaded)
        assert any(status.overloaded for status in client.statuses())
        client.send(GetStatus())
        await client.until(lambda _: client.statuses()[-1].commits == 100)

    hold(tmp_path, scene)


def test_an_error_of_the_disk_ends_the_process(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        await hall.build()
        client = await hall.client()
        monkeypatch.setattr(env.WriteTransaction, "put", broken_put)
        client.commit(Put("task", ("t",), task("t")))
        async with asyncio.timeout(DEADLINE_S):
            while not panics:
                await asyncio.sleep(0)
        assert panics == ["OSError: [Errno 5] Input/output error"]

    hold(tmp_path, scene)


def test_a_store_that_starts_on_a_full_disk_waits_for_room(tmp_path, monkeypatch):
    """More often than its supervisor would forgive a crash."""

    async def scene(hall: Hall) -> None:
        quick = SupervisorSpec(intensity=3, backoff=Backoff(base_s=0.001, cap_s=0.001))
        await hall.build(spec=quick)
        tries = []

        def no_room(*_: Any, **__: Any) -> None:
            tries.append(1)
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(env.WriteTransaction, "put", no_room)
            await hall.root.crash("store")
            async with asyncio.timeout(DEADLINE_S):
                while len(tries) < 6:
                    await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_S):
            while not any(of.name == "store" and of.state == "up" for of in await hall.root.tree()):
                await asyncio.sleep(0)
        await hall.find()
        client = await hall.client()
        [answer] = await client.answered(client.commit(Put("task", ("t",), task("t"))))
        assert isinstance(answer, Committed)

    hold(tmp_path, scene)


def test_a_silent_disk_is_told_and_forgiven_when_it_answers(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        answer = threading.Event()
        apply = Disk.apply
        monkeypatch.setattr("agentcom.store.errands.SLOW_S", 1)
        monkeypatch.setattr(Disk, "apply", lambda *given: answer.wait(DEADLINE_S) and apply(*given))
        answer.set()
        await hall.build()
        client = await hall.client()
        answer.clear()
        ticket = client.commit(Add("counter", ("n", "", ""), 1))
        await client.until(lambda _: client.statuses()[-1].stuck)
        answer.set()
        await client.answered(ticket)
        await client.until(lambda _: not client.statuses()[-1].stuck)
        assert panics == []

    hold(tmp_path, scene)


def test_a_disk_that_stays_silent_ends_the_process(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        answer = threading.Event()
        monkeypatch.setattr("agentcom.store.errands.STUCK_S", 1)
        await hall.build()
        client = await hall.client()
        monkeypatch.setattr(Disk, "apply", lambda *_: answer.wait(DEADLINE_S))
        client.commit(Add("counter", ("n", "", ""), 1))
        async with asyncio.timeout(DEADLINE_S):
            while not panics:
                await asyncio.sleep(0)
        answer.set()
        assert panics == ["the disk did not answer for 1 s"]

    hold(tmp_path, scene)


def test_a_disk_that_is_silent_from_the_start_ends_the_process(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        answer = threading.Event()
        monkeypatch.setattr("agentcom.store.errands.STUCK_S", 1)
        monkeypatch.setattr(Disk, "open", lambda *_: answer.wait(DEADLINE_S))
        building = asyncio.create_task(hall.build())
        async with asyncio.timeout(DEADLINE_S):
            while not panics:
                await asyncio.sleep(0)
        answer.set()
        building.cancel()
        assert panics[0] == "the disk did not answer for 1 s"

    hold(tmp_path, scene)


def broken_put(*_: Any, **__: Any) -> None:
    raise OSError(5, "Input/output error")


def test_a_folder_in_use_stops_the_start_with_a_sentence(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        held = open_environment(tmp_path)
        monkeypatch.setattr("agentcom.store.opening.opened", lambda _: None)
        with pytest.raises(RootGaveUpError) as gave_up:
            await hall.build()
        assert DataFolderLocked.__name__ in gave_up.value.gave_up.last_crash
        held.close()

    hold(tmp_path, scene)


def test_interval_sync_is_told_and_flushes(tmp_path, monkeypatch):
    async def scene(hall: Hall) -> None:
        flushed = threading.Event()
        monkeypatch.setattr(env.Environment, "flush", lambda _: flushed.set())
        await hall.build(disk={"sync": False})
        client = await hall.client()
        assert not client.statuses()[0].sync
        await asyncio.to_thread(flushed.wait, DEADLINE_S)
        assert flushed.is_set()

    hold(tmp_path, scene)
