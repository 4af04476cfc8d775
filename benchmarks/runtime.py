"""How fast our bases are, beside Thespian's in the same run: `python -m benchmarks.runtime [--json FILE]`.

Rates within one process are per CPU second, which other load changes little; across processes, and times, by the wall.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import socket
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import msgspec
import structlog
from thespian.actors import ActorSystem

from agentcom.runtime import LoopSystemBase, SimSystemBase
from benchmarks.runtime_actors import Echo, Idle, Mother, Player, Sink, Sleeper, Source
from supervisors.messages import CrashNow
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec

QUIET = {"version": 1, "root": {"level": "CRITICAL", "handlers": []}}
PATIENCE_S = 120


class Figure(msgspec.Struct, frozen=True):
    """One line of the table. An aim is the least, or with `at_most` the most, that the loop base may have."""

    name: str
    aim: float = 0.0
    at_most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.aim if self.at_most else value >= self.aim


class Kind(msgspec.Struct, frozen=True):
    """A base to measure, and how much of the full work it can do in reasonable time."""

    name: str
    start: Callable[[], ActorSystem]
    share: float
    own_process: bool = False  # actors are processes: the wall counts, and only a few of them


def _ours(strict: bool) -> ActorSystem:
    base = LoopSystemBase({}, strict=strict)
    return ActorSystem(systemBase=base, transientUnique=True, capabilities=base.capabilities)


def _tcp() -> ActorSystem:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return ActorSystem("multiprocTCPBase", {"Admin Port": port}, logDefs=QUIET, transientUnique=True)


KINDS = [
    Kind("loop", lambda: _ours(strict=False), 1.0),
    Kind("loop, strict", lambda: _ours(strict=True), 0.5),
    Kind("simple", lambda: ActorSystem("simpleSystemBase", logDefs=QUIET, transientUnique=True), 0.1),
    Kind("multiprocTCP", _tcp, 0.002, own_process=True),
]

PING_PONG = Figure("ping-pong, sends/s", 500_000)
FAN_IN = {n: Figure(f"from {n} actors to one, sends/s", 500_000) for n in (10, 100, 1_000, 10_000)}
BYTES = Figure("an idle actor of 10,000, bytes", 1_500, at_most=True)
BESIDE_IDLE = Figure("ping-pong beside 10,000 idle, share of without", 0.85)
RESTING = Figure("CPU of 10,000 idle actors, ms per second", 5.0, at_most=True)
TIMER = {n: Figure(f"setting a timer, {n} pending, µs") for n in (1_000, 10_000, 100_000)}
TIMER_GROWTH = Figure("the same, 100,000 to 1,000, ratio", 2.0, at_most=True)
BESIDE_TIMERS = Figure("ping-pong beside 100,000 timers, share of without", 0.85)
LIVES = Figure("create + exit, /s", 50_000)
ASK = Figure("ask from another thread, median µs", 100.0, at_most=True)
ASK_P99 = Figure("ask from another thread, p99 µs")
RESTART = Figure("supervisor: crash to successor ready, median ms", 1.0, at_most=True)
SIM = Figure("simulation, deliveries/s", 50_000)

Values = dict[Figure, float]


def throughput(kind: Kind) -> Values:
    values = {PING_PONG: _best(kind, _ping_pong)}
    for actors, figure in FAN_IN.items():
        if not kind.own_process or actors == 10:
            values[figure] = _best(kind, partial(_fan_in, actors=actors))
    return values if kind.own_process else values | {LIVES: _best(kind, _lives)}


def _ping_pong(asys: ActorSystem, kind: Kind) -> float:
    count = int(100_000 * kind.share) | 1
    one, two = asys.createActor(Player), asys.createActor(Player)
    return count / _spent(kind, lambda: asys.ask(one, (two, count), PATIENCE_S))


def _fan_in(asys: ActorSystem, kind: Kind, actors: int) -> float:
    sink = asys.createActor(Sink)
    sources = [asys.createActor(Source) for _ in range(actors)]
    each = max(
        1, int(max(100_000, 100 * actors) * kind.share) // actors
    )  # far more than the tells that start it

    def run() -> None:
        for source in sources:
            asys.tell(source, (sink, each))
        assert asys.ask(sink, each * actors, PATIENCE_S) == "done"

    return each * actors / _spent(kind, run)


def _lives(asys: ActorSystem, kind: Kind) -> float:
    count = int(40_000 * kind.share)
    mother = asys.createActor(Mother)
    return count / _spent(kind, lambda: asys.ask(mother, count, PATIENCE_S))


def latency(kind: Kind) -> Values:
    asys = kind.start()
    echo, count = asys.createActor(Echo), 500 if kind.own_process else 3_000
    took = sorted(_wall(lambda: asys.ask(echo, 5, 10)) for _ in range(count))
    asys.shutdown()
    return {ASK: took[count // 2] * 1e6, ASK_P99: took[count * 99 // 100] * 1e6}


def timers(kind: Kind) -> Values:
    """Thespian's own bases look at all timers at every message; as many as ours can bear would never end there."""
    values: Values = {}
    for pending, figure in TIMER.items():
        asys = kind.start()
        without = _best_of(asys, kind) if pending == 100_000 else 0.0
        sleeper = asys.createActor(Sleeper)
        values[figure] = min(asys.ask(sleeper, pending, PATIENCE_S) for _ in range(3)) * 1e3
        if pending == 100_000:
            values[BESIDE_TIMERS] = _best_of(asys, kind) / without
        asys.shutdown()
    values[TIMER_GROWTH] = values[TIMER[100_000]] / values[TIMER[1_000]]
    return values


def idle(kind: Kind) -> Values:
    asys = kind.start()
    without = _best_of(asys, kind)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [asys.createActor(Idle) for _ in range(10_000)]
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    began = time.process_time()
    time.sleep(1.0)
    resting = time.process_time() - began
    beside = _best_of(asys, kind) / without
    asys.shutdown()
    return {BYTES: used / len(kept), RESTING: resting * 1e3, BESIDE_IDLE: beside}


def restarts(crashes: int = 300) -> Values:
    """From the crash's message to the successor's `ready`, both as seen by the program around the tree."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50)
    )  # what it costs to print is not ours

    async def run() -> list[float]:
        base = LoopSystemBase(loop=asyncio.get_running_loop())
        started: asyncio.Queue[float] = asyncio.Queue()
        port = base.open_port(lambda _msg, _sender: started.put_nowait(time.perf_counter()))
        child = ChildSpec(name="phoenix", actor="benchmarks.runtime_actors:Phoenix", args=port.address)
        root = await Root.start(base, SupervisorSpec(children=(child,), intensity=10**6, period_s=0.1))
        await started.get()
        took = []
        for _ in range(crashes):
            address = await root.where("phoenix")
            assert address is not None
            began = time.perf_counter()
            port.send(address, CrashNow())
            took.append(await started.get() - began)
        await root.stop()
        await base.aclose()
        return took

    return {RESTART: statistics.median(asyncio.run(run())) * 1e3}


def simulation(count: int = 100_001) -> Values:
    """Strict, with random turns between two pairs, and every delivery in the trace."""

    def once(seed: int) -> float:
        sim = SimSystemBase(seed)
        pairs = [(sim.create(Player), sim.create(Player)) for _ in range(2)]
        began = time.process_time()
        for one, two in pairs:
            sim.tell(one, (two, count // 4 | 1))
        sim.run_until_idle()
        return sim.deliveries / (time.process_time() - began)

    return {SIM: max(once(seed) for seed in range(3))}


def _best(kind: Kind, measure: Callable[[ActorSystem, Kind], float]) -> float:
    """The best of three fresh systems: other load can only slow one down."""

    def once() -> float:
        asys = kind.start()
        try:
            return measure(asys, kind)
        finally:
            asys.shutdown()

    return max(once() for _ in range(3))


def _best_of(asys: ActorSystem, kind: Kind) -> float:
    return max(_ping_pong(asys, kind) for _ in range(4))


def _wall(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _spent(kind: Kind, call: Callable[[], object]) -> float:
    clock = time.perf_counter if kind.own_process else time.process_time
    gc.collect()
    began = clock()
    call()
    return clock() - began


def measure() -> dict[str, Values]:
    found: dict[str, Values] = {}
    for kind in KINDS:
        found[kind.name] = throughput(kind) | latency(kind)
    for kind in KINDS[:2]:
        found[kind.name] |= timers(kind) | idle(kind)
    found["simple"][BYTES] = idle(KINDS[2])[BYTES]
    found["loop"] |= restarts()
    found["simulation"] = simulation()
    return found


ORDER = [
    PING_PONG, *FAN_IN.values(), BYTES, BESIDE_IDLE, RESTING, *TIMER.values(), TIMER_GROWTH, BESIDE_TIMERS, LIVES,
    ASK, ASK_P99, RESTART, SIM,
]  # fmt: skip


def table(found: dict[str, Values]) -> list[str]:
    columns = [kind.name for kind in KINDS]
    lines = [f"{'':50}" + "".join(f"{name:>14}" for name in columns) + f"{'loop/simple':>13}{'aim':>11}  met"]
    for figure in ORDER:
        source = found["simulation"] if figure is SIM else found["loop"]
        ours, simple = source[figure], found["simple"].get(figure)
        cells = "".join(_cell(found[name].get(figure, ours if figure is SIM and name == "loop" else None))
                        for name in columns)  # fmt: skip
        ratio = f"{ours / simple:13.2f}" if simple else f"{'':13}"
        aim = f"{'≤' if figure.at_most else '≥'}{figure.aim:,.10g}" if figure.aim else ""
        lines.append(f"{figure.name:50}{cells}{ratio}{aim:>11}  {_verdict(figure, ours)}")
    return lines


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'-':>14}"
    return f"{value:14,.2f}" if value < 100 else f"{value:14,.0f}"


def _verdict(figure: Figure, value: float) -> str:
    if not figure.aim:
        return ""
    return "yes" if figure.met(value) else "NO"


def interpreter() -> str:
    """How it was compiled matters: one build may be twice as fast as another of the same version."""
    return f"Python {platform.python_version()} ({platform.python_compiler()}), {sys.executable}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    found = measure()
    print(interpreter())
    print("\n".join(table(found)))
    if arguments.json:
        plain = {
            name: {figure.name: value for figure, value in values.items()} for name, values in found.items()
        }
        with open(arguments.json, "w") as file:
            json.dump({"interpreter": interpreter(), **plain}, file, indent=2)


if __name__ == "__main__":
    main()
