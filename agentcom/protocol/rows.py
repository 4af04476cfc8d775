"""The rows on disk, as core decides them and the store keeps them.

Rows are msgpack arrays. Evolution: append fields with a default; never reorder, never change a type, never reuse.
Times are wall-clock milliseconds since 1970 unless the name says otherwise.
May import: msgspec only.
"""

from typing import Any, Literal

import msgspec

Phase = Literal[
    "queued", "scheduled", "assigned", "working", "blocked", "completed", "dead_letter", "cancelled"
]
PHASES: tuple[Phase, ...] = (
    "queued", "scheduled", "assigned", "working", "blocked", "completed", "dead_letter", "cancelled",
)  # fmt: skip
HELD: frozenset[Phase] = frozenset({"assigned", "working", "blocked"})
FINAL: frozenset[Phase] = frozenset({"completed", "dead_letter", "cancelled"})


LISTED: frozenset[Phase] = frozenset({"scheduled", *FINAL})
"""Phases with an index of their own, by lane and time. Queued tasks are in `ready` or `waiting`, held ones in
`by_agent`: tasks pass through these quickly, and each entry would be written to be deleted at once."""


def counted(phase: Phase) -> Phase:
    """Under which phase counters count a task: the held ones under one, of which few are held at a time."""
    return "assigned" if phase in HELD else phase


Lane = Literal["urgent", "high", "normal", "low"]
LANES: tuple[Lane, ...] = ("urgent", "high", "normal", "low")
"""By rank: the position is the lane's number on disk and protocol 1's integer priority."""


class Row(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Base of every row."""

    def __str__(self) -> str:  # Thespian formats messages for logs it never writes
        return type(self).__name__


class Report(Row, frozen=True):
    """The first final report of one generation and what it was answered, for repeats and evidence."""

    generation: int
    kind: str  #: "complete", "fail" or "reject"
    digest: str  #: of the report's content; the same digest again is the same report
    status: str  #: the `task_ack` status it got
    agent_id: str


class Past(Row, frozen=True):
    """One earlier assignment, as the next holder is told."""

    generation: int
    agent_id: str
    outcome: str
    reason: str = ""


class TaskState(Row, frozen=True):
    """All of a task that changes. Small: it is written again at each transition."""

    id: str
    lane: Lane
    phase: Phase
    order: int  #: place in its lane, microseconds since 1970 at (re)submission, unique per lane
    signature: str  #: id of the set of needed capabilities, see `core.signature`
    created_ms: int
    updated_ms: int
    submitter: str
    target: str = ""  #: only this agent may have it; "" is anyone
    repo: str = ""
    generation: int = 0
    holder: str = ""
    last_holder: str = ""
    attempts: int = 0  #: failures so far
    losses: int = 0
    max_attempts: int = 3
    max_losses: int = 3
    not_before_ms: int = 0  #: scheduled until then; 0 when it is not scheduled
    deadline_ms: int = 0  #: 0 is none
    token_budget: int = 0  #: 0 is none
    tokens_used: int = 0
    reason: str = ""  #: why it is in this phase, for people
    waiting: str = ""  #: queued, but no online agent may take it: the reason
    waiting_until_ms: int = 0  #: look again then; 0 is never by time alone
    question: str = ""  #: kept while a lost task may come back to who asked it
    excluded: tuple[tuple[str, int], ...] = ()  #: (agent, until ms), by its own rejects
    rejects: int = 0
    #: of the last generation: "", "done", "fail", "reject", "loss", "accept_timeout", "cancel", "deadline", …
    last_end: str = ""
    reports: tuple[Report, ...] = ()  #: newest last, the last few generations
    past: tuple[Past, ...] = ()  #: newest last, the last few assignments
    history_len: int = 0
    idempotency_key: str = ""
    percent: int = -1  #: last progress told, -1 when none
    note: str = ""
    retried: bool = False  #: an operator's retry began the attempts that count now
    answered: str = ""  #: digest of the answer by which it works, until it asks again
    answer_key: str = ""  #: digest of the last answer that had a key, and of that key
    blocked_ms: int = 0  #: when it was blocked last
    asked: str = ""  #: digest of the frame that its last question came by; "" when that had no id
    answer: str = ""  #: an operator's to it, until a report of its generation shows that it was heard
    tokens_before: int = 0  #: of `tokens_used`, what earlier generations used


class TaskBody(Row, frozen=True):
    """All of a task that never changes. Written once, read when it is assigned or shown."""

    description: str
    needed: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    success_criteria: tuple[str, ...] = ()
    repo: str = ""
    base_branch: str = ""


class Event(Row, frozen=True):
    """One line of a task's history."""

    ms: int
    #: submitted, assigned, accepted, blocked, retrying, lost, completed, dead_letter, cancelled, …
    event: str
    phase: Phase
    generation: int
    agent_id: str = ""
    reason: str = ""


class Result(Row, frozen=True):
    """A final report's content, kept with the task; `accepted` tells the outcome from the evidence."""

    ms: int
    agent_id: str
    generation: int
    kind: str
    accepted: bool
    content: dict[str, Any] = {}
    why: str = ""


class Ready(Row, frozen=True):
    """The value behind a `ready` key: what the scheduler must know beyond the key."""

    excluded: tuple[str, ...] = ()


class Idempotent(Row, frozen=True):
    task_id: str
    digest: str
    ms: int


class Agent(Row, frozen=True):
    """A registered identity; what it says of itself when it connects is `Seen`."""

    agent_id: str
    capabilities: tuple[str, ...] = ()
    created_ms: int = 0
    updated_ms: int = 0


class Seen(Row, frozen=True):
    """What an agent's client said of itself when it last connected."""

    agent_id: str
    capabilities: tuple[str, ...] = ()
    instance: str = ""
    client: str = ""
    updated_ms: int = 0


class Token(Row, frozen=True):
    """Stored under the SHA-256 of the secret; the secret itself is nowhere."""

    token_id: str
    subject: str  #: agent_id for role "agent", else a person's or program's name
    role: Literal["agent", "operator", "admin"]
    created_ms: int
    revoked_ms: int = 0
    expires_ms: int = 0  #: 0 is never
    parent: str = ""  #: key of the token that a login was made with; "" for any other

    def is_live(self, now_ms: int) -> bool:
        return not self.revoked_ms and not (self.expires_ms and self.expires_ms <= now_ms)


class Audit(Row, frozen=True):
    """One thing that somebody with power did, or asked for."""

    ms: int
    by: str  #: subject of the token; "" for nobody known, as at a registration
    role: str
    act: str  #: the route's name
    target: str = ""
    peer: str = ""
    note: str = ""


class Repo(Row, frozen=True):
    name: str
    url: str
    base_branch: str = "main"
    paused: bool = False
    created_ms: int = 0
    forge: str = "local"


class Invite(Row, frozen=True):
    invite_id: str
    capabilities: tuple[str, ...]
    created_ms: int
    expires_ms: int
    used_by: str = ""


class PullRequest(Row, frozen=True):
    """A pull request of the `local` forge: a record on the hub."""

    pr_id: str
    repo: str
    task_id: str
    branch: str
    base_branch: str
    commit: str
    title: str
    body: str
    labels: tuple[str, ...]
    author: str
    created_ms: int
    updated_ms: int


class Move(Row, frozen=True):
    """A task on its way to another lane; the new lane's first commit deletes it."""

    task_id: str
    to: Lane
    lease_ms: int = 0


class Journal(Row, frozen=True):
    """One commit. `ops` are resolved: (table number, key, value or None for a delete)."""

    ms: int
    stream: str
    event: str
    ops: tuple[tuple[int, bytes, bytes | None], ...]


class Held(Row, frozen=True):
    """That an agent holds a task."""

    lane: Lane


class Mark(Row, frozen=True):
    """An index entry whose key says it all."""


class Signature(Row, frozen=True):
    """The set of capabilities behind a signature id, kept while its lane has ready tasks of it."""

    capabilities: tuple[str, ...]


class Mail(Row, frozen=True):
    """One entry of a mailbox; its place is the key's sequence."""

    message_id: str
    ms: int
    size: int = 0  #: bytes of the message's content, so that deliveries can be bounded without reading it


class Message(Row, frozen=True):
    """What somebody said. Written once and never changed; mailboxes and channel logs refer to it."""

    id: str
    ms: int
    sender: str  #: an agent_id, or "@" and the name of an operator
    to: str  #: an agent_id; "" when it is for a channel or for everyone
    channel: str
    broadcast: bool
    message_type: str
    payload: dict[str, Any]
    thread_id: str  #: the first message of its thread, which may be itself
    reply_to: str = ""


class Inbox(Row, frozen=True):
    """How far an agent has read. Mailbox entries up to `acked` are gone; a missing one above it was dropped."""

    acked: int = 0  #: sequence
    read: int = 0  #: messages acknowledged so far
    dropped: int = 0  #: messages that were removed unread because the mailbox was full
    dropped_to: int = 0  #: the highest sequence removed so


class Said(Row, frozen=True):
    """The answer that a sender's key got, for repeats."""

    message_id: str
    thread_id: str
    digest: str  #: of the message without its key
    ms: int
    reach: str = ""  #: the channel it went to, "*" for everyone, "" for one agent


class Post(Row, frozen=True):
    """A message on its way from its sender's commit into its channel's log and mailboxes; gone when all have it."""

    after: str = ""  #: the last agent whose mailbox has it
    seq: int = 0  #: its place in the channel's log, once it has one


class Channel(Row, frozen=True):
    name: str
    description: str
    created_by: str
    created_ms: int
    subscribers: int = 0


class Subscriber(Row, frozen=True):
    since_ms: int


class Logged(Row, frozen=True):
    """One place in a channel's log."""

    message_id: str
    ms: int
