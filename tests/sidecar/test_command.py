"""Commands of the sidecar: bounded in time, and nothing of them is left."""

import asyncio
import gc
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sidecar import command, process
from tests.sidecar.fake_hub import until


def run(folder: Path, deadline_s: float) -> Coroutine[Any, Any, command.Done]:
    argv = ["sh", "-c", "echo $$ > pid; echo said; exec sleep 600"]
    return command.run(argv, cwd=folder, env=dict(os.environ), deadline_s=deadline_s)


def pid_in(folder: Path) -> int:
    text = (folder / "pid").read_text() if (folder / "pid").exists() else ""
    return int(text or 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_a_command_that_is_cut_short_leaves_no_process_and_no_pipe(tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        running = asyncio.ensure_future(run(tmp_path, 600 if how == "cancelled" else 0.5))
        pid = await until(lambda: pid_in(tmp_path))
        if how == "cancelled":
            running.cancel()
        [ended] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError | command.TookTooLong)
        assert not Path(f"/proc/{pid}").exists()

    asyncio.run(scenario())
    gc.collect()  # a transport that is still open complains here


@pytest.mark.filterwarnings("error")
def test_a_command_that_is_cancelled_while_it_starts_leaves_nothing_it_started(tmp_path: Path) -> None:
    async def scenario() -> None:
        argv = ["sh", "-c", "sleep 600 & echo $! > pid; wait"]
        starting = command.run(argv, cwd=tmp_path, env=dict(os.environ), deadline_s=600)
        running = asyncio.ensure_future(starting)
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is born, and the loop has not yet been told
        deadline = time.monotonic() + 20
        while not pid_in(tmp_path) and time.monotonic() < deadline:
            pass
        running.cancel()
        async with asyncio.timeout(20):
            [ended] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        await until(lambda: not process.mark(pid_in(tmp_path)))

    asyncio.run(scenario())
    gc.collect()
