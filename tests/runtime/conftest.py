"""A fresh system for each test, in a thread of its own, plain and strict."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from thespian.actors import ActorSystem

from agentcom.runtime import LoopSystemBase

DEADLINE_S = 10.0


@dataclass
class System:
    base: LoopSystemBase
    asys: ActorSystem

    def create(self, actor_class: type, **options: Any) -> Any:
        return self.asys.createActor(actor_class, **options)

    def ask(self, address: Any, message: Any) -> Any:
        return self.asys.ask(address, message, DEADLINE_S)

    def tell(self, address: Any, message: Any) -> None:
        self.asys.tell(address, message)

    def alive(self) -> int:
        return len(self.base.dispatcher)

    @staticmethod
    def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
        """Waits for a condition of another thread, with a deadline."""
        end = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} did not come true in {DEADLINE_S} s"
            time.sleep(0.001)
        return value


@pytest.fixture(params=["plain", "strict"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    base = LoopSystemBase({}, strict=request.param == "strict")
    asys = ActorSystem(systemBase=base, transientUnique=True, capabilities=base.capabilities)
    yield System(base, asys)
    asys.shutdown()
