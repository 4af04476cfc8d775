"""The demo's work, real sidecars and real git, with the hub killed in the middle of it three times."""

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcom.cli import demo_check, demo_stage
from agentcom.cli.demo import submit
from agentcom.cli.demo_fleet import stop, tail
from agentcom.cli.demo_stage import Stage
from agentcom.cli.demo_tasks import TASKS
from agentcom.client import Hub
from agentcom.protocol.rows import FINAL
from tests.system.hub_process import ROOT

pytestmark = pytest.mark.slow
GOALS = (1, 4, 7)
"""So many tasks have ended before each kill."""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(demo_stage, "SETTINGS", (*demo_stage.SETTINGS, "runtime.strict=true"))
    made = Stage(tmp_path / "demo", {**os.environ, "PYTHONPATH": str(ROOT)})
    yield made
    made.stop()
    for log in sorted(made.logs.glob("*.log")):
        print(f"--- the end of {log.name}", tail(log, 30), sep="\n")


@pytest.mark.parametrize("seed", [1])
def test_three_kills_during_the_demo_lose_and_double_nothing(stage: Stage, seed: int) -> None:
    rng = random.Random(seed)

    async def scenario() -> None:
        await asyncio.to_thread(stage.start_hub)
        async with Hub(stage.url, stage.token(), retry_s=60) as hub:
            await stage.prepare(hub)
            ids = await submit(hub)
            for goal in GOALS:
                await until_ended(hub, ids, lambda n, goal=goal: n >= goal)
                await asyncio.sleep(rng.random() * 0.8)  # anywhere in the work of the next ones
                await asyncio.to_thread(kill_and_start, stage)
            await until_ended(hub, ids, lambda n: n == len(ids))
            found = [await hub.task(task_id) for task_id in ids]
            pulls = (await hub.pulls(limit=1_000))["pulls"]
            remote = demo_check.Remote(stage.remote)
            assert demo_check.problems(remote, TASKS, found, pulls) == []
            assert [line for task in found for line in doubled(task)] == []
            assert len(pulls) == len([one for one in TASKS if not one.hopeless])

    asyncio.run(scenario())


def kill_and_start(stage: Stage) -> None:
    child = next(child for child in stage.fleet.children if child.name == "hub")
    child.process.kill()
    child.process.wait()
    stage.fleet.children.remove(child)
    stage.start_hub()


async def until_ended(hub: Hub, ids: list[str], enough: Callable[[int], bool]) -> None:
    async with asyncio.timeout(120):
        while True:
            tasks = [await hub.task(task_id) for task_id in ids]
            if enough(sum(task["status"] in FINAL for task in tasks)):
                return
            await asyncio.sleep(0.05)


def doubled(task: dict[str, Any]) -> list[str]:
    """What happened twice, or to a generation that was given out before, or was a loss that was none."""
    events = [line["event"] for line in task["history"]]
    given = [line["generation"] for line in reversed(task["history"]) if line["event"] == "assigned"]
    said = []
    if given != list(range(1, len(given) + 1)) or len(given) != task["generation"]:
        said.append(f"generations {given} of {task['generation']}")
    if len([e for e in events if e in ("completed", "salvaged", "dead_letter")]) != 1:
        said.append(f"ended as {events}")
    if task["losses"]:
        said.append(f"{task['losses']} losses")
    return [f"{task['description']}: {one}" for one in said]
