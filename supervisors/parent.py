"""What every supervisor shares: creating, watching, stopping and killing children, and telling the registry.

Lives here: the hands, not the policy. May import: thespian, structlog, agentcom.runtime,
supervisors.{base,inspection,messages,processes,specs}.

Exit notices of the system name an address; they are matched to (child, start) once and then forgotten, so a
second one, a late one, or one about a stranger changes nothing. One that never comes is replaced by a timer.
A child with `hang_s` is pinged, one timer each, and killed when its answer is that late.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import msgspec
import structlog
from thespian.actors import ActorAddress, ChildActorExited

from agentcom.runtime import kill_actor, monotonic_of
from supervisors.base import Supervised
from supervisors.inspection import Budget, Inspect, Inspected, details
from supervisors.messages import (
    AskStop,
    ChildInfo,
    Children,
    Configure,
    Count,
    Counts,
    Crashed,
    Exiting,
    Note,
    OwnProcess,
    Ping,
    Pong,
    Ready,
    Register,
    RegistryAt,
    Unregister,
    Which,
)
from supervisors.processes import kill_child
from supervisors.specs import REGISTRY, ChildSpec, load

log = structlog.get_logger()

KILLED = "killed"
TICK_S = 0.001


class Overdue(Note, frozen=True):
    """The child had its time to get ready, or to stop."""

    name: str
    start: int
    what: str  # "ready" or "stop"


class NoticeMissing(Note, frozen=True):
    """The child said it ends, or was killed, and the system's notice had its time to come."""

    name: str
    start: int


class Pulse(Note, frozen=True):
    """Time to see whether the last ping was answered."""

    name: str
    start: int


class Live(msgspec.Struct):
    """One running child. `reason` is its own word on its end, if it could still say one."""

    spec: ChildSpec
    name: str
    start: int
    address: ActorAddress
    key: str  # in the table of addresses
    incarnation: int = 0
    since: float = 0.0
    reason: str = KILLED
    crashed: bool = False  # said so itself, and was logged
    pid: int = 0  # of its own process
    ending: bool = False  # was asked to stop, was killed, or said that it ends
    owes_pong: int = 0  # pulses since the ping, plus one; 0 once it was answered
    hung: bool = False


class Parent(Supervised):
    """Subclasses decide; they are told `child_ready` and `child_exited` at most once a life."""

    #: How long the system may take to confirm an exit before it is taken for granted.
    notice_grace_s: ClassVar[float] = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[str, Live] = {}
        self._names: dict[str, str] = {}  # str(address) -> name, as far as that finds it
        self._crashes: dict[str, tuple[str, str]] = {}  # name -> last (reason, traceback)
        self._restarts: dict[str, int] = {}
        self._last_exit: dict[str, str] = {}

    # ── told to the subclass ─────────────────────────────────────────────────────────────────────

    def child_ready(self, name: str, start: int) -> None:
        raise NotImplementedError

    def child_exited(self, name: str, start: int, reason: str) -> None:
        raise NotImplementedError

    def child_late(self, name: str, start: int) -> None:
        raise NotImplementedError

    def child_infos(self) -> tuple[ChildInfo, ...]:
        raise NotImplementedError

    def known_spec(self, name: str) -> tuple[ChildSpec, Budget] | None:
        raise NotImplementedError

    # ── what a subclass may do ───────────────────────────────────────────────────────────────────

    def spawn(self, spec: ChildSpec, name: str, start: int) -> None:
        address = self.createActor(load(spec.actor))
        key = str(address)
        self._live[name] = Live(spec, name, start, address, key, since=self.now())
        self._names[key] = name
        registry = None if name == REGISTRY else self._sv_registry
        self.send(address, Configure(name, start, spec.args, self.myAddress, registry, os.getpid()))
        self._arm(spec.readiness_s, Overdue(name, start, "ready"))

    def ask_stop(self, name: str, start: int) -> None:
        live = self._live[name]
        live.ending = True
        self.send(live.address, AskStop())
        self._arm(live.spec.patience_s, Overdue(name, start, "stop"))

    def kill(self, name: str, start: int) -> None:
        log.warning("child.killed", supervisor=self.name, child=name, start=start)
        live = self._live[name]
        live.ending = True
        self._end_for_sure(live)
        self.after(self.notice_grace_s, NoticeMissing(name, start))

    def _end_for_sure(self, live: Live) -> None:
        if not (live.pid and kill_child(live.pid)):
            kill_actor(self, live.address)

    def now(self) -> float:
        return monotonic_of(self)

    def at(self, when: float, payload: object) -> None:
        """A wakeup at a time of `now()`, or a moment later."""
        # Rounding may leave a remainder that no longer moves the clock, and a timer would be set again for ever.
        self.after(max(when - self.now(), TICK_S), payload)

    def count_restart(self, name: str) -> None:
        self._restarts[name] = self._restarts.get(name, 0) + 1
        log.info("child.restarted", supervisor=self.name, child=name, reason=self._last_exit.get(name, ""))

    def ran_before(self, name: str) -> bool:
        return name in self._last_exit

    def forget(self, name: str) -> None:
        for table in (self._crashes, self._restarts, self._last_exit):
            table.pop(name, None)

    def info(self, spec: ChildSpec, name: str, state: str, start: int) -> ChildInfo:
        live = self._live.get(name)
        return ChildInfo(
            name=name,
            kind=spec.kind,
            state=state,
            start=start,
            incarnation=live.incarnation if live else 0,
            restarts=self._restarts.get(name, 0),
            last_crash=self._crashes.get(name, ("", ""))[0],
            uptime_s=self.now() - live.since if live else 0.0,
            address=live.address if live else None,
            pid=live.pid if live else 0,
        )

    # ── what arrives ─────────────────────────────────────────────────────────────────────────────

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        handler = _HANDLERS.get(type(msg))
        if handler is None:
            log.warning("message.unexpected", supervisor=self.name, message=type(msg).__name__)
        else:
            getattr(self, handler)(msg)

    def on_wakeup(self, payload: Any) -> None:
        if isinstance(payload, Overdue):
            self._overdue(payload)
        elif isinstance(payload, NoticeMissing):
            self._notice_missing(payload)
        elif isinstance(payload, Pulse):
            self._feel_pulse(payload)

    def _notice_missing(self, missing: NoticeMissing) -> None:
        live = self._known(missing.name, missing.start)
        if live is not None:
            log.warning("child.notice_missing", supervisor=self.name, child=live.name, start=live.start)
            self._end_for_sure(live)  # should it live after all, it must not for long
            self._gone(live.name, live.start)

    def _overdue(self, overdue: Overdue) -> None:
        live = self._known(overdue.name, overdue.start)
        if live is not None and not (overdue.what == "ready" and live.incarnation):
            self.child_late(overdue.name, overdue.start)

    def _on_own_process(self, msg: OwnProcess) -> None:
        live = self._known(msg.name, msg.start)
        if live is not None:
            live.pid = msg.pid

    def _on_ready(self, msg: Ready) -> None:
        live = self._known(msg.name, msg.start)
        if live is None:
            return
        live.incarnation, live.since = msg.incarnation, self.now()
        if msg.name == REGISTRY:
            self._adopt_registry(live.address)
        self._register(live)
        if live.spec.hang_s is not None:
            self._ping(live, live.spec.hang_s)
        self.child_ready(msg.name, msg.start)

    def _on_exiting(self, msg: Exiting) -> None:
        live = self._known(msg.name, msg.start)
        if live is None or live.hung:
            return
        live.reason, live.ending = msg.reason, True
        if msg.last_crash:
            self._crashes[msg.name] = (msg.reason, msg.last_crash)
        self.after(self.notice_grace_s, NoticeMissing(msg.name, msg.start))

    def _on_crashed(self, msg: Crashed) -> None:
        live = self._known(msg.name, msg.start)
        if live is None or live.hung:
            return
        live.reason, live.crashed, live.ending = msg.reason, True, True
        self._crashes[msg.name] = (msg.reason, msg.traceback)
        log.error(
            "child.crashed",
            supervisor=self.name,
            child=msg.name,
            start=msg.start,
            reason=msg.reason,
            message=msg.message,
            traceback=msg.traceback,
        )
        self.after(self.notice_grace_s, NoticeMissing(msg.name, msg.start))

    def _on_child_exit(self, msg: ChildActorExited) -> None:
        live = self._at(msg.childAddress)
        if live is not None:
            self._gone(live.name, live.start)

    def _at(self, address: ActorAddress) -> Live | None:
        name = self._names.get(str(address))
        if name is not None:
            return self._live[name]
        # Thespian's process bases print an address otherwise once the child has connected, so only == tells.
        return next((live for live in self._live.values() if live.address == address), None)

    def _gone(self, name: str, start: int) -> None:
        live = self._known(name, start)
        if live is None:
            return
        del self._live[name]
        self._names.pop(live.key, None)
        self._last_exit[name] = live.reason
        if not live.crashed and live.reason not in ("normal", "shutdown"):
            log.warning("child.exited", supervisor=self.name, child=name, start=start, reason=live.reason)
        self.leave_registry(live)
        self.child_exited(name, start, live.reason)

    def leave_registry(self, live: Live) -> None:
        self.tell_registry(Unregister(live.name, live.address))

    def _known(self, name: str, start: int) -> Live | None:
        live = self._live.get(name)
        return live if live is not None and live.start == start else None

    def _on_which(self, msg: Which) -> None:
        self.send(msg.reply_to, Children(msg.request, self.child_infos()))

    def _on_inspect(self, msg: Inspect) -> None:
        known = self.known_spec(msg.name)
        last_exit, (_, trace) = self._last_exit.get(msg.name, ""), self._crashes.get(msg.name, ("", ""))
        told = None if known is None else details(*known, last_exit, trace)
        self.send(msg.reply_to, Inspected(msg.request, told))

    def _on_count(self, msg: Count) -> None:
        infos = self.child_infos()
        active = sum(info.address is not None for info in infos)
        supervisors = sum(info.kind == "supervisor" for info in infos)
        counts = Counts(msg.request, len(infos), active, supervisors, len(infos) - supervisors)
        self.send(msg.reply_to, counts)

    # ── hung children ────────────────────────────────────────────────────────────────────────────

    def _ping(self, live: Live, hang_s: float) -> None:
        live.owes_pong = 1
        self.send(live.address, Ping())
        self.after(hang_s / 2, Pulse(live.name, live.start))

    def _on_pong(self, msg: Pong) -> None:
        live = self._known(msg.name, msg.start)
        if live is not None:
            live.owes_pong = 0

    def _feel_pulse(self, pulse: Pulse) -> None:
        live = self._known(pulse.name, pulse.start)
        if live is None or live.ending or live.spec.hang_s is None:
            return
        if not live.owes_pong:
            self._ping(live, live.spec.hang_s)
        elif live.owes_pong == 1:
            # A second look, at half time: if all of us stood still, the child has as long again to answer.
            live.owes_pong = 2
            self.after(live.spec.hang_s / 2, pulse)
        else:
            self._hung(live)

    def _hung(self, live: Live) -> None:
        live.hung, live.reason = True, f"hung: no answer within {live.spec.hang_s:g} s"
        self._crashes[live.name] = (live.reason, "")
        log.error("child.hung", supervisor=self.name, child=live.name, start=live.start, reason=live.reason)
        self.kill(live.name, live.start)

    # ── timers ───────────────────────────────────────────────────────────────────────────────────

    def _arm(self, seconds: float | None, payload: object) -> None:
        if seconds is not None:
            self.after(seconds, payload)

    # ── registry ─────────────────────────────────────────────────────────────────────────────────

    def _register(self, live: Live) -> None:
        self.tell_registry(Register(live.name, live.address, self.name))

    def tell_registry(self, msg: object) -> None:
        if self._sv_registry is not None:
            self.send(self._sv_registry, msg)

    def _adopt_registry(self, address: ActorAddress) -> None:
        """Own child: everyone else below and the root's handle above learn its address."""
        self._sv_registry = address
        self.send(self._sv_supervisor, RegistryAt(address))
        self._pass_on(RegistryAt(address))

    def _sv_registry_at(self, msg: RegistryAt) -> None:
        super()._sv_registry_at(msg)
        self._pass_on(msg)

    def _pass_on(self, msg: RegistryAt) -> None:
        for live in self._live.values():
            if live.name == REGISTRY:
                continue
            if live.incarnation:
                self._register(live)
            self.send(live.address, msg)


_HANDLERS: dict[type, str] = {
    Ready: "_on_ready",
    Exiting: "_on_exiting",
    Crashed: "_on_crashed",
    ChildActorExited: "_on_child_exit",
    Which: "_on_which",
    Inspect: "_on_inspect",
    Count: "_on_count",
    OwnProcess: "_on_own_process",
    Pong: "_on_pong",
}
