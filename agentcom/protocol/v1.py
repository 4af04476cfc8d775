"""Protocol 1's frames: JSON text, one Struct each, tagged by `type`.

What a client may send is an `Inbound` Struct, what it gets an `Outbound` one. Unknown fields are ignored; null in an
optional field is the same as leaving it out. `TIERS` tells what each costs. Some clients of later releases send frames
that mean nothing here (`IGNORED`): they are taken and not answered.
May import: msgspec, agentcom.protocol.frames.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentcom.protocol.frames import Capabilities, MessageId, MessageType

Str64 = Annotated[str, Meta(max_length=64)]
Str128 = Annotated[str, Meta(max_length=128)]
Str256 = Annotated[str, Meta(max_length=256)]
Str512 = Annotated[str, Meta(max_length=512)]
Str2000 = Annotated[str, Meta(max_length=2_000)]


class Inbound(msgspec.Struct, frozen=True, tag_field="type", kw_only=True, gc=False):
    """A frame of a client."""

    def __str__(self) -> str:
        return type(self).__name__


class Identify(Inbound, frozen=True, kw_only=True, tag="identify"):
    agent_id: Str128
    token: Str256
    name: Str256 | None = None
    status: Str256 | None = None
    capabilities: Capabilities | None = None
    ollama_url: Str512 | None = None


class Ping(Inbound, frozen=True, tag="ping"):
    pass


class SetStatus(Inbound, frozen=True, kw_only=True, tag="status"):
    status: Str256


class ListAgents(Inbound, frozen=True, tag="list_agents"):
    pass


class TaskAccepted(Inbound, frozen=True, kw_only=True, tag="task_accepted"):
    task_id: str


class Progress(Inbound, frozen=True, kw_only=True, tag="task_progress"):
    task_id: str
    progress: int | None = None
    execution_event: dict[str, Any] | None = None


class Complete(Inbound, frozen=True, kw_only=True, tag="task_complete"):
    task_id: str
    generation: int
    result: dict[str, Any] | None = None
    tokens_used: int | None = None


class Failed(Inbound, frozen=True, kw_only=True, tag="task_failed"):
    task_id: str
    generation: int
    error: Str2000 | None = None
    reason: Str2000 | None = None


class Recovering(Inbound, frozen=True, kw_only=True, tag="task_recovering"):
    task_id: str


class StateReport(Inbound, frozen=True, kw_only=True, tag="state_report"):
    """Of later sidecars: a recovery that names its generation."""

    task_id: str
    generation: int | None = None


class Rejected(Inbound, frozen=True, kw_only=True, tag="task_rejected"):
    """Sidecars always sent it; the older hub did not know it."""

    task_id: str
    reason: Str2000 | None = None
    generation: int | None = None


class Message(Inbound, frozen=True, kw_only=True, tag="message"):
    """Without `to`, or to "broadcast", it is for every registered agent."""

    payload: dict[str, Any]
    to: Str128 | None = None
    message_type: MessageType | None = None
    reply_to: MessageId | None = None


class ChannelSubscribe(Inbound, frozen=True, kw_only=True, tag="channel_subscribe"):
    channel: Str64


class ChannelUnsubscribe(Inbound, frozen=True, kw_only=True, tag="channel_unsubscribe"):
    channel: Str64


class ChannelPublish(Inbound, frozen=True, kw_only=True, tag="channel_publish"):
    channel: Str64
    payload: dict[str, Any]
    message_type: MessageType | None = None
    reply_to: MessageId | None = None


class ChannelHistory(Inbound, frozen=True, kw_only=True, tag="channel_history"):
    channel: Str64
    limit: int | None = None
    since: int | None = None


class ListChannels(Inbound, frozen=True, tag="list_channels"):
    pass


class ResourceReport(Inbound, frozen=True, tag="resource_report"):
    pass


class WakeResult(Inbound, frozen=True, tag="wake_result"):
    pass


class AgentRestarting(Inbound, frozen=True, tag="agent_restarting"):
    pass


IGNORED = (ResourceReport, WakeResult, AgentRestarting)

INBOUND: tuple[type[Inbound], ...] = (
    Identify, Ping, SetStatus, ListAgents, TaskAccepted, Progress, Complete, Failed, Recovering, StateReport, Rejected,
    Message, ChannelSubscribe, ChannelUnsubscribe, ChannelPublish, ChannelHistory, ListChannels, *IGNORED,
)  # fmt: skip
BY_TYPE: dict[str, type[Inbound]] = {str(kind.__struct_config__.tag): kind for kind in INBOUND}

LIGHT = frozenset({Ping, SetStatus, ListAgents, ListChannels, ChannelHistory})
HEAVY = frozenset({Identify})
TIERS: dict[type[Inbound], Literal["light", "normal", "heavy"]] = {
    kind: "light" if kind in LIGHT else "heavy" if kind in HEAVY else "normal" for kind in INBOUND
}

# --- hub to client ---------------------------------------------------------------------------------


class Outbound(msgspec.Struct, frozen=True, tag_field="type", kw_only=True, gc=False):
    """A frame of the hub. Every field is always there."""

    def __str__(self) -> str:
        return type(self).__name__


class Identified(Outbound, frozen=True, kw_only=True, tag="identified"):
    agent_id: str


class Pong(Outbound, frozen=True, kw_only=True, tag="pong"):
    timestamp: int


class StatusUpdated(Outbound, frozen=True, tag="status_updated"):
    pass


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that is here."""

    agent_id: str
    name: str
    status: str
    capabilities: tuple[str, ...]
    connected_at: int


class Agents(Outbound, frozen=True, kw_only=True, tag="agents"):
    agents: list[Shown]


class AgentJoined(Outbound, frozen=True, kw_only=True, tag="agent_joined"):
    agent: Shown


class AgentLeft(Outbound, frozen=True, kw_only=True, tag="agent_left"):
    agent_id: str


class StatusChanged(Outbound, frozen=True, kw_only=True, tag="status_changed"):
    agent: Shown


class MessageSent(Outbound, frozen=True, kw_only=True, tag="message_sent"):
    id: str


class MessageOut(Outbound, frozen=True, kw_only=True, tag="message"):
    id: str
    sender: str = msgspec.field(name="from")
    message_type: str
    payload: dict[str, Any]
    reply_to: str | None
    timestamp: int


class ChannelMessage(Outbound, frozen=True, kw_only=True, tag="channel_message"):
    channel: str
    id: str
    sender: str = msgspec.field(name="from")
    message_type: str
    payload: dict[str, Any]
    reply_to: str | None
    timestamp: int


class ChannelSubscribed(Outbound, frozen=True, kw_only=True, tag="channel_subscribed", omit_defaults=True):
    channel: str
    note: str = ""


class ChannelUnsubscribed(Outbound, frozen=True, kw_only=True, tag="channel_unsubscribed"):
    channel: str


class ChannelAgentJoined(Outbound, frozen=True, kw_only=True, tag="channel_agent_joined"):
    channel: str
    agent_id: str


class ChannelPublished(Outbound, frozen=True, kw_only=True, tag="channel_published"):
    channel: str
    seq: int
    id: str


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A post in the history of its channel."""

    seq: int
    message: dict[str, Any]
    stored_at: int


class History(Outbound, frozen=True, kw_only=True, tag="channel_history"):
    channel: str
    messages: list[Stored]


class ChannelShown(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    subscriber_count: int
    created_at: int


class Channels(Outbound, frozen=True, kw_only=True, tag="channels"):
    channels: list[ChannelShown]


class Assign(Outbound, frozen=True, kw_only=True, tag="task_assign"):
    task_id: str
    description: str
    metadata: dict[str, Any]
    generation: int
    assigned_at: int


class Ack(Outbound, frozen=True, kw_only=True, tag="task_ack"):
    task_id: str
    status: str  #: accepted, complete, retried, dead_letter or requeued


class Continue(Outbound, frozen=True, kw_only=True, tag="task_continue"):
    task_id: str
    generation: int


class Reassign(Outbound, frozen=True, kw_only=True, tag="task_reassign"):
    task_id: str


class StateReportAck(Outbound, frozen=True, kw_only=True, tag="state_report_ack"):
    task_id: str
    action: Literal["continue", "abort"]


class Cancelled(Outbound, frozen=True, kw_only=True, tag="task_cancelled"):
    """Later sidecars stop the work; older ones do not know it, go on, and have their report refused."""

    task_id: str
    timestamp: int


class RateLimitWarning(Outbound, frozen=True, kw_only=True, tag="rate_limit_warning"):
    tier: str
    remaining: int
    capacity: int


class RateLimited(Outbound, frozen=True, kw_only=True, tag="rate_limited"):
    retry_after_ms: int
    tier: str


class Error(Outbound, frozen=True, kw_only=True, tag="error", omit_defaults=True):
    """`error` is protocol 1's text; `message` says it to people, `task_id` of what it is."""

    error: str
    message: str = ""
    task_id: str = ""


class Wrong(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with a frame."""

    field: str
    error: Literal["required", "wrong_type", "too_long", "unknown_message_type"]
    detail: str
    value: Any = None
    known_types: list[str] = []


class ValidationFailed(Outbound, frozen=True, kw_only=True, tag="error"):
    error: str = "validation_failed"
    message_type: str | None
    errors: list[Wrong]
