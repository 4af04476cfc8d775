"""The project's own checks: argv lists of `.agentcom.toml` as the *base* branch has it, so that work cannot
weaken what judges it.

May import: msgspec, sidecar.{command, environment}.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from agentcom.protocol.frames import Check
from sidecar import command
from sidecar.environment import clean_env

FILE = ".agentcom.toml"
Argv = Annotated[list[str], Meta(min_length=1)]


class BadChecks(Exception):
    """The base branch's file is wrong: a person must mend it."""


class CheckFailed(Exception):
    """A check said no; the sentence has the end of its output."""


class Checks(msgspec.Struct, frozen=True):
    run: list[Argv] = []


class _File(msgspec.Struct, frozen=True):
    checks: Checks = Checks()


def parse(text: str | None) -> list[list[str]]:
    """The checks to run; none if the base branch has no such file."""
    try:
        return msgspec.convert(tomllib.loads(text or ""), _File).checks.run
    except ValueError as exc:
        raise BadChecks(f"{FILE} of the base branch: {exc}") from exc


async def run(checks: list[list[str]], worktree: Path, deadline_s: float) -> list[Check]:
    """Run all; raises `CheckFailed` at the first that fails."""
    return [await _one(argv, worktree, deadline_s) for argv in checks]


async def _one(argv: list[str], worktree: Path, deadline_s: float) -> Check:
    env = {**clean_env(os.environ), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = await command.run(argv, cwd=worktree, env=env, deadline_s=deadline_s)
    except (OSError, command.TookTooLong) as exc:
        raise CheckFailed(f"check {' '.join(argv)}: {exc}") from exc
    if done.exit != 0:
        raise CheckFailed(f"check {' '.join(argv)} failed ({done.exit}): {done.output[-1_000:].strip()}")
    return Check(argv=argv, exit=0, seconds=round(done.seconds, 3))
