"""HTTP bodies, requests and answers.

May import: msgspec, agentcom.protocol.{frames, rows}.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentcom.protocol.frames import (
    AgentId,
    AnyAgentId,
    Capabilities,
    KeyText,
    MessageId,
    MessageType,
    Seq,
    Short,
    TaskId,
)
from agentcom.protocol.rows import Lane, Phase

Count = Annotated[int, Meta(ge=1, le=100)]
LAST_MS = 253_402_300_799_999
"""The end of the year 9999: what counts in microseconds by mistake lies far behind it, and no calendar goes on."""
Ms = Annotated[int, Meta(ge=0, le=LAST_MS)]
_BRANCH = r"^(?![-/.]|@$)(?!.*(\.\.|//|/\.|@\{|\.lock(/|$)|[/.]$))[^\x00-\x20\x7f-\x9f\s~^:?*\[\\]*$(?!\n)"
Branch = Annotated[str, Meta(pattern=_BRANCH, min_length=1, max_length=256)]
"""What git takes for a branch, without blanks of any script: it becomes an argument of git's commands."""
AnyBranch = Annotated[str, Meta(pattern=_BRANCH, max_length=256)]
"""The same, or none."""

Subject = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,120}$(?!\n)")]


class NewTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """POST /api/tasks. Times are wall-clock milliseconds since 1970; 0 is none."""

    description: Annotated[str, Meta(min_length=1, max_length=10_000)]
    priority: Lane = "normal"
    needed_capabilities: Capabilities = []
    metadata: dict[str, Any] = {}
    success_criteria: Annotated[list[Short], Meta(max_length=1_000)] = []
    target: AnyAgentId | None = None
    repo: Annotated[str, Meta(max_length=512)] = ""
    base_branch: AnyBranch = ""
    idempotency_key: KeyText = ""
    not_before: Ms = 0
    complete_by: Ms = 0  #: the deadline; protocol 1's name
    max_attempts: Count | None = None
    #: protocol 1's name for max_attempts; 0 is 1
    max_retries: Annotated[int, Meta(ge=0, le=100)] | None = None
    max_losses: Count | None = None
    token_budget: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Batch(msgspec.Struct, frozen=True):
    """POST /api/tasks/batch: each item is validated alone, so they arrive undecoded."""

    tasks: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=1_000)]


class Submitted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    task_id: str
    status: str
    priority: int
    created_at: int
    repeated: bool = False


class Operated(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator did to a task. `previous_status` is the same as `status` where nothing had to be done."""

    task_id: str
    status: Phase
    previous_status: Phase
    priority: Lane


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """As protocol 1 names what is wrong with a body."""

    field: str
    error: Literal["required", "wrong_type", "too_long"]
    detail: str


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`errors`, `hint` and `tier` are what protocol 1's bodies had besides; see `error_body`."""

    error: str
    message: str
    path: str = ""
    retry_after_ms: int = 0
    errors: list[FieldError] = []
    hint: str = ""
    tier: str = ""


class BatchAnswer(msgspec.Struct, frozen=True):
    """One entry per item, in order: `Submitted` or `ErrorBody`."""

    tasks: list[Any]


class Reason(msgspec.Struct, frozen=True):
    """POST /api/tasks/{id}/cancel and /retry."""

    reason: Short = ""


class NewLane(msgspec.Struct, frozen=True):
    """POST /api/tasks/{id}/prioritise."""

    priority: Lane


class Answer(msgspec.Struct, frozen=True):
    """POST /api/tasks/{id}/answer. With a `key` it can be sent again though the task may ask something else by then."""

    answer: Annotated[str, Meta(min_length=1, max_length=10_000)]
    key: KeyText = ""


RepoName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$(?!\n)")]


class NewRepo(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/repos; PUT /api/repos/{name} takes the same."""

    name: RepoName
    url: Annotated[str, Meta(min_length=1, max_length=512)]
    base_branch: Branch = "main"
    paused: bool = False
    forge: Annotated[str, Meta(pattern="^(local|github)$")] = "local"


class DefaultRepo(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(max_length=128)]


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/onboard/register."""

    agent_id: AgentId
    invite: Annotated[str, Meta(max_length=256)] = ""
    capabilities: Capabilities = []


class NewInvite(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/invites: a single-use join code."""

    capabilities: Capabilities = []
    expires_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 86_400


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    agent_id: str
    token: str
    hub_ws_url: str
    hub_api_url: str
    default_repo: str


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/tokens."""

    subject: Subject
    role: Annotated[str, Meta(pattern="^(agent|operator|admin)$")]
    expires_s: Annotated[int, Meta(ge=0, le=315_360_000)] = 0  #: 0 is never


class Rotate(msgspec.Struct, frozen=True):
    """POST /api/tokens/{token_id}/rotate: the old secret stays good for so long; 0 ends it and its sessions at once."""

    keep_s: Annotated[int, Meta(ge=0, le=2_592_000)] = 0


class Login(msgspec.Struct, frozen=True):
    """POST /api/login."""

    token: Annotated[str, Meta(min_length=1, max_length=256)]


class TierRate(msgspec.Struct, frozen=True):
    """So many at once, and so many a minute in the long run."""

    capacity: Annotated[int, Meta(ge=1, le=1_000_000)]
    refill_rate_per_min: Annotated[float, Meta(gt=0, le=1e9)]


class NewLimits(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /api/admin/rate-limits/{subject}: at least one tier; the others stay as they are."""

    light: TierRate | None = None
    normal: TierRate | None = None
    heavy: TierRate | None = None


class Exemption(msgspec.Struct, frozen=True):
    """POST /api/admin/rate-limits/whitelist. Any subject of a token, not only agents."""

    agent_id: Subject


class Exempted(msgspec.Struct, frozen=True):
    """PUT /api/admin/rate-limits/whitelist: these and nobody else."""

    agent_ids: Annotated[list[Subject], Meta(max_length=1_000)]


class NewPull(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/pulls: a record of the `local` forge. One per (repo, branch): the same again updates it."""

    repo: Annotated[str, Meta(min_length=1, max_length=512)]
    task_id: TaskId
    branch: Annotated[str, Meta(min_length=1, max_length=512)]
    base_branch: Annotated[str, Meta(min_length=1, max_length=256)]
    commit: Annotated[str, Meta(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")]
    title: Annotated[str, Meta(min_length=1, max_length=512)]
    body: Annotated[str, Meta(max_length=100_000)] = ""
    labels: Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=100)] = []


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/message. Without `to` (or with "broadcast") it is for every registered agent."""

    payload: dict[str, Any]
    to: Annotated[str, Meta(max_length=128)] | None = None
    type: MessageType = "chat"
    reply_to: MessageId | None = None
    key: KeyText = ""


class NewPost(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/channels/{channel}/publish."""

    payload: dict[str, Any]
    type: MessageType = "chat"
    reply_to: MessageId | None = None
    key: KeyText = ""


class MailboxAck(msgspec.Struct, frozen=True):
    """POST /api/mailbox/{agent_id}/ack: everything up to `seq` was dealt with."""

    seq: Seq


class NewChannel(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/channels. Letters are made small, and what is no letter, digit, - or _ is left out."""

    name: Annotated[str, Meta(pattern=r"^(?=.*[A-Za-z0-9_-])[^\x00-\x1f\x7f]{1,64}$(?!\n)")]
    description: Short = ""


class MessageSent(msgspec.Struct, frozen=True, kw_only=True):
    """The message is on disk and will be delivered. `id` is the same as `message_id`, as older clients read it."""

    message_id: str
    id: str
    thread_id: str
    status: str = "sent"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The post has its place in the channel's history."""

    message_id: str
    id: str
    thread_id: str
    channel: str
    seq: int
    status: str = "published"
