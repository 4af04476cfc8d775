"""Addresses: hashable, with a direct reference to what they name. Imports Thespian's ActorAddress only.

An address names one actor of one *space* (a dispatcher's actors). Its `sink` is where mail goes, None once
the actor is dead. The reference does not survive pickling: loading an address looks its number up among the
live ones of its space, and an address that is not there is a dead one.
"""

from __future__ import annotations

from typing import Any, Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

from thespian.actors import ActorAddress


class Sink(Protocol):
    """Takes the mail of one address."""

    def put(self, message: object, sender: ActorAddress) -> None: ...

    def undelivered(self, target: ActorAddress) -> None:
        """A message that this sink's address had sent found its target dead."""


class Space:
    """The live addresses of one dispatcher."""

    def __init__(self, prefix: str = "") -> None:
        """Four characters of `prefix` make addresses print the same in every run."""
        self.token = prefix + uuid4().hex
        self._next = 0
        self._live: WeakValueDictionary[int, LocalAddress] = WeakValueDictionary()
        _spaces[self.token] = self

    def __len__(self) -> int:
        """How many addresses anyone still holds that are, or were, alive here."""
        return len(self._live)

    def new(self, sink: Sink) -> LocalAddress:
        self._next += 1
        address = self._live[self._next] = LocalAddress(self.token, self._next, sink)
        return address

    def find(self, number: int) -> LocalAddress:
        found = self._live.get(number)
        return LocalAddress(self.token, number, None) if found is None else found

    def close(self) -> None:
        """All of them are dead."""
        for address in list(self._live.values()):
            address.sink = None


class LocalAddress(ActorAddress):
    """The address of an actor, a port or an outside caller in this process."""

    __slots__ = ("number", "sink", "token")

    def __init__(self, token: str, number: int, sink: Sink | None) -> None:
        self.token = token
        self.number = number
        self.sink = sink

    @property
    def _aaddr(self) -> str:
        """Thespian's own methods read this; computed, because most addresses are never printed."""
        return f"{self.token[:4]}.{self.number}"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, LocalAddress):
            return self.number == other.number and self.token == other.token
        return False

    def __ne__(self, other: object) -> bool:
        return not self.__eq__(other)

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return str(self)

    def __copy__(self) -> LocalAddress:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalAddress:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.token, self.number)


_spaces: WeakValueDictionary[str, Space] = WeakValueDictionary()


def _load(token: str, number: int) -> LocalAddress:
    space = _spaces.get(token)
    return LocalAddress(token, number, None) if space is None else space.find(number)
