"""How things look on a terminal: colours, tables, one task in full.

Every function here turns the hub's JSON into something rich can print; none asks the hub.
May import: rich, agentcom.{cli.times, protocol}.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agentcom.cli.times import clock, span
from agentcom.protocol.bodies import ErrorBody, NewTask, Submitted

Json = dict[str, Any]

SIGNS: dict[str, tuple[str, str]] = {
    "queued": ("○", "bright_black"),
    "scheduled": ("◷", "yellow"),
    "assigned": ("◔", "blue"),
    "working": ("◐", "cyan"),
    "blocked": ("?", "magenta"),
    "completed": ("✔", "green"),
    "dead_letter": ("✘", "red"),
    "cancelled": ("-", "bright_black"),
    "idle": ("○", "green"),
    "offline": ("·", "bright_black"),
    "stopping": ("◌", "yellow"),
    "unresponsive": ("!", "red"),
    "up": ("●", "green"),
    "down": ("✘", "red"),
    "terminated": ("✘", "bright_black"),
    "draining": ("◌", "yellow"),
    "paused": ("◌", "yellow"),
    "starting": ("◔", "yellow"),
    "quarantined": ("!", "red"),
    "asleep": ("·", "bright_black"),
}
LANE_STYLES = {"urgent": "bold red", "high": "yellow", "normal": "default", "low": "bright_black"}


PIPE_WIDTH = 200
"""Of what is not a terminal, where a cut id would be of no use."""


def console(*, err: bool = False) -> Console:
    """A console for one command; a pipe gets plain text, wide enough to cut nothing."""
    made = Console(stderr=err, highlight=False)
    return (
        made if made.is_terminal else Console(stderr=err, highlight=False, width=max(made.width, PIPE_WIDTH))
    )


def status_text(status: str) -> Text:
    sign, style = SIGNS.get(status, ("·", "default"))
    return Text(f"{sign} {status.replace('_', ' ')}", style=style)


def lane_text(lane: str) -> Text:
    return Text(lane, style=LANE_STYLES.get(lane, "default"))


def table(*columns: str, title: str = "", right: Iterable[str] = (), fold: Iterable[str] = ()) -> Table:
    """The one look of all tables. `right` are numbers; `fold` may break over lines, the rest is one."""
    made = Table(
        title=title or None,
        box=box.SIMPLE_HEAD,
        header_style="bold",
        title_style="bold",
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name not in fold,
            overflow="fold" if name in fold else "ellipsis",
        )
    return made


def short(text: str, width: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def id_of(task: Json) -> str:
    return str(task.get("task_id") or task.get("id") or "")


def failures(task: Json) -> str:
    return f"{task.get('attempts', 0)}/{task.get('max_attempts', '')}"


def why_line(task: Json) -> str:
    """What keeps it, or how it ended, in the hub's words."""
    return str(task.get("question") or task.get("waiting") or task.get("reason") or "")


def outcome_line(task_id: str, task: Json | None, waited_s: float = 0.0) -> Text:
    if task is None:
        rest = f"still open after {waited_s:g} s" if waited_s else "submitted"
        return Text.assemble((task_id, "bold"), "  ", rest)
    result = task.get("result") or {}
    told = result.get("summary") if task["status"] == "completed" else why_line(task)
    where = result.get("branch") or ""
    parts = [
        (task_id, "bold"),
        "  ",
        status_text(task["status"]),
        "  ",
        str(told or ""),
        f"  {where}" if where else "",
    ]
    return Text.assemble(*parts)  # type: ignore[arg-type]  # str, Text and (str, style) are what it takes


def submitted_table(
    tasks: Sequence[NewTask], answers: Sequence[Submitted | ErrorBody], ended: dict[str, Json]
) -> Table:
    made = table("task", "status", "description", fold=("description",))
    for task, answer in zip(tasks, answers, strict=True):
        if isinstance(answer, ErrorBody):
            made.add_row(
                "", Text("✘ refused", style="red"), f"{escape(short(task.description))}: {answer.message}"
            )
        else:
            status = ended.get(answer.task_id, {}).get("status", answer.status)
            made.add_row(answer.task_id, status_text(status), escape(short(task.description)))
    return made


def agent_of(task: Json) -> str:
    """Who has it, or had it last."""
    return str(task.get("assigned_to") or task.get("last_holder") or "")


def tasks_table(tasks: Sequence[Json], now_ms: float) -> Table:
    made = table(
        "task", "lane", "status", "agent", "failures", "age", "description", right=("failures", "age")
    )
    for task in tasks:
        made.add_row(
            id_of(task),
            lane_text(str(task.get("lane", ""))),
            status_text(task["status"]),
            agent_of(task),
            failures(task),
            span(now_ms - task["created_at"]),
            escape(short(str(task["description"]), 48)),
        )
    return made


def dead_letter_table(tasks: Sequence[Json]) -> Table:
    made = table("task", "lane", "failures", "losses", "description", "reason", right=("failures", "losses"),
                 fold=("reason", "description"))  # fmt: skip
    for task in tasks:
        numbers = (failures(task), f"{task.get('losses', 0)}/{task.get('max_losses', '')}")
        made.add_row(
            id_of(task),
            lane_text(str(task.get("lane", ""))),
            *numbers,
            escape(short(str(task["description"]))),
            escape(why_line(task)),
        )
    return made


def history_table(events: Sequence[Json]) -> Table:
    """Oldest first, as one reads it."""
    made = table(
        "when",
        "after",
        "event",
        "generation",
        "agent",
        "reason",
        right=("after", "generation"),
        fold=("reason",),
    )
    before, said = 0, ""
    for event in events:
        made.add_row(
            clock(event["ms"]),
            f"+{span(event['ms'] - before)}" if before else "",
            str(event["event"]).replace("_", " "),
            str(event.get("generation") or ""),
            str(event.get("agent_id") or ""),
            "" if event.get("reason") == said else escape(str(event.get("reason") or "")),
        )
        before, said = event["ms"], event.get("reason") or ""
    return made


def task_view(task: Json, events: Sequence[Json]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(task):
        grid.add_row(name, value if isinstance(value, Text) else escape(str(value)))
    title = Text.assemble((id_of(task), "bold"), " ", status_text(task["status"]))
    return Group(Panel(grid, title=title, title_align="left", box=box.ROUNDED), history_table(events))


def _facts(task: Json) -> Iterable[tuple[str, Any]]:
    result = task.get("result") or {}
    facts: list[tuple[str, Any]] = [
        ("description", task["description"]),
        ("lane", lane_text(str(task.get("lane", "")))),
        ("needs", ", ".join(task.get("needed_capabilities") or [])),
        ("target", task.get("target")),
        ("repo", task.get("repo")),
        ("agent", agent_of(task)),
        ("failures", failures(task)),
        ("losses", f"{task['losses']}/{task.get('max_losses', '')}" if task.get("losses") else ""),
        ("submitted", f"{clock(task['created_at'])} by {task.get('submitted_by') or 'unknown'}"),
        ("deadline", clock(task["complete_by"]) if task.get("complete_by") else ""),
        ("waiting for", task.get("waiting")),
        ("question", task.get("question")),
        ("reason", task.get("reason")),
        ("summary", result.get("summary")),
        ("branch", result.get("branch")),
        ("commit", result.get("commit")),
        ("pull request", result.get("pr_url")),
        ("checks", _checks(result.get("checks") or [])),
    ]
    return [(name, value) for name, value in facts if value]


def _checks(checks: Sequence[Json]) -> str:
    return "\n".join(
        f"{'✔' if c['exit'] == 0 else '✘'} {' '.join(c['argv'])} ({c.get('seconds', 0):.1f} s)"
        for c in checks
    )
