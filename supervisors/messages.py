"""What supervisors, their children, the registry and the root's handle say to each other.

Lives here: messages only. May import: msgspec, stdlib, thespian's ActorAddress.
Each prints as its class name, because Thespian formats messages for logs that it never writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from thespian.actors import ActorAddress


class Note(msgspec.Struct, frozen=True):
    """Base of all of them."""

    def __str__(self) -> str:
        return type(self).__name__


class Answerable(Protocol):
    """A message whose sender waits: whoever cannot deliver it answers `unavailable()` to `reply_to`."""

    @property
    def reply_to(self) -> ActorAddress | None: ...

    def unavailable(self) -> object: ...


# ── parent and child ─────────────────────────────────────────────────────────────────────────────


class Configure(Note, frozen=True):
    """The first message of every supervised actor; `start` is its supervisor's count of its starts."""

    name: str
    start: int
    args: Any
    supervisor: ActorAddress
    registry: ActorAddress | None = None
    pid: int = 0  # the supervisor's process; 0 if it has nothing to say about processes


class OwnProcess(Note, frozen=True):
    """The child has a process of its own, which its supervisor may kill."""

    name: str
    start: int
    pid: int


class Ready(Note, frozen=True):
    name: str
    start: int
    incarnation: int


class AskStop(Note, frozen=True):
    """End in order. What takes longer than the spec's `shutdown` is killed."""


class Exiting(Note, frozen=True):
    """The child's own word on why it ends; the exit notice of the system follows."""

    name: str
    start: int
    reason: str
    last_crash: str = ""


class Crashed(Note, frozen=True):
    """An exception left a handler. `message` is the class of what was being handled, never its content."""

    name: str
    start: int
    reason: str
    traceback: str
    message: str


class Ping(Note, frozen=True):
    """A child with `hang_s` answers this, after the mail that came before it, or counts as hung."""


class Pong(Note, frozen=True):
    name: str
    start: int


class CrashNow(Note, frozen=True):
    """Chaos and tests: the receiver crashes as if by a bug."""


# ── registry ─────────────────────────────────────────────────────────────────────────────────────


class RegistryAt(Note, frozen=True):
    """The registry has (again) an address; said from the root downwards."""

    address: ActorAddress


class Up(Note, frozen=True):
    name: str
    incarnation: int
    address: ActorAddress


class Down(Note, frozen=True):
    name: str


class Enrol(Note, frozen=True):
    """A starting actor asks for its incarnation and watches what it needs."""

    name: str
    watches: tuple[str, ...]


class Enrolled(Note, frozen=True):
    incarnation: int
    ups: tuple[Up, ...]


class Watch(Note, frozen=True):
    """Tell the sender of every Up and Down of these names; what is Up now is told at once."""

    names: tuple[str, ...]


class Register(Note, frozen=True):
    """A supervisor says that its child is ready."""

    name: str
    address: ActorAddress
    owner: str


class Unregister(Note, frozen=True):
    """A supervisor says that its child has ended; with a supervisor go the names below it."""

    name: str
    address: ActorAddress


class Asleep(Note, frozen=True):
    """A supervisor says that its child ended in order to sleep: nobody is told."""

    name: str
    address: ActorAddress


# ── dynamic children ─────────────────────────────────────────────────────────────────────────────


class To(Note, frozen=True):
    """Mail for a dynamic child, sent to its supervisor."""

    name: str
    message: Any
    #: without it the mail is dropped for a child that is not up: it finds the news by itself
    wake: bool = True


class ToEach(Note, frozen=True):
    """Mail for many dynamic children, each with its own `wake`."""

    mail: tuple[To, ...]


class MaySleep(Note, frozen=True):
    name: str


class SleepGranted(Note, frozen=True):
    """No mail follows this one. Sleep, or say StayAwake."""


class StayAwake(Note, frozen=True):
    name: str


class Request(Note, frozen=True):
    """Something asked about one child; answered by `Done` if there is a `reply_to`."""

    name: str
    reply_to: ActorAddress | None = None
    request: int = 0

    def unavailable(self) -> Done:
        return Done(self.request, False, "unavailable")


class StartChild(Request, frozen=True):
    """Idempotent by name. `args`, for a dynamic child, replaces the template's; `spec`, for a supervisor of fixed
    children, adds a child after the others."""

    args: Any = None
    spec: Any = None


class TerminateChild(Request, frozen=True):
    """Stop it; it stays known, and starts again only by StartChild or Restart."""


class DeleteChild(Request, frozen=True):
    """Stop it if it runs, and forget it."""


class Restart(Request, frozen=True):
    """An operator's restart: outside every budget, and the way out of quarantine."""


class Done(Note, frozen=True):
    """The answer to a Request: it was carried out, or begun; or why not."""

    request: int
    ok: bool
    text: str = ""


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


class Which(Note, frozen=True):
    reply_to: ActorAddress
    request: int = 0

    def unavailable(self) -> Children:
        return Children(self.request, ())


class Count(Note, frozen=True):
    reply_to: ActorAddress
    request: int = 0

    def unavailable(self) -> Counts:
        return Counts(self.request, 0, 0, 0, 0)


class Counts(Note, frozen=True):
    """OTP's `count_children`: known children, those of them that run, and, running or not, how many of each kind."""

    request: int
    specs: int
    active: int
    supervisors: int
    workers: int


class ChildInfo(Note, frozen=True):
    """One child as its supervisor sees it. `restarts` counts all it ever had under this supervisor."""

    name: str
    kind: str
    state: str
    start: int
    incarnation: int
    restarts: int
    last_crash: str
    uptime_s: float
    address: ActorAddress | None
    pid: int = 0  # of its own process; 0 where it shares its supervisor's


class Children(Note, frozen=True):
    request: int
    children: tuple[ChildInfo, ...]


def answer_unavailable(send: Callable[[ActorAddress, object], None], message: object) -> bool:
    """Tells whoever waits for an answer to `message` that none will come; False if nobody waits."""
    inner = message.message if isinstance(message, To) else message
    # Asked by attribute, because a Protocol's isinstance costs more than all the rest of a dead letter.
    reply_to, unavailable = getattr(inner, "reply_to", None), getattr(inner, "unavailable", None)
    if unavailable is None or not isinstance(reply_to, ActorAddress):
        return False
    send(reply_to, unavailable())
    return True
