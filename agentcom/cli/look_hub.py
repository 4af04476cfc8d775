"""How agents, repositories and the supervision tree look on a terminal.

May import: rich, agentcom.cli.{look, times}.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from agentcom.cli.look import SIGNS, short, status_text, table
from agentcom.cli.times import clock, span

Json = dict[str, Any]


def agents_table(agents: Sequence[Json], now_ms: float) -> Table:
    made = table("agent", "state", "since", "task", "capabilities", "note", right=("since",),
                 fold=("capabilities", "note"))  # fmt: skip
    for agent in agents:
        since = agent.get("since_ms") or 0
        made.add_row(
            agent["agent_id"],
            status_text(str(agent.get("state") or agent.get("fsm_state") or "")),
            span(now_ms - since) if since else "",
            str(agent.get("task_id") or ""),
            ", ".join(agent.get("capabilities") or []),
            escape(str(agent.get("reason") or agent.get("status") or "")),
        )
    return made


def repos_table(repos: Sequence[Json]) -> Table:
    made = table("repo", "base branch", "forge", "state", "url", fold=("url",))
    for repo in repos:
        name = Text(repo["name"], style="bold" if repo.get("default") else "")
        state = "paused" if repo.get("paused") else "default" if repo.get("default") else ""
        made.add_row(name, repo["base_branch"], repo.get("forge", ""), state, escape(repo["url"]))
    return made


def tree_view(nodes: Sequence[Json]) -> Tree:
    """Supervisors with their children, as they were started."""
    made = Tree(Text("supervision tree", style="bold"), guide_style="bright_black")
    branches: dict[str, Tree] = {}
    for node in nodes:
        above = branches.get(node["parent"], made)
        branches[node["name"]] = above.add(_node_line(node))
    return made


def _node_line(node: Json) -> Text:
    supervisor = node["kind"] == "supervisor"
    sign, style = SIGNS.get(node["state"], ("·", "yellow"))
    line = Text.assemble((f"{sign} ", style), (node["name"], "bold" if supervisor else ""))
    if node["state"] != "up":
        line.append(f"  {node['state']}", style=style)
    if node["uptime_s"]:
        line.append(f"  {span(node['uptime_s'] * 1000)}", style="bright_black")
    if node["restarts"]:
        line.append(f"  {node['restarts']} restarts", style="yellow")
    if node["last_crash"]:
        line.append(f"  last crash: {short(node['last_crash'])}", style="red")
    return line


def node_view(node: Json) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _node_facts(node):
        grid.add_row(name, value if isinstance(value, Text) else escape(str(value)))
    return grid


def _node_facts(node: Json) -> Iterator[tuple[str, Any]]:
    shown = {"name": node["name"], "kind": node["kind"], "state": status_text(node["state"])}
    yield from shown.items()
    yield "parent", node["parent"] or "(root)"
    yield "up for", span(node["uptime_s"] * 1000)
    yield "starts", f"{node['start']} ({node['restarts']} restarts)"
    yield from ((k.replace("_", " "), v) for k, v in node.items() if k not in _SHOWN and v not in ("", None))


_SHOWN = frozenset({"name", "kind", "state", "parent", "uptime_s", "start", "restarts"})


def pulls_table(pulls: Sequence[Json]) -> Table:
    made = table("pull request", "repo", "branch", "commit", "when", "title", fold=("branch", "title"))
    for pull in pulls:
        made.add_row(
            pull["pr_id"], pull["repo"], pull["branch"], pull["commit"][:10],
            clock(pull["updated_at"]), escape(short(pull["title"])),
        )  # fmt: skip
    return made
