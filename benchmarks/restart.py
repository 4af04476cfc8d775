"""How long a supervisor takes from a child's crash to its next life being ready, on the loop base.

Lives here: one function for whoever measures the runtime. May import: agentcom.runtime, supervisors, stdlib.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import msgspec
import structlog
from thespian.actors import ActorAddress

from agentcom.runtime import LoopSystemBase, Port
from supervisors.base import Supervised
from supervisors.messages import CrashNow, Note
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec


class Alive(Note, frozen=True):
    """Said by each life as it gets ready."""

    start: int


class Phoenix(Supervised):
    def on_start(self, args: ActorAddress) -> None:
        self.ready()
        self.send(args, Alive(self.start))


class Restarts(msgspec.Struct, frozen=True):
    """Seconds from a crash to the next life's `ready()`."""

    runs: int
    median_s: float
    p99_s: float


async def measure(runs: int = 500, siblings: int = 10) -> Restarts:
    """One child of a one_for_one supervisor crashes `runs` times, beside idle siblings."""
    base = LoopSystemBase(loop=asyncio.get_running_loop())
    alive: asyncio.Queue[object] = asyncio.Queue()
    port = base.open_port(lambda msg, _sender: alive.put_nowait(msg))
    names = ["phoenix", *(f"sibling {n}" for n in range(siblings))]
    actor = "benchmarks.restart:Phoenix"
    children = tuple(ChildSpec(name=name, actor=actor, args=port.address) for name in names)
    root = await Root.start(base, SupervisorSpec(intensity=runs, children=children))
    for _ in names:
        await alive.get()
    took = [await _one(root, port, alive) for _ in range(runs)]
    await root.stop()
    await base.aclose()
    took.sort()
    return Restarts(runs, statistics.median(took), took[int(runs * 0.99)])


async def _one(root: Root, port: Port, alive: asyncio.Queue[object]) -> float:
    address = await root.where("phoenix")
    assert address is not None
    begun = time.perf_counter()
    port.send(address, CrashNow())
    await alive.get()
    return time.perf_counter() - begun


def main() -> None:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # the log costs what it costs the hub
        structlog.configure(
            processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
            logger_factory=structlog.WriteLoggerFactory(file=nowhere),
        )
        found = asyncio.run(measure())
    print(f"{found.runs} restarts: median {found.median_s * 1e6:.0f} us, p99 {found.p99_s * 1e6:.0f} us")


if __name__ == "__main__":
    main()
