"""A port: an address in the actors' world for the program around them. Imports cells and the dispatcher."""

from __future__ import annotations

from thespian.actors import ActorAddress

from agentcom.runtime.address import LocalAddress
from agentcom.runtime.cell import Cell, PortCell
from agentcom.runtime.dispatcher import Dispatcher
from agentcom.runtime.pickling import copied


class Port:
    """An address whose mail goes to a plain function on the actors' thread. To be used there only."""

    def __init__(self, dispatcher: Dispatcher, cell: PortCell) -> None:
        self._dispatcher = dispatcher
        self._cell = cell
        self.address: LocalAddress = cell.address

    def send(self, target: ActorAddress, message: object) -> None:
        self._dispatcher.assert_own_thread("Port.send")
        self._cell.actor_send(target, copied(message) if self._dispatcher.strict else message)

    def depth_of(self, target: ActorAddress) -> int:
        """How much mail waits for an actor of this base; 0 for one that is gone."""
        sink = getattr(target, "sink", None)
        return sink.depth if isinstance(sink, Cell) else 0

    def close(self) -> None:
        self._dispatcher.close_port(self._cell)
