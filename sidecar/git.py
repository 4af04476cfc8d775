"""Git commands, asynchronous, without a shell, bounded in time.

May import: sidecar.{command, environment}.
"""

import os
from pathlib import Path

from sidecar import command
from sidecar.environment import git_env


class GitFailed(Exception):
    """A git command failed; the sentence has its last lines."""


class Git:
    """Runs git in one folder."""

    def __init__(self, folder: Path, deadline_s: float) -> None:
        self.folder = folder
        self.deadline_s = deadline_s

    def at(self, folder: Path) -> "Git":
        return Git(folder, self.deadline_s)

    async def __call__(self, *args: str) -> str:
        """Its output, stripped. Raises `GitFailed`."""
        done = await self.attempt(*args)
        if done.exit != 0:
            said = " | ".join(done.output.strip().splitlines()[-3:])
            raise GitFailed(f"git {args[0]} failed ({done.exit}): {said}"[:1_500])
        return done.output.strip()

    async def succeeds(self, *args: str) -> bool:
        return (await self.attempt(*args)).exit == 0

    async def attempt(self, *args: str) -> command.Done:
        argv = ["git", *args]
        env = git_env(os.environ)
        try:
            return await command.run(
                argv, cwd=self.folder, env=env, deadline_s=self.deadline_s, with_errors=False
            )
        except command.TookTooLong as exc:
            raise GitFailed(str(exc)) from exc
