"""The git norms, enforced: a worktree and a branch for each task, from the remote's current base branch.

One bare repository for each remote, in the sidecar's home; its `refs/remotes/origin/*` mirror the remote.
Every step may be repeated: a sidecar that was killed does the same again.
May import: msgspec, sidecar.{files, git}.
"""

import asyncio
import hashlib
import re
import shutil
import unicodedata
from pathlib import Path

import msgspec

from agentcom.protocol.frames import TaskAssign
from sidecar import files
from sidecar.git import Git, GitFailed

#: A guard against mistakes; against a Mind that means harm the forge needs rules of its own.
PRE_PUSH = """#!/bin/sh
# Written by agentcom-sidecar: this agent pushes to its own branches only.
while read -r local_ref local_sha remote_ref remote_sha; do
    case "$remote_ref" in
        refs/heads/{agent}/*) ;;
        *) echo "agentcom: {agent} may not push to $remote_ref" >&2; exit 1 ;;
    esac
    case "$local_sha" in
        *[!0]*) ;;
        *) echo "agentcom: deleting branches is not for agents" >&2; exit 1 ;;
    esac
done
"""


class NotDone(Exception):
    """The work is not what a finished task must be; the sentence says what is missing."""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task is worked on; kept in the run's folder."""

    path: str
    repo: str  #: the bare repository's folder
    branch: str
    base: str  #: the base branch's name


def slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-") or "task"


def branch_of(agent_id: str, assign: TaskAssign) -> str:
    return f"{agent_id}/{files.safe_name(assign.task_id)}-{slug(assign.description)}"


class Workspace:
    """All repositories and worktrees of one agent."""

    def __init__(
        self, home: Path, agent_id: str, *, name: str = "", email: str = "", git_s: float = 600.0
    ) -> None:
        self.home = home
        self.agent_id = agent_id
        self.name = name or agent_id
        self.email = email or f"{agent_id}@agentcom.invalid"
        self._git = Git(home, git_s)
        self._one_at_a_time = asyncio.Lock()
        self._set_up: set[Path] = set()

    # --- begin ---------------------------------------------------------------------------------------

    async def prepare(self, assign: TaskAssign, path: Path) -> Checkout:
        """A fresh worktree at `path` on the task's branch. Raises `GitFailed`, also for a failed fetch."""
        async with self._one_at_a_time:
            git = await self._repository(assign.repo_url)
            base = assign.base_branch or await self._default_branch(git)
            await self._fetch(git)
            branch = branch_of(self.agent_id, assign)
            await self._add(git, path, branch, base)
            return Checkout(path=str(path), repo=str(git.folder), branch=branch, base=base)

    async def _repository(self, url: str) -> Git:
        folder = self.home / "repos" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
        folder.mkdir(parents=True, exist_ok=True)
        git = self._git.at(folder)
        if folder not in self._set_up:
            await self._configure(git, url)
            self._set_up.add(folder)
        return git

    async def _configure(self, git: Git, url: str) -> None:
        await git("init", "--quiet", "--bare")
        hooks = git.folder / "agentcom-hooks"
        await asyncio.to_thread(self._write_hook, hooks)
        for key, value in {
            "remote.origin.url": url,
            "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
            "core.hooksPath": str(hooks),
            "user.name": self.name,
            "user.email": self.email,
            "gc.autoDetach": "false",  # what a command starts ends with it
        }.items():
            await git("config", key, value)

    def _write_hook(self, hooks: Path) -> None:
        hooks.mkdir(exist_ok=True)
        files.write(hooks / "pre-push", PRE_PUSH.format(agent=self.agent_id).encode(), 0o755)

    async def _default_branch(self, git: Git) -> str:
        for line in (await git("ls-remote", "--symref", "origin", "HEAD")).splitlines():
            if line.startswith("ref: refs/heads/"):
                return line.split()[1].removeprefix("refs/heads/")
        raise GitFailed("the remote does not name its default branch, and the task names no base branch")

    async def _fetch(self, git: Git) -> None:
        await git("fetch", "--quiet", "--prune", "--no-tags", "origin")

    async def _add(self, git: Git, path: Path, branch: str, base: str) -> None:
        await self._free(git, path, branch)
        path.parent.mkdir(parents=True, exist_ok=True)
        theirs = f"refs/remotes/origin/{branch}"
        start = theirs if await git.succeeds("rev-parse", "--verify", "--quiet", theirs) else _base(base)
        await git("worktree", "add", "--quiet", "--no-track", "-B", branch, str(path), start)
        if start == theirs and not await self._rebased(git.at(path), base):
            # what was there no longer fits: anew
            await git.at(path)("reset", "--quiet", "--hard", _base(base))

    async def _free(self, git: Git, path: Path, branch: str) -> None:
        """Make way: an unfinished `path` goes; an earlier attempt stays as evidence, off the branch."""
        if await asyncio.to_thread(path.exists):
            await git.attempt("worktree", "remove", "--force", str(path))
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        await git("worktree", "prune")
        for other in await self._worktrees_on(git, branch):
            await git.at(other)("checkout", "--quiet", "--detach")

    async def _worktrees_on(self, git: Git, branch: str) -> list[Path]:
        entries = (await git("worktree", "list", "--porcelain")).split("\n\n")
        found = [
            entry.splitlines() for entry in entries if f"branch refs/heads/{branch}" in entry.splitlines()
        ]
        return [Path(lines[0].removeprefix("worktree ")) for lines in found]

    # --- finish --------------------------------------------------------------------------------------

    async def ready(self, checkout: Checkout) -> str:
        """The commit to check and push: on the branch, clean, on the current base. Raises `NotDone`."""
        git = self._git.at(Path(checkout.path))
        await git.attempt("rebase", "--abort")  # one of ours that was interrupted
        if await git("rev-parse", "--abbrev-ref", "HEAD") != checkout.branch:
            raise NotDone(f"the work is not on its branch {checkout.branch}")
        if dirty := await git("status", "--porcelain"):
            raise NotDone(f"the work tree has changes that are not committed: {_few(dirty)}")
        async with self._one_at_a_time:
            await self._fetch(git.at(Path(checkout.repo)))
        if not await self._rebased(git, checkout.base):
            raise NotDone(f"{checkout.base} moved, and the work does not rebase on it cleanly")
        if await git("rev-list", "--count", f"{_base(checkout.base)}..HEAD") == "0":
            raise NotDone(f"there are no commits beyond {checkout.base}")
        return await git("rev-parse", "HEAD")

    async def _rebased(self, git: Git, base: str) -> bool:
        if await git.succeeds("merge-base", "--is-ancestor", _base(base), "HEAD"):
            return True
        if await git.succeeds("rebase", "--quiet", _base(base)):
            return True
        await git.attempt("rebase", "--abort")
        return False

    async def base_file(self, checkout: Checkout, name: str) -> str | None:
        """A file as the base branch has it; `None` if it has none."""
        shown = await self._git.at(Path(checkout.repo)).attempt("show", f"{_base(checkout.base)}:{name}")
        return shown.output if shown.exit == 0 else None

    async def publish(self, checkout: Checkout, commit: str) -> None:
        """Push exactly `commit` to the branch and read it back from the remote."""
        git = self._git.at(Path(checkout.path))
        if await git("rev-parse", "HEAD") != commit or await git("status", "--porcelain", "-uno"):
            raise NotDone("the checks changed the work")
        before = await self._remote_commit(git, checkout.branch)
        if before != commit:
            lease = f"--force-with-lease=refs/heads/{checkout.branch}:{before}"
            await git("push", "--quiet", lease, "origin", f"{commit}:refs/heads/{checkout.branch}")
        if (there := await self._remote_commit(git, checkout.branch)) != commit:
            raise GitFailed(f"pushed {commit}, but the remote's {checkout.branch} is {there or 'not there'}")

    async def _remote_commit(self, git: Git, branch: str) -> str:
        return (await git("ls-remote", "origin", f"refs/heads/{branch}")).partition("\t")[0]

    async def remove(self, checkout: Checkout) -> None:
        """Remove the worktree; only if the remote's branch has its very commit."""
        path = Path(checkout.path)
        git = self._git.at(path)
        if await self._remote_commit(git, checkout.branch) != await git("rev-parse", "HEAD"):
            return
        repo = git.at(Path(checkout.repo))
        async with self._one_at_a_time:  # deleting a branch locks the config that `prepare` writes
            await repo("worktree", "remove", "--force", str(path))
            await repo.attempt("branch", "--quiet", "-D", checkout.branch)


def _base(base: str) -> str:
    return f"refs/remotes/origin/{base}"


def _few(lines: str) -> str:
    listed = lines.splitlines()
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
