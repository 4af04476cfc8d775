"""Agents that speak the whole protocol and do no work, and a memory of all they were told."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from agentcom.client import AgentSession, Hub
from agentcom.protocol.errors import Unavailable
from agentcom.protocol.frames import TaskAssign, TaskResult
from agentcom.session_state import Accepted, Assigned, Settled, Stop
from tests.system.hub_process import HubProcess

CAPABILITY = "work"
Work = Callable[[AgentSession, Accepted], Awaitable[None]]


async def at_once(session: AgentSession, accepted: Accepted) -> None:
    """All the work there is: a report."""
    result = TaskResult(summary=f"done by {session.agent_id}")
    await session.complete(accepted.task_id, accepted.generation, result)


def taking(seconds: float) -> Work:
    async def work(session: AgentSession, accepted: Accepted) -> None:
        await asyncio.sleep(seconds)
        await at_once(session, accepted)

    return work


class Crew:
    """What its agents saw, all together."""

    def __init__(self, work: Work) -> None:
        self.completed: Counter[str] = Counter()
        self.settled: list[Settled] = []
        self.stops: list[Stop] = []
        self.given: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.generations: dict[str, list[int]] = defaultdict(list)
        self.sent_away: list[str] = []
        self.sessions: list[AgentSession] = []
        self._work = work
        self._busy: set[asyncio.Task[None]] = set()

    async def serve(self, session: AgentSession) -> None:
        self.sessions.append(session)
        try:
            async for event in session:
                await self._on(session, event)
        except Exception as exc:  # noqa: BLE001  # shown by the test, whose agent this was
            self.sent_away.append(f"{session.agent_id}: {exc!r}")

    async def _on(self, session: AgentSession, event: object) -> None:
        match event:
            case Assigned(assign=assign):
                self._note(session, assign)
                await session.accept(assign.task_id, assign.generation)
            case Accepted():
                task = asyncio.create_task(self._work(session, event))  # type: ignore[arg-type]
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
            case Settled(status=status, task_id=task_id, superseded=superseded):
                self.settled.append(event)
                self.completed[task_id] += status == "completed" and not superseded
            case Stop(task_id=task_id, generation=generation):
                self.stops.append(event)
                await session.stopped(task_id, generation)

    def _note(self, session: AgentSession, assign: TaskAssign) -> None:
        self.given[assign.task_id, assign.generation].add(session.agent_id)
        self.generations[assign.task_id].append(assign.generation)

    def problems(self) -> list[str]:
        """What must not happen under any fault."""
        said = list(self.sent_away)
        said += [f"{key} went to {sorted(who)}" for key, who in self.given.items() if len(who) > 1]
        said += [
            f"{task_id} was given generations {seen}"
            for task_id, seen in self.generations.items()
            if seen != sorted(set(seen))
        ]
        said += [f"{task_id}: {n} completions accepted" for task_id, n in self.completed.items() if n > 1]
        return said


@contextlib.asynccontextmanager
async def crew_of(
    process: HubProcess, names: Sequence[str], work: Work = at_once, url: str = ""
) -> AsyncIterator[Crew]:
    """These agents, registered, connected until the end."""
    crew = Crew(work)
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            token = await register(process.url, name)
            session = AgentSession(
                url or process.url, agent_id=name, token=token, capabilities=[CAPABILITY], backoff_s=(0.05, 0.5)
            )
            await stack.enter_async_context(session)
            serving = asyncio.create_task(crew.serve(session))
            stack.push_async_callback(_end, serving)
        yield crew


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def register(url: str, name: str) -> str:
    async with Hub(url) as anyone, asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable):
                return (await anyone.register(name, "", [CAPABILITY])).token
            await asyncio.sleep(0.05)


async def outcomes(hub: Hub, task_ids: Sequence[str], deadline_s: float) -> list[str]:
    """Waits until all are final; what is wrong with those that were not completed exactly once."""
    said = []
    async with asyncio.timeout(deadline_s):
        for task_id in task_ids:
            task = await hub.wait(task_id, deadline_s)
            events = [event["event"] for event in (await hub.events(task_id))["events"]]
            ends = sum(event in ("completed", "salvaged") for event in events)
            if task["status"] != "completed" or ends != 1:
                said.append(f"{task_id} is {task['status']}: {events}")
    return said
