"""An operator's answer, and a spent budget, on a real hub that is killed between the two ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agentcom.client import AgentSession, Hub
from agentcom.session_state import Accepted, Answered, Assigned, Saved, Stop
from tests.system.hub_process import HubProcess

SOON_S = 30.0


class Memory:
    """What a client keeps between its lives."""

    def __init__(self) -> None:
        self.saved = Saved()

    async def load(self) -> Saved:
        return self.saved

    async def save(self, saved: Saved) -> None:
        self.saved = saved


@asynccontextmanager
async def ada(hub: HubProcess, token: str, memory: Memory) -> AsyncIterator[AgentSession]:
    session = AgentSession(
        hub.url, agent_id="ada", token=token, instance="one", outbox=memory, backoff_s=(0.05, 0.5)
    )
    async with session:
        yield session


async def hear(session: AgentSession, kind: Any) -> Any:
    """The next event of this kind; what is assigned meanwhile is accepted."""
    async with asyncio.timeout(SOON_S):
        async for event in session:
            if isinstance(event, Assigned):
                await session.accept(event.assign.task_id, event.assign.generation)
            if isinstance(event, kind):
                return event
    raise AssertionError("the session ended")


async def until(admin: Hub, task_id: str, status: str) -> None:
    async with asyncio.timeout(SOON_S):
        while (await admin.task(task_id))["status"] != status:
            await asyncio.sleep(0.02)


def test_an_answer_to_an_agent_that_is_away_outlives_a_kill_of_the_hub(hub: HubProcess) -> None:
    async def scenario() -> None:
        memory = Memory()
        async with hub.admin() as admin:
            token = (await admin.register("ada")).token
            task_id = (await admin.submit("paint the shed")).task_id
            async with ada(hub, token, memory) as session:
                task = await hear(session, Accepted)
                await session.block(task_id, task.generation, "which colour?")
                await until(admin, task_id, "blocked")
            await admin.answer(task_id, "blue")
            hub.kill()
            hub.start()
            async with ada(hub, token, memory) as session:
                told = await hear(session, Answered)
                assert (told.task_id, told.generation, told.answer) == (task_id, task.generation, "blue")
                await session.unblock(task_id, told.generation)
                await session.complete(task_id, told.generation)
                await until(admin, task_id, "completed")

    asyncio.run(scenario())


def test_a_mind_that_overspends_is_stopped_before_its_agent_gets_more_work(hub: HubProcess) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin:
            token = (await admin.register("ada")).token
            task_id = (await admin.submit("think", token_budget=100)).task_id
            async with ada(hub, token, Memory()) as session:
                task = await hear(session, Accepted)
                next_id = (await admin.submit("think less")).task_id
                await session.progress(task_id, task.generation, tokens_used=150)
                stop = await hear(session, Stop)
                assert (stop.task_id, stop.kind, stop.reason) == (task_id, "cancel", "budget")
                given_up = await admin.task(task_id)
                assert (given_up["status"], given_up["tokens_used"]) == ("dead_letter", 150)
                assert (await admin.task(next_id))["status"] == "queued"
                await session.stopped(task_id, task.generation)
                assert (await hear(session, Accepted)).task_id == next_id

    asyncio.run(scenario())
