"""LoopSystemBase: all actors of a process on one asyncio loop. Imports this package only.

The dispatcher says what happens to a message; this module says when: turns between which the loop serves its
sockets, timers, readable files, worker threads, and callers from other threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from threading import get_ident
from time import monotonic, sleep
from typing import Any

from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    ActorSystemFailure,
    ActorSystemRequestTimeout,
    ChildActorExited,
    WakeupMessage,
)
from thespian.system.timing import ExpirationTimer

from agentcom.runtime.address import LocalAddress
from agentcom.runtime.blocking import Job
from agentcom.runtime.cell import DEAD, ActorFigures, Cell, no_source
from agentcom.runtime.clock import Clock, SystemClock
from agentcom.runtime.construction import our_capabilities
from agentcom.runtime.dispatcher import Dispatcher
from agentcom.runtime.external import Endpoint
from agentcom.runtime.facade import Facade
from agentcom.runtime.jobs import Jobs
from agentcom.runtime.loop_thread import LoopThread
from agentcom.runtime.pickling import copied
from agentcom.runtime.ports import Port
from agentcom.runtime.timers import Fire, TimerHeap
from agentcom.runtime.watches import Watches

log = logging.getLogger("agentcom.runtime")

MESSAGES_PER_ACTOR = 16  # so that no actor starves another
TURN_S = 0.002  # so that the actors together do not starve the sockets
LET_GO_S = 0.0001
"""Between two turns of a thread of our own, for who waits for the interpreter. A thread that gives it up more often
than the switch interval (5 ms) and takes it back at once, as a loop does when it looks at its sockets, is never asked
to give it up for good: whoever else wants it must be awake in just that moment. Half a minute of waiting was seen.
"""
IDLE_S = 0.003  # who waits for the actors to fall idle waits no longer than this
TIMER_SLACK_S = 0.001  # Thespian's @transient computes its own deadline after it set the wakeup
CREATE_TIMEOUT_S = 50.0  # Thespian's
STOP_TIMEOUT_S = 10.0  # Thespian's


class LoopSystemBase(Facade):
    """Hand it to `ActorSystem(systemBase=base, transientUnique=True, capabilities=…)`.

    Without `loop` it runs one of its own in a daemon thread. With a loop, which must be the one running in
    the calling thread, it lives there and never blocks it.
    """

    def __init__(
        self,
        capabilities: dict[str, Any] | None = None,
        *,
        strict: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.monotonic = monotonic if isinstance(self.clock, SystemClock) else self.clock.monotonic
        if loop is not None and loop.is_running() and asyncio._get_running_loop() is not loop:
            raise ValueError("the loop runs in another thread; make the base there")
        self._own = None if loop else LoopThread()
        self.loop = loop or self._own_loop()
        thread = self._own.ident if self._own else get_ident()
        self.capabilities = {} if capabilities is None else capabilities
        self.capabilities.update(our_capabilities("AgentComLoop", watch=True))
        self.dispatcher = Dispatcher(self, self.capabilities, strict=strict, thread=thread)
        self._inbox: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._inbox_armed = False
        self._ready: deque[Cell] = deque()
        self._turn_armed = False
        self._turn_end = 0.0
        self._idle: list[tuple[Cell, object]] = []
        self._idle_due = 0.0
        self._timers = TimerHeap(_is_dead)
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._watches = Watches(self.loop)
        self._jobs = Jobs(self.post, self.call_after)
        self._closing: asyncio.Task[None] | None = None
        self._empty: asyncio.Event | None = None  # set while closing, when the last actor is gone
        self.closed = False
        self._outside: OutsideCaller = self.external_clone()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        assert self._own is not None
        return self._own.loop

    # -- for the program that owns the base ---------------------------------------------------------------

    def create(self, actor_class: Any, *, name: str | None = None, parent: Any = None) -> LocalAddress:
        """createActor for the loop's thread. `parent` is a live actor's address, or None for a primary."""
        kin = parent.sink if isinstance(parent, LocalAddress) else None
        return self.dispatcher.create(actor_class, kin if isinstance(kin, Cell) else None, name=name)

    def open_port(self, receive: Callable[[object, ActorAddress], None]) -> Port:
        self.dispatcher.assert_own_thread("open_port")
        return Port(self.dispatcher, self.dispatcher.open_port(receive))

    def figures(self) -> list[ActorFigures]:
        return self.dispatcher.figures()

    async def aclose(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Every actor is asked to exit; who is still there after `timeout_s` is ended; all is forgotten."""
        self._begin_closing(timeout_s)
        assert self._closing is not None
        await asyncio.shield(self._closing)

    def _begin_closing(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        if self._closing is None:
            self._closing = self.loop.create_task(self._close(timeout_s))

    async def _close(self, timeout_s: float) -> None:
        self._empty = asyncio.Event()
        for cell in self.dispatcher:
            if cell.is_root:
                cell.put(ActorExitRequest(), self._outside.address)
        if len(self.dispatcher):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)
        self._forget_everything()

    def _forget_everything(self) -> None:
        for cell in self.dispatcher:
            log.warning("actor %s did not exit in time", cell.address)
            self.dispatcher.kill(cell)
        self.closed = True
        self._timers.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        self._watches.clear()
        self._jobs.close()
        self._outside.close()

    # -- Thespian's system base ---------------------------------------------------------------------------

    def newPrimaryActor(
        self, actor_class: Any, requirements: Any = None, name: str | None = None, source_hash: Any = None
    ) -> LocalAddress:
        no_source(source_hash)
        address: LocalAddress = self._on_loop(
            partial(self.dispatcher.create, actor_class, None, requirements, name)
        )
        return address

    def external_clone(self) -> OutsideCaller:
        return OutsideCaller(self)

    def updateCapability(self, name: str, value: object = None) -> None:
        self._on_loop(partial(self.dispatcher.update_capability, name, value))

    def _handleDeadLetters(self, address: LocalAddress, enable: bool) -> None:
        self._on_loop(partial(self.dispatcher.handle_dead_letters, address, enable))

    def shutdown(self) -> None:
        """Blocks until all actors are gone; on the loop's own thread it only begins."""
        if self.on_loop_thread():
            self.stop()
            return
        if not self.closed and self.loop.is_running():
            done = asyncio.run_coroutine_threadsafe(self.aclose(), self.loop)
            try:
                done.result(STOP_TIMEOUT_S + 5)
            except FutureTimeout:
                log.error("an actor blocks the loop: its thread is left behind")
        if self._own is not None:
            self._own.end()

    # -- for other threads --------------------------------------------------------------------------------

    def on_loop_thread(self) -> bool:
        return get_ident() == self.dispatcher.thread

    def post(self, call: Callable[..., Any], *args: Any) -> None:
        """Calls back on the loop's thread, in the order of posting by each thread."""
        self._inbox.append((call, args))
        if not self._inbox_armed:
            self._inbox_armed = True
            try:
                self.loop.call_soon_threadsafe(self._drain_inbox)
            except RuntimeError as exc:
                raise ActorSystemFailure("the actor system has been shut down") from exc

    def _drain_inbox(self) -> None:
        self._inbox_armed = False  # first: what is appended from here on arms it again
        for _ in range(len(self._inbox)):
            call, args = self._inbox.popleft()
            try:
                call(*args)
            except Exception:
                log.exception("a call from another thread failed")

    def _on_loop(self, call: Callable[[], Any]) -> Any:
        if self.on_loop_thread():
            return call()
        if self.closed:
            raise ActorSystemFailure("the actor system has been shut down")
        future: Future[Any] = Future()
        self.post(_fulfil, future, call)
        try:
            return future.result(CREATE_TIMEOUT_S)
        except FutureTimeout as exc:
            raise ActorSystemRequestTimeout(f"the loop was busy for {CREATE_TIMEOUT_S} s") from exc

    def send_from(self, target: ActorAddress, message: object, sender: ActorAddress) -> None:
        if self.closed:
            raise ActorSystemFailure("the actor system has been shut down")
        if self.dispatcher.strict:
            message = copied(message)
        if self.on_loop_thread():
            self.dispatcher.deliver(target, message, sender)
        else:
            self.post(self.dispatcher.deliver, target, message, sender)

    # -- what the dispatcher asks of its host -------------------------------------------------------------

    def ready(self, cell: Cell) -> None:
        self._ready.append(cell)
        if not self._turn_armed:
            self._turn_armed = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        ready, run, over = self._ready, self.dispatcher.run, self._turn_is_over
        self._turn_end = monotonic() + TURN_S
        try:
            while ready:
                run(ready.popleft(), MESSAGES_PER_ACTOR, over)
                if monotonic() >= self._turn_end:
                    break
        finally:
            if self._idle and monotonic() >= self._idle_due:
                self._tell_idle()
            self._turn_armed = bool(ready)
            if ready:
                if self._own is not None:
                    sleep(LET_GO_S)
                self.loop.call_soon(self._turn)
            elif self._idle:
                self.loop.call_soon(self._look_idle)

    def when_idle(self, cell: Cell, message: object) -> None:
        if not self._idle:
            self._idle_due = monotonic() + IDLE_S
        self._idle.append((cell, message))
        if not self._turn_armed:
            self._turn_armed = True
            self.loop.call_soon(self._turn)

    def _look_idle(self) -> None:
        """The sockets have been looked at once more since: if they brought nothing either, this is idleness."""
        if not self._ready:
            self._tell_idle()

    def _tell_idle(self) -> None:
        waiting, self._idle = self._idle, []
        for cell, message in waiting:
            if cell.state is not DEAD:
                cell.put(message, cell.address)

    def _turn_is_over(self) -> bool:
        return monotonic() >= self._turn_end

    def wake_after(self, cell: Cell, delay_s: float, message: WakeupMessage) -> None:
        self.call_after(delay_s, cell, _remind, message)

    def call_after(self, delay_s: float, cell: Cell, fire: Fire, argument: object) -> None:
        """Fires unless the cell is dead by then."""
        if not self.on_loop_thread():
            self.post(self.call_after, delay_s, cell, fire, argument)
            return
        due = self.monotonic() + delay_s + TIMER_SLACK_S
        self._timers.add(due, cell, fire, argument)
        if self._alarm is None or due < self._alarm_at:
            self._arm()

    def _arm(self) -> None:
        due = self._timers.next_due()
        if due is None or (self._alarm is not None and self._alarm_at <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = self.loop.call_later(max(0.0, due - self.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self.monotonic()
        while (timer := self._timers.pop_due(now)) is not None:
            _, _, cell, fire, argument = timer
            fire(cell, argument)
        self._arm()

    def pending_wakeups(self, cell: Cell) -> list[tuple[ActorAddress, Any]]:
        now = self.monotonic()
        return [(cell.address, ExpirationTimer(max(0.0, due - now))) for due in self._timers.dues_of(cell)]

    def exit_notice(self, parent: Cell, notice: ChildActorExited) -> None:
        parent.put(notice, notice.childAddress)

    def watch(self, cell: Cell, filenos: list[int]) -> None:
        self._watches.watch(cell, filenos)

    def watch_delivered(self, cell: Cell) -> None:
        self._watches.delivered(cell)

    def forget(self, cell: Cell) -> None:
        self._watches.forget(cell)
        if self._empty is not None and not len(self.dispatcher):
            self._empty.set()

    def stop(self) -> None:
        self._begin_closing()

    def run_blocking(self, cell: Cell, job: Job) -> None:
        self._jobs.start(cell, job)


class OutsideCaller(Endpoint):
    """What `private()` gives to a thread: its own address, and the base's own operations."""

    def __init__(self, base: LoopSystemBase) -> None:
        super().__init__(base.dispatcher.space, base.send_from)
        self._base = base
        self.newPrimaryActor = base.newPrimaryActor
        self.updateCapability = base.updateCapability
        self.external_clone = base.external_clone

    def ask(self, target: ActorAddress, message: object, timeout: Any = None) -> Any:
        self._refuse_on_loop("ask")
        return super().ask(target, message, timeout)

    def listen(self, timeout: Any = None) -> Any:
        self._refuse_on_loop("listen")
        return super().listen(timeout)

    def exit_context(self) -> None:
        self.close()

    def shutdown(self) -> None:
        self.close()

    def _refuse_on_loop(self, what: str) -> None:
        if self._base.on_loop_thread():
            raise RuntimeError(f"{what} would block the actors' own loop; use a port or tell")


def _remind(cell: Cell, message: object) -> None:
    cell.put(message, cell.address)


def _is_dead(owner: object) -> bool:
    return isinstance(owner, Cell) and owner.state is DEAD


def _fulfil(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        future.set_result(call())
    except BaseException as exc:  # noqa: BLE001 - it belongs to the thread that waits
        future.set_exception(exc)
