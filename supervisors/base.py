"""The shell every actor of a supervised tree derives from.

Lives here: the actor's side of supervision: configuration, waiting for what it needs, readiness, crash
reports, orderly exits. Private names start with `_sv_`, so that no subclass takes one by accident.
May import: thespian's public API, structlog, supervisors.{messages,processes}. Knows nothing of any domain.
"""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import Any, ClassVar

import structlog
from thespian.actors import Actor, ActorAddress, ActorExitRequest, WakeupMessage

from supervisors.messages import (
    AskStop,
    Configure,
    Crashed,
    CrashNow,
    Down,
    Enrol,
    Enrolled,
    Exiting,
    MaySleep,
    OwnProcess,
    Ping,
    Pong,
    Ready,
    RegistryAt,
    SleepGranted,
    StayAwake,
    To,
    Up,
    answer_unavailable,
)
from supervisors.processes import settle_in

log = structlog.get_logger()

UNSTARTED = ("new", "waiting")
TRACEBACK_CHARS = 8_000
REASON_CHARS = 300


class InjectedCrash(RuntimeError):
    """Raised by CrashNow."""


class Supervised(Actor):
    """Hooks run one at a time, on the actor's own turn; an exception in any of them ends this incarnation."""

    #: Names this actor cannot start without; they start earlier in the tree, and are Up when `on_start` runs.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Names it can serve without; they may start later, and come and go by `on_up` and `on_down`.
    soft_needs: ClassVar[tuple[str, ...]] = ()

    #: Where a simulation lets an injected exception rise, so that it is reported as any other.
    crash_point: ClassVar[str] = "_sv_receive"

    name = "?"
    start = 0
    incarnation = 0
    args: Any = None

    _sv_supervisor: ActorAddress | None = None
    _sv_registry: ActorAddress | None = None
    _sv_phase = "new"  # new, waiting, starting, ready, ended
    _sv_begun = False  # on_start was called: before it there is no state that could have last words

    def __init__(self) -> None:
        super().__init__()
        self._sv_ups: dict[str, Up] = {}

    # ── hooks ────────────────────────────────────────────────────────────────────────────────────

    def on_start(self, args: Any) -> None:
        """Configured, and every need is Up. Call `ready()` here or in a later message."""
        self.ready()

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        """Everything that is not supervision."""

    def on_up(self, name: str, incarnation: int) -> None:
        """A watched name is (again) Up. Not called for `needs` that were Up when `on_start` ran."""

    def on_down(self, name: str) -> None:
        """A watched name is gone; `on_up` follows when it is back."""

    def on_wakeup(self, payload: Any) -> None:
        """A time set by `after` has come."""

    def on_stop(self) -> None:
        """An orderly stop was asked for. Call `stopped()` when done."""
        self.stopped()

    def on_sleep(self) -> None:
        """`may_sleep` was granted and all earlier mail is handled. Go, or `stay_awake()`."""
        self.exit("normal")

    def on_crash(self) -> None:
        """An exception ends this incarnation, and its state is suspect: tell those who wait, and nothing else."""

    # ── what an actor may do ─────────────────────────────────────────────────────────────────────

    def ready(self) -> None:
        """The next child may start, and those who need this name learn its address."""
        if self._sv_phase == "starting":
            self._sv_phase = "ready"
            self._sv_report(Ready(self.name, self.start, self.incarnation))

    def stopped(self) -> None:
        self.exit("shutdown")

    def exit(self, reason: str) -> None:
        """ "normal", "shutdown" and "aborted" mean what the restart types say; anything else is a crash."""
        self._sv_end(Exiting(self.name, self.start, reason))

    def where(self, name: str) -> ActorAddress | None:
        up = self._sv_ups.get(name)
        return None if up is None else up.address

    def tell(self, name: str, msg: object) -> bool:
        """False, and nothing sent, while the name is not Up."""
        up = self._sv_ups.get(name)
        if up is None:
            return False
        self.send(up.address, msg)
        return True

    def tell_child(self, supervisor: str, child: str, msg: object, *, wake: bool = True) -> bool:
        """Mail for a dynamic child goes by way of its supervisor, which starts it if need be (with `wake`)."""
        return self.tell(supervisor, To(child, msg, wake))

    def after(self, seconds: float, payload: object) -> None:
        self.wakeupAfter(timedelta(seconds=max(0.0, seconds)), payload)

    def may_sleep(self) -> None:
        """A dynamic child has nothing to do: its supervisor stops routing to it, then `on_sleep` runs."""
        self._sv_report(MaySleep(self.name))

    def stay_awake(self) -> None:
        """In `on_sleep`: something came up; mail flows again."""
        self._sv_report(StayAwake(self.name))

    # ── the shell ────────────────────────────────────────────────────────────────────────────────

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        try:
            self._sv_receive(msg, sender)
        except Exception as exc:  # noqa: BLE001 - the one place where an exception becomes a crash report
            self._sv_crash(exc, msg)

    def _sv_receive(self, msg: Any, sender: ActorAddress) -> None:
        if self._sv_phase == "ready" and type(msg) not in _CONTROL:  # nearly all mail
            self.on_message(msg, sender)
        else:
            self._sv_receive_other(msg, sender)

    def _sv_receive_other(self, msg: Any, sender: ActorAddress) -> None:
        control = _CONTROL.get(type(msg))
        if self._sv_phase == "ended":
            # State is suspect from here on: nothing is handled, and whoever waits is told.
            answer_unavailable(self.send, msg)
        elif control is not None:
            getattr(self, control)(msg)
        elif self._sv_phase in UNSTARTED:
            # Its address is not announced yet: this is mail for a stranger that had the address before.
            answer_unavailable(self.send, msg)
        else:
            self.on_message(msg, sender)

    def _sv_configure(self, msg: Configure) -> None:
        if self._sv_phase != "new":
            return
        self.name, self.start, self.args = msg.name, msg.start, msg.args
        self._sv_supervisor, self._sv_registry = msg.supervisor, msg.registry
        self.incarnation = msg.start
        self._sv_phase = "waiting"
        if msg.pid and (own := settle_in(msg.pid)):
            self._sv_report(OwnProcess(self.name, self.start, own))
        if self._sv_registry is None:
            self._sv_start_if_met()
        else:
            self._sv_enrol()

    def _sv_enrol(self) -> None:
        self.send(self._sv_registry, Enrol(self.name, (*self.needs, *self.soft_needs)))

    def _sv_enrolled(self, msg: Enrolled) -> None:
        self.incarnation = msg.incarnation
        for up in msg.ups:
            self._sv_up(up)
        self._sv_start_if_met()

    def _sv_start_if_met(self) -> None:
        if self._sv_phase != "waiting" or not self._sv_needs_met():
            return
        self._sv_phase, self._sv_begun = "starting", True
        early = [self._sv_ups[name] for name in self.soft_needs if name in self._sv_ups]
        self.on_start(self.args)
        for up in early:
            if self._sv_phase != "ended":
                self.on_up(up.name, up.incarnation)

    def _sv_needs_met(self) -> bool:
        return self._sv_registry is None or all(name in self._sv_ups for name in self.needs)

    def _sv_up(self, up: Up) -> None:
        self._sv_ups[up.name] = up
        if self._sv_phase == "waiting":
            self._sv_start_if_met()
        else:
            self.on_up(up.name, up.incarnation)

    def _sv_down(self, msg: Down) -> None:
        if self._sv_ups.pop(msg.name, None) is not None and self._sv_phase != "waiting":
            self.on_down(msg.name)

    def _sv_registry_at(self, msg: RegistryAt) -> None:
        """A new registry knows no watchers: enrol again. What was Up stays so until it says otherwise."""
        self._sv_registry = msg.address
        self._sv_enrol()

    def _sv_asked_to_stop(self, _msg: AskStop) -> None:
        if self._sv_phase in UNSTARTED:
            self.stopped()  # on_start never ran, so there is nothing to stop
        else:
            self.on_stop()

    def _sv_woken(self, msg: WakeupMessage) -> None:
        self.on_wakeup(msg.payload)

    def _sv_sleep_granted(self, _msg: SleepGranted) -> None:
        self.on_sleep()

    def _sv_pinged(self, _msg: Ping) -> None:
        self._sv_report(Pong(self.name, self.start))

    def _sv_crash_now(self, _msg: CrashNow) -> None:
        raise InjectedCrash("crash asked for")

    def _sv_killed(self, _msg: ActorExitRequest) -> None:
        """The system ends this actor after this message, whatever happens here."""
        self._sv_phase = "ended"
        self._sv_report(Exiting(self.name, self.start, "killed"))

    def _sv_crash(self, exc: Exception, msg: object) -> None:
        reason = f"{type(exc).__name__}: {exc}"[:REASON_CHARS]
        trace = "".join(traceback.format_exception(exc))[-TRACEBACK_CHARS:]
        cut_short = self._sv_phase == "ended"
        self._sv_end(Crashed(self.name, self.start, reason, trace, type(msg).__name__))
        if cut_short:
            self._sv_leave()
        answer_unavailable(self.send, msg)
        if self._sv_begun:
            self._sv_last_words()

    def _sv_last_words(self) -> None:
        try:
            self.on_crash()
        except Exception:
            log.exception("crash.last_words_failed", actor=self.name)

    def _sv_end(self, report: Exiting | Crashed) -> None:
        if self._sv_phase == "ended":
            return
        self._sv_phase = "ended"
        self._sv_report(report)
        self._sv_leave()

    def _sv_leave(self) -> None:
        """Asking twice is harmless; an end that an exception cut short would leave an actor that answers nobody."""
        self.send(self.myAddress, ActorExitRequest())

    def _sv_report(self, report: object) -> None:
        if self._sv_supervisor is None:
            log.error("actor.unsupervised", actor=type(self).__name__, report=repr(report))
        else:
            self.send(self._sv_supervisor, report)


_CONTROL: dict[type, str] = {
    Configure: "_sv_configure",
    Enrolled: "_sv_enrolled",
    Up: "_sv_up",
    Down: "_sv_down",
    RegistryAt: "_sv_registry_at",
    AskStop: "_sv_asked_to_stop",
    WakeupMessage: "_sv_woken",
    SleepGranted: "_sv_sleep_granted",
    Ping: "_sv_pinged",
    CrashNow: "_sv_crash_now",
    ActorExitRequest: "_sv_killed",
}
