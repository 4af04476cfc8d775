"""Actors crash at random while clients submit, without waiting for one to be back before the next goes."""

import asyncio
import random
import time
from collections.abc import Sequence

import pytest

from agentcom.client import Hub
from agentcom.protocol.errors import AgentComError
from tests.system.crew import crew_of, outcomes, taking
from tests.system.hub_process import HubProcess
from tests.system.load import Submitter, acknowledged_more

pytestmark = pytest.mark.slow
AGENTS = ("ada", "grace", "linus")
VICTIMS = (
    *(f"lane.{lane}" for lane in ("urgent", "high", "normal", "low") for _ in range(2)),
    "scheduler",
    "scheduler",
    *(f"agent.{name}" for name in AGENTS for _ in range(3)),
    "presence",
    "gateway",
    "gateway",
)
"""As many crashes as the budgets of the tree allow in a row."""
ANSWER_S = 10.0
"""No request waits for an actor that is gone until the edge's own backstop ends it."""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_crashes_leaves_every_acknowledged_task_completed_once(hub: HubProcess, seed: int) -> None:
    rng = random.Random(seed)
    victims = rng.sample(VICTIMS, len(VICTIMS))

    async def scenario() -> None:
        async with hub.admin() as admin, crew_of(hub, AGENTS, taking(0.02)) as crew:
            stop = asyncio.Event()
            submitters = [Submitter(admin, n) for n in range(4)]
            running = [asyncio.create_task(one.run(stop)) for one in submitters]
            await acknowledged_more(submitters, 20)
            await storm(admin, victims, rng)
            await acknowledged_more(submitters, 20)
            stop.set()
            await asyncio.gather(*running)
            task_ids = [task_id for one in submitters for task_id in one.acknowledged.values()]
            assert await outcomes(admin, task_ids, 120) == []
            assert crew.problems() == []
            assert set(crew.completed) == set(task_ids)
            assert max(one.longest_s for one in submitters) < ANSWER_S

    asyncio.run(scenario())
    assert hub.complaints("InjectedCrash") == []


async def storm(admin: Hub, victims: Sequence[str], rng: random.Random) -> None:
    for victim in victims:
        await crash(admin, victim)
        await asyncio.sleep(rng.random() * 0.3)


async def crash(admin: Hub, victim: str) -> None:
    """It may be away just now; then it crashes as soon as it is there."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            await admin.call("POST", f"/api/actors/{victim}/crash")
        except AgentComError:
            await asyncio.sleep(0.05)
        else:
            return
    raise TimeoutError(f"{victim} was not there to be crashed")
