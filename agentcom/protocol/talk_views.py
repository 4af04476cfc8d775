"""What HTTP reads about messages ask and show.

May import: msgspec, agentcom.protocol.{frames, rows}.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agentcom.protocol.frames import KeyText, MessageId, Seq
from agentcom.protocol.rows import Message

Party = Annotated[
    str, Meta(pattern=r"^(@[^\x00-\x1f\x7f]{1,60}|[A-Za-z0-9][A-Za-z0-9._-]{0,127})?$(?!\n)")
]  #: one who sends or is sent to, in a filter; empty: whoever


class MailboxQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/mailbox/{agent_id}. Without `since`, all that is not acknowledged."""

    since: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class MessageView(msgspec.Struct, frozen=True, kw_only=True, rename={"sender": "from"}):
    """A message. `id` and `message_id`, `type` and `message_type` are the same; `seq` only in a mailbox or channel."""

    id: str
    message_id: str
    sender: str
    to: str | None
    channel: str | None
    broadcast: bool
    type: str
    message_type: str
    payload: dict[str, Any]
    reply_to: str | None
    thread_id: str
    timestamp: int
    seq: int | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that were removed before anybody read them."""

    from_seq: int
    to_seq: int


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """`last_seq` is the `since` of the next poll; `pending` counts all that waits, on this page or not."""

    agent_id: str
    messages: list[MessageView]
    last_seq: int
    count: int
    pending: int
    acked: int
    dropped: int
    gaps: list[Gap]


class Acked(msgspec.Struct, frozen=True, kw_only=True):
    up_to: int
    status: str = "acked"


class ChannelDone(msgspec.Struct, frozen=True, kw_only=True):
    """`already_subscribed` and `not_subscribed` say that nothing had to be changed."""

    status: str
    channel: str


class ChannelQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/channels, by name."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    cursor: KeyText = ""


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    subscriber_count: int
    created_at: int
    created_by: str


class ChannelList(msgspec.Struct, frozen=True, kw_only=True):
    channels: list[ChannelView]
    next_cursor: str | None = None


class ChannelDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`subscribers` are the first 1,000; `last_seq` is the place of the newest post."""

    name: str
    description: str
    subscribers: list[str]
    subscriber_count: int
    created_at: int
    created_by: str
    last_seq: int


class ChannelHistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/channels/{channel}/history. With `since` the first posts after it, else the newest."""

    since: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 50


class ChannelHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first. `last_seq` is the `since` of the next page."""

    channel: str
    messages: list[MessageView]
    count: int
    last_seq: int


class Subscriptions(msgspec.Struct, frozen=True, kw_only=True):
    agent_id: str
    channels: list[str]


class MessageQuery(msgspec.Struct, frozen=True, kw_only=True, rename={"sender": "from"}):
    """GET /api/messages. Newest first; times are milliseconds since 1970, `end_time` not included."""

    sender: Party = ""
    to: Party = ""
    channel: KeyText = ""
    start_time: Seq = 0
    end_time: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: MessageId = ""


class MessageList(msgspec.Struct, frozen=True, kw_only=True):
    """`cursor` (and `next_cursor`, the same) is there while there may be more."""

    messages: list[MessageView]
    count: int
    cursor: str | None = None
    next_cursor: str | None = None


class ThreadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Behind `cursor`, the id of a message, in order of time."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 500
    cursor: MessageId = ""


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """A whole thread, oldest first. `root` is null when the first message is no longer kept."""

    thread_id: str
    root: MessageView | None
    messages: list[MessageView]
    count: int
    next_cursor: str | None = None


class Replies(msgspec.Struct, frozen=True, kw_only=True):
    """What answers one message, oldest first."""

    parent: MessageView | None
    replies: list[MessageView]
    count: int
    next_cursor: str | None = None


class RootOf(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    thread_id: str
    root: MessageView | None


class AnalyticsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/analytics/agents, by agent_id."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 500
    cursor: Party = ""


class AgentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Counted since the agent exists; the hub's restarts change nothing. `received` is what came into its mailbox."""

    agent_id: str
    messages_sent: int
    messages_received: int
    messages_read: int
    messages_dropped: int
    messages_pending: int
    tasks_completed: int
    tasks_failed: int
    tasks_rejected: int
    tokens_used: int
    sent_24h: int
    read_24h: int
    last_seen: int | None


class AgentFiguresList(msgspec.Struct, frozen=True, kw_only=True):
    agents: list[AgentFigures]
    next_cursor: str | None = None


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """`hour` is its beginning, in milliseconds since 1970."""

    hour: int
    sent: int
    read: int


class Hourly(msgspec.Struct, frozen=True, kw_only=True):
    """The last 24 hours with traffic, oldest first; the present one is under way."""

    agent_id: str
    hours: list[Hour]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Of all agents, and of the operators' messages."""

    agents: int
    channels: int
    messages_sent: int
    messages_dropped: int
    tasks_completed: int
    tasks_failed: int
    tasks_rejected: int
    tokens_used: int


def message_view(message: Message, seq: int | None = None) -> MessageView:
    return MessageView(
        id=message.id, message_id=message.id, sender=message.sender, to=message.to or None,
        channel=message.channel or None, broadcast=message.broadcast, type=message.message_type,
        message_type=message.message_type, payload=message.payload, reply_to=message.reply_to or None,
        thread_id=message.thread_id, timestamp=message.ms, seq=seq,
    )  # fmt: skip
