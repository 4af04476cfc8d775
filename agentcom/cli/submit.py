"""`agentcom submit`: one task, or a file of ideas with one a line.

May import: click, rich, agentcom.{client, protocol, cli}.
"""

import asyncio
import sys
from typing import Any

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from agentcom.cli import exits
from agentcom.cli.connect import Link, on_hub
from agentcom.cli.inputs import Finite, converted, from_stdin, lines_of
from agentcom.cli.look import console, outcome_line, submitted_table
from agentcom.cli.times import Moment
from agentcom.client import Hub, new_key
from agentcom.protocol.bodies import ErrorBody, NewTask, Submitted
from agentcom.protocol.rows import LANES

Json = dict[str, Any]
BATCH = 1_000
PATIENCE_S = 10.0


@click.command("submit")
@click.argument("text", required=False)
@click.option(
    "--file", type=click.File("r", encoding="utf-8"), help="A file of tasks, one a line; # begins a comment."
)
@click.option("--lane", type=click.Choice(LANES), default="normal", show_default=True)
@click.option(
    "--needs", multiple=True, metavar="CAPABILITY", help="What the agent must be able to do; repeatable."
)
@click.option("--repo", default="", help="Name of a repository the hub knows; else its default.")
@click.option("--target", help="Only this agent may have it.")
@click.option(
    "--deadline", type=Moment(), help="90s, 15m, 2h, or a date and time; later it goes to the dead letter."
)
@click.option("--idempotency-key", "key", default="", help="The same key again is the same task.")
@click.option("--wait", is_flag=True, help="Wait until it has ended; the exit code tells how.")
@click.option("--timeout", type=Finite(min=0.1), default=3600.0, show_default=True, help="Seconds to wait.")
@on_hub
def submit_command(
    link: Link,
    text: str | None,
    file: Any,
    target: str | None,
    key: str,
    wait: bool,
    timeout: float,
    **fields: Any,
) -> None:
    """Hand work to the hub. TEXT says what should be done; "-" reads it from stdin."""
    common: Json = {"target": target or None, **_named(fields)}
    if file is not None:
        if text is not None:
            raise exits.Failed("give TEXT or --file, not both", exits.USAGE)
        tasks = _many(file, common, key)
    else:
        tasks = [_task({"description": _text(text), **common, "idempotency_key": key})]
    link = link.once_up()
    answers = link.call(lambda hub: _submit(hub, tasks), retry_s=PATIENCE_S)
    ended = _wait(link, answers, timeout) if wait else {}
    _report(link, tasks, answers, ended, timeout if wait else 0.0)
    sys.exit(_code(answers, ended, waited=wait))


def _named(fields: Json) -> Json:
    return {
        "priority": fields["lane"],
        "needed_capabilities": list(fields["needs"]),
        "repo": fields["repo"],
        "complete_by": fields["deadline"] or 0,
    }


def _text(text: str | None) -> str:
    if text is None:
        raise exits.Failed(
            'say what should be done: agentcom submit "fix the parser" (or use --file)', exits.USAGE
        )
    return from_stdin() if text == "-" else text


def _many(lines: Any, common: Json, key: str) -> list[NewTask]:
    ideas = [(n, line.strip()) for n, line in enumerate(lines_of(lines), 1)]
    wanted = [(n, idea) for n, idea in ideas if idea and not idea.startswith("#")]
    if not wanted:
        raise exits.Failed(f"{lines.name} has no task in it", exits.USAGE)
    return [
        _task({"description": idea, **common, "idempotency_key": f"{key}-{n}" if key else ""}, f"line {n}: ")
        for n, idea in wanted
    ]


def _task(fields: Json, where: str = "") -> NewTask:
    """Checked here by the hub's own rules, so that a slip costs no round trip."""
    return converted({**fields, "idempotency_key": fields["idempotency_key"] or new_key()}, NewTask, where)


async def _submit(hub: Hub, tasks: list[NewTask]) -> list[Submitted | ErrorBody]:
    if len(tasks) == 1:
        return [await hub.submit(tasks[0])]
    return [
        answer
        for start in range(0, len(tasks), BATCH)
        for answer in await hub.submit_batch(tasks[start : start + BATCH])
    ]


def _wait(link: Link, answers: list[Submitted | ErrorBody], timeout: float) -> dict[str, Json]:
    """Each submitted task as it ended, by id; one still open when the time is over is missing."""
    ids = [answer.task_id for answer in answers if isinstance(answer, Submitted)]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    to = console(err=True)
    with Progress(
        *columns, console=to, transient=True, disable=link.as_json or not to.is_terminal
    ) as progress:
        progress.add_task(
            f"waiting for {ids[0]}" if len(ids) == 1 else f"waiting for {len(ids)} tasks", total=None
        )
        ended = link.call(lambda hub: _wait_all(hub, ids, timeout), retry_s=timeout)
    return {task["task_id"]: task for task in ended if task}


async def _wait_all(hub: Hub, ids: list[str], timeout_s: float) -> list[Json | None]:
    gate = asyncio.Semaphore(16)
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s

    async def one(task_id: str) -> Json | None:
        async with gate:
            try:
                return await hub.wait(task_id, max(until - loop.time(), 0.0))
            except TimeoutError:
                return None

    return list(await asyncio.gather(*(one(task_id) for task_id in ids)))


def _report(
    link: Link,
    tasks: list[NewTask],
    answers: list[Submitted | ErrorBody],
    ended: dict[str, Json],
    waited_s: float,
) -> None:
    if link.as_json:
        shown: list[Any] = [ended.get(getattr(a, "task_id", ""), a) for a in answers]
        link.show(shown[0] if len(shown) == 1 else {"tasks": shown})
    elif len(answers) == 1 and isinstance(answers[0], Submitted):
        console().print(outcome_line(answers[0].task_id, ended.get(answers[0].task_id), waited_s))
    else:
        console().print(submitted_table(tasks, answers, ended))


def _code(answers: list[Submitted | ErrorBody], ended: dict[str, Json], *, waited: bool) -> int:
    if any(isinstance(answer, ErrorBody) for answer in answers):
        return exits.REFUSED
    if any(task["status"] != "completed" for task in ended.values()):
        return exits.NOT_COMPLETED
    return exits.TIMED_OUT if waited and len(ended) < len(answers) else exits.OK
