"""One actor's place: its mailbox and kin, and Thespian's API as its actor calls it.

Imports addresses and blocking jobs; the dispatcher decides, this only keeps and hands on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from thespian.actors import ActorAddress, ChildActorExited, WakeupMessage

from agentcom.runtime.address import LocalAddress
from agentcom.runtime.blocking import Job
from agentcom.runtime.clock import Clock
from agentcom.runtime.pickling import copied

if TYPE_CHECKING:
    from agentcom.runtime.dispatcher import Dispatcher

log = logging.getLogger("agentcom.runtime")

Mailbox = deque[tuple[object, ActorAddress]]

RUNNING, EXITING, DEAD = "running", "exiting", "dead"


class Host(Protocol):
    """What a base provides: time, turns, and the world outside."""

    @property
    def clock(self) -> Clock: ...

    def ready(self, cell: Cell) -> None:
        """The cell has mail and is in no queue: give it a turn."""

    def post(self, call: Callable[..., Any], *args: Any) -> None:
        """Calls back on the actors' thread. Safe from any thread."""

    def monotonic(self) -> float: ...

    def when_idle(self, cell: Cell, message: object) -> None:
        """Mail for the cell from itself, once no actor has anything to do, or a moment has passed."""

    def exit_notice(self, parent: Cell, notice: ChildActorExited) -> None:
        """Put it into the parent's mailbox."""

    def wake_after(self, cell: Cell, seconds: float, message: WakeupMessage) -> None: ...

    def pending_wakeups(self, cell: Cell) -> list[tuple[ActorAddress, Any]]: ...

    def watch(self, cell: Cell, filenos: list[int]) -> None: ...

    def watch_delivered(self, cell: Cell) -> None:
        """The cell is about to be told which files are readable."""

    def forget(self, cell: Cell) -> None:
        """The cell is dead."""

    def run_blocking(self, cell: Cell, job: Job) -> None: ...

    def stop(self) -> None: ...


class ActorFigures(msgspec.Struct, frozen=True):
    """What an operator may see of one actor."""

    address: str
    class_name: str
    label: str
    parent: str
    depth: int
    handled: int
    uptime_s: float
    state: str


class Cell:
    """One actor's place: its mailbox and kin. To the actor it is the `_myRef` of Thespian's API."""

    __slots__ = (
        "_mailbox",
        "_ready",
        "_thread",
        "address",
        "children",
        "dispatcher",
        "globalName",
        "handled",
        "instance",
        "parent",
        "requirements",
        "started",
        "state",
        "watched",
    )

    def __init__(self, dispatcher: Dispatcher, parent: Cell | None, name: str | None, requirements: Any):
        self.dispatcher = dispatcher
        self.parent = parent
        self.globalName = name
        self.requirements = requirements
        self.address = dispatcher.space.new(self)
        self.instance: Any = None
        self.children: dict[int, LocalAddress] | None = None
        self.state = RUNNING
        self.handled = 0
        self.started = dispatcher.host.monotonic()
        self.watched = False
        self._mailbox: Mailbox | None = None  # None: no mail, in no queue
        self._ready = dispatcher.host.ready
        self._thread = dispatcher.thread

    # -- mail ---------------------------------------------------------------------------------------------

    def put(self, message: object, sender: ActorAddress) -> None:
        if get_ident() != self._thread:
            self.dispatcher.host.post(self.dispatcher.deliver, self.address, message, sender)
            return
        mailbox = self._mailbox
        if mailbox is None:
            mailbox = self._mailbox = self.dispatcher.mailbox()
            mailbox.append((message, sender))
            self._ready(self)
        else:
            mailbox.append((message, sender))

    def undelivered(self, target: ActorAddress) -> None:
        """An actor learns nothing of it, as in Thespian."""

    @property
    def is_root(self) -> bool:
        """No other actor will take it along when it exits."""
        kin = self.parent.children if self.parent is not None else None
        return kin is None or self.address.number not in kin

    @property
    def depth(self) -> int:
        return len(self._mailbox) if self._mailbox else 0

    @property
    def clock(self) -> Clock:
        """Read by `agentcom.runtime.clock_of`."""
        return self.dispatcher.host.clock

    # -- what Thespian's Actor calls ----------------------------------------------------------------------

    def actor_send(self, target: ActorAddress, message: object) -> None:
        try:
            put = target.sink.put
        except AttributeError:
            self.dispatcher.dead_letter(target, message, self.address)
            return
        put(message, self.address)

    def createActor(
        self, actor_class: Any, requirements: Any = None, name: str | None = None, source_hash: Any = None
    ) -> LocalAddress:
        no_source(source_hash)
        return self.dispatcher.create(actor_class, self, requirements, name)

    def wakeupAfter(self, period: Any, payload: object = None) -> None:
        seconds = period.total_seconds() if hasattr(period, "total_seconds") else float(period)
        self.dispatcher.host.wake_after(self, seconds, WakeupMessage(period, payload))

    def handleDeadLetters(self, address: LocalAddress, enable: bool) -> None:
        self.dispatcher.handle_dead_letters(address, enable)

    def when_idle(self, message: object) -> None:
        self.dispatcher.host.when_idle(self, message)

    def run_blocking(self, job: Job) -> None:
        self.dispatcher.host.run_blocking(self, job)

    def kill(self, address: ActorAddress) -> None:
        victim = getattr(address, "sink", None)
        if isinstance(victim, Cell) and victim.dispatcher is self.dispatcher:
            self.dispatcher.kill(victim)

    def updateCapability(self, name: str, value: object = None) -> None:
        self.dispatcher.update_capability(name, value)

    def actorSystemShutdown(self) -> None:
        self.dispatcher.host.stop()

    def notifyOnSystemRegistrationChanges(self, address: ActorAddress, enable: bool) -> None:
        """One process has no convention: there is never anything to tell."""

    def registerSourceAuthority(self, address: ActorAddress) -> None:
        no_source("registerSourceAuthority")

    def notifyOnSourceAvailability(self, address: ActorAddress, enable: bool) -> None:
        """No source is ever loaded: there is never anything to tell."""

    def loadActorSource(self, fname: object) -> None:
        no_source(fname)

    def unloadActorSource(self, source_hash: object) -> None:
        no_source(source_hash)

    def preRegisterRemoteSystem(self, address: object, capabilities: object) -> None:
        """One process has no remote systems."""

    def deRegisterRemoteSystem(self, address: object) -> None:
        """One process has no remote systems."""


class StrictCell(Cell):
    """Hands on what would have arrived from another process: a copy, or an exception at the sender."""

    __slots__ = ()

    def actor_send(self, target: ActorAddress, message: object) -> None:
        super().actor_send(target, copied(message))

    def wakeupAfter(self, period: Any, payload: object = None) -> None:
        super().wakeupAfter(period, copied(payload))


class Callback:
    """Stands where a port's actor would be. Its owner's mistakes concern no sender."""

    def __init__(self, receive: Callable[[object, ActorAddress], None]) -> None:
        self._receive = receive

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:
        try:
            self._receive(message, sender)
        except Exception:
            log.exception("the receiver of a port failed on a %s", type(message).__name__)


class PortCell(Cell):
    """A callback with an address: exit requests and failures are ordinary mail to it."""

    __slots__ = ()


def label_of(cell: Cell) -> str:
    """What people call the actor: its global name, the name its supervisor gave it, or its class."""
    instance = cell.instance
    given = getattr(instance, "label", None) or getattr(instance, "name", None)
    return cell.globalName or (given if isinstance(given, str) else "") or type(instance).__name__


def figures_of(cell: Cell, now: float) -> ActorFigures:
    return ActorFigures(
        address=str(cell.address),
        class_name=type(cell.instance).__name__,
        label=label_of(cell),
        parent=str(cell.parent.address) if cell.parent else "",
        depth=cell.depth,
        handled=cell.handled,
        uptime_s=now - cell.started,
        state=cell.state,
    )


def no_source(given: object) -> None:
    if given is not None:
        raise NotImplementedError("this system base does not load actor source")
