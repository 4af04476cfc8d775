"""What the demo says before it begins, and how to look at it when it is kept.

May import: rich, agentcom.cli.{demo_stage, demo_tasks}.
"""

import sys
from pathlib import Path

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agentcom.cli.demo_stage import Stage
from agentcom.cli.demo_tasks import CAPABILITIES, REPO, TASKS


def opening(stage: Stage) -> Panel:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black")
    grid.add_column(overflow="fold")
    grid.add_row("hub", stage.url)
    grid.add_row("dashboard", f"{stage.url}/dashboard")
    for agent, able in CAPABILITIES.items():
        grid.add_row("agent", Text.assemble((agent, "bold"), f"  {', '.join(able)}"))
    grid.add_row("remote", f"{stage.remote} (bare, branch main)")
    grid.add_row("tasks", f"{len(TASKS)}, in four lanes")
    return Panel(
        grid, title="AgentCom demo", title_align="left", box=box.ROUNDED, expand=False, border_style="cyan"
    )


def how_to_look(stage: Stage) -> Text:
    """Commands to copy; everything is still running."""
    pids = " ".join(map(str, stage.fleet.pids()))
    steps = (
        ("for the commands below", f"export PATH={Path(sys.executable).parent}:$PATH"),
        ("", f"export AGENTCOM_HUB={stage.url} AGENTCOM_TOKEN=$(cat {stage.token_file})"),
        ("in a browser; log in with what `echo $AGENTCOM_TOKEN` prints", f"{stage.url}/dashboard"),
        ("the supervision tree, the agents, the tasks", "agentcom-admin tree"),
        ("", "agentcom-admin agents"),
        ("", "agentcom-admin tasks"),
        ("what was given up, and why", "agentcom-admin dead-letter"),
        ("one more task", f'agentcom submit "Write a haiku" --repo {REPO} --wait'),
        ("the branches", f"git -C {stage.remote} log --oneline --graph --all"),
        ("the logs", f"tail -f {stage.logs}/*.log"),
        ("stop it", f"kill {pids} && rm -r {stage.home}"),
    )
    said = Text("\nEverything is still running. Look at it:\n\n", style="bold")
    for what, command in steps:
        said.append(f"# {what}\n" if what else "", style="bright_black")
        said.append(f"{command}\n")
    return said
