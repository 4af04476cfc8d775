"""How a real hub ends by itself, with which exit code, and what its keeper makes of it."""

import asyncio
import os
import resource
import select
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agentcom import exit_codes
from agentcom.client import Hub
from agentcom.protocol.errors import AgentComError
from agentcom.store.env import open_environment
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
MakeHub = Callable[..., HubProcess]
DEADLINE_S = 60.0
ROOM = 64 << 10
"""What the store's file may still grow by before its disk fails."""


async def give_up(process: HubProcess) -> None:
    """One crash more than the root allows."""
    for start in range(1, 7):
        async with process.admin() as admin, asyncio.timeout(DEADLINE_S):
            await came_up(admin, "gateway", start)
            await unanswered(admin, "/api/actors/gateway/crash")


async def came_up(admin: Hub, name: str, start: int) -> None:
    while True:
        try:
            node = await admin.actor(name)
        except AgentComError:  # the gateway itself is away
            node = {"start": 0}
        if node["start"] >= start and node["state"] == "up":
            return
        await asyncio.sleep(0.02)


async def hang(process: HubProcess) -> None:
    async with process.admin() as admin:
        await unanswered(admin, "/api/chaos/block/600")


async def panic(process: HubProcess) -> None:
    """The store's file reaches a limit of the system, which LMDB meets as an input/output error.

    Only as good as that: a dying disk fails reads as well.
    """
    limit = (process.data / "store" / "data.mdb").stat().st_size + ROOM
    resource.prlimit(process.serving_pid(), resource.RLIMIT_FSIZE, (limit, limit))
    async with process.admin(retry_s=0) as admin:
        for _ in range(100):
            try:
                await admin.submit("x" * 10_000)
            except AgentComError:
                return
    raise AssertionError("the hub wrote over its limit")


async def unanswered(admin: Hub, path: str) -> None:
    """What ends the one who should answer."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            await admin.call("POST", path)
    except AgentComError:
        return


ENDS = {
    exit_codes.ROOT_GAVE_UP: (give_up, "hub.gave_up", "gateway"),
    exit_codes.HUNG: (hang, "hub.hung", ""),
    exit_codes.STORE_PANIC: (panic, "store.panicked", "mdb_txn_commit"),
}


@pytest.mark.parametrize("code", ENDS)
def test_a_hub_that_ends_by_itself_says_why_with_its_own_code(make_hub: MakeHub, code: int) -> None:
    hurt, event, why = ENDS[code]
    hub = make_hub(runtime__hang_s="1", runtime__warn_s="0.3")

    async def scenario() -> int:
        await hub.serving()
        await hurt(hub)
        return await hub.ended()

    assert asyncio.run(scenario()) == code
    told = [line for line in hub.told() if line["event"] == event]
    assert len(told) == 1
    assert why in str(told)


def test_a_blocked_loop_is_shown_with_all_stacks_before_the_hub_ends(make_hub: MakeHub) -> None:
    hub = make_hub(runtime__hang_s="2", runtime__warn_s="0.3")

    async def scenario() -> None:
        await hub.serving()
        await hang(hub)
        await hub.ended()

    asyncio.run(scenario())
    told = [line["event"] for line in hub.told() if "the loop has" in line["event"]]
    blocked, hung = told[-2:]  # a busy machine may have blocked it before
    assert "blocked for 0.3 s" in blocked
    assert "hung for 2.0 s" in hung
    for stacks in (blocked, hung):
        assert "time.sleep(wanted)" in stacks
        assert stacks.count("\nthread ") >= 2


@pytest.mark.parametrize("code", [*ENDS, -signal.SIGKILL])
def test_a_keeper_brings_the_hub_back_with_all_it_acknowledged(make_hub: MakeHub, code: int) -> None:
    hub = make_hub(hub__keeper="on", runtime__hang_s="1", runtime__warn_s="0.3")

    async def scenario() -> None:
        async with hub.admin() as admin:
            task = await admin.submit("to be kept")
        if code in ENDS:
            await ENDS[code][0](hub)
        else:
            kill_serving(hub)
        async with next_life(hub) as admin:
            assert (await admin.task(task.task_id))["status"] == "queued"
        hub.terminate()
        assert await hub.ended() == 0

    asyncio.run(scenario())
    assert [line["code"] for line in hub.told() if line["event"] == "hub.ended"] == [code]
    assert len([line for line in hub.told() if line["event"] == "hub.serving"]) == 2
    assert hub.told()[-1]["event"] == "hub.stopped"


def kill_serving(hub: HubProcess) -> None:
    os.kill(hub.serving_pid(), signal.SIGKILL)


@asynccontextmanager
async def next_life(hub: HubProcess) -> AsyncIterator[Hub]:
    """The hub when it serves again."""
    async with asyncio.timeout(DEADLINE_S):
        while [line["event"] for line in hub.told()].count("hub.serving") < 2:
            await asyncio.sleep(0.02)
    async with hub.admin() as admin:
        yield admin


def test_no_hub_outlives_a_killed_keeper(make_hub: MakeHub) -> None:
    hub = make_hub(hub__keeper="on")

    async def scenario() -> None:
        await hub.serving()
        serving = os.pidfd_open(hub.serving_pid())
        hub.child.kill()
        assert await hub.ended() == -signal.SIGKILL
        assert select.select([serving], [], [], DEADLINE_S)[0]
        os.close(serving)

    asyncio.run(scenario())
    assert hub.told()[-1]["event"] == "hub.stopped"
    found = open_environment(hub.data)
    assert found.was_clean
    found.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", hub.port)) != 0


def test_a_file_that_is_no_store_is_told_in_a_sentence_and_kept_while_the_hub_serves(
    make_hub: MakeHub,
) -> None:
    hub = make_hub(hub__keeper="on")
    asyncio.run(hub.serving())
    hub.kill()
    store = hub.data / "store" / "data.mdb"
    store.write_bytes(b"not a store" * 10_000)
    hub.log.write_text("")
    hub.start()
    asyncio.run(hub.serving())
    assert "cannot be opened" in hub.log.read_text()
    assert "Traceback" not in hub.log.read_text()
    kept = [file.read_bytes() for file in hub.data.rglob("data.mdb") if file != store]
    assert b"not a store" * 10_000 in kept


def test_systemd_hears_that_the_hub_serves_lives_and_stops(
    make_hub: MakeHub, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `auto` no keeper comes between systemd and the hub."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        hub = make_hub(hub__keeper="auto")
        assert systemd.recv(200).decode() == f"READY=1\nSTATUS=serving on {hub.url}"
        assert [systemd.recv(200) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert hub.serving_pid() == hub.child.pid
        hub.terminate()
        while (heard := systemd.recv(200)) == b"WATCHDOG=1":
            pass
        assert heard.startswith(b"STOPPING=1")
        assert hub.child.wait(DEADLINE_S) == 0
