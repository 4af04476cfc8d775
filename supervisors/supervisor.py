"""The supervisor of a fixed list of children.

Lives here: a shell that feeds `supervisors.restarts` and carries out its actions. Holds no policy.
May import: supervisors.{inspection,parent,restarts,messages,specs}, structlog, stdlib.
"""

from __future__ import annotations

import random
from typing import Any

import structlog

from supervisors import restarts
from supervisors.inspection import Budget, budget
from supervisors.messages import ChildInfo, Done, Exiting, Note, Restart
from supervisors.parent import Parent
from supervisors.specs import ChildSpec, SupervisorSpec

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
        if isinstance(msg, Restart):
            self._restart(msg)
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

    def _restart(self, msg: Restart) -> None:
        text = f"{self.name} is stopping" if self._state.ending else ""
        if restarts.find(self._state, msg.name) is None:
            text = f"no child {msg.name}"
        self._carry_out(restarts.on_asked_to_restart(self._state, msg.name, self.now()))
        if msg.reply_to is not None:
            self.send(msg.reply_to, Done(msg.request, not text, text))

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
                self.after(at - self.now(), Due())
            case restarts.Booted():
                self.ready()
            case restarts.GiveUp():
                self._give_up_on(action)
            case restarts.Finished(reason):
                self._finish(reason)

    def _start(self, name: str, start: int) -> None:
        child = restarts.find(self._state, name)
        assert child is not None, "actions name children of the state"
        if start > 1:
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
