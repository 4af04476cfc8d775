"""The hub killed again and again while clients submit and agents complete: what it acknowledged is true."""

import asyncio
import random

import pytest

from tests.system.crew import crew_of, outcomes
from tests.system.hub_process import HubProcess
from tests.system.load import Submitter, acknowledged_more

pytestmark = pytest.mark.slow
ROUNDS = 20
SUBMITTERS = 6
AGENTS = ("ada", "grace", "linus")


@pytest.mark.parametrize("seed", [1])
def test_twenty_kills_under_load_lose_and_double_nothing(hub: HubProcess, seed: int) -> None:
    rng = random.Random(seed)

    async def scenario() -> None:
        async with hub.admin() as admin, crew_of(hub, AGENTS) as crew:
            stop = asyncio.Event()
            submitters = [Submitter(admin, n) for n in range(SUBMITTERS)]
            running = [asyncio.create_task(one.run(stop)) for one in submitters]
            for _ in range(ROUNDS):
                await acknowledged_more(submitters, rng.randint(10, 60))
                await asyncio.sleep(rng.random() * 0.05)  # anywhere within a batch
                hub.kill()
                hub.start()
            await acknowledged_more(submitters, 30)
            stop.set()
            await asyncio.gather(*running)
            task_ids = [task_id for one in submitters for task_id in one.acknowledged.values()]
            assert len(set(task_ids)) == len(task_ids)
            assert await outcomes(admin, task_ids, 120) == []
            assert crew.problems() == []
            assert {id for id, n in crew.completed.items() if n == 1} == set(task_ids)
            stats = await admin.call("GET", "/api/tasks/stats")
            assert stats["by_status"]["completed"] == sum(stats["by_status"].values()) == len(task_ids)

    asyncio.run(scenario())
    assert hub.complaints() == []
