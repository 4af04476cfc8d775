"""Commands of the sidecar: bounded in time, and nothing of them is left."""

import asyncio
import gc
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sidecar import command
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
