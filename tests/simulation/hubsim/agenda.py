"""When the outside acts: clients, people and the network share the hub's virtual clock and its one queue of events."""

from collections.abc import Callable
from typing import Any

from agentcom.runtime import SimSystemBase

NEVER = float("inf")


class Agenda:
    """Calls at their times; they outlive the hub's process."""

    def __init__(self, base: SimSystemBase) -> None:
        self.clock = base.clock
        self._base = base

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        self._base.call_after(max(0.0, seconds), call, *args)
