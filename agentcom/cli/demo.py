"""`make demo`: from nothing to branches with pull request records, in a folder that is gone afterwards.

Starts a hub and two sidecars with scripted Minds as real processes, makes a git remote, submits ten tasks
over HTTP, shows what happens, then compares what the hub says with what git says. Exit code 0 only if
all came through.
May import: click, rich, agentcom.{cli, client, protocol}.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from agentcom.cli import demo_board, demo_check, demo_help, exits
from agentcom.cli.demo_fleet import Ended
from agentcom.cli.demo_stage import Stage
from agentcom.cli.demo_tasks import TASKS
from agentcom.cli.demo_watch import Watch
from agentcom.cli.inputs import Finite
from agentcom.client import Hub, new_key
from agentcom.protocol import errors
from agentcom.protocol.bodies import ErrorBody, Submitted

Json = dict[str, Any]
INTERRUPTED = 130


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running, and say how to look at it.")
@click.option(
    "--timeout", type=Finite(min=5), default=180.0, show_default=True, help="Seconds for the tasks."
)
def main(keep: bool, timeout: float) -> None:
    """A hub, two agents, ten tasks: watch them become branches."""
    # Whoever starts us in the background may have told us to ignore it; then nothing could stop us in order.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=160)
    home = Path(tempfile.mkdtemp(prefix="agentcom-demo-"))
    sys.exit(_run(console, home, keep, timeout))


def _run(console: Console, home: Path, keep: bool, timeout_s: float) -> int:
    stage = Stage(home, os.environ)
    code, keeping = exits.REFUSED, False
    try:
        code, keeping = asyncio.run(play(console, stage, timeout_s)), keep
    except (Ended, errors.AgentComError, OSError) as exc:
        console.print(Text(f"✘ {exc}", style="red"))
        keeping = keep
    except KeyboardInterrupt:
        console.print("\nstopping")
        code = INTERRUPTED
    finally:
        if keeping:
            console.print(demo_help.how_to_look(stage))
        else:
            _clear(console, stage, code)
    return code


def _clear(console: Console, stage: Stage, code: int) -> None:
    """Stop all; the logs stay when something went wrong, for there is nothing else to look at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave half of it running
    killed = stage.stop()
    if killed:
        console.print(Text(f"had to be killed: {', '.join(killed)}", style="yellow"))
    if code == exits.REFUSED:
        console.print(f"The logs are in {stage.logs}", markup=False)
    else:
        shutil.rmtree(stage.home, ignore_errors=True)


async def play(console: Console, stage: Stage, timeout_s: float) -> int:
    """The whole demo; the exit code."""
    with _busy(console, "starting a hub and two sidecars"):
        await asyncio.to_thread(stage.start_hub)
        async with Hub(stage.url, stage.token()) as hub:
            await stage.prepare(hub)
    console.print(demo_help.opening(stage))
    async with Hub(stage.url, stage.token()) as hub:
        began = time.monotonic()
        ids = await submit(hub)
        await Watch(console, hub, stage.fleet, ids).until_ended(timeout_s)
        seconds = time.monotonic() - began
        found = [await hub.task(task_id) for task_id in ids]
        pulls = (await hub.pulls(limit=1_000))["pulls"]
    return report(console, stage, found, pulls, seconds)


def _busy(console: Console, what: str) -> AbstractContextManager[object]:
    if console.is_terminal:
        return console.status(what)
    console.print(what)
    return nullcontext()


async def submit(hub: Hub) -> list[str]:
    answers = await hub.submit_batch([one.new_task(new_key()) for one in TASKS])
    refused = [answer for answer in answers if isinstance(answer, ErrorBody)]
    if refused:
        raise errors.Refused(
            "conflict", f"the hub refused a task: {refused[0].message}", path=refused[0].path
        )
    return [answer.task_id for answer in answers if isinstance(answer, Submitted)]


def report(
    console: Console, stage: Stage, found: Sequence[Json], pulls: Sequence[Json], seconds: float
) -> int:
    """The table, what became of the hopeless task, and whether all of it is true."""
    by_task = {pull["task_id"]: pull for pull in pulls}
    console.print(demo_board.final_view(TASKS, found, by_task, console.width))
    for one, task in zip(TASKS, found, strict=True):
        if task["status"] == "dead_letter":
            console.print(demo_board.reasons_text(one.title, demo_check.reasons(task)))
    problems = demo_check.problems(demo_check.Remote(stage.remote), TASKS, found, pulls)
    console.print(demo_board.verdict(problems, found, seconds))
    return exits.REFUSED if problems else exits.OK


if __name__ == "__main__":
    main()
