"""The commands of `agentcom-admin` about a data folder of this machine, whose hub does not run.

May import: click, agentcom.{cli, config, starting, store}.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from agentcom import config
from agentcom.cli import exits
from agentcom.cli.times import Past

MOST_DIGITS = 18


class Point(click.ParamType[tuple[int | None, int | None]]):
    """A journal seq, or a time."""

    name = "seq or time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip().isdecimal():
            if len(value.strip()) > MOST_DIGITS:
                self.fail(f"no journal has an entry of {len(value.strip()):,} digits", param, ctx)
            return int(value), None
        return None, Past().convert(value, param, ctx)


@click.command("restore")
@click.option("--data", type=click.Path(file_okay=False), help="The hub's folder, or an empty one.")
@click.option(
    "--from", "snapshots", type=click.Path(file_okay=False), help="Folder of the snapshots, if not the hub's."
)
@click.option("--archive", type=click.Path(file_okay=False), help="Folder of the archive, if not the hub's.")
@click.option(
    "--to",
    type=Point(),
    help="Up to where: a journal entry's number, an ISO date and time, or how long ago (10m, 2h); else the end.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--config", "file", envvar="AGENTCOM_CONFIG", type=click.Path(path_type=Path), help="The hub's TOML file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def restore_command(
    data: str | None,
    snapshots: str | None,
    archive: str | None,
    to: tuple[int | None, int | None] | None,
    dry_run: bool,
    yes: bool,
    file: Path | None,
    as_json: bool,
) -> None:
    """Put a stopped hub's data back: the newest good snapshot, and the journal after it.

    What is in force now is kept aside, never deleted. Agents notice: every number they know is raised.
    """
    from agentcom.store import restore  # the other commands need not load the store
    from agentcom.store.restore_plan import Target

    with _failing():
        folder, folders = _where(file, {"hub.data": data, "snapshots.dir": snapshots, "archive.dir": archive})
        target = Target(*(to or (None, None)))
        with _stopped(folder, dry_run=dry_run) as layout:
            astray = _found(layout, dry_run=dry_run)
            asks = not yes and not as_json and is_asked()
            if dry_run or asks or target.seq is not None:
                made = restore.dry_run(layout, folders, target)
                if target.seq is not None and target.seq > made.reached:
                    _refuse_beyond(target.seq, made)
                if dry_run or asks:
                    _show(made, None, astray, as_json=as_json)
                if dry_run:
                    return
                if asks:
                    click.confirm(f"Restore {folder} so?", abort=True)
            made, record = restore.restore(layout, folders, target, "asked for")
            _show(made, record, astray, as_json=as_json)


def is_asked() -> bool:
    """Whether somebody is there who can answer."""
    return sys.stdin.isatty()


def _where(file: Path | None, named: dict[str, str | None]) -> tuple[Path, Any]:
    from agentcom.starting import folders_of

    sets = [f"{key}={value}" for key, value in named.items() if value is not None]
    try:
        settings = config.load(file, os.environ, sets)
    except config.BadConfig as exc:
        raise exits.Failed(str(exc), exits.USAGE) from exc
    folder = Path(settings.hub.data).absolute()
    return folder, folders_of(settings, folder)


@contextmanager
def _stopped(folder: Path, *, dry_run: bool) -> Iterator[Any]:
    """The folder, with its lock. A dry run makes none of it."""
    from agentcom.store.env import lock_folder
    from agentcom.store.layout import Layout

    if dry_run and not folder.is_dir():
        yield Layout(folder)
        return
    lock = lock_folder(folder)
    try:
        yield Layout(folder.resolve())
    finally:
        os.close(lock)


@contextmanager
def _failing() -> Iterator[None]:
    from agentcom.store.errors import StoreError

    try:
        yield
    except (StoreError, OSError) as exc:
        raise exits.Failed(str(exc), exits.REFUSED) from exc


def _found(layout: Any, *, dry_run: bool) -> Any:
    """When the pointer is lost: which store is the one that is to be replaced. What else there is is kept too."""
    from agentcom.store import pointing, restore

    astray = pointing.look(layout, mend=not dry_run)
    if astray is not None and not dry_run:
        pointing.keep(layout, astray.others, restore.now_ms())
    return astray


def _refuse_beyond(seq: int, made: Any) -> None:
    why = made.lost if made.lost.last else f"the newest one that is known before it is {made.reached}"
    raise exits.Failed(f"entry {seq} cannot be reached: {why}", exits.REFUSED)


def _show(made: Any, record: Any, astray: Any, *, as_json: bool) -> None:
    from agentcom.store import restore

    if as_json:
        body = {
            "made": msgspec.to_builtins(made),
            "done": None if record is None else msgspec.to_builtins(record),
        }
        if astray is not None:
            body["pointer"] = str(astray)
        click.echo(msgspec.json.encode(body).decode())
        return
    if astray is not None:
        click.echo(str(astray))
    for line in restore.sentences(made):
        click.echo(line)
    if record is None:
        click.echo(f"it would become epoch {made.epoch}; nothing was changed")
        return
    click.echo(f"epoch {record.epoch} is in force in {record.store}")
    if record.aside:
        click.echo(f"what was there before is in {record.aside}")


COMMANDS = (restore_command,)
