"""A real browser, driven over its DevTools socket: Chromium without a window, with a profile of its own.

It talks to loopback only: whatever it would look up or update by itself is switched off.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

DEADLINE_S = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--window-size=1280,1400",
]
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


class Page:
    """One tab. `complaints` are what its console and its requests had to say."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []

    async def listen(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for raw in self._socket:
                said = json.loads(raw)
                if "id" in said:
                    self._waiting.pop(said["id"]).set_result(said)
                else:
                    self._note(said["method"], said.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["exception"].get("description", "?"))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        answer = await asyncio.wait_for(future, DEADLINE_S)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Until that expression is true; a page that is being loaded has none of its parts yet."""
        patient = f"(() => {{ try {{ return {script} }} catch (missing) {{ return false }} }})()"
        async with asyncio.timeout(DEADLINE_S):
            while not await self.run(patient):
                await asyncio.sleep(0.05)

    async def picture(self, file: Path) -> None:
        answer = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(answer["data"]))


@contextlib.asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    argv = [program, *FLAGS, LOOPBACK_ONLY, f"--user-data-dir={profile}", "about:blank"]
    child = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=PIPE)
    try:
        port = await asyncio.wait_for(_port(child), DEADLINE_S)
        async with websockets.connect(await _tab(port), max_size=None) as socket:
            page = Page(socket)
            listening = asyncio.ensure_future(page.listen())
            try:
                yield page
            finally:
                listening.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _port(child: Any) -> int:
    """It says where it listens."""
    while line := (await child.stderr.readline()).decode():
        if "DevTools listening on" in line:
            return int(line.rpartition(":")[2].partition("/")[0])
    raise AssertionError("the browser did not start")


async def _tab(port: int) -> str:
    async with httpx.AsyncClient() as client:
        tabs = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
