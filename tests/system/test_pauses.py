"""Pauses of a real hub with real sessions, killed in between: what was paused stays so, what was not goes on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agentcom.client import Hub
from tests.system.crew import CAPABILITY, Crew, crew_of, outcomes
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
DEADLINE_S = 60.0


async def submit(hub: Hub, count: int, lane: Any = "normal") -> list[str]:
    fields = {"needed_capabilities": [CAPABILITY], "priority": lane}
    return [(await hub.submit(f"task {n}", **fields)).task_id for n in range(count)]


async def operate(process: HubProcess, *paths: str) -> None:
    async with process.admin() as hub:
        for path in paths:
            await hub.call("POST", path)


async def kill(process: HubProcess) -> None:
    process.kill()
    process.start()
    await process.serving()


async def shown(hub: Hub, name: str, state: str) -> None:
    """Until this agent is shown so."""
    async with asyncio.timeout(DEADLINE_S):
        while state not in {a["state"] for a in (await hub.agents())["agents"] if a["agent_id"] == name}:
            await asyncio.sleep(0.02)


def who_had(crew: Crew, tasks: Sequence[str]) -> set[str]:
    return {name for (task_id, _), names in crew.given.items() if task_id in tasks for name in names}


def test_a_paused_lane_hands_out_nothing_though_the_hub_is_killed_and_everything_once_resumed(hub):
    async def scene():
        await operate(hub, "/api/lanes/urgent/pause")
        async with crew_of(hub, ["ada", "bob"]) as crew, hub.admin() as admin:
            waiting = await submit(admin, 5, "urgent")
            await kill(hub)
            others = await submit(admin, 5, "low")
            assert await outcomes(admin, others, DEADLINE_S) == []
            assert who_had(crew, waiting) == set()
            view = await admin.task(waiting[0])
            assert (view["status"], view["waiting"]) == ("queued", "lane urgent is paused")
            await operate(hub, "/api/lanes/urgent/resume")
            assert await outcomes(admin, waiting, DEADLINE_S) == []
            assert crew.problems() == []

    asyncio.run(scene())


def test_a_paused_agent_gets_nothing_though_the_hub_is_killed_and_a_drained_one_until_it_comes_anew(hub):
    async def scene():
        async with crew_of(hub, ["ada", "bob"]) as crew, hub.admin() as admin:
            await operate(hub, "/api/agents/ada/pause", "/api/agents/bob/drain")
            await shown(admin, "ada", "paused")
            await shown(admin, "bob", "draining")
            tasks = await submit(admin, 5)
            await kill(hub)  # bob comes anew
            assert await outcomes(admin, tasks, DEADLINE_S) == []
            assert who_had(crew, tasks) == {"bob"}
            await shown(admin, "ada", "paused")
            await operate(hub, "/api/agents/ada/resume", "/api/agents/bob/pause")
            await shown(admin, "bob", "paused")
            tasks = await submit(admin, 5)
            assert await outcomes(admin, tasks, DEADLINE_S) == []
            assert who_had(crew, tasks) == {"ada"}
            assert crew.problems() == []

    asyncio.run(scene())


def test_a_drained_hub_hands_out_nothing_over_a_kill_and_says_so_in_its_health(hub):
    async def scene():
        async with crew_of(hub, ["ada", "bob"]) as crew, hub.admin() as admin:
            await operate(hub, "/api/drain")
            tasks = await submit(admin, 5)
            await kill(hub)
            await shown(admin, "ada", "idle")
            async with asyncio.timeout(DEADLINE_S):
                while "pauses" not in (await admin.health())["parts"]:
                    await asyncio.sleep(0.02)
            assert (await admin.call("GET", "/api/tasks/stats"))["by_status"]["queued"] == len(tasks)
            assert who_had(crew, tasks) == set()
            await operate(hub, "/api/resume")
            assert await outcomes(admin, tasks, DEADLINE_S) == []
            assert crew.problems() == []

    asyncio.run(scene())
