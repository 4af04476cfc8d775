"""Callers from other threads: ask, tell, listen. Imports addresses and, for copying, the dispatcher.

Every ask has an address of its own, so that an answer that comes late can never be taken for the answer to
another question; it waits for `listen` instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from thespian.actors import ActorAddress
from thespian.system import isInternalActorSystemMessage

from agentcom.runtime.address import LocalAddress, Space

Send = Callable[[ActorAddress, object, ActorAddress], None]


class Endpoint:
    """One outside caller; the mail to its own address, and late answers, wait in a backlog for `listen`."""

    def __init__(self, space: Space, send: Send) -> None:
        self._space = space
        self._send = send
        self._lock = Lock()
        self._backlog: deque[object] = deque()
        self._listeners: deque[SimpleQueue[object]] = deque()
        self.address: LocalAddress = space.new(self)

    def tell(self, target: ActorAddress, message: object) -> None:
        self._send(target, message, self.address)

    def ask(self, target: ActorAddress, message: object, timeout: Any) -> Any:
        question = _Question(self)
        address = self._space.new(question)
        self._send(target, message, address)
        return question.wait(seconds(timeout))

    def listen(self, timeout: Any) -> Any:
        with self._lock:
            if self._backlog:
                return self._backlog.popleft()
            mine: SimpleQueue[object] = SimpleQueue()
            self._listeners.append(mine)
        try:
            return mine.get(timeout=seconds(timeout))
        except Empty:
            return self._stop_listening(mine)

    def close(self) -> None:
        self.address.sink = None

    def put(self, message: object, sender: ActorAddress) -> None:
        if isInternalActorSystemMessage(message):
            return
        with self._lock:
            if self._listeners:
                self._listeners.popleft().put(message)
            else:
                self._backlog.append(message)

    def undelivered(self) -> None:
        """A tell to a dead address is not reported, as in Thespian."""

    def _stop_listening(self, mine: SimpleQueue[object]) -> object:
        with self._lock:
            if mine in self._listeners:
                self._listeners.remove(mine)
                return None
        return mine.get()  # it came between the timeout and the lock


class _Question:
    """The first answer goes to who asked, the others to the endpoint's backlog."""

    __slots__ = ("_answer", "_endpoint", "_lock", "_settled")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answer: SimpleQueue[object] = SimpleQueue()
        self._lock = Lock()
        self._settled = False

    def put(self, message: object, sender: ActorAddress) -> None:
        if isInternalActorSystemMessage(message):
            return
        if self._settle():
            self._answer.put(message)
        else:
            self._endpoint.put(message, sender)

    def undelivered(self) -> None:
        """Nobody is there to answer: the asker need not wait for its deadline."""
        if self._settle():
            self._answer.put(None)

    def wait(self, timeout_s: float | None) -> object:
        try:
            return self._answer.get(timeout=timeout_s)
        except Empty:
            return None if self._settle() else self._answer.get()

    def _settle(self) -> bool:
        with self._lock:
            first, self._settled = not self._settled, True
            return first


def seconds(timeout: Any) -> float | None:
    if timeout is None:
        return None
    value = timeout.total_seconds() if hasattr(timeout, "total_seconds") else float(timeout)
    return max(0.0, value)
