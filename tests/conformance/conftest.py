"""One real hub in a process of its own for each module; tests use agents and capabilities of their own."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.conformance.client import Place
from tests.system.hub_process import HubProcess

SCENE_S = 60.0


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """A module that needs others overrides this."""
    return {}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("hub"), **settings)
    try:
        asyncio.run(hub.serving())
        yield hub
    finally:
        hub.kill()
        tail = hub.log.read_text(errors="replace").splitlines()[-40:]
        print(f"--- the end of {hub.log}", *tail, sep="\n")


@pytest.fixture(scope="module")
def place(process: HubProcess) -> Place:
    return Place("127.0.0.1", process.port, (process.data / "admin.token").read_text().strip())


@pytest.fixture
def play() -> Callable[[Coroutine[Any, Any, None]], None]:
    def run(scene: Coroutine[Any, Any, None]) -> None:
        asyncio.run(asyncio.wait_for(scene, SCENE_S))

    return run
