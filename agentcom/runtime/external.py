"""Callers from other threads: ask, tell, listen. Imports addresses.

As in Thespian, an ask is answered by the next message to its caller, from whomever, so also by a late answer to an
earlier question. But a caller is a thread: what answers one thread never answers the question of another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, local
from typing import Any

from thespian.actors import ActorAddress
from thespian.system import isInternalActorSystemMessage

from agentcom.runtime.address import LocalAddress, Space

Send = Callable[[ActorAddress, object, ActorAddress], None]


class Endpoint:
    """What one `ActorSystem`, or one `private()` of it, is to the actors. Any number of threads may share it."""

    def __init__(self, space: Space, send: Send) -> None:
        self._space = space
        self._send = send
        self._lock = Lock()
        self._backlog: deque[tuple[_Caller, object]] = deque()
        self._listeners: deque[SimpleQueue[object]] = deque()
        self._callers = local()
        self._closed = False
        self.address = self._caller().address

    def tell(self, target: ActorAddress, message: object) -> None:
        self._send(target, message, self._caller().address)

    def ask(self, target: ActorAddress, message: object, timeout: Any) -> Any:
        caller = self._caller()
        question = _Question(target)
        with self._lock:
            earlier = self._waiting_for(caller)
            if earlier is None:
                caller.asking = question
        self._send(target, message, caller.address)
        return earlier[1] if earlier is not None else self._wait(caller, question, seconds(timeout))

    def listen(self, timeout: Any) -> Any:
        with self._lock:
            if self._backlog:
                return self._backlog.popleft()[1]
            mine: SimpleQueue[object] = SimpleQueue()
            self._listeners.append(mine)
        try:
            return mine.get(timeout=seconds(timeout))
        except Empty:
            return self._stop_listening(mine)

    def close(self) -> None:
        self._closed = True
        self.address.sink = None

    def arrived(self, caller: _Caller, message: object) -> None:
        """To the question its caller is waiting with, or else to anyone who listens."""
        if isInternalActorSystemMessage(message) or self._closed:
            return
        with self._lock:
            if caller.asking is not None:
                caller.asking.answer.put(message)
                caller.asking = None
            elif self._listeners:
                self._listeners.popleft().put(message)
            else:
                self._backlog.append((caller, message))

    def nobody_there(self, caller: _Caller, target: ActorAddress) -> None:
        """The asker need not wait for its deadline. A tell to a dead address is not reported, as in Thespian."""
        question = caller.asking
        if question is not None and question.target == target:
            self._give_up(caller, question)

    def _give_up(self, caller: _Caller, question: _Question) -> None:
        with self._lock:
            if caller.asking is question:
                caller.asking = None
                question.answer.put(None)

    def _caller(self) -> _Caller:
        try:
            caller: _Caller = self._callers.caller
        except AttributeError:
            caller = self._callers.caller = _Caller(self, self._space)
        return caller

    def _waiting_for(self, caller: _Caller) -> tuple[_Caller, object] | None:
        for found in self._backlog:
            if found[0] is caller:
                self._backlog.remove(found)
                return found
        return None

    def _wait(self, caller: _Caller, question: _Question, timeout_s: float | None) -> object:
        try:
            return question.answer.get(timeout=timeout_s)
        except Empty:
            self._give_up(caller, question)
            return question.answer.get()  # None, unless it came between the deadline and the lock

    def _stop_listening(self, mine: SimpleQueue[object]) -> object:
        with self._lock:
            if mine in self._listeners:
                self._listeners.remove(mine)
                return None
        return mine.get()  # it came between the timeout and the lock


class _Caller:
    """One thread, and the question it waits with. Threads' numbers are used again; these objects are not."""

    __slots__ = ("address", "asking", "endpoint")

    def __init__(self, endpoint: Endpoint, space: Space) -> None:
        self.endpoint = endpoint
        self.asking: _Question | None = None
        self.address: LocalAddress = space.new(self)

    def put(self, message: object, sender: ActorAddress) -> None:
        self.endpoint.arrived(self, message)

    def undelivered(self, target: ActorAddress) -> None:
        self.endpoint.nobody_there(self, target)


class _Question:
    """One ask that waits."""

    __slots__ = ("answer", "target")

    def __init__(self, target: ActorAddress) -> None:
        self.target = target
        self.answer: SimpleQueue[object] = SimpleQueue()


def seconds(timeout: Any) -> float | None:
    if timeout is None:
        return None
    value = timeout.total_seconds() if hasattr(timeout, "total_seconds") else float(timeout)
    return max(0.0, value)
