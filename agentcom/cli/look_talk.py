"""How messages, channels, mailboxes and agents' figures look on a terminal.

May import: msgspec, rich, agentcom.cli.{look, times}.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from agentcom.cli.look import short, table
from agentcom.cli.times import clock

Json = dict[str, Any]
TEXT_WIDTH = 100


def text_of(message: Json) -> str:
    """The payload's text, if that is all there is."""
    payload = message["payload"]
    alone = payload.get("text") if len(payload) == 1 else None
    return alone if isinstance(alone, str) else msgspec.json.encode(payload).decode()


def _aim(message: Json) -> str:
    if message["broadcast"]:
        return "everyone"
    return str(message["to"] or f"#{message['channel']}")


def messages_table(messages: Sequence[Json]) -> Table:
    numbered = any(message.get("seq") is not None for message in messages)
    made = table(
        *(("seq",) if numbered else ()), "when", "from", "to", "type", "says", "message", fold=("says",)
    )
    for message in messages:
        made.add_row(
            *((str(message["seq"]),) if numbered else ()), clock(message["timestamp"]), escape(message["from"]),
            _aim(message), escape(message["type"]), escape(short(text_of(message), TEXT_WIDTH)), message["id"],
        )  # fmt: skip
    return made


def channels_table(channels: Sequence[Json]) -> Table:
    made = table("channel", "subscribers", "made by", "when", "for", right=("subscribers",), fold=("for",))
    for channel in channels:
        made.add_row(
            channel["name"], str(channel["subscriber_count"]), escape(channel["created_by"]),
            clock(channel["created_at"]), escape(short(channel["description"])),
        )  # fmt: skip
    return made


def channel_view(channel: Json) -> RenderableType:
    names = ", ".join(channel["subscribers"]) or "nobody"
    made = f"made by {channel['created_by']} at {clock(channel['created_at'])}"
    head = f"{channel['name']}: {channel['description'] or 'no description'} ({made})\nsubscribers: {names}"
    posts = messages_table(channel["messages"]) if channel["messages"] else "nothing was posted yet"
    return Group(escape(head), posts)


def mailbox_view(mailbox: Json) -> RenderableType:
    head = f"{mailbox['agent_id']}: {mailbox['pending']} waiting, read up to {mailbox['acked']}"
    if mailbox["dropped"]:
        head += f", {mailbox['dropped']} dropped unread"
    return Group(escape(head), messages_table(mailbox["messages"])) if mailbox["messages"] else escape(head)


def figures_table(agents: Sequence[Json]) -> Table:
    columns = {
        "sent": "messages_sent", "received": "messages_received", "read": "messages_read",
        "waiting": "messages_pending", "dropped": "messages_dropped", "completed": "tasks_completed",
        "failed": "tasks_failed", "rejected": "tasks_rejected", "tokens": "tokens_used",
    }  # fmt: skip
    made = table("agent", *columns, right=tuple(columns))
    for agent in agents:
        made.add_row(agent["agent_id"], *(f"{agent[name]:,}" for name in columns.values()))
    return made
