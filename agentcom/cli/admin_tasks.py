"""The commands of `agentcom-admin` about tasks.

May import: click, agentcom.{cli, client, protocol}.
"""

import time
from typing import Any

import click

from agentcom.cli import look
from agentcom.cli.connect import Link, on_hub
from agentcom.cli.inputs import from_stdin
from agentcom.cli.why import why
from agentcom.client import Hub
from agentcom.protocol.rows import LANES, PHASES

Json = dict[str, Any]


def now_ms() -> float:
    return time.time() * 1_000


@click.command("tasks")
@click.option("--status", type=click.Choice(PHASES))
@click.option("--lane", type=click.Choice(LANES))
@click.option("--agent", help="Held by this agent.")
@click.option("--submitter")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@click.option("--cursor", help="Where the last page ended.")
@on_hub
def tasks_command(
    link: Link, status: str, lane: str, agent: str, submitter: str, limit: int, cursor: str
) -> None:
    """List tasks."""
    filters: dict[str, str | int | None] = {
        "status": status, "priority": lane, "assigned_to": agent, "submitter": submitter, "limit": limit,
        "cursor": cursor,
    }  # fmt: skip
    page = link.call(lambda hub: hub.tasks(**filters))
    if link.as_json:
        return link.show(page)
    console = look.console()
    console.print(look.tasks_table(page["tasks"], now_ms()) if page["tasks"] else "no such tasks")
    if page.get("next_cursor"):
        console.print(f"there may be more: --cursor {page['next_cursor']}")
    return None


@click.command("task")
@click.argument("task_id")
@on_hub
def task_command(link: Link, task_id: str) -> None:
    """Show one task with its history."""
    task, events = link.call(lambda hub: _with_events(hub, task_id))
    if link.as_json:
        return link.show({**task, "events": events})
    return look.console().print(look.task_view(task, events))


async def _with_events(hub: Hub, task_id: str) -> tuple[Json, list[Json]]:
    return await hub.task(task_id), (await hub.events(task_id))["events"]


@click.command("why")
@click.argument("task_id")
@on_hub
def why_command(link: Link, task_id: str) -> None:
    """Say why a task is where it is."""
    task, agents = link.call(lambda hub: _with_agents(hub, task_id))
    sentences = why(task, agents, now_ms())
    if link.as_json:
        return link.show({"task_id": task_id, "status": task["status"], "why": sentences})
    console = look.console()
    console.print(look.outcome_line(task_id, {**task, "reason": "", "waiting": "", "question": ""}))
    return console.print("\n".join(sentences), markup=False)


async def _with_agents(hub: Hub, task_id: str) -> tuple[Json, list[Json]]:
    return await hub.task(task_id), (await hub.agents())["agents"]


@click.command("dead-letter")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@on_hub
def dead_letter_command(link: Link, limit: int) -> None:
    """List the tasks that were given up, with their reasons."""
    page = link.call(lambda hub: hub.tasks(status="dead_letter", limit=limit))
    if link.as_json:
        return link.show(page)
    return look.console().print(
        look.dead_letter_table(page["tasks"]) if page["tasks"] else "the dead letter is empty"
    )


@click.command("cancel")
@click.argument("task_id")
@click.option("--reason", default="")
@on_hub
def cancel_command(link: Link, task_id: str, reason: str) -> None:
    """Cancel a task; its agent is told to stop."""
    link.done(link.call(lambda hub: hub.cancel(task_id, reason)), f"{task_id} is cancelled")


@click.command("retry")
@click.argument("task_id")
@click.option("--reason", default="")
@on_hub
def retry_command(link: Link, task_id: str, reason: str) -> None:
    """Put a task of the dead letter back into its lane, with fresh attempts."""
    link.done(link.call(lambda hub: hub.retry(task_id, reason)), f"{task_id} is queued again")


@click.command("prioritise")
@click.argument("task_id")
@click.argument("lane", type=click.Choice(LANES))
@on_hub
def prioritise_command(link: Link, task_id: str, lane: Any) -> None:
    """Move a task to another lane."""
    link.done(link.call(lambda hub: hub.prioritise(task_id, lane)), f"{task_id} is in lane {lane}")


@click.command("answer")
@click.argument("task_id")
@click.argument("text")
@on_hub
def answer_command(link: Link, task_id: str, text: str) -> None:
    """Answer the question of a blocked task; "-" reads the answer from stdin."""
    said = from_stdin() if text == "-" else text
    link.done(link.call(lambda hub: hub.answer(task_id, said)), f"{task_id} has its answer")


COMMANDS = (
    tasks_command, task_command, why_command, dead_letter_command, cancel_command, retry_command,
    prioritise_command, answer_command,
)  # fmt: skip
