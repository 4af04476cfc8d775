"""Processes that end with the test, whose log is shown when the test fails."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentcom.cli.demo_project import create
from tests.system.hub_process import ROOT, HubProcess

SHOWN = 80


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[Callable[..., HubProcess]]:
    """Starts hubs with these settings (`lease__grace_s="1"`)."""
    made: list[HubProcess] = []

    def make(**settings: str) -> HubProcess:
        folder = tmp_path / f"hub{len(made)}"
        folder.mkdir()
        made.append(HubProcess(folder, **settings))
        return made[-1]

    yield make
    for process in made:
        process.kill()
        tail = process.log.read_text(errors="replace").splitlines()[-SHOWN:]
        print(f"--- the end of {process.log}", *tail, sep="\n")


@pytest.fixture
def hub(make_hub: Callable[..., HubProcess]) -> HubProcess:
    return make_hub()


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small real project in a bare repository, and git without the user's configuration."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return create(tmp_path / "remote.git")
