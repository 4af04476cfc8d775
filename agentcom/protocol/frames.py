"""Protocol 2's frames: one Struct each, tagged by `type`.

`InboundFrame` is what a client may send, `OutboundFrame` what the hub sends. Unknown fields are ignored, wrong
types refused with the path of the field. `id` on any inbound frame comes back as `re`.
May import: msgspec, agentcom.protocol.rows.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentcom.protocol.rows import Lane

# `$` also matches before a closing newline; these become keys on disk and names of actors, so nothing may follow.
AgentId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$(?!\n)")]
AnyAgentId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)")]
"""Of an agent that exists: names that older hubs gave may have capital letters."""
Recipient = Annotated[
    str, Meta(pattern=r"^(@[^\x00-\x1f\x7f]{1,60}|[A-Za-z0-9][A-Za-z0-9._-]{0,127})$(?!\n)")
]
TaskId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)")]
Text = Annotated[str, Meta(max_length=10_000)]
Short = Annotated[str, Meta(max_length=2_000)]
Capability = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,120}$(?!\n)")]
Capabilities = Annotated[list[Capability], Meta(max_length=1_000)]
Generation = Annotated[int, Meta(ge=0, le=2**53)]
Tokens = Annotated[int, Meta(ge=0, le=2**53)]
FrameId = Annotated[str, Meta(max_length=64)]
KeyText = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,120}$(?!\n)")]
"""By its characters; beside another name on disk a key of 120 may be too long in some scripts."""
ChannelName = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}$(?!\n)")]
MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}$(?!\n)")]
MessageType = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}$(?!\n)")]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
AckStatus = Literal[
    "accepted", "working", "blocked", "completed", "retrying", "dead_letter", "requeued", "stopped"
]


class Frame(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True, gc=False):
    def __str__(self) -> str:
        return type(self).__name__


# --- client to hub ---------------------------------------------------------------------------------


class ClientInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    name: Annotated[str, Meta(max_length=128)] = ""
    version: Annotated[str, Meta(max_length=64)] = ""


class HeldTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One task a client says it has: in `hello.resume` and `heartbeat`."""

    task_id: TaskId
    generation: Generation
    phase: Annotated[str, Meta(max_length=32)] = "working"
    alive: bool = True


class Resume(msgspec.Struct, frozen=True, omit_defaults=True):
    tasks: Annotated[list[HeldTask], Meta(max_length=1_000)] = []
    acked_seq: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    agent_id: AnyAgentId
    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    token: Annotated[str, Meta(max_length=256)] = ""
    epoch: Annotated[int, Meta(ge=0, le=2**53)] = 0
    capabilities: Capabilities = []
    client: ClientInfo = ClientInfo()
    takeover: bool = False
    resume: Resume = Resume()
    want: list[Annotated[str, Meta(max_length=32)]] = []
    id: FrameId = ""


class Heartbeat(Frame, frozen=True, kw_only=True, tag="heartbeat"):
    tasks: Annotated[list[HeldTask], Meta(max_length=1_000)] = []
    tokens_used: Tokens = 0
    id: FrameId = ""


class Status(Frame, frozen=True, kw_only=True, tag="status"):
    status: Annotated[str, Meta(max_length=256)]
    id: FrameId = ""


class Drain(Frame, frozen=True, kw_only=True, tag="drain"):
    """No new task for this session, please."""

    id: FrameId = ""


class TaskReport(Frame, frozen=True, kw_only=True):
    """Base of every report: who it is about. Reports are idempotent."""

    task_id: TaskId
    generation: Generation
    id: FrameId = ""


class TaskAccept(TaskReport, frozen=True, kw_only=True, tag="task_accept"):
    pass


class TaskReject(TaskReport, frozen=True, kw_only=True, tag="task_reject"):
    reason: Short = ""


class TaskProgress(TaskReport, frozen=True, kw_only=True, tag="task_progress"):
    note: Short = ""
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    tokens_used: Tokens = 0


class TaskBlock(TaskReport, frozen=True, kw_only=True, tag="task_block"):
    question: Annotated[str, Meta(min_length=1, max_length=10_000)]


class TaskUnblock(TaskReport, frozen=True, kw_only=True, tag="task_unblock"):
    pass


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    argv: Annotated[list[Text], Meta(max_length=1_000)]
    exit: Annotated[int, Meta(ge=-(2**31), le=2**31)]
    seconds: float = 0.0


class TaskResult(msgspec.Struct, frozen=True, omit_defaults=True):
    summary: Text = ""
    branch: Short = ""
    commit: Short = ""
    pr_url: Short = ""
    checks: Annotated[list[Check], Meta(max_length=1_000)] = []
    data: dict[str, Any] = {}


class TaskComplete(TaskReport, frozen=True, kw_only=True, tag="task_complete"):
    result: TaskResult = TaskResult()
    tokens_used: Tokens = 0


class TaskFail(TaskReport, frozen=True, kw_only=True, tag="task_fail"):
    reason: Short = ""
    retryable: bool = True
    tokens_used: Tokens = 0


class TaskStopped(TaskReport, frozen=True, kw_only=True, tag="task_stopped"):
    """The Mind of a cancelled or aborted task no longer runs."""


class TaskSubmit(Frame, frozen=True, kw_only=True, tag="task_submit"):
    """As POST /api/tasks: its fields stand in the frame itself, or under `task`."""

    task: dict[str, Any] | None = None
    id: FrameId = ""


class Send(Frame, frozen=True, kw_only=True, tag="send"):
    """A message to one agent, to a channel, or (`broadcast`) to every registered agent but the sender.

    To an operator (`@name`) only as a `reply_to` what they wrote; they read it in the thread.
    `key` makes it safe to send again: the same key gets the first answer, with another message it is a `conflict`.
    """

    payload: dict[str, Any]
    to: Recipient | None = None
    channel: ChannelName | None = None
    broadcast: bool = False
    message_type: MessageType = "chat"
    reply_to: MessageId = ""
    key: KeyText = ""
    id: FrameId = ""


class Ack(Frame, frozen=True, kw_only=True, tag="ack"):
    """Everything of the mailbox up to `seq` was dealt with. Not answered; what is not acked comes again."""

    seq: Seq
    id: FrameId = ""


class Subscribe(Frame, frozen=True, kw_only=True, tag="subscribe"):
    """What is posted to the channel from now on comes into this agent's mailbox, until `unsubscribe`."""

    channel: ChannelName
    id: FrameId = ""


class Unsubscribe(Frame, frozen=True, kw_only=True, tag="unsubscribe"):
    channel: ChannelName
    id: FrameId = ""


InboundFrame = (
    Hello | Heartbeat | Status | Drain | TaskAccept | TaskReject | TaskProgress | TaskBlock | TaskUnblock
    | TaskComplete | TaskFail | TaskStopped | TaskSubmit | Send | Ack | Subscribe | Unsubscribe
)  # fmt: skip

# --- hub to client ---------------------------------------------------------------------------------


class ErrorFrame(Frame, frozen=True, kw_only=True, tag="error"):
    code: str
    message: str
    re: str = ""
    task_id: str = ""
    generation: int | None = None
    path: str = ""
    retry_after_ms: int = 0


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client should do with a task it listed in `hello.resume`."""

    task_id: str
    generation: int
    action: Literal["continue", "abort"]
    reason: str = ""


class Welcome(Frame, frozen=True, kw_only=True, tag="welcome", omit_defaults=False):
    session: str
    agent_id: str
    epoch: int
    heartbeat_ms: int
    lease_ms: int
    grace_ms: int
    time_ms: int
    tasks: list[Verdict] = []
    mailbox_pending: int = 0
    re: str = ""


class Abort(msgspec.Struct, frozen=True, omit_defaults=True):
    task_id: str
    generation: int
    reason: str


class HeartbeatAck(Frame, frozen=True, kw_only=True, tag="heartbeat_ack", omit_defaults=False):
    abort: list[Abort] = []
    re: str = ""


class StatusUpdated(Frame, frozen=True, kw_only=True, tag="status_updated"):
    re: str = ""


class Draining(Frame, frozen=True, kw_only=True, tag="draining"):
    """No new task for this session: it asked for that by `drain` (`re`), or, unasked, an operator drained its agent."""

    re: str = ""


class Goodbye(Frame, frozen=True, kw_only=True, tag="goodbye"):
    reason: str
    retry_after_ms: int = 0


class RateLimitWarning(Frame, frozen=True, kw_only=True, tag="rate_limit_warning", omit_defaults=False):
    """What was sent is being done; of this tier, little is left until it fills again."""

    tier: str
    remaining: int
    capacity: int


class Previous(msgspec.Struct, frozen=True, omit_defaults=True):
    generation: int
    agent_id: str
    outcome: str
    reason: str = ""


class TaskAssign(Frame, frozen=True, kw_only=True, tag="task_assign", omit_defaults=False):
    task_id: str
    generation: int
    description: str
    priority: Lane
    metadata: dict[str, Any]
    needed_capabilities: list[str]
    success_criteria: list[str]
    attempt: int
    max_attempts: int
    lease_ms: int
    previous: list[Previous]
    repo: str = ""
    repo_url: str = ""
    base_branch: str = ""
    deadline_ms: int | None = None
    token_budget: int | None = None


class TaskAck(Frame, frozen=True, kw_only=True, tag="task_ack"):
    """The report with the id `re` was taken, whatever the status says; newer hubs may know more of these."""

    task_id: str
    generation: int
    status: AckStatus
    re: str = ""
    superseded: bool = False


class TaskCancel(Frame, frozen=True, kw_only=True, tag="task_cancel"):
    task_id: str
    generation: int
    reason: str


class TaskAnswer(Frame, frozen=True, kw_only=True, tag="task_answer"):
    task_id: str
    generation: int
    answer: str


class TaskSubmitted(Frame, frozen=True, kw_only=True, tag="task_submitted"):
    task_id: str
    status: str
    re: str = ""


class Sent(Frame, frozen=True, kw_only=True, tag="sent"):
    """The message is on disk and will be delivered."""

    message_id: str
    thread_id: str
    re: str = ""


class MessageFrame(Frame, frozen=True, kw_only=True, tag="message"):
    """One entry of this agent's mailbox. It comes again after a reconnect until `ack` of its `seq` or a later one."""

    seq: int  #: first, so that what follows it is the same bytes for everyone who gets the message
    message_id: str
    sender: str = msgspec.field(name="from")
    message_type: str
    payload: dict[str, Any]
    thread_id: str
    time_ms: int
    to: str = ""
    channel: str = ""
    broadcast: bool = False
    reply_to: str = ""


class MailboxGap(Frame, frozen=True, kw_only=True, tag="mailbox_gap"):
    """Messages `from_seq` to `to_seq` were removed before they were delivered; `message` goes on after them."""

    from_seq: int
    to_seq: int
    reason: Literal["full", "removed"]


class Subscribed(Frame, frozen=True, kw_only=True, tag="subscribed"):
    channel: str
    re: str = ""


class Unsubscribed(Frame, frozen=True, kw_only=True, tag="unsubscribed"):
    channel: str
    re: str = ""


class Present(msgspec.Struct, frozen=True, omit_defaults=True):
    """One agent that is here, and what it does."""

    agent_id: str
    state: str
    status: str = ""
    capabilities: tuple[str, ...] = ()
    name: str = ""  #: if its client has one for it besides its id
    connected_at: int = 0  #: milliseconds since 1970


class PresenceFrame(Frame, frozen=True, kw_only=True, tag="presence"):
    """Who came, left and changed since the last one; the first of a session lists who is here. Only if wanted."""

    joined: list[Present] = []
    left: list[str] = []
    changed: list[Present] = []


OutboundFrame = (
    ErrorFrame | Welcome | HeartbeatAck | StatusUpdated | Draining | Goodbye | TaskAssign | TaskAck | TaskCancel
    | TaskAnswer | TaskSubmitted | RateLimitWarning | Sent | MessageFrame | MailboxGap | Subscribed | Unsubscribed
    | PresenceFrame
)  # fmt: skip

CLOSE_CODES: dict[str, int] = {
    "done": 1000, "stopping": 1001, "policy": 1008, "too_big": 1009, "restarted": 1012, "bad_frames": 4400,
    "not_authenticated": 4401, "revoked": 4403, "silent": 4408, "replaced": 4409, "other_instance": 4410,
    "rate_limited": 4429, "outbox_full": 4503,
}  # fmt: skip
