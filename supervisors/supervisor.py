"""The supervisor of a fixed list of children.

Lives here: a shell that feeds `supervisors.restarts` and carries out its actions. Holds no policy.
May import: supervisors.{inspection,parent,restarts,messages,specs}, msgspec, structlog, stdlib.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import structlog

from supervisors import restarts
from supervisors.inspection import Budget, budget
from supervisors.messages import (
    ChildInfo,
    DeleteChild,
    Done,
    Exiting,
    Note,
    Request,
    Restart,
    StartChild,
    TerminateChild,
)
from supervisors.parent import Parent
from supervisors.specs import ChildSpec, SupervisorSpec, problems

log = structlog.get_logger()


class Due(Note, frozen=True):
    """A backoff may be over."""


class Supervisor(Parent):
    """Its own `args` is a SupervisorSpec; it is ready when every child got ready once."""

    _gave_up: restarts.GiveUp | None = None

    def __init__(self) -> None:
        super().__init__()
        self._state = restarts.Sup(SupervisorSpec(), ())

    def on_start(self, args: SupervisorSpec) -> None:
        self._carry_out(restarts.begin(args, self.now()))

    def on_stop(self) -> None:
        self._carry_out(restarts.on_asked_to_stop(self._state, self.now()))

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Request):
            self._asked(msg)
        else:
            super().on_message(msg, sender)

    def on_wakeup(self, payload: Any) -> None:
        if isinstance(payload, Due):
            self._carry_out(restarts.on_due(self._state, self.now()))
        else:
            super().on_wakeup(payload)

    def child_ready(self, name: str, start: int) -> None:
        self._carry_out(restarts.on_ready(self._state, name, start, self.now()))

    def child_exited(self, name: str, start: int, reason: str) -> None:
        exited = restarts.Exited(name, start, reason)
        # Jitter only spreads load; nobody gains by guessing it.
        self._carry_out(restarts.on_exit(self._state, exited, self.now(), random.random()))  # noqa: S311
        self._forget_if_gone(name)

    def _forget_if_gone(self, name: str) -> None:
        if restarts.find(self._state, name) is None:
            self.forget(name)

    def child_late(self, name: str, start: int) -> None:
        self._carry_out(restarts.on_late(self._state, name, start))

    def child_infos(self) -> tuple[ChildInfo, ...]:
        return tuple(
            self.info(child.spec, child.spec.name, child.phase, child.start) for child in self._state.children
        )

    def known_spec(self, name: str) -> tuple[ChildSpec, Budget] | None:
        child, spec = restarts.find(self._state, name), self._state.spec
        left = budget(self._state.window, self.now(), spec.intensity, spec.period_s, shared=True)
        return None if child is None else (child.spec, left)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    def _asked(self, msg: Request) -> None:
        text = self._refusal(msg)
        if not text:
            self._carry_out(self._decided(msg))
            self._forget_if_gone(msg.name)
        if msg.reply_to is not None:
            self.send(msg.reply_to, Done(msg.request, not text, text))

    def _refusal(self, msg: Request) -> str:
        """Empty, or why not."""
        if self._state.ending:
            return f"{self.name} is stopping"
        if isinstance(msg, StartChild) and msg.args is not None:
            return f"{self.name} has children of its own specs: give a spec, not args"
        known = restarts.find(self._state, msg.name)
        if isinstance(msg, StartChild) and msg.spec is not None:
            return f"{self.name} already has a child {msg.name}" if known else self._wrong(msg)
        return "" if known else f"no child {msg.name}"

    def _wrong(self, msg: StartChild) -> str:
        if not isinstance(msg.spec, ChildSpec) or msg.spec.name != msg.name:
            return f"{self.name}: expected the ChildSpec of {msg.name}, got: {msg.spec!r}"
        with_it = msgspec.structs.replace(self._state.spec, children=(msg.spec,))
        return "; ".join(problems(with_it, self.name, up=None))

    def _decided(self, msg: Request) -> restarts.Outcome:
        state, now = self._state, self.now()
        match msg:
            case StartChild(spec=ChildSpec() as spec):
                return restarts.on_asked_to_add(state, spec, now)
            case StartChild(name):
                return restarts.on_asked_to_start(state, name, now)
            case TerminateChild(name):
                return restarts.on_asked_to_end(state, name, "stay down", now)
            case DeleteChild(name):
                return restarts.on_asked_to_end(state, name, "forget", now)
            case Restart(name):
                return restarts.on_asked_to_restart(state, name, now)
        return state, []

    def _carry_out(self, outcome: restarts.Outcome) -> None:
        self._state, actions = outcome
        for action in actions:
            self._do(action)

    def _do(self, action: restarts.Action) -> None:
        match action:
            case restarts.Start(name, start):
                self._start(name, start)
            case restarts.Stop(name, start):
                self.ask_stop(name, start)
            case restarts.Kill(name, start):
                self.kill(name, start)
            case restarts.WaitUntil(at):
                self.at(at, Due())
            case restarts.Booted():
                self.ready()
            case restarts.GiveUp():
                self._give_up_on(action)
            case restarts.Finished(reason):
                self._finish(reason)

    def _start(self, name: str, start: int) -> None:
        child = restarts.find(self._state, name)
        assert child is not None, "actions name children of the state"
        if self.ran_before(name):
            self.count_restart(name)
        self.spawn(child.spec, name, start)

    def _give_up_on(self, action: restarts.GiveUp) -> None:
        self._gave_up = action
        log.error("supervisor.gave_up", supervisor=self.name, child=action.name, reason=action.reason)

    def _finish(self, reason: str) -> None:
        if self._gave_up is None:
            self.exit(reason)
            return
        name, why = self._gave_up.name, self._gave_up.reason
        trace = self._crashes.get(name, ("", ""))[1]
        self._sv_end(Exiting(self.name, self.start, f"{reason} on {name}: {why}", trace or why))
