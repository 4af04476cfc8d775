"""`agentcom-admin`: see what is going on in a hub, and act on it.

May import: click, agentcom.cli.
"""

import click

from agentcom.cli import admin_hub, admin_talk, admin_tasks


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="agentcom")
def main() -> None:
    """Look at a hub and operate it.

    The hub is AGENTCOM_HUB (else http://127.0.0.1:4000). The token is the content of --token-file, else
    AGENTCOM_TOKEN, else what a hub started in this folder has left in agentcom-data/admin.token.
    """


for command in (*admin_tasks.COMMANDS, *admin_talk.COMMANDS, *admin_hub.COMMANDS):
    main.add_command(command)

if __name__ == "__main__":
    main()
