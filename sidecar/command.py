"""Run a command to its end without blocking the heartbeat: argv lists only, bounded in time.

May import: msgspec.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Done(msgspec.Struct, frozen=True):
    exit: int
    output: str
    seconds: float


REAP_S = 2.0
"""A killed child is gone at once, but somebody else may still hold its pipes."""


class TookTooLong(Exception):
    """The command was killed at its deadline."""


async def run(
    argv: Sequence[str], *, cwd: Path, env: dict[str, str], deadline_s: float, with_errors: bool = True
) -> Done:
    """Its exit status and output. Raises `TookTooLong`, or `OSError` if it cannot be started."""
    began = time.monotonic()
    starting = asyncio.create_task(_start(argv, cwd, env, with_errors))
    try:
        child = await asyncio.shield(starting)
    except asyncio.CancelledError:  # asyncio forgets the group and the pipes of what it has half started
        await _end(await starting)
        raise
    try:
        async with asyncio.timeout(deadline_s):
            out, err = await child.communicate()
    except TimeoutError as exc:
        raise TookTooLong(f"{' '.join(argv)} took more than {deadline_s:g} s") from exc
    finally:
        await _end(child)
    code = child.returncode
    text = out if code == 0 or with_errors else out + (err or b"")
    return Done(-1 if code is None else code, text.decode(errors="replace"), time.monotonic() - began)


async def _start(
    argv: Sequence[str], cwd: Path, env: dict[str, str], with_errors: bool
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=env, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if with_errors else asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _end(child: asyncio.subprocess.Process) -> None:
    """Nothing of its group runs; no zombie stays, and no pipe that only the end of the loop would close."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.returncode is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_S):
                await child.communicate()
