"""A real hub removes what is old and rewrites its file while clients submit: nobody is refused, nothing is lost."""

import asyncio
from typing import Any

import pytest

from agentcom.client import Hub
from agentcom.protocol.errors import Refused
from tests.system.hub_process import HubProcess
from tests.system.load import Submitter, acknowledged_more

pytestmark = pytest.mark.slow
RETENTION = {
    "retention__finished_s": "1",
    "retention__dead_letter_s": "3600",
    "retention__journal_s": "1",
    "compaction__every_s": "0.5",
    "snapshots__first_s": "1",
    "snapshots__every_s": "1",
}


async def compacted(admin: Hub) -> dict[str, Any]:
    view = await admin.call("POST", "/api/compaction")
    wanted = view["asked"]
    async with asyncio.timeout(60):
        while view["done"] < wanted:
            await asyncio.sleep(0.05)
            view = await admin.call("GET", "/api/compaction")
    return view


def test_no_submit_fails_while_the_file_is_rewritten_and_a_kill_behind_it_loses_nothing(
    hub: HubProcess,
) -> None:
    async def scenario() -> None:
        # Without a second try, so that a submit that is refused once is seen.
        async with hub.admin() as admin, hub.admin(retry_s=0.0) as once:
            stop = asyncio.Event()
            submitters = [Submitter(once, n) for n in range(6)]
            running = [asyncio.create_task(one.run(stop)) for one in submitters]
            for turn in range(3):
                await acknowledged_more(submitters, 100)
                view = await compacted(admin)
                assert (view["problem"], view["done"]) == ("", turn + 1)
                print(
                    "rewrite", turn, view["last"], "longest submit", max(one.longest_s for one in submitters)
                )
            await acknowledged_more(submitters, 50)
            stop.set()
            await asyncio.gather(*running)
        hub.kill()
        hub.start()
        async with hub.admin() as admin:
            for one in submitters:
                for task_id in one.acknowledged.values():
                    assert (await admin.task(task_id))["task_id"] == task_id
            stats = await admin.call("GET", "/api/tasks/stats")
            assert stats["by_status"]["queued"] == sum(len(one.acknowledged) for one in submitters)

    asyncio.run(scenario())
    assert hub.complaints() == []
    assert [path.name for path in sorted(hub.data.glob("store-*"))][-1] == "store-3"


def test_finished_tasks_and_the_journal_go_with_their_time_and_others_stay(make_hub: Any) -> None:
    hub = make_hub(**RETENTION)

    async def scenario() -> None:
        async with hub.admin() as admin:
            kept = (await admin.submit("waits", idempotency_key="a")).task_id
            gone = [(await admin.submit(f"goes {n}", priority="high")).task_id for n in range(230)]
            for task_id in gone:
                await admin.cancel(task_id)
            async with asyncio.timeout(30):
                while (await admin.call("GET", "/api/tasks/stats"))["by_status"]["cancelled"]:
                    await asyncio.sleep(0.05)
            for task_id in (gone[0], gone[-1]):
                with pytest.raises(Refused, match=f"there is no task {task_id}"):
                    await admin.task(task_id)
            assert (await admin.submit("waits", idempotency_key="a")).task_id == kept
            view = await admin.call("GET", "/api/compaction")
            assert view["removed"]["tasks"] == len(gone)
            async with asyncio.timeout(60):  # a snapshot and the archive have it by then
                while not view["removed"].get("entries of the journal"):
                    await asyncio.sleep(0.1)
                    view = await admin.call("GET", "/api/compaction")
            health = await admin.health()
            assert (health["alerts"], health["parts"]["compaction"]["problem"]) == ([], "")

    asyncio.run(scenario())
    assert hub.complaints() == []
