"""The commands of `agentcom-admin` about messages: send, broadcast, channels, mailboxes, history, figures.

May import: click, agentcom.{cli, client}.
"""

from collections.abc import Callable
from typing import Any

import click
import msgspec

from agentcom.cli import exits, look, look_talk
from agentcom.cli.connect import Link, on_hub
from agentcom.client import Hub
from agentcom.client_http import path_part

Json = dict[str, Any]
Command = Callable[..., Any]


def _payload(text: str, as_payload: bool) -> Json:
    """`{"text": …}`, or the object that the text is."""
    if not as_payload:
        return {"text": text}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise exits.Failed(f"with --payload the text must be a JSON object: {exc}", exits.USAGE) from exc


def _message_options(command: Command) -> Command:
    for option in (
        click.option(
            "--payload", "as_payload", is_flag=True, help="TEXT is the whole payload, a JSON object."
        ),
        click.option("--reply-to", default="", metavar="MESSAGE", help="The message that this answers."),
        click.option(
            "--type", "message_type", default="chat", show_default=True, help="For the receivers to go by."
        ),
    ):
        command = option(command)
    return command


@click.command("send")
@click.argument("agent")
@click.argument("text")
@_message_options
@on_hub
def send_command(link: Link, agent: str, text: str, as_payload: bool, **more: str) -> None:
    """Send a message to one agent. It waits in the agent's mailbox until the agent has read it."""
    payload = _payload(text, as_payload)
    answer = link.call(lambda hub: hub.send(payload, to=agent, **more))  # type: ignore[arg-type]
    link.done(answer, f"{answer['message_id']} is in the mailbox of {agent}")


@click.command("broadcast")
@click.argument("text")
@_message_options
@on_hub
def broadcast_command(link: Link, text: str, as_payload: bool, **more: str) -> None:
    """Send a message to every registered agent."""
    payload = _payload(text, as_payload)
    answer = link.call(lambda hub: hub.send(payload, broadcast=True, **more))
    link.done(answer, f"{answer['message_id']} goes to every agent")


@click.command("channels")
@on_hub
def channels_command(link: Link) -> None:
    """List the channels."""
    answer = link.call(lambda hub: hub.channels())
    if link.as_json:
        return link.show(answer)
    channels = answer["channels"]
    return look.console().print(look_talk.channels_table(channels) if channels else "no channel yet")


@click.command("channel")
@click.argument("name")
@click.option("--create", "description", metavar="DESCRIPTION", help="Make it first.")
@click.option("--post", "text", metavar="TEXT", help="Post this to it.")
@click.option("--delete", is_flag=True, help="Delete it: its subscriptions and its history.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Posts shown.")
@on_hub
def channel_command(
    link: Link, name: str, description: str | None, text: str | None, delete: bool, limit: int
) -> None:
    """Show a channel, its subscribers and its newest posts; or make it, post to it, delete it."""
    if delete and (text is not None or description is not None):
        raise exits.Failed("--delete goes with no other option", exits.USAGE)
    if delete:
        answer = link.call(lambda hub: hub.call("DELETE", f"/api/channels/{path_part(name)}"))
        return link.done(answer, f"{name} is deleted")
    answer = link.call(lambda hub: _channel(hub, name, description, text, limit))
    if link.as_json:
        return link.show(answer)
    return look.console().print(look_talk.channel_view(answer))


async def _channel(hub: Hub, name: str, description: str | None, text: str | None, limit: int) -> Json:
    if description is not None:
        await hub.call("POST", "/api/channels", {"name": name, "description": description})
    if text is not None:
        await hub.send({"text": text}, channel=name)
    return {**await hub.channel(name), "messages": (await hub.history(name, limit=limit))["messages"]}


@click.command("mailbox")
@click.argument("agent")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@on_hub
def mailbox_command(link: Link, agent: str, limit: int) -> None:
    """Show what an agent has not read yet. Looking changes nothing."""
    answer = link.call(lambda hub: hub.mailbox(agent, limit=limit))
    if link.as_json:
        return link.show(answer)
    return look.console().print(look_talk.mailbox_view(answer))


@click.command("messages")
@click.option("--from", "from_", help="Said by this agent, or by an operator: @NAME.")
@click.option("--to", help="Said to this agent.")
@click.option("--channel", help="Posted to this channel; * is broadcasts.")
@click.option("--thread", help="The whole thread that this message is in.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@on_hub
def messages_command(link: Link, thread: str | None, **filters: Any) -> None:
    """Show what was said, newest first; a thread from its beginning."""
    answer = link.call(lambda hub: hub.thread(thread) if thread else hub.messages(**filters))
    if link.as_json:
        return link.show(answer)
    messages = answer["messages"]
    return look.console().print(look_talk.messages_table(messages) if messages else "nothing was said yet")


@click.command("figures")
@on_hub
def figures_command(link: Link) -> None:
    """Show what each agent said, read and finished since it exists."""
    answer = link.call(lambda hub: hub.call("GET", "/api/analytics/agents"))
    if link.as_json:
        return link.show(answer)
    agents = answer["agents"]
    return look.console().print(look_talk.figures_table(agents) if agents else "no agent is known yet")


COMMANDS = (
    send_command, broadcast_command, channels_command, channel_command, mailbox_command, messages_command,
    figures_command,
)  # fmt: skip
