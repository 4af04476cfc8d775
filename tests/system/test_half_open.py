"""A cable is pulled under a session: no packet says so, and yet the work goes on elsewhere, once."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentcom.client import Hub
from tests.system.cable import HERE, Cable, cable
from tests.system.crew import CAPABILITY, crew_of, outcomes, register
from tests.system.hub_process import ROOT, HubProcess, clean_env

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0


@contextlib.asynccontextmanager
async def holder(line: Cable, url: str, token: str) -> AsyncIterator[Process]:
    """The agent on the other end."""
    argv = line.argv(sys.executable, "-m", "tests.system.holder", url, "far", CAPABILITY)
    env = {**clean_env(), "AGENTCOM_TOKEN": token}
    child = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stdout=PIPE, stderr=DEVNULL)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def hears(child: Process, *words: str) -> None:
    assert child.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        while (line := (await child.stdout.readline()).decode().split()) != list(words):
            assert line, f"it ended and never said {' '.join(words)}"


async def until(admin: Hub, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Until one look at the agents says so."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds({each["agent_id"]: each for each in (await admin.agents())["agents"]}):
            await asyncio.sleep(0.05)


def test_a_session_whose_cable_is_pulled_is_noticed_and_its_task_done_once_elsewhere(
    make_hub: Callable[..., HubProcess],
) -> None:
    with cable() as line:
        hub = make_hub(hub__host=HERE, registration="open", lease__grace_s="1")
        hub.url = f"http://{HERE}:{hub.port}"
        asyncio.run(story(line, hub))
    assert hub.complaints() == []


async def story(line: Cable, hub: HubProcess) -> None:
    async with hub.admin() as admin:
        token = await register(hub.url, "far")
        async with holder(line, hub.url, token) as far:
            await hears(far, "online")
            task = await admin.submit("hold this", needed_capabilities=[CAPABILITY])
            await hears(far, "holds", task.task_id)
            line.pull()
            await until(admin, lambda agents: agents["far"]["state"] == "offline")
            async with crew_of(hub, ["near"]) as crew:
                assert await outcomes(admin, [task.task_id], DEADLINE_S) == []
                line.plug()
                await hears(far, "stop", task.task_id)
                await until(admin, lambda agents: agents["far"]["state"] == "idle")
            assert crew.problems() == []
            assert crew.completed[task.task_id] == 1
