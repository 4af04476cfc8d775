"""`agentcom-admin verify`: is what is on this machine's disk sound? It needs no running hub and disturbs none.

May import: click, agentcom.{cli, config, store}.
"""

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from agentcom import config
from agentcom.cli import exits, look
from agentcom.store import pointing
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.findings import Report
from agentcom.store.layout import Layout
from agentcom.store.manifests import DATA

HELP_PAGE = "docs/how-to/when-verify-fails.md"
UNREADABLE = frozenset({"exit", "StoreUnreadable"})


@click.command("verify")
@click.option("--data", type=click.Path(file_okay=False), help="The hub's data folder.")
@click.option("--snapshots", type=click.Path(file_okay=False), help="Folder of its snapshots.")
@click.option("--archive", type=click.Path(file_okay=False), help="Folder of its journal archive.")
@click.option(
    "--config",
    "file",
    envvar="AGENTCOM_CONFIG",
    type=click.Path(path_type=Path),
    help="The hub's settings: where the folders are that are not named here.",
)
@click.option("--rows-only", is_flag=True, help="Do not fold the journal onto the newest snapshot.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def verify_command(
    data: str | None,
    snapshots: str | None,
    archive: str | None,
    file: Path | None,
    rows_only: bool,
    as_json: bool,
) -> None:
    """Check every row of the store on this machine, and that the journal folds to these rows.

    Works beside a running hub and on a stopped one, and changes nothing. Ends with 6 when the store is damaged.
    """
    settings = _settings(file, data=data, snapshots=snapshots, archive=archive)
    layout = Layout(Path(settings.hub.data).absolute())
    astray = _astray(layout)
    job = _job(settings, layout, rows_only)
    report = _run(job)
    if as_json:
        body = msgspec.to_builtins(report) | ({"pointer": str(astray)} if astray else {})
        click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    else:
        if astray is not None:
            click.echo(str(astray))
        _show(job, report)
    if not report.ok:
        n = len(report.problems) + report.more
        counted = "1 problem was" if n == 1 else f"{n} problems were"
        raise exits.Failed(f"{counted} found; {HELP_PAGE} says what to do", exits.DAMAGED)


def _settings(file: Path | None, **named: str | None) -> config.Config:
    """The hub's own settings, so that both mean the same folders."""
    keys = {"data": "hub.data", "snapshots": "snapshots.dir", "archive": "archive.dir"}
    try:
        return config.load(
            file, os.environ, [f"{keys[name]}={value}" for name, value in named.items() if value]
        )
    except config.BadConfig as exc:
        raise exits.Failed(str(exc), exits.USAGE) from exc


def _astray(layout: Layout) -> pointing.Astray | None:
    try:
        return pointing.look(layout, mend=False)
    except OSError as exc:
        raise exits.Failed(f"cannot look into the data folder: {exc}", exits.USAGE) from exc


def _job(settings: config.Config, layout: Layout, rows_only: bool) -> dict[str, Any]:
    folder, store = layout.folder, layout.store
    if not (store / DATA).is_file():
        raise exits.Failed(f"there is no store in {folder}: {store / DATA} does not exist", exits.USAGE)
    return {
        "store": str(store),
        "snapshots": str(config.folder_of(settings.snapshots.dir, folder, "snapshots")),
        "archive": str(config.folder_of(settings.archive.dir, folder, "archive")),
        "rows_only": rows_only,
        # a hub that runs has one; a copy on a read-only disk needs none
        "lock": (store / "lock.mdb").exists(),
    }


def _run(job: dict[str, Any]) -> Report:
    try:
        return msgspec.convert(Tool("verifying").run(job), Report)
    except ToolFailed as exc:
        if not (exc.damage or exc.kind in UNREADABLE):
            sentence = f"the store was not looked at to its end: {exc.why}"
            raise exits.Failed(sentence, exits.REFUSED) from exc
        sentence = (
            f"the store {job['store']} cannot be read to its end: {exc.why}; {HELP_PAGE} says what to do"
        )
        raise exits.Failed(sentence, exits.DAMAGED) from exc


def _show(job: dict[str, Any], report: Report) -> None:
    made = look.table("table", "rows")
    for name, rows in sorted(report.rows.items()):
        if rows:
            made.add_row(name, f"{rows:,}")
    look.console().print(made)
    click.echo(f"{job['store']}: epoch {report.epoch}, up to journal entry {report.seq}")
    click.echo(f"{report.pages:,} pages, {report.bytes / 1e6:,.1f} MB; {_speed(report)}")
    click.echo(report.fold or "not folded: only the rows were asked for")
    for problem in report.problems:
        click.echo(f"PROBLEM {problem}")
    if report.more:
        click.echo(f"and {report.more} more")
    if report.ok:
        click.echo("no problem was found")


def _speed(report: Report) -> str:
    """Of the bytes in use: a free page is not read."""
    used = report.used / 1e6
    rate = f" ({used / report.seconds:,.0f} MB/s)" if report.seconds >= 0.1 else ""
    return f"{used:,.1f} MB in use, verified in {report.seconds:.1f} s{rate}"


COMMANDS = (verify_command,)
