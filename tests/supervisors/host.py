"""Stands in for `Root` where no loop is at hand: an actor that holds a root supervisor and answers the test outside.

Requests come as (number, request) and are answered by (number, answer).
"""

from __future__ import annotations

import os
from typing import Any

from thespian.actors import Actor, ActorAddress

from supervisors.messages import (
    AskStop,
    ChildInfo,
    Children,
    Configure,
    Crashed,
    Exiting,
    Note,
    Ready,
    RegistryAt,
    Which,
)
from supervisors.root import GaveUp
from supervisors.specs import SupervisorSpec
from supervisors.supervisor import Supervisor

QUIET = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"none": {"class": "logging.NullHandler"}},
    "root": {"level": "CRITICAL", "handlers": ["none"]},
}


class Who(Note, frozen=True):
    pass


class Begin(Note, frozen=True):
    spec: SupervisorSpec


class Look(Note, frozen=True):
    pass


class Pass(Note, frozen=True):
    name: str
    message: Any


class Close(Note, frozen=True):
    pass


class Here(Note, frozen=True):
    pid: int


class Seen(Note, frozen=True):
    children: list[ChildInfo]
    tale: list[Any]
    gave_up: GaveUp | None


class Host(Actor):
    """A tree is looked at by asking every supervisor in it; one that is on its way down may not answer."""

    def __init__(self) -> None:
        super().__init__()
        self._root: ActorAddress | None = None
        self._tale: list[Any] = []
        self._gave_up: GaveUp | None = None
        self._addresses: dict[str, ActorAddress] = {}
        self._look = 0
        self._asker: ActorAddress | None = None
        self._found: list[ChildInfo] = []
        self._open = 0

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        match msg:
            case (int() as number, request):
                self._asked(number, request, sender)
            case Children(request, children):
                if request == self._look:
                    self._seen(children)
            case Exiting(_, _, reason, last_crash):
                self._gave_up = GaveUp(reason, last_crash)
            case Crashed(_, _, reason, trace, _):
                self._gave_up = GaveUp(reason, trace)
            case Ready() | RegistryAt():
                pass
            case Note():
                self._tale.append(msg)

    def _asked(self, number: int, request: Any, sender: ActorAddress) -> None:
        answer: Any = Here(os.getpid())
        match request:
            case Begin(spec):
                if self._root is None:
                    self._root = self.createActor(Supervisor)
                    self.send(self._root, Configure("root", 1, spec, self.myAddress, None, os.getpid()))
            case Look():
                self._begin_look(number, sender)
                return
            case Pass(name, message):
                self.send(self._addresses[name], message)
            case Close():
                self.send(self._root, AskStop())
        self.send(sender, (number, answer))

    def _begin_look(self, number: int, sender: ActorAddress) -> None:
        self._look, self._asker, self._found, self._open = number, sender, [], 0
        if self._gave_up is None and self._root is not None:
            self._ask_below(self._root)
        else:
            self._answer_look()

    def _ask_below(self, address: ActorAddress) -> None:
        self._open += 1
        self.send(address, Which(self.myAddress, self._look))

    def _seen(self, children: tuple[ChildInfo, ...]) -> None:
        self._open -= 1
        for child in children:
            self._found.append(child)
            if child.address is not None:
                self._addresses[child.name] = child.address
                if child.kind == "supervisor" and child.state == "up":
                    self._ask_below(child.address)
        if self._open == 0:
            self._answer_look()

    def _answer_look(self) -> None:
        self.send(self._asker, (self._look, Seen(self._found, list(self._tale), self._gave_up)))
