"""SIGTERM while clients submit and agents work: everyone is answered, nothing acknowledged is lost, the end is clean."""

import asyncio
from itertools import count

import httpx
import pytest

from agentcom.client import Hub
from tests.system.crew import CAPABILITY, crew_of, outcomes, taking
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
CLIENTS = 8


class Client:
    """Submits over one connection until the hub is gone, and remembers how each request ended."""

    def __init__(self, hub: HubProcess, token: str, name: int) -> None:
        self.acknowledged: dict[str, str] = {}
        self.answers: list[int] = []
        self.unanswered: list[str] = []
        self._name = name
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=hub.url, headers=headers, trust_env=False)

    async def run(self) -> None:
        async with self._http as http:
            for n in count():
                key = f"client-{self._name}-{n}"
                task = {
                    "description": key,
                    "idempotency_key": key,
                    "needed_capabilities": [CAPABILITY],
                }
                try:
                    answer = await http.post("/api/tasks", json=task)
                except httpx.ConnectError:
                    return  # it no longer listens: never taken, so nothing is owed
                except httpx.HTTPError as exc:  # HTTP's own race: sent while the idle connection was closed
                    self.unanswered.append(f"{key}: {exc!r}")
                    continue
                self.answers.append(answer.status_code)
                if answer.status_code in (200, 201):
                    self.acknowledged[key] = answer.json()["task_id"]


class Watcher:
    """Asks `/ready` until nobody answers."""

    def __init__(self, hub: HubProcess) -> None:
        self.answers: list[int] = []
        self._http = httpx.AsyncClient(base_url=hub.url, trust_env=False)

    async def run(self) -> None:
        async with self._http as http:
            while True:
                try:
                    self.answers.append((await http.get("/ready")).status_code)
                except httpx.HTTPError:
                    return
                await asyncio.sleep(0.005)


def test_a_hub_stopped_under_load_answers_everyone_and_starts_clean(hub: HubProcess) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin, crew_of(hub, ("ada", "grace"), taking(0.05)) as crew:
            clients = [Client(hub, admin.token, n) for n in range(CLIENTS)]
            watcher = Watcher(hub)
            running = [asyncio.create_task(one.run()) for one in (*clients, watcher)]
            await acknowledged(clients, 60)
            hub.terminate()
            assert await hub.ended(30) == 0
            await asyncio.gather(*running)
            assert all(len(one.unanswered) <= 1 for one in clients), [one.unanswered for one in clients]
            assert {status for one in clients for status in one.answers} <= {200, 201, 503}
            assert watcher.answers[0] == 200
            assert set(watcher.answers) <= {200, 503}
            assert watcher.answers == sorted(watcher.answers)
            hub.start()
            await hub.serving()
            assert opened(hub) == [False, True]
            await all_kept(admin, clients)
            task_ids = [task_id for one in clients for task_id in one.acknowledged.values()]
            assert await outcomes(admin, task_ids, 120) == []
            assert crew.problems() == []

    asyncio.run(scenario())
    assert hub.complaints() == []


async def acknowledged(clients: list[Client], n: int) -> None:
    async with asyncio.timeout(30):
        while sum(len(one.acknowledged) for one in clients) < n:
            await asyncio.sleep(0.005)


async def all_kept(admin: Hub, clients: list[Client]) -> None:
    """No task is lost, and what was refused or never read was not taken either."""
    stats = (await admin.call("GET", "/api/tasks/stats"))["by_status"]
    assert sum(stats.values()) == sum(len(one.acknowledged) for one in clients)


def opened(hub: HubProcess) -> list[bool]:
    """For each start, whether it found the folder as a clean stop leaves it."""
    return [line["after_clean_stop"] for line in hub.told() if line["event"] == "store.opened"]


def test_a_start_after_a_kill_knows_that_it_was_one(hub: HubProcess) -> None:
    async def scenario() -> None:
        await hub.serving()
        hub.kill()
        hub.start()
        await hub.serving()
        assert opened(hub) == [False, False]

    asyncio.run(scenario())
