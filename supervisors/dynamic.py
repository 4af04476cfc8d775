"""The supervisor of many children of one kind, started on first use (OTP's simple_one_for_one, and more).

Lives here: a shell that feeds `supervisors.lives` for each child, forwards mail, keeps it while one starts.
May import: supervisors.{inspection,parent,lives,messages,specs}, structlog, stdlib.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import msgspec
import structlog
from thespian.actors import ActorAddress

from supervisors import lives
from supervisors.inspection import Budget, budget
from supervisors.messages import (
    Asleep,
    ChildInfo,
    DeleteChild,
    Done,
    MaySleep,
    Note,
    Request,
    Restart,
    SleepGranted,
    StartChild,
    StayAwake,
    TerminateChild,
    To,
    ToEach,
    answer_unavailable,
)
from supervisors.parent import Live, Parent
from supervisors.specs import ChildSpec, DynamicSpec

log = structlog.get_logger()


class DueFor(Note, frozen=True):
    """This child's backoff may be over."""

    name: str


class Member(msgspec.Struct):
    """A known child: its spec, its life, and the mail it cannot take yet."""

    spec: ChildSpec
    life: lives.Life = lives.Life()
    waiting: deque[Any] | None = None


class DynamicSupervisor(Parent):
    """Its own `args` is a DynamicSpec; it is ready at once."""

    def __init__(self) -> None:
        super().__init__()
        self._spec: DynamicSpec
        self._members: dict[str, Member] = {}
        self._running = 0
        self._forgotten = 0  # highest start of a child that was forgotten: one of the same name counts on
        self._stopping = False

    def on_start(self, args: DynamicSpec) -> None:
        self._spec = args
        self.ready()

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        if type(msg) is To:  # nearly all mail
            self._forward(msg)
            return
        match msg:
            case ToEach(mail):
                for each in mail:
                    self._forward(each)
            case MaySleep(name):
                self._event(name, lives.on_may_sleep)
            case StayAwake(name):
                self._event(name, lives.on_stay_awake)
            case Request():
                self._asked(msg)
            case _:
                super().on_message(msg, sender)

    def on_wakeup(self, payload: Any) -> None:
        if isinstance(payload, DueFor):
            self._due(payload.name)
        else:
            super().on_wakeup(payload)

    def _due(self, name: str) -> None:
        """A timer that came early is set again: nothing else would start this child."""
        self._event(name, lives.on_wanted, self.now())
        member = self._members.get(name)
        if member is not None and lives.is_waiting(member.life, self.now()):
            self._do("wait", name, member)

    # ── mail ─────────────────────────────────────────────────────────────────────────────────────

    def _forward(self, mail: To) -> None:
        name, message = mail.name, mail.message
        member = self._members.get(name)
        if member is not None and member.life.phase == "up":
            self.send(self._live[name].address, message)
        elif not mail.wake:
            return
        elif (member := self._admit(name)) is None or not self._keep(name, member, message):
            answer_unavailable(self.send, message)
        else:
            self._event(name, lives.on_wanted, self.now())

    def _keep(self, name: str, member: Member, message: Any) -> bool:
        full = len(member.waiting or ()) >= self._spec.max_waiting
        if full or member.life.phase in lives.CLOSED:
            log.debug("mail.refused", supervisor=self.name, child=name, phase=member.life.phase)
            return False
        if member.waiting is None:
            member.waiting = deque()
        member.waiting.append(message)
        return True

    def _deliver(self, name: str, member: Member) -> None:
        waiting, member.waiting = member.waiting or (), None
        for message in waiting:
            self.send(self._live[name].address, message)

    def _refuse(self, member: Member) -> None:
        waiting, member.waiting = member.waiting or (), None
        for message in waiting:
            answer_unavailable(self.send, message)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    def _asked(self, msg: Request) -> None:
        text = self._carry_out(msg)
        if msg.reply_to is not None:
            self.send(msg.reply_to, Done(msg.request, not text, text))

    def _carry_out(self, msg: Request) -> str:
        """Empty, or why not."""
        if isinstance(msg, StartChild):
            return self._start_child(msg)
        if msg.name not in self._members:
            return f"no child {msg.name}"
        after: lives.After = _AFTER[type(msg)]
        self._event(msg.name, lives.on_stop, after, self.now())
        return ""

    def _start_child(self, msg: StartChild) -> str:
        if msg.spec is not None:
            return f"{self.name} has children of one template: give args, not a spec"
        member = self._admit(msg.name)
        if member is None:
            return f"{msg.name} is refused: not a name here, too many children, or stopping"
        if member.life.phase == "quarantined":
            return f"{msg.name} is quarantined"
        if msg.args is not None and member.life.phase not in lives.RUNNING:
            member.spec = msgspec.structs.replace(member.spec, args=msg.args)
        if member.life.phase == "terminated" or member.life.after:
            self._event(msg.name, lives.on_stop, "restart", self.now())
        self._event(msg.name, lives.on_wanted, self.now())
        return ""

    def _admit(self, name: str) -> Member | None:
        member = self._members.get(name)
        runs = member is not None and member.life.phase in (*lives.RUNNING, *lives.CLOSED)
        if self._stopping or not (runs or self._has_room(name)):
            return None
        if member is None:
            spec = msgspec.structs.replace(self._spec.template, name=name)
            member = Member(spec, lives.Life(start=self._forgotten))
            self._members[name] = member
        return member

    def _has_room(self, name: str) -> bool:
        prefix = self._spec.template.name
        if self._running < self._spec.max_children and name.startswith(prefix) and name != prefix:
            return True
        log.warning("child.refused", supervisor=self.name, child=name, running=self._running)
        return False

    # ── the life of one child ────────────────────────────────────────────────────────────────────

    def child_ready(self, name: str, start: int) -> None:
        self._event(name, lives.on_ready, self.now())

    def child_exited(self, name: str, start: int, reason: str) -> None:
        # Jitter only spreads load; nobody gains by guessing it.
        self._event(name, lives.on_exit, self._spec, reason, self.now(), random.random())  # noqa: S311
        member = self._members.get(name)
        if member is not None and member.waiting:
            self._event(name, lives.on_wanted, self.now())
        self._finish_if_stopped()

    def child_late(self, name: str, start: int) -> None:
        self._event(name, lives.on_late)

    def _event(self, name: str, decide: Any, *args: Any) -> None:
        member = self._members.get(name)
        if member is None:
            return
        before = member.life
        member.life, actions = decide(before, *args)
        self._running += (member.life.phase in lives.RUNNING) - (before.phase in lives.RUNNING)
        for action in actions:
            self._do(action, name, member)

    def _do(self, action: lives.Act, name: str, member: Member) -> None:
        start = member.life.start
        match action:
            case "start":
                self._start(name, member)
            case "stop":
                self.ask_stop(name, start)
            case "kill":
                self.kill(name, start)
            case "grant":
                self.send(self._live[name].address, SleepGranted())
            case "deliver":
                self._deliver(name, member)
            case "refuse":
                self._refuse(member)
            case "quarantine":
                log.error(
                    "child.quarantined", supervisor=self.name, child=name, reason=self._last_exit.get(name)
                )
            case "wait":
                self.at(member.life.due, DueFor(name))
            case "forget":
                self._forget(name, member)

    def _start(self, name: str, member: Member) -> None:
        if self.ran_before(name) and self._last_exit[name] != "normal":
            self.count_restart(name)
        self.spawn(member.spec, name, member.life.start)

    def _forget(self, name: str, member: Member) -> None:
        """Mail that came while it ended still deserves a child; without mail nothing of it is kept."""
        if not member.waiting:
            del self._members[name]
            self._forgotten = max(self._forgotten, member.life.start)
            self.forget(name)

    def leave_registry(self, live: Live) -> None:
        """Sleep is no news."""
        member = self._members.get(live.name)
        if member is not None and member.life.phase == "draining" and live.reason == "normal":
            self.tell_registry(Asleep(live.name, live.address))
        else:
            super().leave_registry(live)

    # ── stopping and looking ─────────────────────────────────────────────────────────────────────

    def on_stop(self) -> None:
        """All at once, as OTP stops simple_one_for_one children: they do not depend on each other."""
        self._stopping = True
        for name in list(self._members):
            self._event(name, lives.on_stop, "forget", self.now())
        self._finish_if_stopped()

    def _finish_if_stopped(self) -> None:
        if self._stopping and not self._live:
            self.stopped()

    def child_infos(self) -> tuple[ChildInfo, ...]:
        return tuple(self.info(m.spec, name, m.life.phase, m.life.start) for name, m in self._members.items())

    def known_spec(self, name: str) -> tuple[ChildSpec, Budget] | None:
        member, spec = self._members.get(name), self._spec
        if member is None:
            return None
        left = budget(member.life.window, self.now(), spec.intensity, spec.period_s, shared=False)
        return member.spec, left


_AFTER: dict[type, Any] = {Restart: "restart", TerminateChild: "down", DeleteChild: "forget"}
