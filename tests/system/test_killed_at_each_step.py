"""Processes of a real hub killed exactly where it hurts most, under load: nothing acknowledged is lost or doubled.

`dying/sitecustomize.py` kills whoever reaches the step that the test has armed: the hub, or a tool that it runs.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentcom.client import Hub
from agentcom.protocol.errors import AgentComError
from tests.system.hub_process import ROOT, HubProcess, clean_env
from tests.system.load import Submitter, acknowledged_more

pytestmark = pytest.mark.slow
TIMES = 5
FAMILIES = {
    "commit": ("commit.begun", "commit.written", "commit.synced"),
    "archive": ("archive.begun", "archive.written", "archive.synced", "archive.rotated"),
    "trim": ("trim.begun", "trim.done"),
    "snapshot": (
        "snapshot.begun", "snapshot.copied", "snapshot.verified", "snapshot.described", "snapshot.named",
        "snapshot.pruned",
    ),
    "rewrite": (
        "rewrite.begun", "rewrite.copied", "rewrite.caught_up", "rewrite.synced", "rewrite.switched", "rewrite.swept",
    ),
}  # fmt: skip
OFTEN = {
    "archive__every_s": "0.1",
    "archive__segment_bytes": "16384",
    "snapshots__first_s": "0.5",
    "snapshots__every_s": "1",
    "snapshots__hourly": "1",
    "snapshots__daily": "1",
    "retention__journal_s": "0.5",
    "compaction__every_s": "0.5",
    "limits__enabled": "false",
}


class MortalHub(HubProcess):
    """Its processes die at the step that `arm` names."""

    def __init__(self, folder: Path) -> None:
        self.step = folder / "step"
        path = os.pathsep.join((str(Path(__file__).parent / "dying"), str(ROOT)))
        self.env = {"PYTHONPATH": path, "DIE_AT_THE_STEP_IN": str(self.step)}
        super().__init__(folder, **OFTEN)

    async def dies_at(self, step: str) -> None:
        """Somebody reached it and is dead; if it was the hub, it serves again."""
        self.step.write_text(step)
        async with asyncio.timeout(90):
            while not (dead := list(self.step.parent.glob("step.*"))):
                assert self.child.poll() is None, f"the hub ended by itself with {self.child.returncode}"
                await asyncio.sleep(0.01)
        (file,) = dead
        if file.suffix == f".{self.child.pid}":
            await self.ended()
            self.start()
            await self.serving()
        file.unlink()


async def ask_for(hub: Hub, path: str, stop: asyncio.Event) -> None:
    """Again and again, whatever comes of it."""
    while not stop.is_set():
        with contextlib.suppress(AgentComError, TimeoutError):
            await asyncio.wait_for(hub.call("POST", path), 5.0)
        await asyncio.sleep(0.2)


async def tasks_of(hub: Hub) -> dict[str, str]:
    """Every task by its description."""
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = await hub.call("GET", f"/api/tasks?limit=1000{cursor and f'&cursor={cursor}'}")
        for task in page["tasks"]:
            assert task["description"] not in found, f"{task['description']} is there twice"
            found[task["description"]] = task["task_id"]
        if not page.get("next_cursor"):
            return found
        cursor = page["next_cursor"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hub_that_is_killed_at_a_step_keeps_every_promise(family: str, tmp_path: Path) -> None:
    hub = MortalHub(tmp_path)

    async def scenario() -> None:
        async with hub.admin() as admin:
            stop = asyncio.Event()
            submitters = [Submitter(admin, n) for n in range(4)]
            paths = {"snapshot": ["/api/snapshots"], "rewrite": ["/api/compaction"]}.get(family, [])
            others = [asyncio.create_task(ask_for(admin, path, stop)) for path in paths]
            running = [asyncio.create_task(one.run(stop)) for one in submitters]
            for _ in range(TIMES):
                for step in FAMILIES[family]:
                    await hub.dies_at(step)
                    await acknowledged_more(submitters, 3)
            stop.set()
            await asyncio.gather(*running, *others)
            found = await tasks_of(admin)
            for one in submitters:
                for key, task_id in one.acknowledged.items():
                    assert found.get(f"idea {key}") == task_id

    try:
        asyncio.run(scenario())
        hub.terminate()
        assert hub.child.wait(60) == 0
        verify = [sys.executable, "-m", "agentcom.cli.admin", "verify", "--data", str(hub.data)]
        done = subprocess.run(
            verify, env=clean_env(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "folded onto" in done.stdout
    finally:
        hub.kill()
