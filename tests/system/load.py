"""Clients that submit without pause and remember every acknowledgement."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count

from agentcom.client import Hub
from agentcom.protocol.rows import LANES
from tests.system.crew import CAPABILITY


class Submitter:
    """Submits until told to stop; sends each again, under its key, until it is acknowledged."""

    def __init__(self, hub: Hub, name: int) -> None:
        self.acknowledged: dict[str, str] = {}
        self.longest_s = 0.0
        self._hub = hub
        self._name = name

    async def run(self, stop: asyncio.Event) -> None:
        for n in count():
            if stop.is_set():
                return
            began = time.monotonic()
            key = f"submitter-{self._name}-{n}"
            task = await self._hub.submit(
                f"idea {key}",
                idempotency_key=key,
                priority=LANES[n % len(LANES)],
                needed_capabilities=[CAPABILITY],
            )
            self.acknowledged[key] = task.task_id
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            await asyncio.sleep(0.01)  # a load, not a flood: the machine is shared


async def acknowledged_more(submitters: Sequence[Submitter], n: int) -> None:
    goal = sum(len(one.acknowledged) for one in submitters) + n
    async with asyncio.timeout(60):
        while sum(len(one.acknowledged) for one in submitters) < goal:
            await asyncio.sleep(0.005)
