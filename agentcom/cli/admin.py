"""`agentcom-admin`: see what is going on in a hub, and act on it.

May import: click, agentcom.cli.
"""

import click

from agentcom.cli import (
    admin_alerts,
    admin_data,
    admin_hub,
    admin_import,
    admin_limits,
    admin_migrate,
    admin_pauses,
    admin_snapshots,
    admin_store,
    admin_tail,
    admin_talk,
    admin_tasks,
    admin_verify,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="agentcom")
def main() -> None:
    """Look at a hub and operate it.

    The hub is AGENTCOM_HUB (else http://127.0.0.1:4000). The token is the content of --token-file, else
    AGENTCOM_TOKEN, else what a hub started in this folder has left in agentcom-data/admin.token.
    """


GROUPS = (
    admin_tasks, admin_tail, admin_talk, admin_hub, admin_alerts, admin_pauses, admin_limits, admin_snapshots,
    admin_store, admin_verify, admin_data, admin_migrate, admin_import,
)  # fmt: skip
for group in GROUPS:
    for command in group.COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main()
