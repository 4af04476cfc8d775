"""How agents, repositories and pull requests look on a terminal.

May import: rich, agentcom.cli.{look, times}.
"""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agentcom.cli.look import short, status_text, table
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
            escape(_note(agent)),
        )
    return made


def _note(agent: Json) -> str:
    """That it gets no new work, if its state is about something else; and what it says of itself."""
    withheld = agent.get("withheld") or ""
    said = (withheld if withheld != agent.get("state") else "", agent.get("status"))
    return ", ".join(filter(None, said))


def repos_table(repos: Sequence[Json]) -> Table:
    made = table("repo", "base branch", "forge", "state", "url", fold=("url",))
    for repo in repos:
        name = Text(repo["name"], style="bold" if repo.get("default") else "")
        state = "paused" if repo.get("paused") else "default" if repo.get("default") else ""
        made.add_row(name, repo["base_branch"], repo.get("forge", ""), state, escape(repo["url"]))
    return made


def pulls_table(pulls: Sequence[Json]) -> Table:
    made = table("pull request", "repo", "branch", "commit", "when", "title", fold=("branch", "title"))
    for pull in pulls:
        made.add_row(
            pull["pr_id"], pull["repo"], pull["branch"], pull["commit"][:10],
            clock(pull["updated_at"]), escape(short(pull["title"])),
        )  # fmt: skip
    return made
