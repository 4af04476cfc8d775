"""The commands of `agentcom-admin` on a data folder, without a hub.

May import: click, msgspec, agentcom.{cli, store.child, store.errors}.
"""

from pathlib import Path
from typing import Any

import click
import msgspec

from agentcom.cli import exits
from agentcom.cli.inputs import check_texts
from agentcom.store.child import Tool, ToolFailed

Json = dict[str, Any]


@click.command("migrate")
@click.option(
    "--data",
    default="agentcom-data",
    type=click.Path(path_type=Path, file_okay=False),
    help="The hub's data folder.",
)
@click.option("--dry-run", "dry", is_flag=True, help="Only say what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def migrate_command(data: Path, dry: bool, as_json: bool) -> None:
    """Bring the store of a stopped hub to what this release writes. A hub does it by itself when it starts."""
    check_texts(click.get_current_context(), {"data": str(data)})
    try:
        found = Tool("migrating", None if as_json else _tell).run(
            {"folder": str(data.absolute()), "dry": dry}
        )
    except ToolFailed as error:
        raise exits.Failed(error.why, exits.REFUSED, error=error.kind) from error
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        click.echo("\n".join(said(found, data, dry=dry)))


def said(found: Json, data: Path, *, dry: bool) -> list[str]:
    """What people read."""
    if not found["steps"]:
        return [f"{data} has schema {found['schema']}, as this release writes it: nothing to do"]
    lines = [f"{data} has schema {found['schema']}, this release writes {found['known']}"]
    for step in found["steps"]:
        lines.append(f"{step['before']} to {step['after']}: {step['summary']}")
        lines += [f"  {table}: {_rows(step, table)}" for table in sorted({*step["puts"], *step["deletes"]})]
        lines += [f"  the store as it was: {step['copy']}"] if step["copy"] else []
    if dry:
        lines.append("nothing was changed; before it is, the store is copied to the folder `aside`")
    return lines


def _tell(at: Json) -> None:
    of = f" of {at['of']:,}" if at["of"] else ""
    click.echo(f"{at['before']} to {at['after']}: {at['step']}, {at['changes']:,}{of} rows", err=True)


def _rows(step: Json, table: str) -> str:
    puts, deletes = step["puts"].get(table, 0), step["deletes"].get(table, 0)
    return ", ".join(f"{n:,} rows {what}" for n, what in ((puts, "written"), (deletes, "removed")) if n)


COMMANDS = (migrate_command,)
