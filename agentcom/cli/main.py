"""`agentcom`: run a hub, hand it work, check that it works.

May import: click, agentcom.cli.
"""

import click

from agentcom.cli.serve import hub_command
from agentcom.cli.smoke import smoke_command
from agentcom.cli.submit import submit_command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="agentcom")
def main() -> None:
    """A hub that hands work to autonomous coding agents and gets pull requests back."""


main.add_command(hub_command)
main.add_command(submit_command)
main.add_command(smoke_command)

if __name__ == "__main__":
    main()
