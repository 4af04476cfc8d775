"""Every actor of the tree crashes once during work: its supervisor brings it back, and the work comes to its end."""

import asyncio
from typing import Any

import pytest

from agentcom.client import Hub
from agentcom.protocol.rows import LANES
from tests.system.crew import CAPABILITY, crew_of, outcomes, taking
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
AGENTS = ("ada", "grace", "linus")
TASKS = 30
SHARES = 3
"""Hubs that share the names: the root allows five restarts in two minutes, and each of its children counts."""


def static_names(nodes: list[dict[str, Any]]) -> list[str]:
    """All but the root, which nobody supervises, and the agents' actors, which come as agents do."""
    return [node["name"] for node in nodes if node["parent"] and not node["name"].startswith("agent.")]


async def tree(hub: Hub) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await hub.actors())["actors"]
    return nodes


@pytest.mark.parametrize("share", range(SHARES))
def test_crashing_each_actor_in_turn_leaves_every_task_completed_once(hub: HubProcess, share: int) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin, crew_of(hub, AGENTS, taking(0.1)) as crew:
            victims = [*static_names(await tree(admin))[share::SHARES], f"agent.{AGENTS[share]}"]
            task_ids: list[str] = []
            for victim in victims:
                task_ids += await submitted(admin, TASKS // len(victims) + 1)
                before = await restarts(admin, victim)
                await admin.call("POST", f"/api/actors/{victim}/crash")
                await back(admin, victim, before)
            assert await outcomes(admin, task_ids, 60) == []
            assert crew.problems() == []
            assert set(crew.completed) == set(task_ids)
            late = await submitted(admin, 3)
            assert await outcomes(admin, late, 20) == []

    asyncio.run(scenario())
    assert hub.child.poll() is None
    assert hub.complaints("InjectedCrash") == []


async def submitted(hub: Hub, n: int) -> list[str]:
    tasks = [
        await hub.submit(f"idea {n}", priority=LANES[n % 4], needed_capabilities=[CAPABILITY])
        for n in range(n)
    ]
    return [task.task_id for task in tasks]


async def restarts(hub: Hub, name: str) -> int:
    """Of its present life; an agent's actor is away until its client is back after an earlier crash."""
    async with asyncio.timeout(30):
        while True:
            found = [int(node["start"]) for node in await tree(hub) if node["name"] == name]
            if found:
                return found[0]
            await asyncio.sleep(0.05)


async def back(hub: Hub, name: str, before: int) -> None:
    """Until the tree shows a later life of it, up, and the hub serves."""
    async with asyncio.timeout(30):
        while True:
            try:
                nodes = {node["name"]: node for node in await tree(hub)}
            except Exception:  # noqa: BLE001  # away as a whole while its trunk starts again
                nodes = {}
            mine = nodes.get(name)
            if mine and mine["state"] == "up" and mine["start"] > before and await hub.ready():
                return
            await asyncio.sleep(0.05)
