"""A Mind's run as the sidecar sees it: start it detached, find it again, wait for its end, stop it.

The folder of a run is its only memory, so a sidecar that was killed takes the run up where it is.
May import: msgspec, sidecar.{files, process, environment}.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Literal

import msgspec

from sidecar import files, process
from sidecar.environment import clean_env

POLL_S = 0.1
ROOT = str(Path(__file__).resolve().parent.parent)
STOP_S = 5.0


class Exit(msgspec.Struct, frozen=True):
    """How a Mind ended. `exit` is its status, where there is one."""

    how: Literal["exited", "stopped", "max_runtime", "not_started", "lost"]
    exit: int | None = None
    reason: str = ""
    seconds: float = 0.0


class MindSpec(msgspec.Struct, frozen=True, kw_only=True):
    argv: list[str]
    cwd: str
    env: dict[str, str]
    max_runtime_s: float
    grace_s: float


class Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def was_started(self) -> bool:
        return (self.folder / "spec.json").exists()

    async def start(self, spec: MindSpec) -> None:
        """Idempotent: a run that lives or has ended is left as it is."""
        if not self.was_started:
            await asyncio.to_thread(files.write_json, self.folder / "spec.json", msgspec.to_builtins(spec))
        if self.exited() is None and not self._runner_is_alive():
            await self._spawn()

    async def _spawn(self) -> None:
        env = clean_env(os.environ)
        env["PYTHONPATH"] = os.pathsep.join([ROOT, *filter(None, [env.get("PYTHONPATH")])])
        starter = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sidecar.mind_runner", str(self.folder)),
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
        )
        detaching = asyncio.ensure_future(starter.wait())
        try:
            await asyncio.shield(detaching)
        except asyncio.CancelledError:  # half-started is a state nobody could stop
            await detaching
            raise

    async def ended(self) -> Exit:
        """How it ended, as soon as it has."""
        while True:
            alive = self._runner_is_alive()  # looked at first: a runner writes its last word, then goes
            if (ended := self.exited()) is not None:
                return ended
            if not alive:
                await self._spawn()  # finds the Mind of the runner that was killed, ends it, says `lost`
            await asyncio.sleep(POLL_S)

    def exited(self) -> Exit | None:
        ended = files.read_json(self.folder / "exit.json")
        return None if ended is None else msgspec.convert(ended, Exit)

    def is_alive(self) -> bool:
        """Whether the Mind's process runs."""
        return process.is_alive(files.read_json(self.folder / "mind.json"))

    async def stop(self) -> None:
        """Stop the Mind and what it started; returns when nothing of it runs."""
        if not self.was_started:
            return
        runner = files.read_json(self.folder / "runner.json")
        if runner is not None and process.is_alive(runner):
            os.kill(int(runner["pid"]), signal.SIGTERM)
            await self._runner_is_gone()
        if self.exited() is None:
            await asyncio.to_thread(self._end_without_runner)

    async def _runner_is_gone(self) -> None:
        while self._runner_is_alive():  # noqa: ASYNC110  # not our child: nobody tells us
            await asyncio.sleep(POLL_S)

    def _end_without_runner(self) -> None:
        mind = files.read_json(self.folder / "mind.json")
        if mind is not None and process.is_alive(mind):
            process.end_group(int(mind["pid"]), STOP_S)
        files.write_json(self.folder / "exit.json", {"how": "stopped", "exit": None})

    def _runner_is_alive(self) -> bool:
        return process.is_alive(files.read_json(self.folder / "runner.json"))
