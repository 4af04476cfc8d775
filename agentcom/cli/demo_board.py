"""What the demo shows: a board while it runs, a table at the end.

`lines` turns the hub's tasks into what is shown; the rest draws it. None of it asks the hub.
May import: rich, agentcom.cli.{demo_tasks, look, times}.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agentcom.cli.demo_tasks import DemoTask
from agentcom.cli.look import agent_of, lane_text, short, status_text
from agentcom.cli.times import span
from agentcom.protocol.rows import FINAL, HELD

Json = dict[str, Any]


class Line(NamedTuple):
    """One task, as the board shows it."""

    title: str
    lane: str
    status: str
    agent: str
    attempts: int
    told: str  #: what it is at, or why it waits
    age_ms: float

    @property
    def final(self) -> bool:
        return self.status in FINAL


def line(one: DemoTask, task: Json | None, now_ms: float) -> Line:
    if task is None:
        return Line(one.title, one.lane, "queued", "", 0, "", 0.0)
    end = task["updated_at"] if task["status"] in FINAL else now_ms
    return Line(
        title=one.title,
        lane=one.lane,
        status=task["status"],
        agent=agent_of(task),
        attempts=task["generation"],
        told=_told(task),
        age_ms=end - task["created_at"],
    )


def _told(task: Json) -> str:
    if task["status"] in HELD:
        return str(task.get("note") or "")
    return "" if task["status"] == "completed" else str(task.get("waiting") or task.get("reason") or "")


def board(lines: Sequence[Line], seconds: float) -> RenderableType:
    """The live picture."""
    made = Table(box=box.SIMPLE, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    for name, width in (("task", 18), ("lane", 6), ("status", 13), ("agent", 6), ("attempt", 7)):
        made.add_column(name, width=width, no_wrap=True)
    made.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for each in lines:
        attempts = str(each.attempts or "")
        cells = (
            lane_text(each.lane),
            status_text(each.status),
            each.agent,
            attempts,
            Text(each.told, style="dim"),
        )
        made.add_row(escape(each.title), *cells)
    return Group(made, progress(lines, seconds))


def progress(lines: Sequence[Line], seconds: float) -> Text:
    done = sum(each.final for each in lines)
    width = 34
    full = round(width * done / max(len(lines), 1))
    return Text.assemble(
        ("━" * full, "green"), ("━" * (width - full), "bright_black"),
        f"  {done} of {len(lines)} ended  ", (f"{seconds:.1f} s", "bright_black"),
    )  # fmt: skip


def changes(before: Sequence[Line], after: Sequence[Line], seconds: float) -> Iterable[str]:
    """Plain lines for a log: one for each task that changed."""
    for old, new in zip(before, after, strict=True):
        if (old.status, old.agent, old.attempts) != (new.status, new.agent, new.attempts):
            told = f"  ({short(new.told, 80)})" if new.told else ""
            status = new.status.replace("_", " ")
            yield f"{seconds:6.1f} s  {new.lane:<6}  {status:<11}  {new.agent:<6}  {new.title}{told}"


WIDE = 140
"""Columns of a terminal that has room for all; on others, branches and pull requests are a table of their own."""


def final_view(
    wanted: Sequence[DemoTask], found: Sequence[Json], pulls: Mapping[str, Json], width: int
) -> RenderableType:
    """What became of each task: the branch, the pull request record, and how long it took."""
    rows = [_cells(one, task, pulls.get(task["task_id"])) for one, task in zip(wanted, found, strict=True)]
    if width >= WIDE:
        return _table(("sign", "task", "lane", "agent", "attempts", "branch", "pull request", *_TIMES), rows)
    return Group(
        _table(("sign", "task", "lane", "agent", "attempts", *_TIMES), rows),
        _table(("sign", "branch", "pull request"), rows),
    )


_TIMES = ("assigned", "done")
_RIGHT = ("attempts", *_TIMES)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, RenderableType]]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        title = "" if name == "sign" else name
        made.add_column(title, justify="right" if name in _RIGHT else "left", overflow="fold")
    for row in rows:
        made.add_row(*(row[name] for name in columns))
    return made


def _cells(one: DemoTask, task: Json, pull: Json | None) -> dict[str, RenderableType]:
    sign = status_text(task["status"])
    branch = (task.get("result") or {}).get("branch") or ""
    told = Text(branch, style="cyan") if branch else Text(task["status"].replace("_", " "), style="red")
    return {
        "sign": Text(sign.plain[0], style=sign.style),
        "task": Text(one.title),
        "lane": lane_text(one.lane),
        "agent": agent_of(task),
        "attempts": str(count(task, "assigned")),
        "branch": told,
        "pull request": str(pull["pr_id"]) if pull else "",
        "assigned": since_submit(task, first(task, "assigned")),
        "done": since_submit(task, task["updated_at"] if task["status"] in FINAL else None),
    }


def first(task: Json, event: str) -> int | None:
    """When it first happened."""
    times = [line["ms"] for line in task.get("history") or [] if line["event"] == event]
    return min(times, default=None)


def count(task: Json, event: str) -> int:
    return sum(line["event"] == event for line in task.get("history") or [])


def since_submit(task: Json, ms: int | None) -> str:
    return "" if ms is None else span(ms - task["created_at"])


def verdict(problems: Sequence[str], found: Sequence[Json], seconds: float) -> Panel:
    if problems:
        body = Text("\n".join(f"✘ {problem}" for problem in problems), style="red")
        return Panel(body, title="not everything came through", title_align="left", border_style="red")
    done = sum(task["status"] == "completed" for task in found)
    body = Text.assemble(
        (
            f"✔ {done} tasks are branches with a pull request record, each cut from the remote's main\n",
            "green",
        ),
        (f"✔ {len(found) - done} hopeless task is in the dead letter, with its reasons\n", "green"),
        (f"  in {seconds:.1f} s, from submit to the last branch", "default"),
    )
    return Panel(body, title="all came through", title_align="left", border_style="green", expand=False)


def reasons_text(title: str, reasons: Sequence[str]) -> Text:
    said = "".join(f"\n  {short(reason, 130)}" for reason in reasons)
    return Text.assemble(("dead letter  ", "red"), (title, "bold"), said)
