"""What the hub's actors tell each other: every message between gateway, agents, lanes, scheduler and directory.

Frozen, picklable, with a constant `str` (Thespian formats messages for logs it never writes): the name, which no other
message between actors has, be it a supervisor's or the store's. `reply_to` is an opaque actor address; `request` tells
the asker which question is answered.
A message with `reply_to` says by `unavailable()` what its asker gets when nobody can handle it.
May import: agentcom.protocol.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from agentcom.protocol.bodies import NewTask
from agentcom.protocol.errors import Code
from agentcom.protocol.frames import (
    HeldTask,
    Hello,
    MessageFrame,
    PresenceFrame,
    Send,
    TaskAssign,
    TaskReport,
)
from agentcom.protocol.rows import Lane, Phase


class Message(msgspec.Struct, frozen=True, gc=False):
    def __str__(self) -> str:
        return type(self).__name__

    @property
    def wakes(self) -> bool:
        """Whether a child that is asleep is started for it."""
        return True


class Fault(Message, frozen=True):
    """Why a request was not carried out."""

    code: Code
    message: str
    path: str = ""
    task_id: str = ""
    retry_after_ms: int = 0
    tier: str = ""  #: of a rate limit


class Reply(Message, frozen=True):
    """The answer to a request: `body` is a Struct or JSON-like value, or a `Fault`."""

    request: int
    body: Any
    status: int = 200
    cookie: str | None = None  #: a login's secret for the browser to keep; "" ends a login


class Ask(Message, frozen=True, kw_only=True):
    """Base of every request with an answer."""

    reply_to: Any
    request: int

    def unavailable(self) -> Reply:
        return Reply(
            self.request,
            Fault("unavailable", "the part that answers this is restarting", retry_after_ms=1000),
        )


class Several(Message, frozen=True):
    """Notices to one name that leave together, in order: a way through a mailbox costs as much as a decision."""

    messages: tuple[Any, ...]


# --- edge and gateway (names: "gateway"; the edge is a port) ----------------------------------------


class HttpIn(Ask, frozen=True, kw_only=True):
    """One HTTP request. `route` names an entry of `agentcom.core.routes`; `args` are path and query parameters."""

    route: str
    args: dict[str, str]
    token: str
    body: bytes
    peer: str
    forwarded: bool = False  #: a forwarding header was present
    csrf: str | None = None  #: the token came as a cookie, and this with it; None: it came as a header
    url_token: str = ""  #: `?token=`, which only some routes of protocol 1 take


class ConnOpened(Message, frozen=True):
    """A WebSocket was accepted. `conn` is unique for the hub's life and carries the gateway's incarnation."""

    conn: str
    edge: Any
    codec: Literal["json", "msgpack", "v1"]
    peer: str
    token: str = ""  #: from the upgrade's Authorization header
    forwarded: bool = False  #: a forwarding header was present


class FrameIn(Message, frozen=True):
    conn: str
    data: bytes


class ConnClosed(Message, frozen=True):
    conn: str
    code: int


class FrameOut(Message, frozen=True):
    """Gateway to edge: bytes for one socket."""

    conn: str
    data: bytes


class NearLimit(Message, frozen=True):
    """Gateway to edge, before the answer of a request: little is left of its rate."""

    request: int
    tier: str
    remaining: int


class CloseConn(Message, frozen=True):
    conn: str
    code: int
    reason: str


# --- gateway and agents (to a child "agent.<id>" of the dynamic supervisor "agents") ----------------


class SessionOpened(Message, frozen=True):
    """A client was authenticated and sent `hello`. The agent answers by `ToSession(Welcome)` or `EndSession`.

    The same `conn` again is the same client, which says anew who it is and what it has.
    """

    conn: str
    hello: Hello
    persona: "Persona | None" = None


class Persona(Message, frozen=True):
    """How a client of protocol 1 introduces itself. It never says what it holds: its silence means nothing."""

    name: str
    status: str


class SessionFrame(Message, frozen=True):
    """A decoded, validated frame of an open session, in order."""

    conn: str
    frame: Any


class SessionClosed(Message, frozen=True):
    conn: str
    code: int
    orderly: bool = False  #: the hub itself is stopping: not a disconnect


class ToSession(Message, frozen=True):
    """Agent to gateway: a frame for a session."""

    conn: str
    frame: Any


class EndSession(Message, frozen=True):
    """Agent to gateway: close it, after what was already sent."""

    conn: str
    code: int
    reason: str


# --- scheduler and agents --------------------------------------------------------------------------


class AgentReady(Message, frozen=True):
    """An agent is connected, proven free and takes work. Repeats are harmless."""

    agent_id: str
    incarnation: int
    capabilities: tuple[str, ...]


class AgentPresent(Message, frozen=True):
    """An agent is connected but busy (or resting): its signatures are worth a window, it gets no offer."""

    agent_id: str
    incarnation: int
    capabilities: tuple[str, ...]


class AgentGone(Message, frozen=True):
    """No offers any more: disconnected, draining, paused, or unresponsive."""

    agent_id: str
    incarnation: int


class Offer(Message, frozen=True):
    """Scheduler to agent: reserve yourself and claim this."""

    lane: Lane
    task_id: str
    bucket: "Bucket"


class OfferDone(Message, frozen=True):
    """Agent to scheduler: how an offer ended. `taken`: the lane assigned it. What the agent is now it says itself."""

    agent_id: str
    lane: Lane
    task_id: str
    taken: bool
    reason: str = ""


# --- lanes and agents ------------------------------------------------------------------------------


class Claim(Message, frozen=True):
    agent_id: str
    incarnation: int
    task_id: str
    capabilities: tuple[str, ...]
    after: tuple[str, int] | None = None  #: good only if this assignment, reported on just before, is over


class Reclaim(Message, frozen=True):
    """The last holder lists a task: give it back if no newer generation exists.

    `anew`: it has it from an epoch that a restore ended; if nobody holds it, it is assigned to it anew.
    """

    agent_id: str
    incarnation: int
    task_id: str
    generation: int
    anew: bool = False


class Claimed(Message, frozen=True):
    """Lane to agent: it is yours. `phase` is "assigned" for a claim; a reclaim keeps what it was."""

    task_id: str
    lane: Lane
    generation: int
    phase: str
    assign: TaskAssign
    reclaimed: bool = False


class ClaimRefused(Message, frozen=True):
    """`abort` tells, for a reclaim, that the lister must stop; otherwise the claim merely came too late."""

    task_id: str
    lane: Lane
    reason: str
    abort: bool = False
    generation: int = 0


class WhatDoIHold(Message, frozen=True):
    """A started (or resynchronising) agent asks each lane; raises the lowest incarnation the lane accepts."""

    agent_id: str
    incarnation: int


class Holding(Message, frozen=True):
    """Lane's answer, after its newest ticket."""

    lane: Lane
    agent_id: str
    tasks: tuple[Claimed, ...]


class Reported(Message, frozen=True):
    """Agent to lane: a report of its session. The lane answers `ReportDone`."""

    agent_id: str
    incarnation: int
    conn: str
    report: TaskReport


class ReportDone(Message, frozen=True):
    """Lane to agent. `frame` (TaskAck or ErrorFrame) goes to the session `conn`.

    `released`: the agent no longer holds the task.
    """

    agent_id: str
    conn: str
    task_id: str
    generation: int
    frame: Any
    released: bool
    rejected: bool = False


class Renew(Message, frozen=True):
    """A heartbeat listed these held tasks. `tokens_used`: what it said that the one of them used so far."""

    agent_id: str
    tasks: tuple[HeldTask, ...]
    tokens_used: int = 0


class Absent(Message, frozen=True):
    """An accepted task was missing from a resume or heartbeat received after its accept was acknowledged."""

    agent_id: str
    incarnation: int
    task_id: str
    generation: int


class HolderAway(Message, frozen=True):
    """The holder's session ended: cut the lease to the grace period."""

    agent_id: str
    task_id: str
    generation: int


class HolderBack(Message, frozen=True):
    """The holder's session resumed with the task."""

    agent_id: str
    task_id: str
    generation: int


class Released(Message, frozen=True):
    """Lane to agent: no longer yours, by the hub's own decision. `stop`: the Mind must be stopped (task_cancel)."""

    agent_id: str
    task_id: str
    generation: int
    reason: str
    stop: bool
    accept_timeout: bool = False


class Answered(Message, frozen=True):
    """Lane to agent: an operator's answer to a blocked task."""

    agent_id: str
    task_id: str
    generation: int
    answer: str


# --- lanes and scheduler ---------------------------------------------------------------------------


class Bucket(NamedTuple):
    """Tasks that any of the same agents may take, in one order: (target agent or "", signature id)."""

    target: str
    signature: str


class Head(NamedTuple):
    """One ready task, as the scheduler sees it."""

    order: int
    task_id: str
    excluded: tuple[str, ...] = ()


class Class(NamedTuple):
    """Agents that fit the same tasks: a capability set, plus the agent itself for tasks aimed at it."""

    capabilities: frozenset[str]
    agents: frozenset[str]


class Workers(Message, frozen=True):
    """Scheduler to lanes: who is online, whole. `version` rises; a lane acts on the newest."""

    version: int
    classes: tuple[Class, ...]


class Window(Message, frozen=True):
    """Lane to scheduler: the first keys of one bucket, whole; empty when nothing is ready. `more`: disk has more."""

    lane: Lane
    bucket: Bucket
    capabilities: tuple[str, ...]
    heads: tuple[Head, ...]
    more: bool


class WindowDelta(Message, frozen=True):
    """Lane to scheduler: keys that left or entered the window of one bucket."""

    lane: Lane
    bucket: Bucket
    gone: tuple[str, ...]
    came: tuple[Head, ...]


class Park(Message, frozen=True):
    """Scheduler to lane: no online agent may take this one although its signature fits."""

    task_id: str
    reason: str


class MoreHeads(Message, frozen=True):
    """Scheduler to lane: an agent may take none of this bucket's window; send the keys after it too."""

    bucket: Bucket


class LanePaused(Message, frozen=True):
    """Lane to scheduler, when that changes; and before the windows with which it answers `Workers`, since either of the
    two may have started again.
    """

    lane: Lane
    paused: bool


# --- lanes, from the gateway -----------------------------------------------------------------------


class Submit(Ask, frozen=True, kw_only=True):
    """New tasks of one lane, each already validated. Answered by one Reply whose body is a list, one entry per item:
    `bodies.Submitted` or `Fault`."""

    submitter: str
    items: tuple[NewTask, ...]


class Operate(Ask, frozen=True, kw_only=True):
    """An operator's request about one task. A lane that does not own it forwards once."""

    task_id: str
    verb: Literal["cancel", "retry", "prioritise", "answer"]
    text: str = ""
    lane: Lane | None = None
    by: str = ""
    key: str = ""  #: of an answer: the same answer under the same key is one answer
    forwarded: bool = False


class Adopt(Message, frozen=True):
    """Old lane to new lane: a moved task, with what is left of its lease. Its state is its row's."""

    task_id: str
    lease_left_s: float


class RepoChanged(Message, frozen=True):
    """Directory to lanes and gateway: a repo (or the default) was paused, resumed, changed or removed."""

    name: str


class PauseChanged(Message, frozen=True):
    """Directory to lanes and agents: look again at whether you are paused. `drained`, for an agent: its live session is
    to get nothing new, or may again; None changes nothing of that.
    """

    drained: bool | None = None


# --- directory, from the gateway -------------------------------------------------------------------


class Administer(Ask, frozen=True, kw_only=True):
    """A registration, token, repo or invite request; `verb` names it and `body` is its Struct."""

    verb: str
    by: str
    role: str
    args: dict[str, str]
    body: Any = None
    peer_is_loopback: bool = False
    peer: str = ""


class Recorded(Message, frozen=True):
    """Gateway to directory: somebody with power asked another part for this."""

    by: str
    role: str
    act: str
    target: str
    peer: str


class TokenChanged(Message, frozen=True):
    """Directory to gateway: what is remembered of this token hash is old; its sessions go on."""

    token_hash: str


class SubjectRevoked(Message, frozen=True):
    """Directory to gateway: close the live sessions opened with this token hash."""

    token_hash: str


class LimitChanged(Message, frozen=True):
    """Directory to gateway: the rates or the exemption of this subject are others now; its row says which."""

    subject: str


# --- messaging -------------------------------------------------------------------------------------

CHECKED_EVERY = 64
"""So many messages after the last time, a mailbox is looked at, even if its agent is asleep."""


class SendMessage(Ask, frozen=True, kw_only=True):
    """A message sent over HTTP: to the sender's own agent actor, or for operators to the directory. Answered by Reply
    with `bodies.MessageSent` (a post to a channel: `bodies.Published`), or Fault.
    """

    sender: str
    send: Send


class AckMailbox(Ask, frozen=True, kw_only=True):
    """To an agent's actor: its mailbox was read over HTTP up to `seq`. Answered by Reply or Fault."""

    seq: int


class Appended(Message, frozen=True):
    """To an agent's actor: its mailbox has a new entry, which is on disk. Lost notices are found by its heartbeats."""

    seq: int
    message: MessageFrame
    size: int

    @property
    def wakes(self) -> bool:
        """Writing to a mailbox wakes nobody who is asleep, but for a look now and then at whether it is too full."""
        return not self.seq % CHECKED_EVERY


class Deliver(Message, frozen=True):
    """Agent to gateway: `message` as number `seq` for a session. Its bytes are the same for everyone who gets it."""

    conn: str
    seq: int
    message: MessageFrame


class Posted(Message, frozen=True):
    """To a channel's actor: its `posts` row tells of a message to carry on. `message` spares it a read."""

    channel: str
    message_id: str
    message: MessageFrame | None = None
    size: int = 0


class AskPosted(Ask, frozen=True, kw_only=True):
    """The same, of one who waits for the post's place in the channel. Answered by Reply with `bodies.Published`."""

    posted: Posted


class ManageChannel(Ask, frozen=True, kw_only=True):
    """To a channel's actor, by an agent or an operator. Answered by Reply with `talk_views.ChannelDone`, or Fault."""

    channel: str
    verb: Literal["create", "delete", "subscribe", "unsubscribe"]
    by: str
    now_ms: int
    description: str = ""


class CarryOn(Message, frozen=True):
    """To a channel's actor: it has `posts` rows that nobody may have told it of since the hub started."""


class Spread(Message, frozen=True):
    """To the supervisor of agents: a notice for each of many, as (child, notice)."""

    mail: tuple[tuple[str, Appended], ...]


# --- presence --------------------------------------------------------------------------------------


class AgentStatus(Message, frozen=True, kw_only=True):
    """Agent to presence, at each change and whenever presence comes up."""

    agent_id: str
    state: str
    task_id: str = ""
    generation: int = 0
    capabilities: tuple[str, ...] = ()
    connected_ms: int = 0
    since_ms: int = 0
    status: str = ""
    name: str = ""  #: what its client calls it; "" is the same as its id
    withheld: str = ""  #: why it gets no new work: "paused", "draining", or "" when neither


class AskPresence(Ask, frozen=True, kw_only=True):
    """Who is here; `agent_id` "" asks for all. Answered by Reply with `live_views.AgentList`, of one with
    `live_views.AgentView`, or Fault not_found.
    """

    agent_id: str = ""


class AskAttendance(Ask, frozen=True, kw_only=True):
    """To presence: how many are here, and on what do they work? Answered by Reply with `Attendance`."""


class Attendance(Message, frozen=True):
    online: int | None  #: None: nobody knows
    tasks: frozenset[str]  #: those that a connected agent has


class WatchPresence(Message, frozen=True):
    """Gateway to presence: a session wants to know who is here, and what changes from now on."""

    conn: str


class PresenceNews(Message, frozen=True):
    """Presence to gateway: for one session (`conn`) everyone who is here, else for all that want it what changed."""

    frames: tuple[PresenceFrame, ...]
    conn: str = ""
    restated: tuple[str, ...] = ()  #: of the changed, those whose client said something else, as a status


# --- those who look after the data and the hub -----------------------------------------------------


class Maintain(Ask, frozen=True, kw_only=True):
    """For a part that looks after the data or the hub: "snapshots", "archive", "compaction", "verifier" or "alerter".
    Answered by Reply with a view, or Fault.
    """

    verb: str  #: a route's name
    by: str = ""
    args: dict[str, str] = {}
    body: Any = None


class Keep(NamedTuple):
    """For how long finished things are kept, in milliseconds."""

    finished_ms: int  #: completed and cancelled tasks
    dead_letter_ms: int
    idempotency_ms: int
    audit_ms: int
    messages_ms: int
    mailbox_ms: int

    def of(self, phase: Phase) -> int:
        return self.dead_letter_ms if phase == "dead_letter" else self.finished_ms


class Forget(Message, frozen=True):
    """The directory to an agent or a channel: what came to its mailbox or its log until then is to go."""

    before_ms: int


class Expire(Message, frozen=True):
    """Compaction to a lane or the directory: remove what is older than `keep`, at most `limit` tasks or rows.

    Answered by `Expired` when it is on disk. No `Ask`: it is carried out also while the disk is full.
    """

    reply_to: Any
    round: int
    keep: Keep
    limit: int


class Expired(Message, frozen=True):
    """Of one `Expire`. `more`: ask again, there may be more to find at once."""

    round: int
    removed: int
    more: bool


class AskArchived(Ask, frozen=True, kw_only=True):
    """To "archive": up to where can the journal be read back from it? Answered by Reply with `Archived`."""


class Archived(Message, frozen=True):
    seq: int  #: entries up to here are on the archive's disk; 0 while it cannot be reached, or before the first


class AskSnapshotted(Ask, frozen=True, kw_only=True):
    """To "snapshots": up to where does a snapshot have everything? Answered by Reply with `Snapshotted`."""


class Snapshotted(Message, frozen=True):
    """The newest verified snapshot that can be found now; 0, 0 when there is none of the store's epoch."""

    epoch: int
    seq: int


class Condition(Message, frozen=True):
    """To the gateway: what a part of the hub says of itself in `/health`. The newest of each name counts; one that says
    nothing is forgotten.
    """

    name: str
    facts: dict[str, Any]
    alerts: tuple[str, ...] = ()  #: sentences; any makes the hub's status "degraded"
    until_ms: int = 0  #: from then on it is no news any more and forgotten; 0 is never


# --- the composition root --------------------------------------------------------------------------


class Delegate(Message, frozen=True):
    """Gateway to edge: allowed; the composition root answers this one (supervision tree)."""

    request: int
    route: str
    args: dict[str, str]


# --- the edge's word to the gateway, and the gateway's to its own shell ------------------------------


class HubStopping(Message, frozen=True):
    """Edge to gateway: closes from now on are the hub's own; nothing new is taken."""


class Read(Ask, frozen=True, kw_only=True):
    """Gateway core to gateway shell: answer this from committed rows. `what` is a route's name."""

    what: str
    query: Any = None
    key: str = ""
    old: bool = False  #: the answer is for a client of protocol 1


class Tick(Message, frozen=True):
    """The gateway's own clock: look for silent sessions."""
