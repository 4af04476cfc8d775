"""A fresh system for each test, in a thread of its own, plain and strict. Thespian's own tests, beside all others."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from thespian.actors import ActorSystem

from agentcom.runtime import LoopSystemBase
from tests.runtime.thespian_suite.running import SuiteRun

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


# --- Thespian's own tests ----------------------------------------------------------------------------

SUITES = pytest.StashKey[dict[str, SuiteRun]]()


def _strict_of(item: pytest.Item) -> str | None:
    """Which run of Thespian's tests that test is about, if it is."""
    asks = "thespian_suites" in getattr(item, "fixturenames", ())
    return str(item.callspec.params["strict"]) if asks and isinstance(item, pytest.Function) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _strict_of(item) is not None)


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = [] if session.config.option.collectonly else list(filter(None, map(_strict_of, session.items)))
    session.config.stash[SUITES] = {strict: SuiteRun(strict) for strict in wanted}


def pytest_sessionfinish(session: pytest.Session) -> None:
    for run in session.config.stash.get(SUITES, {}).values():
        run.end()


@pytest.fixture
def thespian_suites(pytestconfig: pytest.Config) -> dict[str, SuiteRun]:
    """By what STRICT was. They began with the session."""
    return pytestconfig.stash[SUITES]
