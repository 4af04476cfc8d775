"""`agentcom-admin tail`: what changes in the hub, as it changes.

May import: click, msgspec, agentcom.{cli, client}.
"""

import contextlib
from typing import Any

import click
import msgspec

from agentcom.cli import times
from agentcom.cli.connect import Link, on_hub
from agentcom.client import Hub

Json = dict[str, Any]

AWAY_S = 60.0
"""A hub that restarts is waited for so long."""


@click.command("tail")
@click.option("--task", "task_id", default="", help="Of this task only.")
@click.option("--after", help="Begin behind this event's id or journal seq; 0 is all there is. Default: now.")
@on_hub
def tail_command(link: Link, task_id: str, after: str | None) -> None:
    """Show what changes, as it changes, until Ctrl-C. With --json one object a line."""
    with contextlib.suppress(KeyboardInterrupt):
        link.call(lambda hub: _tail(hub, link, task_id, after), retry_s=AWAY_S)


async def _tail(hub: Hub, link: Link, task_id: str, after: str | None) -> None:
    await hub.health()  # a hub that is not there is told at once
    async for event in hub.follow(after):
        if task_id in ("", event.get("task_id")) or event["type"] == "gap":
            click.echo(msgspec.json.encode(event).decode() if link.as_json else line(event))


def line(event: Json) -> str:
    """One event for people."""
    if event["type"] == "gap":
        return f"-- some of what happened after {event['after']} cannot be told --"
    what = event["type"].removesuffix("_event")
    of = event.get("task_id") or event.get("name") or event.get("agent_id", "")
    parts = [times.clock(event["timestamp"]), what, of, event["event"].replace("_", " "), *_more(event, of)]
    return "  ".join(part for part in parts if part)


def _more(event: Json, of: str) -> list[str]:
    status = str(event.get("status", "")).replace("_", " ")
    who = str(event.get("agent_id") or event.get("subject") or "")
    said = " ".join(str(event.get("reason") or event.get("url") or "").split())
    fresh = status if status != event["event"].replace("_", " ") else ""
    return [f"({fresh})" if fresh else "", who if who != of else "", said]


COMMANDS = (tail_command,)
