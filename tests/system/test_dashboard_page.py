"""The dashboard as somebody sees it: a real hub, a real browser."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.browser import Page, browser
from tests.system.crew import crew_of
from tests.system.hub_process import HubProcess

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


async def log_in(page: Page, hub: HubProcess, token: str) -> None:
    await page.open(f"http://127.0.0.1:{hub.port}/dashboard")
    await page.until("document.querySelector('#login') && !document.querySelector('#login').hidden")
    await page.run(f"document.querySelector('#token').value = {json.dumps(token)}")
    await page.run("document.querySelector('#login button').click()")


def shows(table: str, text: str) -> str:
    return f"document.querySelector('#{table}').textContent.includes({json.dumps(text)})"


def test_somebody_logs_in_sees_what_happens_retries_what_was_given_up_and_logs_out(
    make_hub: Any, tmp_path: Path
) -> None:
    hub: HubProcess = make_hub(registration="open")
    asyncio.run(story(hub, tmp_path))
    assert hub.complaints() == []


async def story(hub: HubProcess, folder: Path) -> None:
    async with hub.admin() as admin, browser(folder / "profile") as page:
        lost = await admin.submit(HOSTILE, max_attempts=1, complete_by=int(time.time() * 1000) + 1_000)
        await log_in(page, hub, (hub.data / "admin.token").read_text().strip())
        await page.until("document.querySelector('#line').textContent === 'connected'")
        await page.until(shows("dead_letter", lost.task_id))
        async with crew_of(hub, ["ada"]):
            await page.until(shows("agents", "ada"))
            done = await admin.submit("a task for ada", needed_capabilities=["work"])
            await page.until(shows("recent", done.task_id))
            await page.until(shows("events", f"{done.task_id} completed by ada"))
        await page.run("document.querySelector('#dead_letter button').click()")
        await page.until(shows("events", f"{lost.task_id} retried"))
        await page.picture(folder / "dashboard.png")
        assert await page.run("document.title") == "AgentCom"
        assert await page.run("document.querySelectorAll('#board img').length") == 0
        assert [said for said in page.complaints if "401" not in said] == []  # before the login
        await page.run("document.querySelector('#logout').click()")
        await page.until("!document.querySelector('#login').hidden")


def test_a_wrong_token_is_told_and_shows_nothing(make_hub: Any, tmp_path: Path) -> None:
    hub: HubProcess = make_hub()

    async def scene() -> None:
        async with browser(tmp_path / "profile") as page:
            await log_in(page, hub, "wrong")
            await page.until("document.querySelector('#refused').textContent !== ''")
            assert await page.run("document.querySelector('#board').hidden")

    asyncio.run(hub.serving())
    asyncio.run(scene())
