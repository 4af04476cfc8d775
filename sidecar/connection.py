"""The sidecar itself: what the hub says becomes work, what work leads to becomes reports.

One task at a time. Every wait is in a task of its own, so nothing holds up the heartbeat. Ending this process
leaves the Mind running; the next life finds it by what is on disk.
May import: structlog, agentcom.{client, session, session_state, protocol}, sidecar's other modules.
"""

import asyncio
import shutil
from collections.abc import Coroutine
from itertools import takewhile
from pathlib import Path
from typing import Any

import structlog

from agentcom.client import Hub
from agentcom.protocol.errors import AgentComError
from agentcom.protocol.frames import ClientInfo, TaskAssign
from agentcom.session import AgentSession
from agentcom.session_state import (
    Accepted,
    Answered,
    Assigned,
    Event,
    Offline,
    Online,
    Refused,
    Settled,
    Stop,
)
from sidecar import files
from sidecar.forge import forge
from sidecar.inbox import Inbox
from sidecar.settings import Settings
from sidecar.work import Outcome, Work
from sidecar.worktree import Workspace

STATE = "state.json"
MOST_SAID = 1_500
"""Characters of a failure of our own; the log has all of it."""
_log = structlog.get_logger("sidecar")


class Sidecar:
    def __init__(self, home: Path, settings: Settings, *, takeover: bool = False) -> None:
        self.home = home.absolute()
        self.settings = settings
        self.hub = Hub(settings.hub, settings.token, ca_file=settings.ca_file)
        self.works: dict[str, Work] = {}
        self._flows: dict[str, asyncio.Task[None]] = {}
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._side: set[asyncio.Task[None]] = set()
        self._forge = forge(settings.forge, self.hub)
        self._workspace = Workspace(
            self.home,
            settings.agent_id,
            name=settings.git_name,
            email=settings.git_email,
            git_s=settings.git_s,
        )
        self.session = AgentSession(
            settings.hub,
            agent_id=settings.agent_id,
            token=settings.token,
            instance=settings.instance,
            capabilities=settings.capabilities,
            outbox=Inbox(self.home / STATE),
            alive=self._is_alive,
            takeover=takeover,
            client=ClientInfo("agentcom-sidecar"),
            ca_file=settings.ca_file,
        )

    async def run(self) -> None:
        """Serve until cancelled. Raises `Refused` when the hub wants us no more; then no Mind is left."""
        await asyncio.to_thread(self.home.mkdir, parents=True, exist_ok=True, mode=0o700)
        try:
            async with self.session:
                self._take_up()
                async for event in self.session:
                    await self._on(event)
        except AgentComError:
            await asyncio.gather(*(self._halt(task_id) for task_id in list(self.works)))
            raise
        finally:
            await self._quit()

    async def _quit(self) -> None:
        tasks = [*self._flows.values(), *self._side]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.hub.close()

    def _is_alive(self, task_id: str) -> bool:
        return task_id in self.works and self.works[task_id].is_alive()

    def _take_up(self) -> None:
        """Go on with what the last life held."""
        for task_id, entry in self.session.state.tasks.items():
            if entry.stop:
                self.works[task_id] = self._work(entry.assign)
                self._begin_stop(Stop(task_id, entry.generation, entry.stop, entry.reason))
            elif self.session.state.is_reported(task_id):
                self.works[task_id] = self._work(entry.assign)
            elif entry.phase == "assigned":
                self._aside(self._accept(entry.assign))
            else:
                self._begin(entry.assign)

    # --- the hub's word ------------------------------------------------------------------------------

    async def _on(self, event: Event) -> None:
        match event:
            case Assigned(assign=assign):
                await self._accept(assign)
            case Accepted(task_id=task_id):
                entry = self.session.state.tasks.get(task_id)
                if entry is not None and not entry.stop:
                    self._begin(entry.assign)
            case Stop():
                _log.info("task.stopping", task_id=event.task_id, kind=event.kind, reason=event.reason)
                self._begin_stop(event)
            case Settled():
                _log.info("task.settled", task_id=event.task_id, status=event.status, code=event.code)
                self._aside(self._settle(event))
            case Answered(task_id=task_id) if task_id in self.works:
                self._aside(self._answer(event))
            case Online():
                _log.info("hub.online", session=event.welcome.session)
            case Offline():
                _log.warning("hub.offline", reason=event.reason)
            case Refused():
                _log.warning("frame.refused", code=event.error.code, message=event.error.message)

    async def _accept(self, assign: TaskAssign) -> None:
        earlier = takewhile(lambda task_id: task_id != assign.task_id, self.session.state.tasks)
        held = {*earlier, *self.works} - {assign.task_id}
        stops = [self._stops[task_id] for task_id in held if task_id in self._stops]
        if any(
            task_id not in self._stops and not self.session.state.is_reported(task_id) for task_id in held
        ):
            await self.session.reject(assign.task_id, assign.generation, "this agent holds another task")
        elif stops:
            self._aside(self._accept_after(stops, assign))
        else:
            await self.session.accept(assign.task_id, assign.generation)

    async def _accept_after(self, stops: list[asyncio.Task[None]], assign: TaskAssign) -> None:
        """The hub may know that we are free before the last of the old task has ended."""
        await asyncio.wait(stops)
        await self.session.accept(assign.task_id, assign.generation)

    def _begin_stop(self, stop: Stop) -> None:
        job = self._aside(self._stop(stop))
        self._stops[stop.task_id] = job
        job.add_done_callback(lambda _: self._stops.pop(stop.task_id, None))

    async def _stop(self, stop: Stop) -> None:
        await self._halt(stop.task_id)
        entry = self.session.state.tasks.get(stop.task_id)
        if entry is not None and entry.stop:  # not assigned anew in the meantime
            await self.session.stopped(stop.task_id, entry.generation)

    async def _halt(self, task_id: str) -> None:
        work = self.works.get(task_id)
        if work is None:
            return
        flow = self._flows.get(task_id)
        if flow is not None:
            flow.cancel()
            await asyncio.gather(flow, return_exceptions=True)
        await work.stop()
        if self.works.get(task_id) is work:
            del self.works[task_id]

    async def _settle(self, settled: Settled) -> None:
        work = self.works.pop(settled.task_id, None)
        if work is not None and settled.status == "completed":
            await work.tidy()
        await asyncio.to_thread(self._prune)

    async def _answer(self, answered: Answered) -> None:
        path = self.works[answered.task_id].folder / "answer.json"
        await asyncio.to_thread(files.write_json, path, {"answer": answered.answer})

    # --- work ----------------------------------------------------------------------------------------

    def _work(self, assign: TaskAssign) -> Work:
        async def progress(note: str) -> None:
            entry = self.session.state.tasks.get(assign.task_id)
            if entry is not None and entry.assign.generation == assign.generation:
                await self.session.progress(assign.task_id, entry.generation, note=note)

        return Work(
            assign,
            home=self.home,
            settings=self.settings,
            workspace=self._workspace,
            forge=self._forge,
            progress=progress,
        )

    def _begin(self, assign: TaskAssign) -> None:
        """Start the flow, after the same task's earlier one if that is still being stopped."""
        before = self.works.get(assign.task_id)
        if before is not None and before.assign.generation == assign.generation:
            return
        self.works[assign.task_id] = work = self._work(assign)
        flow = asyncio.create_task(self._flow(work, before), name=f"work {assign.task_id}")
        self._flows[assign.task_id] = flow
        flow.add_done_callback(self._flow_ended)

    async def _flow(self, work: Work, before: Work | None) -> None:
        if before is not None:
            await before.stop()
        outcome = await work.outcome()
        entry = self.session.state.tasks.get(work.assign.task_id)
        if entry is not None and entry.assign.generation == work.assign.generation:
            await self._report(work.assign.task_id, entry.generation, outcome)

    async def _report(self, task_id: str, generation: int, outcome: Outcome) -> None:
        tokens = outcome.tokens_used
        if outcome.result is not None:
            await self.session.complete(task_id, generation, outcome.result, tokens_used=tokens)
        else:
            _log.info("task.failed", task_id=task_id, reason=outcome.reason)
            await self.session.fail(
                task_id, generation, outcome.reason, retryable=outcome.retryable, tokens_used=tokens
            )

    def _flow_ended(self, flow: asyncio.Task[None]) -> None:
        for task_id in [task_id for task_id, known in self._flows.items() if known is flow]:
            del self._flows[task_id]
        if not flow.cancelled() and (bug := flow.exception()) is not None:
            _log.error("work.crashed", flow=flow.get_name(), exc_info=bug)
            self._aside(self._give_up(flow.get_name().removeprefix("work "), bug))

    async def _give_up(self, task_id: str, bug: BaseException) -> None:
        entry = self.session.state.tasks.get(task_id)
        if entry is not None:
            said = f"the sidecar failed: {type(bug).__name__}: {bug}".removesuffix(": ")
            await self._report(task_id, entry.generation, Outcome(None, said[:MOST_SAID]))

    # --- small parts ---------------------------------------------------------------------------------

    def _aside(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(job)
        self._side.add(task)
        task.add_done_callback(self._aside_ended)
        return task

    def _aside_ended(self, task: asyncio.Task[None]) -> None:
        self._side.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            _log.error("sidecar.job_failed", exc_info=bug)

    def _prune(self) -> None:
        """Forget the oldest runs' logs; what still has a worktree is evidence and stays."""
        runs = sorted((self.home / "runs").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in runs[self.settings.keep_runs :]:
            work = self.home / "work" / old.name
            if not (work.exists() and any(work.iterdir())) and old.name not in map(
                files.safe_name, self.works
            ):
                shutil.rmtree(old, ignore_errors=True)
