"""The hub is killed with SIGKILL in the middle of the demo's work, and started again on the same data and port.

Real processes, real git, real disk. SIGKILL proves what a process' death does, not what a power cut does.
"""

import asyncio
import os
import signal
import time

import pytest

from agentcom.cli import demo_check
from agentcom.cli.demo_stage import Stage
from agentcom.cli.demo_tasks import TASKS
from agentcom.client import Hub, new_key
from agentcom.protocol.rows import FINAL, HELD

pytestmark = pytest.mark.slow
DEADLINE_S = 240


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path / "demo", os.environ)
    yield made
    made.stop()


async def until(ask, holds, what):
    deadline = time.monotonic() + DEADLINE_S
    while not holds(found := await ask()):
        assert time.monotonic() < deadline, f"{what}: {found}"
        await asyncio.sleep(0.1)
    return found


def kill(stage):
    """As `kill -9` does it; returns when the process is gone."""
    hub = next(child for child in stage.fleet.children if child.name == "hub")
    hub.process.send_signal(signal.SIGKILL)
    hub.process.wait()
    stage.fleet.children.remove(hub)


async def play(stage, kills):
    """Submit, kill and restart whenever some more tasks have ended; the tasks at the end, and the records."""
    await asyncio.to_thread(stage.start_hub)
    async with Hub(stage.url, stage.token(), retry_s=60) as hub:
        await stage.prepare(hub)
        ids = [
            answer.task_id for answer in await hub.submit_batch([one.new_task(new_key()) for one in TASKS])
        ]

        async def states():
            return [(await hub.task(task_id))["status"] for task_id in ids]

        def busy_after(ended):
            return lambda now: sum(s in FINAL for s in now) >= ended and any(s in HELD for s in now)

        for n in range(kills):
            await until(states, busy_after(2 * n + 1), "never got so far")
            kill(stage)
            await asyncio.to_thread(stage.start_hub)
        await until(states, lambda now: all(s in FINAL for s in now), "not all ended")
        return [await hub.task(task_id) for task_id in ids], (await hub.pulls(limit=1_000))["pulls"]


def test_a_hub_killed_during_the_work_loses_nothing_and_doubles_nothing(stage):
    found, pulls = asyncio.run(play(stage, kills=3))
    assert demo_check.problems(demo_check.Remote(stage.remote), TASKS, found, pulls) == []
    for task in found:
        ends = [line for line in task["history"] if line["status"] in FINAL]
        assert len(ends) == 1, f"{task['task_id']} ended {len(ends)} times: {task['history']}"
        generations = [line["generation"] for line in reversed(task["history"])]
        assert generations == sorted(generations)
        assert task["losses"] == 0
