"""Thousands at once: a burst of connections, and everyone who comes back after the hub was killed."""

import asyncio
import contextlib
import json
import resource
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.crew import CAPABILITY, crew_of, outcomes
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow

BURST = 10_000
CREW = 300
DEADLINE_S = 180.0
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: agentcom.v2.json\r\n\r\n"
)


@pytest.fixture(autouse=True)
def files() -> Iterator[int]:
    """How many this process may open: as many as it can get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = BURST + 1_000 if hard == resource.RLIM_INFINITY else min(hard, max(soft, BURST + 1_000))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Burst:
    """Raw connections, all opened at once and kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(UPGRADE)
        self.answers[(await reader.readline()).decode().strip()] += 1

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


def test_a_burst_of_ten_thousand_connections_is_answered_and_work_goes_on_meanwhile(
    make_hub: Any, files: int
) -> None:
    count = min(BURST, files - 1_000)

    async def scene() -> None:
        async with hub.admin() as admin, crew_of(hub, ["ada", "bob"]) as crew:
            burst = Burst(hub.port)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    opening = [asyncio.ensure_future(burst.open()) for _ in range(count)]
                    tasks = [
                        (await admin.submit(f"n {n}", needed_capabilities=[CAPABILITY])).task_id
                        for n in range(20)
                    ]
                    await asyncio.gather(*opening)
                assert burst.answers == {"HTTP/1.1 101 Switching Protocols": count}
                assert await outcomes(admin, tasks, DEADLINE_S) == []
            finally:
                burst.cut()
            assert crew.problems() == []

    hub: HubProcess = make_hub(registration="open", limits__enabled="false", runtime__strict="false")
    asyncio.run(scene())
    # Thousands that are accepted and heard in one turn of the loop may take it a second.
    assert hub.complaints("the loop has been blocked") == []


def test_all_agents_of_a_killed_hub_come_back_and_no_task_is_lost_or_doubled(make_hub: Any) -> None:
    async def until_all_are_here(admin: Any) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(Exception):
                    here = [agent for agent in (await admin.agents())["agents"] if agent["connected_ms"]]
                    if len(here) == CREW:
                        return
                await asyncio.sleep(0.1)

    async def scene() -> None:
        names = [f"agent-{n:03}" for n in range(CREW)]
        async with hub.admin() as admin, crew_of(hub, names) as crew:
            await until_all_are_here(admin)
            tasks = [
                (
                    await admin.submit(
                        json.dumps(n), needed_capabilities=[CAPABILITY], idempotency_key=f"k{n}"
                    )
                ).task_id
                for n in range(2 * CREW)
            ]
            hub.kill()
            hub.start()
            await hub.serving()
            await until_all_are_here(admin)
            assert await outcomes(admin, tasks, DEADLINE_S) == []
            assert crew.problems() == []

    hub: HubProcess = make_hub(registration="open", limits__enabled="false", lease__grace_s="60")
    asyncio.run(scene())
    assert hub.complaints() == []
