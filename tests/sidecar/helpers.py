"""What the sidecar's tests share: Minds of one line, a sidecar in this process, git."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sidecar.connection import Sidecar
from sidecar.settings import Settings
from tests.sidecar.fake_hub import FakeHub, until

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = [sys.executable, "-m", "sidecar.scripted_mind"]
ADD = {
    "op": "add_function",
    "file": "textkit/words.py",
    "name": "shout",
    "arg": "text",
    "body": "return text.upper()",
    "example": ["hi", "HI"],
}


def mind(shell: str) -> list[str]:
    """A Mind that is a few lines of sh."""
    return ["sh", "-ec", shell]


COMMITS = "echo hello > hello.txt; git add -A; git commit -qm hello"


def git(repo: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=repo, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def settings(hub: FakeHub, **more: Any) -> Settings:
    given = {"hub": hub.url, "agent_id": "ada", "token": "good", "mind": SCRIPTED, "stop_grace_s": 1.0}
    return Settings(**{**given, **more})


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
    """The final report of a task, as the hub got it."""
    return (await until(lambda: hub.finals.get((task_id, generation)), 30))[0]


async def outcome(tmp_path: Path, remote: Path | str, argv: list[str], **more: Any) -> Any:
    """The final report of one task worked on by this Mind; home stays in `tmp_path / "home"`."""
    task = {"description": "Do it", "repo": "demo", "repo_url": str(remote), **more.pop("task", {})}
    async with FakeHub() as hub, serving(tmp_path / "home", settings(hub, mind=argv, **more)):
        await until(lambda: hub.sends)
        hub.assign("t1", **task)
        return await final(hub, "t1")


def push_to_main(remote: Path, folder: Path, name: str, text: str) -> str:
    """Someone else moves the remote's main; returns its new commit."""
    git(remote.parent, "clone", "-q", str(remote), str(folder))
    (folder / name).write_text(text)
    git(folder, "add", "-A")
    identity = ["-c", "user.name=eve", "-c", "user.email=eve@example.invalid"]
    git(folder, *identity, "commit", "-qm", "meanwhile")
    git(folder, "push", "-q", "origin", "HEAD:main")
    return git(folder, "rev-parse", "HEAD")
