"""A real hub is killed, its file is hurt, and it is started again: it serves everything, and says what happened."""

import asyncio
import subprocess
import sys

import pytest

from agentcom.client import new_key
from agentcom.protocol.bodies import NewTask
from agentcom.store.layout import DATA, POINTER, Layout
from tests.system.hub_process import ROOT, clean_env

pytestmark = pytest.mark.slow


def cut_short(file):
    file.write_bytes(file.read_bytes()[: 3 * 4096])


def zeroed(file):
    raw = file.read_bytes()
    file.write_bytes(raw[: 2 * 4096] + bytes(len(raw) - 2 * 4096))


def gone(file):
    file.unlink()


async def submitted(hub, count):
    async with hub.admin() as admin:
        tasks = [NewTask(description=f"task {n}", idempotency_key=new_key()) for n in range(count)]
        return {(await admin.submit(task)).task_id for task in tasks}


async def listed(hub):
    async with hub.admin() as admin:
        health = await admin.call("GET", "/health")
        tasks = (await admin.call("GET", "/api/tasks?limit=1000"))["tasks"]
        return {task["task_id"] for task in tasks}, health


@pytest.mark.parametrize("harm", [cut_short, zeroed, gone])
def test_every_acknowledged_task_is_there_after_the_file_was_hurt(hub, harm):
    async def play():
        ids = await submitted(hub, 30)
        hub.kill()
        harm(Layout(hub.data).store / DATA)
        hub.start()
        return ids, *await listed(hub)

    ids, found, health = asyncio.run(play())
    assert found == ids
    assert (health["status"], health["epoch"]) == ("degraded", 2)
    assert "nothing was lost" in health["alerts"][0]
    assert health["parts"]["restore"]["how"] == "restored"
    assert {"store.damaged", "store.restored"} <= {line["event"] for line in hub.told()}


@pytest.mark.parametrize("said", [None, "", "gar\0bage"])
def test_every_acknowledged_task_is_there_after_the_pointer_was_lost(hub, said):
    async def play():
        ids = await submitted(hub, 30)
        hub.kill()
        (hub.data / "store").rename(hub.data / "store-7")
        if said is not None:
            (hub.data / POINTER).write_text(said)
        hub.start()
        return ids, *await listed(hub)

    ids, found, health = asyncio.run(play())
    assert found == ids
    assert (health["status"], health["epoch"]) == ("degraded", 1)
    assert "store-7, up to entry" in health["alerts"][0]
    assert health["parts"]["restore"]["how"] == "found"
    assert "store.pointer_lost" in {line["event"] for line in hub.told()}


def test_a_stopped_hub_goes_back_to_an_entry_and_serves_from_there(hub):
    async def play():
        first = await submitted(hub, 5)
        seq = (await listed(hub))[1]["store"]["seq"]
        await submitted(hub, 5)
        hub.terminate()
        assert await hub.ended() == 0
        argv = [
            sys.executable,
            "-m",
            "agentcom.cli.admin",
            "restore",
            "--data",
            str(hub.data),
            "--to",
            str(seq),
        ]
        done = await asyncio.to_thread(
            subprocess.run, argv, cwd=ROOT, env=clean_env(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        hub.start()
        more = await submitted(hub, 2)
        return first | more, *await listed(hub)

    expected, found, health = asyncio.run(play())
    assert found == expected
    assert (health["status"], health["epoch"]) == ("ok", 2)
