"""The real hub, the real sidecar, a real remote; the hub is killed in the middle of the work."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcom.client import Hub
from agentcom.protocol.bodies import NewRepo
from sidecar.settings import Settings
from tests.sidecar.fake_hub import until
from tests.sidecar.helpers import ADD, ROOT, SCRIPTED, git, serving

pytestmark = pytest.mark.slow


class HubProcess:
    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-m", "agentcom.cli.main", "hub", "--data", str(self.data)]
        self.child = subprocess.Popen(
            [*argv, "--port", str(self.port), "--set", "lease.reconnect_jitter_s=0.1"],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Its whole group: a supervising parent would only start it again."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    async def ready(self) -> None:
        async with Hub(self.url) as hub, asyncio.timeout(60):
            while not await hub.ready():
                await asyncio.sleep(0.05)

    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "data")
    yield process
    process.kill()


async def joined(process: HubProcess, admin: Hub, remote: Path) -> Settings:
    await admin.put_repo(NewRepo(name="demo", url=str(remote)))
    async with Hub(process.url) as anyone:
        token = (await anyone.register("ada", "", ["python"])).token
    return Settings(hub=process.url, agent_id="ada", token=token, capabilities=["python"], mind=SCRIPTED)


def idea(name: str, **more: Any) -> dict[str, Any]:
    script = {**ADD, "name": name, "seconds": 0.5, **more}
    return {"repo": "demo", "needed_capabilities": ["python"], "metadata": {"script": script}}


def test_a_hub_killed_during_work_loses_nothing_and_doubles_nothing(
    tmp_path: Path, remote: Path, hub: HubProcess
) -> None:
    async def scenario() -> None:
        await hub.ready()
        async with Hub(hub.url, hub.token(), retry_s=60) as admin:
            settings = await joined(hub, admin, remote)
            async with serving(tmp_path / "home", settings) as sidecar:
                names = ["shout", "yell"]
                tasks = [(await admin.submit(f"Add {name}", **idea(name))).task_id for name in names]
                await until(lambda: any(work.run.is_alive() for work in sidecar.works.values()), 60)
                hub.kill()
                hub.start()
                done = [await admin.wait(task_id, 90) for task_id in tasks]
                assert [task["status"] for task in done] == ["completed", "completed"]
                assert [(task["attempts"], task["losses"]) for task in done] == [(0, 0), (0, 0)]
                branches = [task["result"]["branch"] for task in done]
                assert sorted(branches) == git(remote, "branch", "--format=%(refname:short)").split()[:-1]
                pulls = (await admin.pulls())["pulls"]
                assert sorted(pull["task_id"] for pull in pulls) == sorted(tasks)

    asyncio.run(scenario())


def test_a_cancelled_task_frees_its_agent_for_the_next(tmp_path: Path, remote: Path, hub: HubProcess) -> None:
    async def scenario() -> None:
        await hub.ready()
        async with Hub(hub.url, hub.token()) as admin:
            settings = await joined(hub, admin, remote)
            async with serving(tmp_path / "home", settings) as sidecar:
                long = await admin.submit("Think for ever", **idea("shout", seconds=600))
                await until(lambda: any(work.run.is_alive() for work in sidecar.works.values()), 60)
                await admin.cancel(long.task_id, "changed my mind")
                short = await admin.submit("Add yell", **idea("yell"))
                assert (await admin.wait(short.task_id, 60))["status"] == "completed"
                assert (await admin.task(long.task_id))["status"] in ("cancelled", "dead_letter")

    asyncio.run(scenario())
