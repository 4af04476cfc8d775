"""Git without the user's configuration, and a small real remote."""

from pathlib import Path

import pytest

from agentcom.cli.demo_project import create
from tests.sidecar.helpers import ROOT


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return create(tmp_path / "remote.git")
