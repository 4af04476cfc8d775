"""The commands of `agentcom-admin` about the data: rewriting the store's file.

May import: click, agentcom.{cli, client}.
"""

import asyncio
from typing import Any

import click

from agentcom.cli import exits
from agentcom.cli.connect import Link, on_hub
from agentcom.client import Hub

LOOK_S = 0.2
PATH = "/api/compaction"


@click.command("compact")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is done.")
@on_hub
def compact_command(link: Link, no_wait: bool) -> None:
    """Remove what is older than its retention and rewrite the store's file. The hub goes on serving."""
    view = link.call(lambda hub: _compact(hub, wait=not no_wait))
    if no_wait:
        return link.done(view, f"the file has {megabytes(view['bytes'])}; it is being rewritten")
    if view["problem"]:
        raise exits.Failed(f"the file was not rewritten: {view['problem']}", exits.REFUSED, error="conflict")
    last = view["last"]
    return link.done(
        view,
        f"{megabytes(last['bytes_before'])} before, {megabytes(last['bytes_after'])} after; "
        f"took {last['seconds']:.1f} s, commits waited {last['pause_ms']:.0f} ms",
    )


async def _compact(hub: Hub, *, wait: bool) -> dict[str, Any]:
    view: dict[str, Any] = await hub.call("POST", PATH)
    wanted = view["asked"]
    while wait and view["done"] < wanted <= view["asked"]:  # a compaction that started again counts from 0
        await asyncio.sleep(LOOK_S)
        view = await hub.call("GET", PATH)
    if wait and view["done"] < wanted:
        return {**view, "problem": "it was interrupted; the store in force is whole, try again"}
    return view


def megabytes(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MB"


COMMANDS = (compact_command,)
