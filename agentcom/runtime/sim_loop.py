"""An asyncio loop whose waiting is a simulation's steps and whose time is its clock. Standard library only.

The way an asyncio loop waits is its selector; this one never waits, but lets the simulation go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Simulation(Protocol):
    def monotonic(self) -> float: ...
    def step(self) -> bool: ...
    def move_on(self, within_s: float | None = None, /) -> bool: ...


class NothingLeftError(RuntimeError):
    """The coroutine waits for something that can never happen."""


class SimLoop(asyncio.BaseEventLoop):
    """One step of the simulation for each round of callbacks. It has no sockets and no threads."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation
        self._selector = _Steps(simulation)

    def __del__(self) -> None:
        """Holds nothing that had to be closed."""

    def time(self) -> float:
        return self._simulation.monotonic()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: what happens calls back from inside its step."""

    def _write_to_self(self) -> None:
        """Nobody waits who had to be woken."""


class _Steps:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def select(self, timeout: float | None) -> list[Any]:
        if self._simulation.step() or timeout == 0:
            return []
        if not self._simulation.move_on(timeout):
            raise NothingLeftError("nothing is left to happen, and the coroutine still waits")
        return []


def run_in(loop: SimLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
        raise
