"""Callers from outside a simulation: what they wait for makes it run. Imports addresses."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from thespian.actors import ActorAddress
from thespian.system import isInternalActorSystemMessage

from agentcom.runtime.address import LocalAddress
from agentcom.runtime.external import seconds

if TYPE_CHECKING:
    from agentcom.runtime.sim import SimSystemBase


class SimCaller:
    """Has an address of its own; each ask has another one, so that a late answer waits for `listen`."""

    def __init__(self, sim: SimSystemBase) -> None:
        self._sim = sim
        self._mail: deque[object] = deque()
        self.address: LocalAddress = sim.dispatcher.space.new(self)
        self.newPrimaryActor = sim.newPrimaryActor
        self.updateCapability = sim.updateCapability
        self.external_clone = sim.external_clone

    def tell(self, target: ActorAddress, message: object) -> None:
        self._sim.send_from(target, message, self.address)

    def ask(self, target: ActorAddress, message: object, timeout: Any = None) -> Any:
        question = _Question(self)
        address = self._sim.dispatcher.space.new(question)
        self._sim.send_from(target, message, address)
        self._sim.run_until(lambda: question.settled, seconds(timeout))
        question.settled = True
        return question.answer

    def listen(self, timeout: Any = None) -> Any:
        self._sim.run_until(lambda: self._mail, seconds(timeout))
        return self._mail.popleft() if self._mail else None

    def put(self, message: object, sender: ActorAddress) -> None:
        if not isInternalActorSystemMessage(message):
            self._mail.append(message)

    def undelivered(self) -> None:
        """A tell to a dead address is not reported, as in Thespian."""

    def exit_context(self) -> None:
        self.address.sink = None

    shutdown = exit_context


class _Question:
    """The first answer is kept, the others go to the caller's own mail."""

    def __init__(self, caller: SimCaller) -> None:
        self._caller = caller
        self.settled = False
        self.answer: object = None

    def put(self, message: object, sender: ActorAddress) -> None:
        if self.settled:
            self._caller.put(message, sender)
        elif not isInternalActorSystemMessage(message):
            self.settled, self.answer = True, message

    def undelivered(self) -> None:
        """Nobody is there to answer."""
        self.settled = True
