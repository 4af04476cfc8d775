"""A hub that is killed while it works goes on with its archive: no gap, no entry twice."""

import asyncio
from collections.abc import Callable

import pytest

from agentcom.store.foreign import Foreign
from agentcom.store.replay import entries_along
from agentcom.store.segments import SegmentReader, listed
from agentcom.store.tables import TABLES
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow
DEADLINE_S = 60.0


async def submit(process: HubProcess, number: int) -> None:
    async with process.admin() as admin:
        for n in range(number):
            await admin.submit(description=f"task {n}")


async def archived(process: HubProcess) -> None:
    async with process.admin() as admin, asyncio.timeout(DEADLINE_S):
        while True:
            part = (await admin.health())["parts"].get("archive", {})
            if part.get("lag") == 0 and part["newest_seq"] > 0:
                return
            await asyncio.sleep(0.02)


def test_the_archive_is_continued_after_kill_nine(make_hub: Callable[..., HubProcess]) -> None:
    process = make_hub(archive__every_s="0.01", archive__segment_bytes="20000")

    async def lives() -> None:
        for _ in range(4):
            await submit(process, 15)
            process.kill()  # whatever the archive is doing
            process.start()
        await submit(process, 1)
        await archived(process)
        process.terminate()
        assert await process.ended() == 0

    asyncio.run(lives())
    folder = process.data / "archive"
    with Foreign(process.data / "store", lock=False) as store, store.reading() as view:
        journal = {
            int.from_bytes(k, "big"): row for k, row in view.forward(TABLES["journal"].number, b"", None)
        }
    found = [tuple(entry) for entry in entries_along(folder, (), 1)]
    assert found == sorted(journal.items())[: len(found)]
    assert (
        len(journal) - len(found) < 10
    )  # what the others commit while they stop is shipped at the next start
    assert sum(len(list(SegmentReader(segment.path))) for segment in listed(folder)) == len(found)
