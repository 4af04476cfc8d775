"""Watching the demo's tasks until they have ended: a live board on a terminal, plain lines elsewhere.

May import: rich, agentcom.cli.{demo_board, demo_fleet, demo_tasks}, agentcom.client.
"""

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from agentcom.cli.demo_board import Line, board, changes, line
from agentcom.cli.demo_fleet import Fleet
from agentcom.cli.demo_tasks import TASKS
from agentcom.client import Hub

POLL_S = 0.2


class Watch:
    """Asks the hub a few times a second, and shows what changed."""

    def __init__(self, console: Console, hub: Hub, fleet: Fleet, ids: Sequence[str]) -> None:
        self._console = console
        self._hub = hub
        self._fleet = fleet
        self._ids = ids
        self._lines = [line(one, None, 0.0) for one in TASKS]
        self._began = time.monotonic()

    async def until_ended(self, timeout_s: float) -> None:
        """Returns when all have ended or the time is over. Raises `Ended` when a process of ours is gone."""
        live = (
            Live(console=self._console, auto_refresh=False, transient=True)
            if self._console.is_terminal
            else None
        )
        if live is None:
            await self._loop(timeout_s, None)
        else:
            with live:
                await self._loop(timeout_s, live)

    async def _loop(self, timeout_s: float, live: Live | None) -> None:
        while not all(each.final for each in self._lines) and self._seconds() < timeout_s:
            self._fleet.check()
            self._show(await self._ask(), live)
            await asyncio.sleep(POLL_S)

    async def _ask(self) -> list[Line]:
        page = await self._hub.tasks(limit=100)
        tasks = {task["task_id"]: task for task in page["tasks"]}
        now_ms = time.time() * 1_000
        return [line(one, tasks.get(id_), now_ms) for one, id_ in zip(TASKS, self._ids, strict=True)]

    def _show(self, lines: list[Line], live: Live | None) -> None:
        before, self._lines = self._lines, lines
        if live is not None:
            live.update(board(lines, self._seconds()), refresh=True)
            return
        for text in changes(before, lines, self._seconds()):
            self._console.print(text, markup=False)

    def _seconds(self) -> float:
        return time.monotonic() - self._began
