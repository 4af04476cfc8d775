"""A real hub on the store that an older release's hub left behind when it was killed."""

import asyncio
import gzip
from pathlib import Path

import pytest

from tests.system.crew import crew_of
from tests.system.hub_process import ROOT, HubProcess

pytestmark = pytest.mark.slow
STORES = sorted((ROOT / "tests" / "data").glob("schema-*"))


@pytest.mark.parametrize("stored", STORES, ids=lambda path: path.name)
def test_a_hub_serves_it_and_goes_on_with_its_tasks(stored: Path, tmp_path: Path) -> None:
    async def scenario(hub: HubProcess) -> None:
        async with hub.admin() as admin:
            stats = await admin.call("GET", "/api/tasks/stats")
            assert sum(stats["by_status"].values()) == 30
            assert (stats["by_status"]["completed"], stats["by_status"]["dead_letter"]) == (4, 4)
            for status, count in stats["by_status"].items():
                assert (await admin.tasks(status=status, limit=100))["count"] == count
            async with crew_of(hub, ["zoe"]):
                task = await admin.submit("one more", needed_capabilities=["work"])
                assert (await admin.wait(task.task_id, 60))["status"] == "completed"
        changed = [line for line in hub.told() if line["event"] == "store.migrated"]
        assert len(changed) == (stored.name == "schema-1")

    (tmp_path / "hub" / "store").mkdir(parents=True)
    packed = (stored / "data.mdb.gz").read_bytes()
    (tmp_path / "hub" / "store" / "data.mdb").write_bytes(gzip.decompress(packed))
    hub = HubProcess(tmp_path, lease__grace_s="1")
    try:
        asyncio.run(scenario(hub))
    finally:
        hub.kill()
        print(hub.log.read_text()[-3_000:])
    assert hub.complaints() == []
