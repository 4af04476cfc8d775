"""A real hub goes back, or loses its store, and makes snapshots again: what it needs, or what is left, is there."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentcom.client import Hub, new_key
from agentcom.protocol.bodies import NewTask
from agentcom.store.layout import DATA, Layout
from agentcom.store.redo_format import LOGS
from agentcom.store.segments import SegmentReader, listed
from tests.system.hub_process import ROOT, HubProcess, clean_env

pytestmark = pytest.mark.slow


async def submitted(admin: Hub, count: int) -> set[str]:
    tasks = [NewTask(description=f"task {n}", idempotency_key=new_key()) for n in range(count)]
    return {(await admin.submit(task)).task_id for task in tasks}


async def newest_seq(admin: Hub) -> int:
    return int((await admin.call("GET", "/health"))["store"]["seq"])


async def stopped(hub: HubProcess) -> None:
    hub.terminate()
    assert await hub.ended() == 0


async def admin_says(hub: HubProcess, *argv: str) -> str:
    command = [sys.executable, "-m", "agentcom.cli.admin", *argv]
    token = (hub.data / "admin.token").read_text().strip()
    env = {**clean_env(), "AGENTCOM_HUB": hub.url, "AGENTCOM_TOKEN": token}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def hurt(file: Path, at: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


def cut_short(hub: HubProcess) -> None:
    file = Layout(hub.data).store / DATA
    file.write_bytes(file.read_bytes()[: 3 * 4096])


def test_after_going_back_a_bad_snapshot_is_no_loss_as_the_good_one_before_and_its_archive_are_there(
    make_hub: Any,
) -> None:
    hub = make_hub(snapshots__hourly="1", snapshots__daily="1", archive__segment_bytes="4096")

    async def play() -> tuple[set[str], set[str], dict[str, Any]]:
        async with hub.admin() as admin:
            kept = await submitted(admin, 8)
            await admin.snapshot()
            kept |= await submitted(admin, 8)
            target = await newest_seq(admin)
            await submitted(admin, 8)
            await admin.snapshot()
        await stopped(hub)
        await admin_says(hub, "restore", "--data", str(hub.data), "--to", str(target), "--yes")
        hub.start()
        async with hub.admin() as admin:
            kept |= await submitted(admin, 8)
            newest = (await admin.snapshot())["snapshot"]
            kept |= await submitted(admin, 8)
        assert "left out by a restore" in await admin_says(hub, "snapshots")
        await stopped(hub)
        hurt(Path(newest["path"]) / DATA, 4_000)
        cut_short(hub)
        hub.start()
        async with hub.admin() as admin:
            found = (await admin.call("GET", "/api/tasks?limit=1000"))["tasks"]
            return kept, {task["task_id"] for task in found}, await admin.call("GET", "/health")

    kept, found, health = asyncio.run(play())
    assert found == kept
    assert health["parts"]["restore"]["how"] == "restored"


def test_a_store_that_is_lost_leaves_its_snapshots_and_its_archive_to_whoever_can_use_them(
    make_hub: Any,
) -> None:
    hub = make_hub(snapshots__hourly="1", snapshots__daily="1")

    async def play() -> tuple[set[Path], str]:
        old = set()
        async with hub.admin() as admin:
            for _ in range(2):
                await submitted(admin, 8)
                old.add(Path((await admin.snapshot())["snapshot"]["path"]))
        await stopped(hub)
        segments = [segment.path for segment in listed(hub.data / "archive")]
        for path in old:
            hurt(path / DATA, 4_000)
        with SegmentReader(segments[0]) as reader:
            hurt(segments[0], reader.end + 10)  # in its first entry
        cut_short(hub)
        for log in LOGS:
            (Layout(hub.data).store / log).unlink()
        hub.start()
        async with hub.admin() as admin:
            for _ in range(3):
                await submitted(admin, 8)
                await admin.snapshot()
        return {*old, *segments}, await admin_says(hub, "snapshots")

    old, said = asyncio.run(play())
    assert all(path.exists() for path in old)
    for folder in ("snapshots", "archive"):
        assert f"rm -r {hub.data}/{folder}/000001-*" in said
