"""Many agents at once: how fast they connect, what each costs, and what they cost while nothing happens.

`python -m benchmarks.connections [--agents N] [--idle SECONDS]`; the hub is a process of its own with its defaults.
May import: argparse, asyncio, msgspec, agentcom.protocol.frames, benchmarks.{cli, hub, meter, ws}.
"""

import argparse
import asyncio
import resource
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from agentcom.protocol.frames import ErrorFrame, Heartbeat, Hello, Welcome
from benchmarks import ws
from benchmarks.hub import LAUNCH, Hub
from benchmarks.meter import cpu_seconds

AT_ONCE = 64
HEARTBEAT_S = 30.0
PARTS = 5


class Found(msgspec.Struct, frozen=True):
    agents: int
    registered_per_s: float
    connects_per_s: list[float]  #: of each fifth of the agents, in the order in which they came
    cpu_ms_a_connect: list[float]  #: of the hub, likewise; other programs do not enter it
    kb_an_agent: float  #: RssAnon's growth from before the first connect
    idle_cpu: float  #: of one core
    errors: int


class Agent:
    """One connection that beats and does nothing else."""

    def __init__(self, agent_id: str, token: str) -> None:
        self.agent_id, self.token = agent_id, token
        self.errors = 0
        self._welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._socket: ws.Socket | None = None

    async def join(self, hub: Hub) -> None:
        self._socket = await ws.connect(hub.host, hub.port, self._on_frame, self._on_close)
        self._socket.send(
            Hello(agent_id=self.agent_id, token=self.token, instance="one", capabilities=["idle"])
        )
        await asyncio.wait_for(self._welcomed, 60)

    def beat(self) -> None:
        if self._socket is not None:
            self._socket.send(Heartbeat())

    def leave(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _on_frame(self, frame: Any) -> None:
        if isinstance(frame, Welcome) and not self._welcomed.done():
            self._welcomed.set_result(None)
        elif isinstance(frame, ErrorFrame):
            self._failed(f"{frame.code}: {frame.message}")

    def _on_close(self, reason: str) -> None:
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        self.errors += 1
        if not self._welcomed.done():
            self._welcomed.set_exception(ConnectionError(reason))


async def measure(hub: Hub, count: int, idle_s: float) -> Found:
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:  # so that they share commits
        tokens = list(pool.map(lambda n: hub.register(f"idle-{n}", ["idle"]), range(count)))
    registered = count / (time.perf_counter() - begun)
    agents = [Agent(f"idle-{n}", token) for n, token in enumerate(tokens)]
    before_mb = hub.rss_anon_mb()
    parts = [await _join(hub, agents[part::PARTS]) for part in range(PARTS)]
    rates, cpu_ms = [rate for rate, _ in parts], [cpu for _, cpu in parts]
    kb = (hub.rss_anon_mb() - before_mb) * 1024 / count
    idle_cpu = await _idle(hub, agents, idle_s)
    errors = sum(agent.errors for agent in agents)
    for agent in agents:
        agent.leave()
    return Found(count, registered, rates, cpu_ms, kb, idle_cpu, errors)


async def _join(hub: Hub, agents: list[Agent]) -> tuple[float, float]:
    """Connects in a second, and the hub's CPU milliseconds for each."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(agent: Agent) -> None:
        async with gate:
            await agent.join(hub)

    begun, cpu = time.perf_counter(), cpu_seconds(hub.pid)
    await asyncio.gather(*map(one, agents))
    used = cpu_seconds(hub.pid) - cpu
    return len(agents) / (time.perf_counter() - begun), used * 1000 / len(agents)


async def _idle(hub: Hub, agents: list[Agent], seconds: float) -> float:
    """CPU share while each beats once in `HEARTBEAT_S`, at even distances."""
    begun, cpu = time.perf_counter(), cpu_seconds(hub.pid)
    sent = 0
    while (passed := time.perf_counter() - begun) < seconds:
        due = int(passed / HEARTBEAT_S * len(agents))
        for n in range(sent, due):
            agents[n % len(agents)].beat()
        sent = due
        await asyncio.sleep(0.05)
    return (cpu_seconds(hub.pid) - cpu) / (time.perf_counter() - begun)


def main(argv: list[str]) -> int:
    parse = argparse.ArgumentParser(prog="python -m benchmarks.connections", description=__doc__)
    parse.add_argument("--agents", type=int, default=1_000)
    parse.add_argument("--idle", type=float, default=15.0, metavar="SECONDS")
    arguments = parse.parse_args(argv)
    _allow_files(2 * arguments.agents + 1_000)
    with tempfile.TemporaryDirectory() as folder:
        hub = Hub(Path(folder) / "hub", LAUNCH, [f"lease.heartbeat_s={HEARTBEAT_S}"])
        try:
            hub.start()
            found = asyncio.run(measure(hub, arguments.agents, arguments.idle))
        finally:
            hub.kill()
    rates = " ".join(f"{rate:,.0f}" for rate in found.connects_per_s)
    print(f"{found.agents:,} agents, registered {found.registered_per_s:,.0f}/s")
    print(f"connects/s, by fifths: {rates} (aim: 500, and not falling)")
    print(f"hub's CPU for each, ms: {' '.join(f'{each:.2f}' for each in found.cpu_ms_a_connect)}")
    print(f"RssAnon an agent: {found.kb_an_agent:,.0f} KB (aim: 60)")
    print(f"idle CPU at {HEARTBEAT_S:g} s heartbeats: {found.idle_cpu:.1%} of a core (aim: 10 % at 5,000)")
    print(f"errors: {found.errors}")
    return 1 if found.errors else 0


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the hub is ended on the way out
    sys.exit(main(sys.argv[1:]))
