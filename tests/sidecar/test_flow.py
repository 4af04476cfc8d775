"""A sidecar with a scripted Mind, real git, a fake hub: from assignment to pull request record."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentcom.cli.demo_project import create
from agentcom.protocol import frames
from sidecar.connection import Sidecar
from sidecar.settings import Settings
from tests.sidecar.fake_hub import FakeHub, until

ROOT = Path(__file__).resolve().parents[2]
MIND = [sys.executable, "-m", "sidecar.scripted_mind"]
ADD = {
    "op": "add_function",
    "file": "textkit/words.py",
    "name": "shout",
    "arg": "text",
    "body": "return text.upper()",
    "example": ["hi", "HI"],
}


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return create(tmp_path / "remote.git")


def git(repo: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=repo, check=True, capture_output=True, text=True).stdout.strip()


def settings(hub: FakeHub, **more: Any) -> Settings:
    return Settings(
        **{"hub": hub.url, "agent_id": "ada", "token": "good", "mind": MIND, "stop_grace_s": 1.0, **more}
    )


@asynccontextmanager
async def serving(home: Path, settings: Settings) -> AsyncIterator[Sidecar]:
    sidecar = Sidecar(home, settings)
    running = asyncio.create_task(sidecar.run())
    try:
        yield sidecar
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def final(hub: FakeHub, task_id: str, generation: int = 1) -> Any:
    return (await until(lambda: hub.finals.get((task_id, generation)), 30))[0]


@pytest.mark.slow
def test_a_task_becomes_a_branch_and_a_pull_request(tmp_path: Path, remote: Path) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub)) as sidecar:
            await until(lambda: hub.sends)
            hub.assign(
                "t1", description="Add shout", repo="demo", repo_url=str(remote), metadata={"script": ADD}
            )
            report = await final(hub, "t1")
            assert isinstance(report, frames.TaskComplete), report
            assert report.result.branch == "ada/t1-add-shout"
            assert git(remote, "rev-parse", report.result.branch) == report.result.commit
            assert git(remote, "merge-base", "main", report.result.branch) == git(remote, "rev-parse", "main")
            assert "def shout" in git(remote, "show", f"{report.result.branch}:textkit/words.py")
            assert [check.exit for check in report.result.checks] == [0]
            pull = hub.pulls[("demo", "ada/t1-add-shout")]
            assert (pull.commit, pull.title, pull.base_branch) == (report.result.commit, "Add shout", "main")
            await until(lambda: not (tmp_path / "home/work/t1/1").exists())
            assert sidecar.session.state.tasks == {}

    asyncio.run(scenario())
