"""A real hub whose disk hangs or fails: callers hear of it early, the process ends by its own code, nothing is lost."""

import asyncio
from collections.abc import Callable

import pytest

from agentcom import exit_codes
from agentcom.client import Hub
from agentcom.protocol.errors import AgentComError
from agentcom.protocol.rows import LANES
from tests.system import hub_process
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
MakeHub = Callable[..., HubProcess]
DEADLINE_S = 60.0
really = hub_process.hub_argv


@pytest.fixture
def make_faulty(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> MakeHub:
    def argv(*given: object) -> list[str]:
        return [
            "tests.system.faulty_disk" if part == "agentcom.cli.main" else part for part in really(*given)
        ]

    monkeypatch.setattr(hub_process, "hub_argv", argv)
    return make_hub


async def submit(admin: Hub, n: int) -> str:
    """The task's id, or why it was refused."""
    try:
        return (await admin.submit("work", priority=LANES[n % 4])).task_id
    except AgentComError as error:
        return error.code


async def until_refused(admin: Hub, code: str) -> list[asyncio.Task[str]]:
    """What still waits for its answer when a submit got this one."""
    waiting: list[asyncio.Task[str]] = []
    async with asyncio.timeout(DEADLINE_S):
        for n in range(10_000):
            one = asyncio.create_task(submit(admin, n))
            done, _ = await asyncio.wait([one], timeout=0.05)
            if done and one.result() == code:
                return waiting
            waiting.append(one)
    raise AssertionError


async def ids(admin: Hub) -> set[str]:
    return {task["task_id"] for task in (await admin.tasks(limit=500))["tasks"]}


def test_a_crowded_store_refuses_early_and_answers_what_waited(make_faulty: MakeHub) -> None:
    async def scenario() -> None:
        hub = make_faulty(store__max_queue="1")
        async with hub.admin(retry_s=0) as admin:
            (hub.data / "hang").touch()
            waiting = await until_refused(admin, "overloaded")
            (hub.data / "hang").unlink()
            tasks = set(await asyncio.gather(*waiting))
            assert tasks.isdisjoint({"overloaded", "unavailable", "storage_full"})
            assert await ids(admin) == tasks
        async with hub.admin() as admin:  # which asks again when it is told to
            assert await submit(admin, 0) in await ids(admin)

    asyncio.run(scenario())


def test_a_silent_disk_is_an_alert_then_the_end_and_nothing_is_lost(make_faulty: MakeHub) -> None:
    async def scenario() -> None:
        hub = make_faulty()
        async with hub.admin(retry_s=0) as admin:
            tasks = {await submit(admin, n) for n in range(8)}
            (hub.data / "hang").touch()
            await until_refused(admin, "unavailable")
            said = await admin.health()
            assert said["store"]["stuck"]
            assert "does not answer: new work is refused" in said["alerts"][0]
            assert await ids(admin) == tasks
        assert await hub.ended() == exit_codes.STORE_PANIC
        (hub.data / "hang").unlink()
        hub.start()
        async with hub.admin() as admin:
            assert await ids(admin) >= tasks

    asyncio.run(scenario())


def test_a_failing_disk_ends_the_hub_and_the_next_start_has_all(make_faulty: MakeHub) -> None:
    async def scenario() -> None:
        hub = make_faulty()
        async with hub.admin(retry_s=0) as admin:
            tasks = {await submit(admin, n) for n in range(8)}
            (hub.data / "fail").touch()
            assert await submit(admin, 0) not in tasks
        assert await hub.ended() == exit_codes.STORE_PANIC
        assert any("Input/output error" in line.get("reason", "") for line in hub.told())
        (hub.data / "fail").unlink()
        hub.start()
        async with hub.admin() as admin:
            assert await ids(admin) == tasks
            assert await submit(admin, 1) in await ids(admin)

    asyncio.run(scenario())
