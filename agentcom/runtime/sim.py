"""SimSystemBase: the actors of a process under a virtual clock, in a chosen order, with chosen faults.

The dispatcher says what happens to a message; here a chooser says whose turn it is, and what goes wrong. Nothing
reads the machine's clock and nothing runs in another thread, so a run is a function of its chooser alone.
Imports this package only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from threading import get_ident
from typing import Any, TypeVar

from thespian.actors import ActorAddress, ActorExitRequest, ChildActorExited, WakeupMessage

from agentcom.runtime.address import LocalAddress, Space
from agentcom.runtime.agenda import Agenda
from agentcom.runtime.blocking import Job
from agentcom.runtime.cell import DEAD, RUNNING, ActorFigures, Cell, label_of, no_source
from agentcom.runtime.chooser import Chooser, chooser_of
from agentcom.runtime.clock import ManualClock
from agentcom.runtime.construction import our_capabilities
from agentcom.runtime.dispatcher import Dispatcher
from agentcom.runtime.facade import Facade
from agentcom.runtime.faults import CrashWish, Faults, Injector, Planned, crash_point, set_trap
from agentcom.runtime.pickling import copied
from agentcom.runtime.ports import Port
from agentcom.runtime.sim_jobs import SimJobs
from agentcom.runtime.sim_loop import SimLoop, run_in
from agentcom.runtime.sim_outside import SimCaller
from agentcom.runtime.trace import Trace

T = TypeVar("T")

START = 1_700_000_000.0  # wall seconds; any fixed time does
MAX_STEPS = 1_000_000
BURSTS = (1, 4, 16)  # messages that an actor may handle in one turn; the loop's are up to 16


class NeverIdleError(RuntimeError):
    """The actors keep each other busy without time passing, or for longer than expected."""


class SimSystemBase(Facade):
    """Hand it to `ActorSystem(systemBase=sim, transientUnique=True, capabilities=…)`, or use it by itself.

    Everything runs on the thread that made it, and only inside its methods.
    """

    def __init__(
        self,
        seed: int | Random | Chooser = 0,
        capabilities: dict[str, Any] | None = None,
        *,
        faults: Faults | None = None,
        strict: bool = True,
        wall: float = START,
        after_step: Callable[[], object] | None = None,
    ) -> None:
        self.chooser = chooser_of(seed)
        self.clock = ManualClock(wall)
        self.monotonic = self.clock.monotonic
        self.capabilities = {} if capabilities is None else capabilities
        self.capabilities.update(our_capabilities("AgentComSim", watch=False))
        self.after_step = after_step
        self.fault_counts: Counter[str] = Counter()
        self.trace = Trace(self.monotonic)
        self.deliveries = 0
        self.max_steps = MAX_STEPS
        self.faults = Faults() if faults is None else faults
        self.closed = False
        self._agenda = Agenda(self.clock)
        self._jobs = SimJobs(self)
        self._loop: SimLoop | None = None
        self._begin(strict)

    def _begin(self, strict: bool) -> None:
        self._ready: list[Cell] = []
        self._stalled: dict[Cell, bool] = {}  # whether it has mail waiting
        self._burst = 0
        self.dispatcher = Dispatcher(
            self, self.capabilities, strict=strict, thread=get_ident(), space=Space("sim0")
        )
        self._outside = SimCaller(self)

    @property
    def faults(self) -> Faults:
        """May be set at any time; `Faults()` ends them."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self._injector = Injector(faults, self.chooser, self.fault_counts)

    # -- actors, ports, figures ---------------------------------------------------------------------------

    def create(
        self, actor_class: Any, *, name: str | None = None, parent: ActorAddress | None = None
    ) -> LocalAddress:
        kin = parent.sink if isinstance(parent, LocalAddress) else None
        return self.dispatcher.create(actor_class, kin if isinstance(kin, Cell) else None, name=name)

    def open_port(self, receive: Callable[[object, ActorAddress], None]) -> Port:
        return Port(self.dispatcher, self.dispatcher.open_port(receive))

    def figures(self) -> list[ActorFigures]:
        return self.dispatcher.figures()

    def find(self, label: str) -> Cell:
        """The one live actor of that label. Raises LookupError."""
        found = [cell for cell in self.dispatcher if label_of(cell) == label]
        if len(found) != 1:
            raise LookupError(f"{len(found)} live actors are labelled {label!r}")
        return found[0]

    # -- time and order -----------------------------------------------------------------------------------

    def step(self) -> bool:
        """One delivery, or one thing that is due now. False: nothing is left to do at this time."""
        agenda, ready = self._agenda, self._ready
        due = agenda.next_due <= self.monotonic()
        if self._burst and ready and not due:
            self._burst -= 1
            self._deliver(ready.pop())
        elif not ready:
            if not due:
                return False
            agenda.fire_next()
        else:
            self._turn(len(ready) + due)
        if self.after_step is not None:
            self.after_step()
        return True

    def _turn(self, candidates: int) -> None:
        pick = self.chooser.choose(candidates, "turn") if candidates > 1 else 0
        if pick == len(self._ready):
            self._agenda.fire_next()
            return
        cell = self._ready.pop(pick)
        self._burst = 0
        self._deliver(cell)
        ready = self._ready
        if len(ready) > 1 and ready[-1] is cell:
            self._burst = BURSTS[self.chooser.choose(len(BURSTS), "burst")] - 1

    def run_until_idle(self, max_steps: int | None = None) -> int:
        """Until no mail, job, stall or late notice is on its way, and no timer is due. How many steps it took.

        Time passes only as far as those need it; timers that come due meanwhile fire. Raises NeverIdleError.
        """
        limit = self.max_steps if max_steps is None else max_steps
        steps = 0
        while self.step() or (self._agenda.on_its_way and self._agenda.move_on()):
            steps += 1
            if steps > limit:
                raise NeverIdleError(f"not idle after {limit} steps")
        return steps

    def advance(self, seconds: float) -> None:
        """Lets time pass, and everything happen that comes due. Raises NeverIdleError."""
        if seconds < 0:
            raise ValueError(f"time cannot go backwards, got {seconds}")
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], object], within_s: float | None = None) -> bool:
        """Until the condition holds, that much time has passed, or nothing is left to happen. Whether it holds."""
        end = None if within_s is None else self.monotonic() + within_s
        steps = 0
        while not condition():
            if self.step():
                steps += 1
                if steps > self.max_steps:
                    raise NeverIdleError(f"not done after {self.max_steps} steps")
            elif not self._agenda.move_on(end):
                if end is not None:
                    self.clock.reach(end)
                return bool(condition())
        return True

    def move_on(self, within_s: float | None = None) -> bool:
        """To the next thing that is due, or as far as it may go. False: there was nothing to go to."""
        end = None if within_s is None else self.monotonic() + within_s
        if self._agenda.move_on(end):
            return True
        if end is not None:
            self.clock.reach(end)
        return end is not None

    def call_after(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        """For the world outside: simulated networks and clients. Outlives the process."""
        self._agenda.add_world(seconds, partial(call, *args) if args else call)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Drives asyncio code, such as supervisors.root.Root, on a loop whose time is this clock."""
        if self._loop is None:
            self._loop = SimLoop(self)
        return run_in(self._loop, coroutine)

    # -- faults by hand -----------------------------------------------------------------------------------

    def crash(self, victim: Cell | str) -> None:
        """The actor crashes now, between two messages. One that does not report its crashes is killed."""
        cell = self.find(victim) if isinstance(victim, str) else victim
        if crash_point(cell.instance) is None:
            self.dispatcher.kill(cell)
            return
        take_away = set_trap(cell.instance, None, lambda: None)
        try:
            self.dispatcher.receive(cell, CrashWish(), cell.address)
        finally:
            take_away()

    def kill(self, victim: Cell | str) -> None:
        """The actor and all below it end without a word; its parent gets ChildActorExited."""
        self.dispatcher.kill(self.find(victim) if isinstance(victim, str) else victim)

    def stall(self, victim: Cell | str, seconds: float) -> None:
        """The actor handles nothing for that long."""
        cell = self.find(victim) if isinstance(victim, str) else victim
        if cell in self._ready:
            self._ready.remove(cell)
        self._stall(cell, seconds)

    def lose(self) -> None:
        """The whole process ends as by kill -9, between two steps: no exit handler runs, no job returns.

        Clock, chooser, counts, trace and what `call_after` will call are the world's, and go on.
        """
        self.trace.record("lose", 0, "process", "")
        strict = self.dispatcher.strict
        self.dispatcher.drop_everything()
        self._agenda.lose_process()
        self._jobs = SimJobs(self)
        self._begin(strict)

    # -- Thespian's system base ---------------------------------------------------------------------------

    def newPrimaryActor(
        self, actor_class: Any, requirements: Any = None, name: str | None = None, source_hash: Any = None
    ) -> LocalAddress:
        no_source(source_hash)
        return self.dispatcher.create(actor_class, None, requirements, name)

    def external_clone(self) -> SimCaller:
        return SimCaller(self)

    def updateCapability(self, name: str, value: object = None) -> None:
        self.dispatcher.update_capability(name, value)

    def _handleDeadLetters(self, address: LocalAddress, enable: bool) -> None:
        self.dispatcher.handle_dead_letters(address, enable)

    def shutdown(self) -> None:
        """Every actor is asked to exit; who has not when all is idle is ended."""
        self.stop()
        self.run_until_idle()
        for cell in self.dispatcher:
            self.dispatcher.kill(cell)
        self._agenda.lose_process()
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        self.closed = True

    def send_from(self, target: ActorAddress, message: object, sender: ActorAddress) -> None:
        self.dispatcher.deliver(target, copied(message) if self.dispatcher.strict else message, sender)

    # -- what the dispatcher asks of its host -------------------------------------------------------------

    def when_idle(self, cell: Cell, message: object) -> None:
        """Mail like any other: when its turn comes is chosen, early or late."""
        cell.put(message, cell.address)

    def ready(self, cell: Cell) -> None:
        if self._stalled and cell in self._stalled:
            self._stalled[cell] = True
        else:
            self._ready.append(cell)

    def _deliver(self, cell: Cell) -> None:
        mailbox = cell._mailbox
        if mailbox:
            message = mailbox[0][0]
            self.deliveries += 1
            self.trace.record(
                "deliver", cell.address.number, type(cell.instance).__name__, type(message).__name__
            )
            if self._injector.any_at_delivery and cell.state is RUNNING:
                fault = self._injector.at_delivery(cell, message)
                if fault is not None:
                    self._carry_out(cell, fault)
                    return
        self.dispatcher.run(cell, 1)

    def _carry_out(self, cell: Cell, fault: Planned) -> None:
        kind = fault.kind
        self.trace.record(kind, cell.address.number, fault.label, "")
        if kind == "stall":
            self._injector.count(kind)
            self._stall(cell, self._injector.some_delay())
        elif kind == "kill":
            self._injector.count(kind)
            self.dispatcher.kill(cell)
        elif kind == "crash_after":
            self.dispatcher.run(cell, 1)
            if cell.state is RUNNING:
                self._injector.count(kind)
                self.crash(cell)
        else:
            self._run_trapped(cell, fault)

    def _run_trapped(self, cell: Cell, fault: Planned) -> None:
        send = None if fault.kind == "crash_before" else fault.send
        take_away = set_trap(cell.instance, send, partial(self._injector.count, fault.kind))
        try:
            self.dispatcher.run(cell, 1)
        finally:
            take_away()

    def _stall(self, cell: Cell, seconds: float) -> None:
        self._stalled[cell] = cell._mailbox is not None
        self._agenda.add_on_its_way(seconds, partial(self._stall_ends, cell))

    def _stall_ends(self, cell: Cell) -> None:
        if self._stalled.pop(cell, False) and cell._mailbox:
            self._ready.append(cell)

    def wake_after(self, cell: Cell, delay_s: float, message: WakeupMessage) -> None:
        late = self._injector.delay("timer_late", cell)
        self._agenda.add(max(0.0, delay_s) + late, cell, partial(cell.put, message, cell.address))

    def exit_notice(self, parent: Cell, notice: ChildActorExited) -> None:
        kind = self._injector.at_notice()
        again = partial(self._late_notice, parent, notice)
        if kind == "notice_lost":
            self.dispatcher.bereave(parent, notice.childAddress)
            return
        if kind is not None:
            self._agenda.add_on_its_way(self._injector.some_delay(), again)
        if kind != "notice_late":
            parent.put(notice, notice.childAddress)

    def _late_notice(self, parent: Cell, notice: ChildActorExited) -> None:
        if parent.state is not DEAD:
            parent.put(notice, notice.childAddress)

    def pending_wakeups(self, cell: Cell) -> list[tuple[ActorAddress, Any]]:
        return [(cell.address, left) for left in self._agenda.left_of(cell)]

    def watch(self, cell: Cell, filenos: list[int]) -> None:
        if filenos:
            raise NotImplementedError(f"{label_of(cell)} wants to watch files; a simulation has none")

    def watch_delivered(self, cell: Cell) -> None:
        """Files are never watched."""

    def forget(self, cell: Cell) -> None:
        if cell._mailbox is not None and cell in self._ready:
            self._ready.remove(cell)
        if self._stalled:
            self._stalled.pop(cell, None)

    def run_blocking(self, cell: Cell, job: Job) -> None:
        self._jobs.start(cell, job, self._injector.delay("job_slow", cell))

    def later(self, delay_s: float, call: Callable[[], object]) -> None:
        """As something of this process that is on its way."""
        self._agenda.add_on_its_way(delay_s, call)

    def post(self, call: Callable[..., Any], *args: Any) -> None:
        raise RuntimeError("a simulation runs on one thread, and this is another one")

    def stop(self) -> None:
        for cell in self.dispatcher:
            if cell.is_root:
                cell.put(ActorExitRequest(), self._outside.address)
