"""The real sidecar loses its process, its connection or its network in the middle of a task, with the real hub."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.client import Hub
from sidecar import settings as sidecar_settings
from sidecar.settings import Settings
from tests.sidecar.helpers import ADD, SCRIPTED, git, serving
from tests.system.crew import CAPABILITY, register
from tests.system.cut import Wire
from tests.system.hub_process import ROOT, HubProcess, clean_env

pytestmark = pytest.mark.slow


class SidecarProcess:
    def __init__(self, home: Path) -> None:
        self.log = home.parent / "sidecar.log"
        self._argv = [sys.executable, "-m", "sidecar.cli", "run", "--home", str(home)]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self._argv, cwd=ROOT, env=clean_env(), stdout=log, stderr=log)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def sidecars(home: Path) -> Iterator[list[SidecarProcess]]:
    """Those that a test starts."""
    started: list[SidecarProcess] = []
    yield started
    for one in started:
        one.kill()
        print(f"--- {one.log}", one.log.read_text(errors="replace"), sep="\n")


async def joined(hub: HubProcess, admin: Hub, remote: Path, url: str = "") -> Settings:
    await admin.put_repo(name="demo", url=str(remote))
    token = await register(hub.url, "ada")
    return Settings(
        hub=url or hub.url, agent_id="ada", token=token, capabilities=[CAPABILITY], mind=SCRIPTED
    )


async def submitted(admin: Hub, seconds: float) -> str:
    script = {**ADD, "seconds": seconds}
    task = await admin.submit("Add shout()", repo="demo", target="ada", metadata={"script": script})
    return task.task_id


async def until_working(admin: Hub, task_id: str) -> None:
    async with asyncio.timeout(30):
        while (await admin.task(task_id))["status"] != "working":
            await asyncio.sleep(0.02)


async def done_once(admin: Hub, remote: Path, task_id: str) -> None:
    """Completed under the first generation, one branch, one record, no loss."""
    task = await admin.wait(task_id, 60)
    events = [event["event"] for event in (await admin.events(task_id))["events"]]
    assert task["status"] == "completed", events
    assert (events.count("assigned"), events.count("completed")) == (1, 1), events
    assert (task["generation"], task["losses"], task["attempts"]) == (1, 0, 0)
    branches = git(remote, "branch", "--format=%(refname:short)").split()
    assert branches == [task["result"]["branch"], "main"]
    assert len((await admin.pulls())["pulls"]) == 1


@pytest.mark.parametrize("kills", [1, 3])
def test_a_sidecar_killed_in_mid_task_and_started_again_completes_it_once(
    hub: HubProcess, home: Path, remote: Path, sidecars: list[SidecarProcess], kills: int
) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin:
            sidecar_settings.save(home, await joined(hub, admin, remote))
            sidecars.append(SidecarProcess(home))
            task_id = await submitted(admin, seconds=2.0)
            await until_working(admin, task_id)
            for _ in range(kills):
                sidecars[0].kill()
                sidecars[0].start()
                await until_connected(admin)
            await done_once(admin, remote, task_id)

    asyncio.run(scenario())
    assert hub.complaints() == []


async def until_connected(admin: Hub) -> None:
    """Its hub knows a session again, or has the result already."""
    async with asyncio.timeout(30):
        while (await admin.health())["agents_connected"] == 0:
            await asyncio.sleep(0.02)


def test_a_cut_connection_is_resumed_under_the_same_generation(
    hub: HubProcess, home: Path, remote: Path
) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin, Wire(hub.port) as wire:
            settings = await joined(hub, admin, remote, wire.url)
            async with serving(home, settings):
                task_id = await submitted(admin, seconds=2.0)
                await until_working(admin, task_id)
                for _ in range(3):
                    wire.cut()
                    await asyncio.sleep(0.3)
                await done_once(admin, remote, task_id)

    asyncio.run(scenario())
    assert hub.complaints() == []


def test_a_frozen_connection_is_given_up_by_both_and_the_work_is_kept(
    hub: HubProcess, home: Path, remote: Path
) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin, Wire(hub.port) as wire:
            settings = await joined(hub, admin, remote, wire.url)
            async with serving(home, settings):
                task_id = await submitted(admin, seconds=1.0)
                await until_working(admin, task_id)
                wire.freeze()
                async with asyncio.timeout(30):
                    while (await admin.health())["agents_connected"]:
                        await asyncio.sleep(0.1)
                assert (await admin.task(task_id))["status"] == "working"
                wire.thaw()
                await done_once(admin, remote, task_id)

    asyncio.run(scenario())
    assert hub.complaints() == []
