"""What the demo says before it begins, and how to look at it when it is kept.

May import: rich, agentcom.cli.{demo_stage, demo_tasks}.
"""

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agentcom.cli.demo_stage import Stage
from agentcom.cli.demo_tasks import CAPABILITIES, TASKS


def opening(stage: Stage) -> Panel:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black")
    grid.add_column(overflow="fold")
    grid.add_row("hub", stage.url)
    for agent, able in CAPABILITIES.items():
        grid.add_row("agent", Text.assemble((agent, "bold"), f"  {', '.join(able)}"))
    grid.add_row("remote", f"{stage.remote} (bare, branch main)")
    grid.add_row("tasks", f"{len(TASKS)}, in four lanes")
    return Panel(
        grid, title="AgentCom demo", title_align="left", box=box.ROUNDED, expand=False, border_style="cyan"
    )


def how_to_look(stage: Stage) -> Text:
    """Commands to copy; everything is still running."""
    admin = f"agentcom-admin {{}} --hub {stage.url} --token-file {stage.token_file}"
    pids = " ".join(map(str, stage.fleet.pids()))
    steps = (
        ("the supervision tree", admin.format("tree")),
        ("tasks and agents", admin.format("tasks")),
        ("", admin.format("agents")),
        ("why a task is where it is", admin.format("why TASK")),
        ("one more task", f'agentcom submit "…" --wait --hub {stage.url} --token-file {stage.token_file}'),
        ("the branches", f"git -C {stage.remote} log --oneline --graph --all"),
        ("the logs", f"tail -f {stage.logs}/*.log"),
        ("stop it", f"kill {pids} && rm -r {stage.home}"),
    )
    said = Text("\nEverything is still running. The commands are in .venv/bin.\n", style="bold")
    for what, command in steps:
        said.append(f"\n{f'# {what}' if what else ''}\n".lstrip("\n") if what else "", style="bright_black")
        said.append(f"{command}\n")
    return said
