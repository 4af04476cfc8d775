"""What was said and is too old goes from a real hub: also from the mailbox of one who has slept all the time."""

import asyncio
from typing import Any

import pytest

from agentcom.client import Hub
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0
AT_ONCE = {"retention__mailbox_s": "0.001", "retention__messages_s": "0.001", "compaction__every_s": "0.2"}


async def until(hub: Hub, path: str, **wanted: Any) -> dict[str, Any]:
    """Until what is there is so."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found: dict[str, Any] = await hub.call("GET", path)
            if {name: found[name] for name in wanted} == wanted:
                return found
            await asyncio.sleep(0.05)


def test_mail_that_nobody_read_a_channels_log_and_the_messages_go(make_hub: Any) -> None:
    hub: HubProcess = make_hub(registration="open")

    async def said() -> None:
        async with hub.admin() as admin:
            await admin.register("ada", "", [])
            await admin.call("POST", "/api/channels", {"name": "builds"})
            await admin.call("POST", "/api/channels/builds/publish", {"payload": {"n": 1}})
            await admin.call("POST", "/api/message", {"to": "ada", "payload": {"n": 2}})
            await until(admin, "/api/mailbox/ada", pending=1, dropped=0)
            await until(admin, "/api/messages", count=2)
            await until(admin, "/api/channels/builds/history", count=1)

    async def forgotten() -> None:
        async with hub.admin() as admin:
            await until(admin, "/api/mailbox/ada", pending=0, dropped=1)
            await until(admin, "/api/channels/builds/history", count=0)
            await until(admin, "/api/messages", count=0)

    asyncio.run(said())
    hub.kill()
    hub.settings |= {name.replace("__", "."): value for name, value in AT_ONCE.items()}
    hub.start()
    asyncio.run(forgotten())
    assert hub.complaints() == []
