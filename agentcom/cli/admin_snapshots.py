"""The commands of `agentcom-admin` about snapshots.

May import: click, rich, agentcom.cli.
"""

import shlex
from collections.abc import Iterator
from typing import Any

import click
from rich.table import Table

from agentcom.cli import look
from agentcom.cli.admin_tasks import now_ms
from agentcom.cli.connect import Link, on_hub
from agentcom.cli.times import clock, span

Json = dict[str, Any]
MOST_TABLES = 6
STANDINGS = {"left_out": "left out by a restore", "before": "of before"}


@click.command("snapshot")
@on_hub
def snapshot_command(link: Link) -> None:
    """Make a snapshot now, and wait until it is verified. The hub goes on working meanwhile."""
    answer = link.call(lambda hub: hub.snapshot())
    link.done(answer, "\n".join(said(answer)))


@click.command("snapshots")
@on_hub
def snapshots_command(link: Link) -> None:
    """List the snapshots there are, newest first."""
    answer = link.call(lambda hub: hub.snapshots())
    if link.as_json:
        return link.show(answer)
    console = look.console()
    found = answer["snapshots"]
    console.print(snapshots_table(found, now_ms()) if found else "there is no snapshot yet")
    told = (*outlook(answer, now_ms()), *beside(answer))
    console.print("\n".join(told), markup=False, soft_wrap=True)
    return None


def said(answer: Json) -> Iterator[str]:
    """What was made, for people."""
    of = answer["snapshot"]
    verb = (
        "read again, as nothing was committed since it was made" if answer["renewed"] else "made and verified"
    )
    yield f"snapshot {of['name']} {verb}, in {answer['seconds']:.1f} s"
    yield f"  in      {of['path']}"
    yield f"  size    {size(of['bytes'])}, up to journal entry {of['seq']} of epoch {of['epoch']}"
    largest = sorted(((n, name) for name, n in of["rows"].items() if n), reverse=True)
    shown = ", ".join(f"{name} {n}" for n, name in largest[:MOST_TABLES])
    yield f"  rows    {sum(n for n, _ in largest)}" + (f": {shown}" if shown else "")
    if answer["removed"]:
        yield f"  removed {', '.join(answer['removed'])}"


def snapshots_table(snapshots: list[Json], at_ms: float) -> Table:
    stands = any(of.get("standing") in STANDINGS for of in snapshots)
    made = look.table(
        "snapshot",
        "epoch",
        "seq",
        "made",
        "age",
        "size",
        "rows",
        *(["standing"] if stands else []),
        right=("epoch", "seq", "age", "size", "rows"),
    )
    for of in snapshots:
        made.add_row(
            of["name"], str(of["epoch"]), str(of["seq"]), clock(of["made_at"]), span(at_ms - of["made_at"]),
            size(of["bytes"]), str(sum(of["rows"].values())),
            *([STANDINGS.get(of.get("standing", ""), "")] if stands else []),
        )  # fmt: skip
    return made


def outlook(answer: Json, at_ms: float) -> Iterator[str]:
    """Where they are, and what comes next."""
    yield f"in {answer['folder']}"
    if answer["problem"]:
        yield f"the last one failed: {answer['problem']}"
    if answer["running"]:
        yield "one is being made now"
    elif answer["due_at"] <= at_ms:
        yield "the next one is due now"
    else:
        yield f"the next one is due in {span(answer['due_at'] - at_ms)}"


def beside(answer: Json) -> Iterator[str]:
    """What is there that is no help when this store is damaged, and how it goes."""
    if any(of.get("standing") == "left_out" for of in answer["snapshots"]):
        yield "what a restore left out goes when its hours and days are over, as every snapshot does"
    if remains := answer.get("remains"):
        yield (
            "of before the store was salvaged or began empty there is still what follows; the hub never removes it. "
            "When you have what you want of it, on the hub's machine:"
        )
        for folder, _, name in (pattern.rpartition("/") for pattern in remains):
            yield f"  rm -r {shlex.quote(folder)}/{name}"


def size(n: float) -> str:
    """Bytes, short: `512 B`, `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} GiB"


COMMANDS = (snapshot_command, snapshots_command)
