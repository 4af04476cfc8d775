"""What every supervisor shares: creating, watching, stopping and killing children, and telling the registry.

Lives here: the hands, not the policy. May import: thespian, structlog,
agentcom.runtime, supervisors.{base,messages,specs}.

Exit notices of the system name an address; they are matched to (child, start) once and then forgotten, so a
second one, a late one, or one about a stranger changes nothing. One that never comes is replaced by a timer.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import structlog
from thespian.actors import ActorAddress, ActorExitRequest, ChildActorExited

from agentcom.runtime import monotonic_of
from supervisors.base import Supervised
from supervisors.messages import (
    AskStop,
    ChildInfo,
    Children,
    Configure,
    Crashed,
    Exiting,
    Note,
    Ready,
    Register,
    RegistryAt,
    Unregister,
    Which,
)
from supervisors.specs import REGISTRY, ChildSpec, load

log = structlog.get_logger()

KILLED = "killed"


class Overdue(Note, frozen=True):
    """The child had its time to get ready, or to stop."""

    name: str
    start: int
    what: str  # "ready" or "stop"


class NoticeMissing(Note, frozen=True):
    """The child said it ends, or was killed, and the system's notice had its time to come."""

    name: str
    start: int


class Live(msgspec.Struct):
    """One running child. `reason` is its own word on its end, if it could still say one."""

    spec: ChildSpec
    name: str
    start: int
    address: ActorAddress
    incarnation: int = 0
    since: float = 0.0
    reason: str = KILLED
    crashed: bool = False  # said so itself, and was logged


class Parent(Supervised):
    """Subclasses decide; they are told `child_ready` and `child_exited` at most once a life."""

    #: How long the system may take to confirm an exit before it is taken for granted.
    notice_grace_s: ClassVar[float] = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[str, Live] = {}
        self._names: dict[str, str] = {}  # str(address) -> name
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

    # ── what a subclass may do ───────────────────────────────────────────────────────────────────

    def spawn(self, spec: ChildSpec, name: str, start: int) -> None:
        address = self.createActor(load(spec.actor))
        self._live[name] = Live(spec, name, start, address, since=self.now())
        self._names[str(address)] = name
        registry = None if name == REGISTRY else self._sv_registry
        self.send(address, Configure(name, start, spec.args, self.myAddress, registry))
        self._arm(spec.readiness_s, Overdue(name, start, "ready"))

    def ask_stop(self, name: str, start: int) -> None:
        live = self._live[name]
        self.send(live.address, AskStop())
        self._arm(live.spec.patience_s, Overdue(name, start, "stop"))

    def kill(self, name: str, start: int) -> None:
        log.warning("child.killed", supervisor=self.name, child=name, start=start)
        self.send(self._live[name].address, ActorExitRequest())
        self.after(self.notice_grace_s, NoticeMissing(name, start))

    def now(self) -> float:
        return monotonic_of(self)

    def count_restart(self, name: str) -> None:
        self._restarts[name] = self._restarts.get(name, 0) + 1
        log.info("child.restarted", supervisor=self.name, child=name, reason=self._last_exit.get(name, ""))

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

    def _notice_missing(self, missing: NoticeMissing) -> None:
        live = self._known(missing.name, missing.start)
        if live is not None:
            log.warning("child.notice_missing", supervisor=self.name, child=live.name, start=live.start)
            self.send(live.address, ActorExitRequest())  # should it live after all, it must not for long
            self._gone(live.name, live.start)

    def _overdue(self, overdue: Overdue) -> None:
        live = self._known(overdue.name, overdue.start)
        if live is not None and not (overdue.what == "ready" and live.incarnation):
            self.child_late(overdue.name, overdue.start)

    def _on_ready(self, msg: Ready) -> None:
        live = self._known(msg.name, msg.start)
        if live is None:
            return
        live.incarnation, live.since = msg.incarnation, self.now()
        if msg.name == REGISTRY:
            self._adopt_registry(live.address)
        self._register(live)
        self.child_ready(msg.name, msg.start)

    def _on_exiting(self, msg: Exiting) -> None:
        live = self._known(msg.name, msg.start)
        if live is None:
            return
        live.reason = msg.reason
        if msg.last_crash:
            self._crashes[msg.name] = (msg.reason, msg.last_crash)
        self.after(self.notice_grace_s, NoticeMissing(msg.name, msg.start))

    def _on_crashed(self, msg: Crashed) -> None:
        live = self._known(msg.name, msg.start)
        if live is None:
            return
        live.reason, live.crashed = msg.reason, True
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
        name = self._names.get(str(msg.childAddress))
        if name is not None:
            self._gone(name, self._live[name].start)

    def _gone(self, name: str, start: int) -> None:
        live = self._known(name, start)
        if live is None:
            return
        del self._live[name]
        self._names.pop(str(live.address), None)
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
}
