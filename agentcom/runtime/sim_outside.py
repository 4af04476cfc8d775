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
    """As `external.Endpoint` for the one thread of a simulation: the next message answers an ask."""

    def __init__(self, sim: SimSystemBase) -> None:
        self._sim = sim
        self._mail: deque[object] = deque()
        self._asking: ActorAddress | None = None
        self.address: LocalAddress = sim.dispatcher.space.new(self)
        self.newPrimaryActor = sim.newPrimaryActor
        self.updateCapability = sim.updateCapability
        self.external_clone = sim.external_clone

    def tell(self, target: ActorAddress, message: object) -> None:
        self._sim.send_from(target, message, self.address)

    def ask(self, target: ActorAddress, message: object, timeout: Any = None) -> Any:
        self._asking = target
        self._sim.send_from(target, message, self.address)
        self._sim.run_until(lambda: self._mail or self._asking is None, seconds(timeout))
        self._asking = None
        return self._mail.popleft() if self._mail else None

    def listen(self, timeout: Any = None) -> Any:
        self._sim.run_until(lambda: self._mail, seconds(timeout))
        return self._mail.popleft() if self._mail else None

    def put(self, message: object, sender: ActorAddress) -> None:
        if not isInternalActorSystemMessage(message):
            self._mail.append(message)

    def undelivered(self, target: ActorAddress) -> None:
        """Nobody is there to answer the ask. A tell to a dead address is not reported, as in Thespian."""
        if target == self._asking:
            self._asking = None

    def exit_context(self) -> None:
        self.address.sink = None

    shutdown = exit_context
