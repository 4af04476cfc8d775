"""`agentcom hub`: the settings, then the keeper, then the hub, and a sentence when it cannot start.

May import: click, msgspec, agentcom.{config, exit_codes, hub, keeper, plain_log, store.errors, web.server}.
"""

import os
import socket
import sys
from pathlib import Path

import click
import msgspec

from agentcom import config, exit_codes, keeper
from agentcom.cli import exits
from agentcom.plain_log import PlainLog


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
@click.option(
    "--keeper/--no-keeper",
    "kept",
    default=None,
    help="A small parent process restarts a hub that ended abnormally. Without either: yes, unless systemd does.",
)
def hub_command(
    data: str | None,
    host: str | None,
    port: int | None,
    file: Path | None,
    sets: tuple[str, ...],
    kept: bool | None,
) -> None:
    """Run the hub until it is stopped (SIGTERM or Ctrl-C drains it)."""
    mode = None if kept is None else "on" if kept else "off"
    named = {"hub.data": data, "hub.host": host, "hub.port": port, "hub.keeper": mode}
    flags = [f"{key}={value}" for key, value in named.items() if value is not None]
    try:
        settings = config.load(file, os.environ, [*sets, *flags])
    except config.BadConfig as exc:
        raise exits.Failed(str(exc), exits.USAGE) from exc
    leash = None
    if keeper.is_wanted(settings.hub.keeper, os.environ, os.getpid()):
        # from here on this is the child
        leash = keeper.keep(PlainLog(settings.log.level, settings.log.format))
    sys.exit(serve(settings, leash))


def serve(settings: config.Config, leash: keeper.Leash | None) -> int:
    """Run it. What keeps it from starting is the user's to see: a sentence, no traceback."""
    from agentcom import hub  # the other commands, and the keeper, need not load the hub
    from agentcom.store.errors import StorageFull, StoreError, StoreUnreadable
    from agentcom.web.server import BadTls, PortInUse

    if leash is not None and leash.port:
        settings = _on_port(settings, leash.port)
    try:
        return hub.run(settings, os.environ, leash)
    except (StoreUnreadable, StorageFull) as exc:
        raise exits.Failed(str(exc), exit_codes.STORE_PANIC) from exc
    except BadTls as exc:
        raise exits.Failed(str(exc), exits.USAGE) from exc
    except (StoreError, PortInUse) as exc:
        raise exits.Failed(str(exc), exits.REFUSED) from exc
    except (UnicodeError, socket.gaierror) as exc:
        sentence = f"cannot listen on hub.host {settings.hub.host!r}: {exc}"
        raise exits.Failed(sentence, exits.USAGE) from exc
    except OSError as exc:
        raise exits.Failed(f"cannot start: {exc}", exits.REFUSED) from exc


def _on_port(settings: config.Config, port: int) -> config.Config:
    """Where clients know it from its life before; `--port 0` would choose anew."""
    at = msgspec.structs.replace(settings.hub, port=port)
    return msgspec.structs.replace(settings, hub=at)
