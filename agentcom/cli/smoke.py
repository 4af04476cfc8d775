"""`agentcom smoke`: does this hub work? Tasks go in, built-in agents do them, each must be completed once.

May import: click, rich, agentcom.{cli, client, logging, protocol}.
"""

import sys
import time
from typing import Any, NamedTuple

import click
from rich.text import Text

from agentcom import logging
from agentcom.cli import exits, look
from agentcom.cli.connect import Link, on_hub
from agentcom.cli.inputs import Finite
from agentcom.cli.smoke_agents import Fleet
from agentcom.client import Hub, new_key
from agentcom.protocol.bodies import ErrorBody, NewTask, Submitted
from agentcom.protocol.rows import LANES

Json = dict[str, Any]


class Found(NamedTuple):
    tasks: int
    agents: int
    seconds: float
    problems: list[str]


@click.command("smoke")
@click.option("--tasks", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option("--agents", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--timeout", type=Finite(min=1), default=60.0, show_default=True, help="Seconds in all.")
@on_hub
def smoke_command(link: Link, tasks: int, agents: int, timeout: float) -> None:
    """Try a running hub: submit tasks, let built-in agents do them, check each. Needs an admin token."""
    link = link.once_up()
    # sessions tell their troubles on stderr, and only those
    logging.configure(level="error", format="console")
    found = link.call(lambda hub: smoke(hub, tasks, agents, timeout), retry_s=timeout)
    if link.as_json:
        link.show(found._asdict())
    else:
        _tell(found)
    sys.exit(exits.REFUSED if found.problems else exits.OK)


def _tell(found: Found) -> None:
    console = look.console()
    for problem in found.problems:
        console.print(Text(f"✘ {problem}", style="red"))
    if not found.problems:
        told = f"{found.tasks} tasks completed once each by {found.agents} agents in {found.seconds:.1f} s"
        console.print(Text(f"✔ {told}", style="green"))


async def smoke(hub: Hub, tasks: int, agents: int, timeout_s: float) -> Found:
    """What was found. The tasks need a capability of this run, so that no other agent takes one."""
    began = time.monotonic()
    capability = f"smoke-{new_key()[:16]}"
    async with Fleet(hub, capability, agents) as fleet:
        answers = await hub.submit_batch([_task(capability, n) for n in range(tasks)])
        refused = [
            f"task {n} was refused: {a.message}" for n, a in enumerate(answers) if isinstance(a, ErrorBody)
        ]
        problems = refused + fleet.problems
        for answer in answers:
            if isinstance(answer, Submitted):
                problems += await _check(hub, answer.task_id, began + timeout_s)
        problems += fleet.problems
    return Found(tasks, agents, time.monotonic() - began, problems)


def _task(capability: str, n: int) -> NewTask:
    lane = LANES[n % len(LANES)]
    return NewTask(description=f"smoke test {n + 1}", priority=lane, needed_capabilities=[capability])


async def _check(hub: Hub, task_id: str, until: float) -> list[str]:
    """What is wrong with one task."""
    try:
        task = await hub.wait(task_id, max(until - time.monotonic(), 0.0))
    except TimeoutError as exc:
        return [str(exc)]
    if task["status"] != "completed":
        return [f"{task_id} is {task['status']}: {look.why_line(task)}"]
    events = (await hub.events(task_id))["events"]
    times = sum(event["event"] == "completed" for event in events)
    return [] if times == 1 else [f"{task_id} was completed {times} times"]
