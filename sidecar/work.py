"""One task's flow: prepare, run the Mind, check what it says is done, publish, and what to report.

Each step leaves its mark in the run's folder before the next begins, so that a new life of the sidecar goes
on where the last one ended. Nothing here speaks to the hub but the forge.
May import: msgspec, structlog, agentcom.protocol, sidecar.{checks, files, forge, git, pull, runner, settings,
worktree}.
"""

import asyncio
import os
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import structlog

from agentcom.backoff import delay_s
from agentcom.protocol.bodies import NewPull
from agentcom.protocol.errors import AgentComError, Unavailable
from agentcom.protocol.frames import TaskAssign, TaskResult
from sidecar import checks, files, pull
from sidecar.forge import Forge
from sidecar.git import GitFailed
from sidecar.runner import Exit, MindSpec, Run
from sidecar.settings import Settings
from sidecar.worktree import Checkout, NotDone, Workspace

_log = structlog.get_logger("sidecar.work")
_T = TypeVar("_T")
_RNG = random.Random()  # noqa: S311  # jitter, not a secret


class Failed(Exception):
    """The task failed; the hub decides what comes next."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.retryable = retryable


class MindResult(msgspec.Struct, frozen=True):
    """What a Mind writes to AGENTCOM_RESULT_FILE; all of it is optional."""

    status: Literal["done", "fail"] = "done"
    summary: str = ""
    reason: str = ""
    retryable: bool = True
    tokens_used: int = 0
    data: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The final report's content."""

    result: TaskResult | None = None  #: of a completed task
    reason: str = ""
    retryable: bool = True
    tokens_used: int = 0


class Work:
    """The flow of one assignment. `outcome` may be called again by a later life of the sidecar."""

    def __init__(
        self,
        assign: TaskAssign,
        *,
        home: Path,
        settings: Settings,
        workspace: Workspace,
        forge: Forge,
        progress: Callable[[str], Awaitable[object]],
    ) -> None:
        self.assign = assign
        self._settings = settings
        self._workspace = workspace
        self._forge = forge
        self._progress = progress
        name = f"{files.safe_name(assign.task_id)}/{assign.generation}"
        self.folder = home / "runs" / name
        self.worktree = home / "work" / name
        self.run = Run(self.folder)
        self._busy = False
        self._log = _log.bind(task_id=assign.task_id, generation=assign.generation)

    # --- for the heartbeat and for stopping --------------------------------------------------------

    def is_alive(self) -> bool:
        """Whether something works on it: the Mind's process, or we ourselves before and after it."""
        return self._busy or self.run.is_alive()

    async def stop(self) -> None:
        """Stop the Mind. Worktree and logs stay as evidence."""
        await self.run.stop()

    # --- the flow ----------------------------------------------------------------------------------

    async def outcome(self) -> Outcome:
        """Do what is left to do; the same answer if all was done."""
        if (known := self._kept("outcome.json", Outcome)) is not None:
            return known
        try:
            outcome = await self._flow()
        except Failed as exc:
            outcome = Outcome(None, str(exc), exc.retryable)
        except (GitFailed, NotDone, checks.CheckFailed, OSError) as exc:
            outcome = Outcome(None, str(exc), retryable=True)
        except (checks.BadChecks, AgentComError) as exc:
            outcome = Outcome(None, str(exc), retryable=False)
        await self._keep("outcome.json", outcome)
        return outcome

    async def _flow(self) -> Outcome:
        await asyncio.to_thread(self.folder.mkdir, parents=True, exist_ok=True)
        checkout = await self._doing("preparing", self._checkout())
        await self.run.start(await self._spec(checkout))
        await self._progress("running")
        said = self._judge(await self.run.ended())
        if checkout is None:
            result = TaskResult(summary=said.summary[:10_000], data=said.data)
        else:
            result = await self._doing("finishing", self._finish(checkout, said))
        return Outcome(result, tokens_used=said.tokens_used)

    async def _doing(self, phase: str, step: Awaitable[_T]) -> _T:
        self._busy = True
        self._log.info("work.phase", phase=phase)
        try:
            await self._progress(phase)
            return await step
        finally:
            self._busy = False

    async def _checkout(self) -> Checkout | None:
        if not self.assign.repo_url:
            await asyncio.to_thread(self.worktree.mkdir, parents=True, exist_ok=True)
            return None
        kept = self._kept("checkout.json", Checkout)
        if kept is None:
            kept = await self._workspace.prepare(self.assign, self.worktree)
            await self._keep("checkout.json", kept)
        return kept

    async def _spec(self, checkout: Checkout | None) -> MindSpec:
        task = self.folder / "task.json"
        await asyncio.to_thread(files.write, task, msgspec.json.encode(self.assign))
        return MindSpec(
            argv=self._settings.mind,
            cwd=str(self.worktree),
            env={
                "AGENTCOM_TASK_FILE": str(task),
                "AGENTCOM_RESULT_FILE": str(self.folder / "result.json"),
                "AGENTCOM_WORKTREE": str(self.worktree),
                "AGENTCOM_BRANCH": checkout.branch if checkout else "",
            },
            max_runtime_s=self._settings.max_runtime_s,
            grace_s=self._settings.stop_grace_s,
        )

    def _judge(self, ended: Exit) -> MindResult:
        """What the Mind says it did; raises `Failed` if it failed by its own word or by how it ended."""
        if ended.how == "not_started":
            raise Failed(f"the Mind could not be started: {ended.reason}")
        if ended.how == "max_runtime":
            raise Failed(f"the Mind was stopped after {self._settings.max_runtime_s:g} s")
        if ended.how != "exited":
            raise Failed(f"the Mind did not end by itself ({ended.how})")
        said = self._said()
        if ended.exit != 0 or said.status == "fail":
            reason = said.reason or f"the Mind exited with {ended.exit}{self._tail()}"
            raise Failed(reason, retryable=said.retryable)
        return said

    def _said(self) -> MindResult:
        try:
            return msgspec.json.decode((self.folder / "result.json").read_bytes(), type=MindResult)
        except FileNotFoundError:
            return MindResult()
        except msgspec.DecodeError as exc:
            return MindResult("fail", reason=f"the Mind's result file is not valid: {exc}")

    def _tail(self) -> str:
        with (self.folder / "mind.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 600))
            text = log.read().decode(errors="replace").strip()
        return f": {text}" if text else ""

    async def _finish(self, checkout: Checkout, said: MindResult) -> TaskResult:
        commit = await self._workspace.ready(checkout)
        wanted = checks.parse(await self._workspace.base_file(checkout, checks.FILE))
        ran = await checks.run(wanted, self.worktree, self._settings.check_s)
        await self._workspace.publish(checkout, commit)
        url = await self._open(pull.describe(self.assign, checkout, commit, said.summary, ran))
        return TaskResult(
            summary=said.summary[:10_000],
            branch=checkout.branch,
            commit=commit,
            pr_url=url,
            checks=ran,
            data=said.data,
        )

    async def _open(self, wanted: NewPull) -> str:
        """A hub that is away is no reason to fail work that is done; the hub's deadlines bound this."""
        attempt = 0
        while True:
            try:
                return await self._forge.open(wanted)
            except Unavailable as exc:
                attempt += 1
                self._log.warning("pull.later", problem=str(exc))
                await asyncio.sleep(delay_s(attempt, _RNG, base_s=1.0, cap_s=30.0))

    # --- after the report was answered -------------------------------------------------------------

    async def tidy(self) -> None:
        """Remove the worktree, if its commit is on the remote; the logs stay."""
        checkout = self._kept("checkout.json", Checkout)
        if checkout is None:
            await asyncio.to_thread(shutil.rmtree, self.worktree, ignore_errors=True)
            return
        try:
            await self._workspace.remove(checkout)
        except (GitFailed, OSError) as exc:
            self._log.warning("worktree.kept", problem=str(exc))

    # --- marks -------------------------------------------------------------------------------------

    async def _keep(self, name: str, what: msgspec.Struct) -> None:
        await asyncio.to_thread(files.write, self.folder / name, msgspec.json.encode(what))

    def _kept(self, name: str, kind: type[_T]) -> _T | None:
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except (FileNotFoundError, msgspec.DecodeError):
            return None  # what cannot be read was never finished
