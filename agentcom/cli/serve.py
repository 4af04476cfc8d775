"""`agentcom hub`: the settings, then the hub, and a sentence when it cannot start.

May import: click, agentcom.{config, hub, store.errors, web.server}.
"""

import os
import sys
from pathlib import Path

import click

from agentcom import config
from agentcom.cli import exits


@click.command("hub")
@click.option("--data", type=click.Path(file_okay=False), help="Folder of the store and the admin token.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 takes any free one.")
@click.option(
    "--config",
    "file",
    envvar="AGENTCOM_CONFIG",
    type=click.Path(path_type=Path),
    help="A TOML file of settings.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, as tasks.max_attempts=5."
)
def hub_command(
    data: str | None, host: str | None, port: int | None, file: Path | None, sets: tuple[str, ...]
) -> None:
    """Run the hub until it is stopped (SIGTERM or Ctrl-C drains it)."""
    named = {"hub.data": data, "hub.host": host, "hub.port": port}
    flags = [f"{key}={value}" for key, value in named.items() if value is not None]
    try:
        settings = config.load(file, os.environ, [*sets, *flags])
    except config.BadConfig as exc:
        raise exits.Failed(str(exc), exits.USAGE) from exc
    sys.exit(serve(settings))


def serve(settings: config.Config) -> int:
    """Run it. What keeps it from starting is the user's to see: a sentence, no traceback."""
    from agentcom import hub  # the other commands need not load the hub
    from agentcom.store.errors import StoreError
    from agentcom.web.server import PortInUse

    try:
        return hub.run(settings)
    except (StoreError, PortInUse) as exc:
        raise exits.Failed(str(exc), exits.REFUSED) from exc
    except OSError as exc:
        raise exits.Failed(f"cannot start: {exc}", exits.REFUSED) from exc
