"""The commands of `agentcom-admin` that stop and resume the handing out of work: of a lane, to an agent, of all.

May import: click, agentcom.cli, agentcom.protocol.
"""

import re

import click

from agentcom.cli.connect import Link, on_hub
from agentcom.protocol.rows import LANES

lane_name = click.argument("lane", type=click.Choice(LANES))
_AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _checked(_ctx: click.Context, _param: click.Parameter, name: str | None) -> str | None:
    """A name of dots would be part of the path: `..` names the whole hub."""
    if name is not None and not _AGENT_ID.fullmatch(name):
        raise click.BadParameter(f"expected an agent's id, got: {name}")
    return name


agent_name = click.argument("agent_id", callback=_checked)


def _post(link: Link, path: str, sentence: str) -> None:
    answer = link.call(lambda hub: hub.call("POST", path))
    link.done(answer, sentence)


def _of_lane(verb: str, done: str, about: str) -> click.Command:
    def command(link: Link, lane: str) -> None:
        _post(link, f"/api/lanes/{lane}/{verb}", f"lane {lane} is {done}")

    return click.command("lane", help=about)(lane_name(on_hub(command)))


def _of_agent(verb: str, done: str, about: str) -> click.Command:
    def command(link: Link, agent_id: str) -> None:
        _post(link, f"/api/agents/{agent_id}/{verb}", f"{agent_id} is {done}")

    return click.command("agent", help=about)(agent_name(on_hub(command)))


@click.group("pause")
def pause_group() -> None:
    """Hand out nothing of a lane, or nothing to an agent, until it is resumed. It survives restarts of the hub."""


@click.group("resume")
def resume_group() -> None:
    """Let a lane, an agent or the whole hub go on."""


pause_group.add_command(
    _of_lane("pause", "paused", "Pause a lane. It takes new tasks; what is in work goes on.")
)
pause_group.add_command(
    _of_agent("pause", "paused", "Pause an agent, be it here or not. It keeps what it has.")
)
resume_group.add_command(_of_lane("resume", "resumed", "Let a lane hand out tasks again."))
resume_group.add_command(
    _of_agent("resume", "resumed", "Let an agent have tasks again, whether you paused or drained it.")
)


@resume_group.command("hub")
@on_hub
def resume_hub_command(link: Link) -> None:
    """End `drain`. Lanes and agents that are paused stay so."""
    _post(link, "/api/resume", "the hub is resumed")


@click.command("drain")
@click.argument("agent_id", required=False, callback=_checked)
@on_hub
def drain_command(link: Link, agent_id: str | None) -> None:
    """Hand out nothing to AGENT_ID until it connects anew; without it: nothing at all, until `resume hub`.

    What is in work goes on, and new tasks are taken.
    """
    if agent_id is None:
        _post(link, "/api/drain", "the hub is drained")
    else:
        _post(link, f"/api/agents/{agent_id}/drain", f"{agent_id} is drained")


COMMANDS = (pause_group, resume_group, drain_command)
