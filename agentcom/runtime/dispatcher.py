"""Actors of one process: lifecycle, parents, names, dead letters, failures. Imports this package only.

What happens to a message is decided here; *when*, and which actor's turn it is, by the host (the loop base,
or a simulation). Everything runs on one thread; mail from another one is handed to `Host.post`.
"""

from __future__ import annotations

import copy
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from threading import current_thread, get_ident, main_thread
from typing import Any

from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    ActorSystemMessage,
    ChildActorExited,
    DeadEnvelope,
    PoisonMessage,
    Thespian_ActorStatus,
    Thespian_StatusReq,
    ThespianWatch,
    WakeupMessage,
    WatchMessage,
)

from agentcom.runtime.address import LocalAddress, Sink, Space
from agentcom.runtime.blocking import BlockingDone, BlockingFailed, TimedOut
from agentcom.runtime.cell import (
    DEAD,
    EXITING,
    RUNNING,
    ActorFigures,
    Callback,
    Cell,
    Host,
    Mailbox,
    PortCell,
    StrictCell,
    figures_of,
)
from agentcom.runtime.construction import Capabilities, build, fits, resolve
from agentcom.runtime.pickling import assert_importable

log = logging.getLogger("agentcom.runtime")

# What nobody misses when its target is gone: notices an actor sends itself, and news about other deaths.
_NO_DEAD_LETTER = (
    BlockingDone,
    BlockingFailed,
    ChildActorExited,
    DeadEnvelope,
    TimedOut,
    WakeupMessage,
    WatchMessage,
)


def _never() -> bool:
    return False


class Dispatcher:
    """All actors of one base."""

    def __init__(
        self, host: Host, capabilities: Capabilities, *, strict: bool, thread: int, space: Space | None = None
    ) -> None:
        self.host = host
        self.capabilities = capabilities
        self.strict = strict
        self.thread = thread
        self.space = Space() if space is None else space
        self.dead_letters = 0
        self._cell_class = StrictCell if strict else Cell
        self._cells: dict[int, Cell] = {}
        self._names: dict[str, Cell] = {}
        self._handler: LocalAddress | None = None
        self._spare: list[Mailbox] = []

    def __iter__(self) -> Iterator[Cell]:
        return iter(list(self._cells.values()))

    def __len__(self) -> int:
        return len(self._cells)

    # -- birth --------------------------------------------------------------------------------------------

    def create(
        self, spec: Any, parent: Cell | None, requirements: Any = None, name: str | None = None
    ) -> LocalAddress:
        """A child that cannot be made has exited; the creator of a primary is told why it could not.

        Raises UnpicklableError in strict mode.
        """
        self.assert_own_thread("createActor")
        if self.strict and isinstance(spec, type):
            assert_importable(spec)
        if name and name in self._names:
            return self._names[name].address
        cell = self._cell_class(self, parent, name, requirements)
        if parent is not None and parent.state is not RUNNING:
            cell.address.sink = None
            return cell.address
        try:
            cell.instance = build(resolve(spec), self.capabilities, requirements)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            self._stillborn(cell, spec)
            if parent is None:
                raise
            return cell.address
        cell.instance._myRef = cell
        self._adopt(cell)
        return cell.address

    def open_port(self, receive: Callable[[object, ActorAddress], None]) -> PortCell:
        cell = PortCell(self, None, None, None)
        cell.instance = Callback(receive)
        return cell

    def _adopt(self, cell: Cell) -> None:
        self._cells[cell.address.number] = cell
        if cell.globalName:  # named actors belong to the system: their creator is told of their end, no more
            self._names[cell.globalName] = cell
        elif cell.parent is not None:
            if cell.parent.children is None:
                cell.parent.children = {}
            cell.parent.children[cell.address.number] = cell.address

    def _stillborn(self, cell: Cell, spec: Any) -> None:
        cell.address.sink = None
        cell.state = DEAD
        if cell.parent is not None:
            log.warning("actor %s could not be created", spec, exc_info=True)
            self.host.exit_notice(cell.parent, ChildActorExited(cell.address))

    # -- mail ---------------------------------------------------------------------------------------------

    def mailbox(self) -> Mailbox:
        """An empty deque weighs 760 bytes, so idle actors have none and busy ones share."""
        return self._spare.pop() if self._spare else deque()

    def deliver(self, target: ActorAddress, message: object, sender: ActorAddress) -> None:
        sink: Sink | None = getattr(target, "sink", None)
        if sink is None:
            self.dead_letter(target, message, sender)
        else:
            sink.put(message, sender)

    def run(self, cell: Cell, budget: int, over: Callable[[], bool] = _never) -> None:
        """One turn: up to `budget` messages, less when the turn is over. A cell with mail left asks for its next."""
        mailbox = cell._mailbox
        if mailbox is None:
            return
        left = budget
        try:
            while mailbox and left:
                if left & 3 == 3 and over():  # asking the time for each message would cost as much as one
                    break
                message, sender = mailbox.popleft()
                left -= 1
                if isinstance(message, ActorSystemMessage):
                    self._system(cell, message, sender)
                elif cell.state is RUNNING:
                    try:  # as in receive, without the call: this line is the hot path
                        result = cell.instance.receiveMessage(message, sender)
                    except BaseException as exc:  # noqa: BLE001
                        result = self._failed(cell, message, sender, exc)
                    if result is not None or cell.watched:
                        self._watch(cell, result)
                else:
                    self.dead_letter(cell.address, message, sender)
        finally:
            cell.handled += budget - left
            if mailbox:
                self.host.ready(cell)
            elif cell._mailbox is mailbox:
                cell._mailbox = None
                if len(self._spare) < 256:
                    self._spare.append(mailbox)

    def receive(self, cell: Cell, message: object, sender: ActorAddress) -> None:
        """Handled at once, past the mailbox."""
        try:
            result = cell.instance.receiveMessage(message, sender)
        except BaseException as exc:  # noqa: BLE001
            result = self._failed(cell, message, sender, exc)
        if result is not None or cell.watched:
            self._watch(cell, result)

    def _failed(self, cell: Cell, message: object, sender: ActorAddress, exc: BaseException) -> object:
        """Thespian's rule: once more, at once, with a copy; then the message goes back to its sender."""
        if not isinstance(exc, Exception):
            self._ended_itself(cell, exc)
            return None
        log.warning("actor %s (%s) failed", cell.address, type(cell.instance).__name__, exc_info=exc)
        if cell.state is DEAD:
            return None
        try:
            return cell.instance.receiveMessage(copy.deepcopy(message), sender)
        except Exception:
            log.exception("actor %s (%s) failed again", cell.address, type(cell.instance).__name__)
            if not isinstance(message, PoisonMessage):
                self.deliver(sender, PoisonMessage(message, traceback.format_exc()), cell.address)
            return None
        except BaseException as again:  # noqa: BLE001
            self._ended_itself(cell, again)
            return None

    def _ended_itself(self, cell: Cell, exc: BaseException) -> None:
        """sys.exit() ends the actor, as it would a process. Ctrl-C comes to the main thread and ends all."""
        if isinstance(exc, KeyboardInterrupt) and current_thread() is main_thread():
            raise exc
        log.error("actor %s ended itself", cell.address, exc_info=exc)
        self.kill(cell)

    def _watch(self, cell: Cell, result: object) -> None:
        if cell.state is DEAD:
            return
        filenos = list(result.filenos) if isinstance(result, ThespianWatch) else []
        if filenos or cell.watched:
            cell.watched = bool(filenos)
            try:
                self.host.watch(cell, filenos)
            except (OSError, ValueError):
                log.exception("actor %s wants to watch what is no open file", cell.address)

    def _system(self, cell: Cell, message: ActorSystemMessage, sender: ActorAddress) -> None:
        if isinstance(cell, PortCell):
            cell.instance.receiveMessage(message, sender)
        elif isinstance(message, ActorExitRequest):
            self._exit(cell, message, sender)
        elif isinstance(message, ChildActorExited):
            self.receive(cell, message, sender)
            self.bereave(cell, message.childAddress)
        elif isinstance(message, Thespian_StatusReq):
            self.deliver(sender, self._status(cell), cell.address)
        elif isinstance(message, WatchMessage):
            self.host.watch_delivered(cell)
            if message.ready:  # empty if the watch was taken back while this was on its way
                self.receive(cell, message, sender)
        elif cell.state is RUNNING:
            self.receive(cell, message, sender)
        else:
            self.dead_letter(cell.address, message, sender)

    # -- death --------------------------------------------------------------------------------------------

    def _exit(self, cell: Cell, request: ActorExitRequest, sender: ActorAddress) -> None:
        """The actor hears of it first, then its children go, then the actor."""
        try:
            cell.instance.receiveMessage(request, sender)
        except Exception:
            log.exception("actor %s failed while it was told to exit", cell.address)
        except BaseException as exc:  # noqa: BLE001
            self._ended_itself(cell, exc)
        if cell.state is not RUNNING:
            return
        if not (request.isRecursive and cell.children):
            self._bury(cell)
            return
        cell.state = EXITING
        for child in list(cell.children.values()):
            self.deliver(child, ActorExitRequest(recursive=True), cell.address)

    def bereave(self, cell: Cell, child: ActorAddress) -> None:
        """The child is no more; whoever waited for it to exit goes on."""
        if cell.children is not None and isinstance(child, LocalAddress):
            cell.children.pop(child.number, None)
        if cell.state is EXITING and not cell.children:
            self._bury(cell)

    def kill(self, cell: Cell) -> None:
        """Ends an actor and all below it without asking them."""
        for child in list((cell.children or {}).values()):
            if isinstance(child.sink, Cell):
                self.kill(child.sink)
        if cell.state is not DEAD:
            self._bury(cell)

    def _bury(self, cell: Cell) -> None:
        """After this nothing here refers to the actor; its mail is dead letters, its timers never fire."""
        cell.state = DEAD
        cell.address.sink = None
        self._cells.pop(cell.address.number, None)
        if cell.globalName and self._names.get(cell.globalName) is cell:
            del self._names[cell.globalName]
        if cell.address == self._handler:
            self._handler = None
        self.host.forget(cell)
        self._return_mail(cell)
        cell.instance = None
        if cell.parent is not None and cell.parent.state is not DEAD:
            self.host.exit_notice(cell.parent, ChildActorExited(cell.address))
        cell.parent = cell.children = None

    def _return_mail(self, cell: Cell) -> None:
        mailbox = cell._mailbox
        while mailbox:
            message, sender = mailbox.popleft()
            self.dead_letter(cell.address, message, sender)

    def close_port(self, cell: PortCell) -> None:
        cell.state = DEAD
        cell.address.sink = None
        self._return_mail(cell)

    # -- dead letters -------------------------------------------------------------------------------------

    def handle_dead_letters(self, address: LocalAddress, enable: bool) -> None:
        """One handler, the newest, as Thespian really does it."""
        if enable:
            self._handler = address
        elif self._handler == address:
            self._handler = None

    def dead_letter(self, target: ActorAddress, message: object, sender: ActorAddress) -> None:
        """Goes to the handler in the name of its sender, so that the handler can answer."""
        if isinstance(message, _NO_DEAD_LETTER):
            return
        self.dead_letters += 1
        if self._handler is not None and self._handler.sink is not None:
            self._handler.sink.put(DeadEnvelope(target, message), sender)
        origin: Sink | None = getattr(sender, "sink", None)
        if origin is not None:
            origin.undelivered(target)

    def drop_everything(self) -> None:
        """As the end of the process: nobody is asked or told, and every address leads nowhere."""
        for cell in self:
            cell.state, cell.instance, cell._mailbox = DEAD, None, None
            cell.parent = cell.children = None
        self.space.close()
        self._cells.clear()
        self._names.clear()
        self._handler = None

    # -- the whole ----------------------------------------------------------------------------------------

    def update_capability(self, name: str, value: object) -> None:
        """Actors that no longer fit are told to exit."""
        if value is None:
            self.capabilities.pop(name, None)
        else:
            self.capabilities[name] = value
        for cell in self:
            if not fits(type(cell.instance), self.capabilities, cell.requirements):
                cell.put(ActorExitRequest(), cell.address)

    def figures(self) -> list[ActorFigures]:
        now = self.host.monotonic()
        return [figures_of(cell, now) for cell in self]

    def assert_own_thread(self, what: str) -> None:
        if get_ident() != self.thread:
            raise RuntimeError(f"{what} belongs on the actors' thread")

    def _status(self, cell: Cell) -> Thespian_ActorStatus:
        parent = cell.parent.address if cell.parent else None
        name = type(cell.instance).__name__
        status = Thespian_ActorStatus(cell.address, name, None, parent, exiting=cell.state is EXITING or None)
        status.addWakeups(self.host.pending_wakeups(cell))
        for child in (cell.children or {}).values():
            status.addChild(child)
        status.addKeyVal("Messages handled", cell.handled)
        return status
