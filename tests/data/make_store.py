"""Makes a small store with tasks in every phase: in a checkout of the release that shall write it,

    PYTHONPATH=. python PATH/TO/make_store.py TARGET        TARGET/store/data.mdb, compacted

It starts that release's hub, submits tasks and plays its agents, kills the hub with tasks in hand, and copies the
store. The tests have it as data.mdb.gz.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lmdb

from agentcom.client import AgentSession, Hub
from agentcom.protocol.frames import TaskResult
from agentcom.session_state import Accepted, Assigned

DAY_MS = 86_400_000
HOLDERS = {"bea": "assigned", "cyd": "working", "dan": "blocked"}
AGENTS = ("ada", *HOLDERS, "eve")


async def play(session: AgentSession, name: str) -> None:
    async for event in session:
        if isinstance(event, Assigned) and name != "bea":
            await session.accept(event.assign.task_id, event.assign.generation)
        elif isinstance(event, Accepted) and name == "ada":
            await session.complete(event.task_id, event.generation, TaskResult(summary="done"))
        elif isinstance(event, Accepted) and name == "eve":
            await session.fail(event.task_id, event.generation, "it cannot be done")
        elif isinstance(event, Accepted) and name == "dan":
            await session.block(event.task_id, event.generation, "which way?")


async def submit_all(hub: Hub) -> int:
    n = 0

    async def submit(**fields: object) -> str:
        nonlocal n
        n += 1
        return (await hub.submit(f"task {n}", idempotency_key=f"key-{n}", **fields)).task_id

    later = int(time.time() * 1000) + 3_650 * DAY_MS
    for lane in ("urgent", "high", "normal", "low"):
        await submit(priority=lane, needed_capabilities=["nobody has this"])
        await submit(priority=lane, needed_capabilities=["this", "nor this"], complete_by=later)
        await submit(priority=lane, not_before=later)
        await submit(priority=lane, target="ada", metadata={"n": n})
        await hub.cancel(await submit(priority=lane, not_before=later), "no longer wanted")
        await submit(priority=lane, target="eve", max_attempts=1)
    for name in HOLDERS:
        await submit(target=name, priority="high")
        await submit(target=name, priority="low")  # which waits until its agent is free
    return n


async def until_settled(hub: Hub) -> None:
    while True:
        stats = (await hub.call("GET", "/api/tasks/stats"))["by_status"]
        if (stats["completed"], stats["dead_letter"], stats["cancelled"]) == (4, 4, 4) and all(
            stats[phase] for phase in HOLDERS.values()
        ):
            return
        await asyncio.sleep(0.5)


async def fill(url: str, data: Path, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(60):
        async with Hub(url) as anyone:
            while not (await anyone.ready() and (data / "admin.token").exists()):
                await asyncio.sleep(0.1)
            tokens = {name: (await anyone.register(name, "", ["work"])).token for name in AGENTS}
        async with Hub(url, (data / "admin.token").read_text().strip()) as hub:
            count = await submit_all(hub)
            sessions = []
            for name, token in tokens.items():
                session = AgentSession(url, agent_id=name, token=token, capabilities=["work"])
                await session.start()
                sessions.append(asyncio.create_task(play(session, name)))
            await until_settled(hub)
            print(f"{count} tasks: {(await hub.call('GET', '/api/tasks/stats'))['by_status']}")
            os.killpg(process.pid, signal.SIGKILL)  # with its keeper, if it has one
            for session_ in sessions:
                session_.cancel()


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        data = Path(folder) / "data"
        argv = [sys.executable, "-m", "agentcom.cli.main", "hub", "--data", str(data), "--port", str(port)]
        with subprocess.Popen([*argv, "--set", "lease.heartbeat_s=1"], start_new_session=True) as hub:
            try:
                asyncio.run(fill(f"http://127.0.0.1:{port}", data, hub))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(hub.pid, signal.SIGKILL)
        (target / "store").mkdir(parents=True)
        with lmdb.open(str(data / "store"), readonly=True, max_dbs=64) as env:
            env.copy(str(target / "store"), compact=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
