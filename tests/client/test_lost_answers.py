"""Each request that the client sends again by itself, where a real hub did it and the first answer was lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentcom.client import Hub
from agentcom.protocol import bodies
from agentcom.session import AgentSession
from agentcom.session_state import Assigned, Event, Settled, Stop
from tests.system.hub_process import HubProcess

SCENE_S = 20.0


class LosesFirst(httpx.AsyncHTTPTransport):
    """The hub does what it is asked; of each request that was not made before, the answer gets lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        said = b"%s %s %s" % (request.method.encode(), request.url.raw_path, await request.aread())
        answer = await super().handle_async_request(request)
        if said in self.lost:
            return answer
        self.lost.append(said)
        await answer.aread()
        await answer.aclose()
        raise httpx.ReadError("reset", request=request)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("hub"))
    try:
        asyncio.run(hub.serving())
        yield hub
    finally:
        hub.kill()


class Scene:
    """The hub as two clients see it: `hub` loses answers, `sure` does not."""

    def __init__(self, process: HubProcess) -> None:
        token = (process.data / "admin.token").read_text().strip()
        self.url = process.url
        self.wire = LosesFirst()
        self.hub = Hub(process.url, token, transport=self.wire)
        self.sure = Hub(process.url, token)

    @asynccontextmanager
    async def agent(self, name: str) -> AsyncIterator[AgentSession]:
        token = (await self.sure.register(name)).token
        async with AgentSession(self.url, agent_id=name, token=token, capabilities=[name]) as session:
            yield session

    async def given(self, session: AgentSession, **fields: Any) -> Assigned:
        """A new task that this agent has, and nobody else could."""
        await self.sure.submit("work", needed_capabilities=[session.agent_id], **fields)
        return await heard(session, Assigned)

    async def until(self, task_id: str, status: str) -> None:
        while (await self.sure.task(task_id))["status"] != status:
            await asyncio.sleep(0.01)


async def heard(session: AgentSession, kind: type[Event]) -> Any:
    async for event in session:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the session ended before {kind.__name__}")


@pytest.fixture
def play(process: HubProcess) -> Any:
    def run(scene: Any) -> None:
        async def whole() -> None:
            it = Scene(process)
            async with asyncio.timeout(SCENE_S), it.hub, it.sure:
                await scene(it)
                assert it.wire.lost

        asyncio.run(whole())

    return run


def test_a_retry_is_done_once_whether_or_not_an_agent_took_the_task_at_once(play):
    async def scene(it: Scene) -> None:
        async with it.agent("phoenix") as session:
            first = (await it.given(session)).assign
            await session.fail(first.task_id, first.generation, "no", retryable=False)
            await heard(session, Settled)
            done = await it.hub.retry(first.task_id)
            assert done["status"] == done["previous_status"]
            second = (await heard(session, Assigned)).assign
            assert (second.task_id, second.generation) == (first.task_id, first.generation + 1)
        events = (await it.sure.events(first.task_id))["events"]
        assert [event["event"] for event in events].count("retried") == 1

    play(scene)


def test_an_answer_is_told_once(play):
    async def scene(it: Scene) -> None:
        async with it.agent("asker") as session:
            task = (await it.given(session)).assign
            await session.accept(task.task_id, task.generation)
            await session.block(task.task_id, task.generation, "which branch?")
            await it.until(task.task_id, "blocked")
            done = await it.hub.answer(task.task_id, "main")
            assert (done["status"], done["previous_status"]) == ("working", "working")
        events = (await it.sure.events(task.task_id))["events"]
        assert [event["event"] for event in events].count("answered") == 1

    play(scene)


def test_a_cancel_and_a_move_to_another_lane_are_done_once(play):
    async def scene(it: Scene) -> None:
        async with it.agent("mover") as session:
            task = (await it.given(session)).assign
            assert (await it.hub.prioritise(task.task_id, "high"))["priority"] == "high"
            assert (await it.hub.cancel(task.task_id, "no"))["status"] == "cancelled"
            await heard(session, Stop)
        events = [event["event"] for event in (await it.sure.events(task.task_id))["events"]]
        assert (events.count("prioritised"), events.count("cancelled")) == (1, 1)

    play(scene)


def test_a_task_is_queued_once_and_a_message_is_said_once(play):
    async def scene(it: Scene) -> None:
        submitted = await it.hub.submit("once", needed_capabilities=["nobody"])
        [other] = await it.hub.submit_batch(
            [bodies.NewTask(description="once", needed_capabilities=["nobody"])]
        )
        assert isinstance(other, bodies.Submitted)
        waiting = (await it.sure.tasks(status="queued"))["tasks"]
        once = [task["id"] for task in waiting if task["description"] == "once"]
        assert once == [submitted.task_id, other.task_id]
        await it.sure.register("listener")
        said = await it.hub.send({"n": 1}, to="listener")
        waits = (await it.sure.mailbox("listener"))["messages"]
        assert [message["message_id"] for message in waits] == [said["message_id"]]

    play(scene)


def test_what_sets_a_thing_to_a_value_can_be_set_again(play, tmp_path: Path):
    async def scene(it: Scene) -> None:
        repo = await it.hub.put_repo(name="demo", url=str(tmp_path))
        assert repo == (await it.sure.repos())["repos"][0]
        assert (await it.hub.set_default_repo("demo"))["status"] == "ok"
        submitted = await it.sure.submit("x", needed_capabilities=["nobody"])
        pull = await it.hub.open_pull(
            bodies.NewPull(
                repo="demo",
                task_id=submitted.task_id,
                branch="b",
                base_branch="main",
                commit="0" * 40,
                title="t",
            )
        )
        assert [of["pr_id"] for of in (await it.sure.pulls())["pulls"]] == [pull["pr_id"]]
        registered = await it.sure.register("reader")
        await it.sure.send({"n": 1}, to="reader")
        async with Hub(it.url, registered.token, transport=LosesFirst()) as mine:
            seq = (await mine.mailbox("reader"))["last_seq"]
            await mine.ack("reader", seq)
            assert (await mine.mailbox("reader"))["messages"] == []

    play(scene)
