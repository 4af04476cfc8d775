"""`agentcom`: run a hub, hand it work, check that it works.

May import: click, agentcom.cli. A command's module is loaded when it is used: the hub's keeper stays small that way.
"""

import importlib

import click

COMMANDS = {"hub": "serve:hub_command", "smoke": "smoke:smoke_command", "submit": "submit:submit_command"}


class Lazy(click.Group):
    """Finds its commands by name in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"agentcom.cli.{module}"), name)
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="agentcom")
def main() -> None:
    """A hub that hands work to autonomous coding agents and gets pull requests back."""


if __name__ == "__main__":
    main()
