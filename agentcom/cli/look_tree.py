"""How the supervision tree and one actor of it look on a terminal.

May import: rich, agentcom.cli.{look, times}.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agentcom.cli.look import short, status_text, table
from agentcom.cli.times import span

Json = dict[str, Any]

SHOWN = 12
"""Children of one supervisor that are shown, the unwell ones first; `--all` shows the others."""
CRASHES = 8
NUMBERS = 51
"""Columns of a terminal that all but the names take."""
NARROWEST = 18
TRACE_LINES = 20


class Line(NamedTuple):
    """One row: a node behind its guide, or the children of `parent` that were folded."""

    guide: str
    node: Json | None
    parent: str = ""
    folded: Sequence[Json] = ()


def tree_view(nodes: Sequence[Json], *, width: int, everything: bool = False) -> RenderableType:
    """Supervisors with their children as they were started, and under the table what crashed last."""
    made = table("actor", "inc.", "restarts", "mailbox", "handled", "state",
                 right=("inc.", "restarts", "mailbox", "handled"))  # fmt: skip
    lines = list(tree_lines(nodes, everything=everything))
    for line in lines:
        made.add_row(*_cells(line, max(NARROWEST, width - NUMBERS)))
    return Group(made, *_folded(lines), *_crashes(nodes))


def tree_lines(nodes: Sequence[Json], *, everything: bool = False) -> Iterator[Line]:
    below: dict[str, list[Json]] = defaultdict(list)
    for node in nodes:
        below[node["parent"]].append(node)
    for root in below[""]:
        yield Line("", root)
        yield from _branch(root["name"], "", below, everything)


def _branch(name: str, guide: str, below: dict[str, list[Json]], everything: bool) -> Iterator[Line]:
    shown, folded = (below[name], []) if everything else fold(below[name])
    for i, node in enumerate(shown):
        is_last = i == len(shown) - 1 and not folded
        yield Line(guide + ("└─ " if is_last else "├─ "), node)
        yield from _branch(node["name"], guide + ("   " if is_last else "│  "), below, everything)
    if folded:
        yield Line(guide + "└─ ", None, name, folded)


def fold(children: list[Json]) -> tuple[list[Json], list[Json]]:
    """Those to show and those to count, each in their order. Who crashed or does not run is shown before others."""
    if len(children) <= SHOWN + 1:
        return children, []
    ranked = sorted(range(len(children)), key=lambda i: (_is_well(children[i]), i))
    kept = set(ranked[:SHOWN])
    return (
        [child for i, child in enumerate(children) if i in kept],
        [child for i, child in enumerate(children) if i not in kept],
    )


def _is_well(node: Json) -> bool:
    return node["state"] in ("up", "asleep") and not node["restarts"]


def _cells(line: Line, width: int) -> tuple[str | Text, ...]:
    node = line.node
    if node is None:
        return (Text(f"{line.guide}… {len(line.folded):,} more", style="bright_black"),)
    name = shortened(node["name"], width - len(line.guide))
    bold = "bold" if node["kind"] == "supervisor" else ""
    runs = node["state"] not in ("asleep", "quarantined", "terminated", "down", "gone")
    return (
        Text.assemble((line.guide, "bright_black"), (name, bold)),
        str(node["incarnation"] or ""),
        _number(node["restarts"], "yellow"),
        _number(node["mailbox"], ""),
        f"{node['handled']:,}" if runs else "",
        Text.assemble(status_text(node["state"]), f" {span(node['uptime_s'] * 1000)}" if runs else ""),
    )


def shortened(name: str, width: int) -> str:
    """Both ends tell names apart; the middle is left out."""
    if len(name) <= width:
        return name
    head = width // 2
    return f"{name[:head]}…{name[head + 1 - width :]}"


def _number(value: int, style: str) -> Text:
    """A zero is no news."""
    return Text(f"{value:,}", style=style if value else "bright_black")


def _one_line(*parts: tuple[str, str]) -> Text:
    """Cut where the terminal ends."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _folded(lines: Sequence[Line]) -> Iterator[Text]:
    for line in lines:
        if line.folded:
            counted = Counter(node["state"] for node in line.folded)
            states = ", ".join(f"{n:,} {state}" for state, n in counted.most_common())
            yield Text(f"{line.parent}: {len(line.folded):,} more ({states}); --all shows them")


def _crashes(nodes: Sequence[Json]) -> Iterator[Text]:
    crashed = [node for node in nodes if node["last_crash"]]
    if not crashed:
        return
    yield Text("last crashes", style="bold")
    for node in crashed[:CRASHES]:
        yield _one_line((f"  {node['name']}  ", ""), (short(node["last_crash"], 200), "red"))
    if len(crashed) > CRASHES:
        yield Text(f"  … of {len(crashed) - CRASHES:,} more", style="bright_black")
    yield Text("  `agentcom-admin inspect NAME` shows where", style="bright_black")


def node_view(node: Json) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(node):
        if str(value):
            grid.add_row(name, value if isinstance(value, Text) else escape(str(value)))
    return Group(grid, *_trace(node))


def _facts(node: Json) -> Iterator[tuple[str, Any]]:
    yield "actor", Text(node["name"], style="bold")
    yield "state", status_text(node["state"])
    yield "class", node.get("actor", "")
    yield "kind", ", ".join(filter(None, (node["kind"], node.get("restart"))))
    yield "parent", node["parent"] or "none: it is the root"
    yield "address", node["address"]
    yield "needs", ", ".join(node.get("needs", ()))
    yield "serves without", ", ".join(node.get("soft_needs", ()))
    yield "incarnation", node["incarnation"]
    yield "starts", node["start"]
    yield "restarts", node["restarts"]
    yield "up for", span(node["uptime_s"] * 1000) if node["address"] else ""
    yield "mailbox", node["mailbox"]
    yield "handled", f"{node['handled']:,} messages"
    yield "restart budget", _budget(node)
    yield "last exit", node.get("last_exit", "")
    yield "last crash", Text(node["last_crash"], style="red")


def _budget(node: Json) -> str:
    """A quarantined child spent one more than it had."""
    budget = node.get("budget")
    if budget is None:
        return ""
    spent, allowed = budget["spent"], f"{budget['intensity']} restarts in {span(budget['period_s'] * 1000)}"
    whose = f"shared by the children of {node['parent']}" if budget["shared"] else "its own"
    if node["state"] == "quarantined":
        return f"{allowed}, {whose}; over it, until `agentcom-admin restart {node['name']}`"
    return f"{spent} spent of {allowed}, {whose}"


def _trace(node: Json) -> Iterator[Text]:
    """The beginning and, of a long one, the end: where it came from and where it went wrong."""
    lines = str(node.get("traceback") or "").rstrip().splitlines()
    if len(lines) > TRACE_LINES:
        left_out = f"  … {len(lines) - TRACE_LINES} lines, all with --json"
        lines = [*lines[:4], left_out, *lines[4 - TRACE_LINES :]]
    if lines:
        yield Text("\n" + "\n".join(lines), style="bright_black")
