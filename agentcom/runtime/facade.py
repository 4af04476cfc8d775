"""The part of Thespian's system base that is the same on all of ours. Imports this package only."""

from __future__ import annotations

from typing import Any, Protocol

from thespian.actors import ActorAddress

from agentcom.runtime.address import LocalAddress
from agentcom.runtime.cell import no_source


class Caller(Protocol):
    """One caller from outside the actors."""

    address: LocalAddress

    def tell(self, target: ActorAddress, message: object) -> None: ...

    def ask(self, target: ActorAddress, message: object, timeout: Any = None) -> Any: ...

    def listen(self, timeout: Any = None) -> Any: ...


class Facade:
    """Whoever speaks through the base itself, and not through `private()`, is one caller outside."""

    _outside: Caller

    def tell(self, target: ActorAddress, message: object) -> None:
        self._outside.tell(target, message)

    def ask(self, target: ActorAddress, message: object, timeout: Any = None) -> Any:
        return self._outside.ask(target, message, timeout)

    def listen(self, timeout: Any = None) -> Any:
        return self._outside.listen(timeout)

    def loadActorSource(self, fname: object) -> None:
        no_source(fname)

    def unloadActorSource(self, source_hash: object) -> None:
        no_source(source_hash)
