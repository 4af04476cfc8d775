"""Whoever watches a hub that is killed and started again misses nothing, hears nothing twice, and holds up no stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentcom.client import Hub
from tests.prometheus import Metric, parse
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
DEADLINE_S = 60.0
KILLS, EACH = 3, 20
SINCE_THE_START = ("agentcom_process_", "agentcom_store_commits", "agentcom_actor_restarts")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path)
    yield made
    made.kill()


async def told(events: AsyncIterator[dict[str, Any]], task_ids: set[str], into: list[dict[str, Any]]) -> None:
    """Until each of these tasks was told of."""
    left = set(task_ids)
    async for event in events:
        into.append(event)
        left.discard(event.get("task_id", ""))
        if not left:
            return


async def submits(admin: Hub, life: int) -> set[str]:
    tasks = [{"description": f"{life}.{n}", "needed_capabilities": ["nobody"]} for n in range(EACH)]
    done = await asyncio.gather(*(admin.submit(None, **task) for task in tasks))
    return {one.task_id for one in done}


def test_a_follower_hears_of_everything_once_while_its_hub_is_killed(process: HubProcess) -> None:
    async def scene() -> None:
        live: list[dict[str, Any]] = []
        ids: set[str] = set()
        async with process.admin() as admin:
            events = admin.follow(0)
            for life in range(KILLS):
                fresh = await submits(admin, life)
                ids |= fresh
                if life % 2 == 0:  # the others are told of only after the kill
                    await told(events, fresh, live)
                    fresh = set()
                process.kill()
                process.start()
                await process.serving()
                if fresh:
                    await told(events, fresh, live)
            last = await admin.submit("the last one", needed_capabilities=["nobody"])
            await told(events, {last.task_id}, live)
            whole: list[dict[str, Any]] = []
            await told(admin.follow(0), {last.task_id}, whole)
        assert live == whole
        submitted = [event["task_id"] for event in live if event.get("event") == "submitted"]
        assert sorted(submitted) == sorted([*ids, last.task_id])
        assert "gap" not in {event["type"] for event in live}

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))


async def figures(admin: Hub) -> dict[str, Metric]:
    headers = {"Authorization": f"Bearer {admin.token}"}
    async with httpx.AsyncClient(base_url=admin.url, headers=headers, trust_env=False) as http:
        return parse((await http.get("/metrics")).text)


def test_counters_of_the_store_never_go_down(process: HubProcess) -> None:
    async def scene() -> None:
        before: dict[str, Metric] = {}
        for life in range(KILLS):
            async with process.admin() as admin:
                await submits(admin, life)
                await admin.send({"text": "hello"}, broadcast=True)
                found = await figures(admin)
            counters = {name for name, metric in found.items() if metric.kind == "counter"}
            for name in (name for name in counters if not name.startswith(SINCE_THE_START)):
                for labels, value in before[name].samples.items() if before else ():
                    assert found[name].samples[labels] >= value, name
            name = "agentcom_journal_seq_total"
            assert not before or found[name].samples[()] > before[name].samples[()]
            before = found
            process.kill()
            process.start()

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))


async def deaf(process: HubProcess, token: str) -> socket.socket:
    """A stream of all there is that nobody reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", process.port))
    made.sendall(
        f"GET /api/events?after=0 HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return made


def test_a_hub_that_stops_waits_for_no_stream(process: HubProcess) -> None:
    """uvicorn would wait its 5 s for each, and then say so."""

    async def scene() -> None:
        async with process.admin() as admin:
            await submits(admin, 0)
            events = admin.follow(0)
            await anext(events)
            with await deaf(process, admin.token):
                while (await figures(admin))["agentcom_event_streams"].samples[()] < 2:
                    await asyncio.sleep(0.02)
                process.terminate()
                assert await process.ended() == 0
            await events.aclose()  # type: ignore[attr-defined]  # it is a generator
        text = process.log.read_text()
        assert "hub.stopped" in text
        assert "running task(s)" not in text
        assert process.complaints() == []

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))
