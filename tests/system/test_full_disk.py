"""A real hub whose disk is really full: new work is refused, reads go on, and it recovers by itself."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcom import exit_codes
from agentcom.client import Hub
from agentcom.protocol.errors import AgentComError
from tests.small_disk import MIB, SmallDisk, small_disk
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
BALLAST = 16 * MIB
DEADLINE_S = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Where the first hub of `make_hub` has its data, but not its log."""
    with small_disk(tmp_path / "hub0" / "hub", 160) as small:
        yield small


def start(tmp_path: Path, make: list[HubProcess], **settings: str) -> HubProcess:
    make.append(HubProcess(tmp_path / "hub0", store__ballast_bytes=str(BALLAST), **settings))
    return make[-1]


@pytest.fixture
def made(disk: SmallDisk) -> Iterator[list[HubProcess]]:
    hubs: list[HubProcess] = []
    yield hubs
    for hub in hubs:
        hub.kill()
        print(*hub.log.read_text(errors="replace").splitlines()[-60:], sep="\n")


async def submitted(admin: Hub, **fields: Any) -> str:
    return (await admin.submit("work", **fields)).task_id


async def refused(admin: Hub) -> list[str]:
    """Submits until one is refused for want of room; those that were taken."""
    taken = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                taken.append(await submitted(admin))
            except AgentComError as error:
                assert error.code == "storage_full", error  # noqa: PT017
                return taken
            await asyncio.sleep(0.05)


async def health(admin: Hub, met: Callable[[Any], object]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while not met(found := await admin.health()):
            await asyncio.sleep(0.1)
    return found


async def ids(admin: Hub) -> set[str]:
    return {task["task_id"] for task in (await admin.tasks(limit=500))["tasks"]}


def test_a_full_disk_refuses_work_serves_reads_and_recovers_without_a_restart(
    tmp_path: Path, disk: SmallDisk, made: list[HubProcess]
) -> None:
    async def scenario() -> None:
        hub = start(tmp_path, made)
        async with hub.admin(retry_s=0) as admin:
            tasks = {await submitted(admin) for _ in range(10)}
            await health(admin, lambda said: said["store"]["ballast_bytes"] == BALLAST)
            disk.fill()
            tasks |= set(await refused(admin))
            said = await health(admin, lambda said: said["store"]["full"])
            assert said["status"] == "degraded"
            assert "new work is refused, reads and deletes go on; make at least" in said["alerts"][0]
            assert await ids(admin) == tasks
        hub.kill()
        (hub.data / "store" / "lock.mdb").unlink()  # so that the next start finds no room for something
        hub.start()
        async with hub.admin(retry_s=0) as admin:
            assert await ids(admin) == tasks
            said = await health(admin, lambda said: said["store"]["full"])
            assert "the ballast was given up" in said["alerts"][0]
            assert await refused(admin) == []
            disk.clear()
            await health(admin, lambda said: not said["store"]["full"])
            tasks.add(await submitted(admin))
            await health(admin, lambda said: said["store"]["ballast_bytes"] == BALLAST)
            assert await ids(admin) == tasks
        assert {line["event"] for line in hub.told()} >= {"store.full", "store.has_room"}

    asyncio.run(scenario())


def test_a_start_that_finds_no_room_waits_for_it(
    tmp_path: Path, disk: SmallDisk, made: list[HubProcess]
) -> None:
    async def scenario() -> None:
        hub = start(tmp_path, made)
        async with hub.admin() as admin:
            tasks = {await submitted(admin)}
        hub.kill()
        (hub.data / "store" / "lock.mdb").unlink()
        (hub.data / "ballast").unlink(missing_ok=True)
        disk.fill()
        hub.start()
        async with asyncio.timeout(DEADLINE_S):
            while not any(line["event"] == "store.waits_for_room" for line in hub.told()):
                await asyncio.sleep(0.05)
        disk.clear()
        async with hub.admin() as admin:
            assert await ids(admin) == tasks

    asyncio.run(scenario())


def test_a_first_start_on_a_full_disk_ends_with_a_sentence(
    tmp_path: Path, disk: SmallDisk, made: list[HubProcess]
) -> None:
    disk.fill()
    hub = start(tmp_path, made)
    assert asyncio.run(hub.ended()) == exit_codes.STORE_PANIC
    assert (
        "needs 64 MiB of room, its disk has 0 MiB; make room, or choose another folder" in hub.log.read_text()
    )
    disk.clear()
    hub.start()
    asyncio.run(hub.serving())


def test_max_bytes_refuses_work_and_serves_reads(tmp_path: Path, made: list[HubProcess]) -> None:
    async def scenario() -> None:
        hub = start(tmp_path, made, store__max_bytes=str(64 * MIB))
        wide = {"wide": "x" * 500_000}
        async with hub.admin(retry_s=0) as admin:
            tasks = set()
            async with asyncio.timeout(DEADLINE_S):
                while not (said := await admin.health())["store"]["full"]:
                    try:
                        tasks.add(await submitted(admin, metadata=wide))
                    except AgentComError as error:
                        assert error.code == "storage_full", error  # noqa: PT017
            assert "has reached store.max_bytes" in said["alerts"][0]
            assert said["store"]["file_bytes"] < 64 * MIB
            assert await ids(admin) == tasks
            assert await refused(admin) == []

    asyncio.run(scenario())
