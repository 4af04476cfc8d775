"""How fast the loop base is: `python -m benchmarks.runtime [--json FILE]`. Rates are per CPU second."""

from __future__ import annotations

import argparse
import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from thespian.actors import Actor, ActorAddress, ActorExitRequest, ActorSystem, WakeupMessage

from agentcom.runtime import LoopSystemBase


class Player(Actor):
    """Counts a ball down; the last answer goes to who threw it in. The count must be odd."""

    thrower: Any = None

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, int) and msg:
            self.send(sender, msg - 1)
        elif msg == 0:
            self.send(self.thrower, "done")
        elif isinstance(msg, tuple):
            self.thrower = sender
            self.send(msg[0], msg[1])


class Sink(Actor):
    """Answers when it has been sent the number of messages that it is asked for."""

    got = 0
    wanted = -1
    asker: Any = None

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if msg == 1:
            self.got += 1
        elif isinstance(msg, int):
            self.wanted, self.asker = msg, sender
        if self.got == self.wanted:
            self.send(self.asker, "done")


class Source(Actor):
    """Sends in portions, so that no mailbox holds everything."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, tuple):
            target, count = msg
            for _ in range(min(count, 20)):
                self.send(target, 1)
            if count > 20:
                self.send(self.myAddress, (target, count - 20))


class Idle(Actor):
    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        pass


class Mother(Actor):
    """Creates a child and tells it to go, again and again."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, int):
            for _ in range(msg):
                self.send(self.createActor(Idle), ActorExitRequest())
            self.send(self.myAddress, "born")
            self.asker = sender
        elif msg == "born":
            self.send(self.asker, "done")


class Sleeper(Actor):
    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, tuple):
            count, after_s = msg
            began = time.process_time()
            for n in range(count):
                self.wakeupAfter(after_s + n / 1e6)
            self.send(sender, time.process_time() - began)
        elif isinstance(msg, WakeupMessage):
            pass


Bench = Callable[[LoopSystemBase], dict[str, float]]


def ping_pong(base: LoopSystemBase, count: int = 200_001) -> dict[str, float]:
    one, two = base.newPrimaryActor(Player), base.newPrimaryActor(Player)
    return {"ping-pong sends/s": count / _cpu(lambda: base.ask(one, (two, count), 60))}


def fan_in(base: LoopSystemBase, actors: int, count: int = 200_000) -> dict[str, float]:
    sink = base.newPrimaryActor(Sink)
    sources = [base.newPrimaryActor(Source) for _ in range(actors)]
    each = count // actors

    def run() -> None:
        for source in sources:
            base.tell(source, (sink, each))
        assert base.ask(sink, each * actors, 60) == "done"

    return {f"fan-in from {actors} sends/s": count / _cpu(run)}


def create_and_exit(base: LoopSystemBase, count: int = 20_000) -> dict[str, float]:
    mother = base.newPrimaryActor(Mother)
    seconds = _cpu(lambda: base.ask(mother, count, 60))
    return {"create + exit /s": count / seconds}


def ask_latency(base: LoopSystemBase, count: int = 3_000) -> dict[str, float]:
    player = base.newPrimaryActor(Player)
    took = sorted(_timed(lambda: base.ask(player, 5, 10)) for _ in range(count))
    return {"ask p50 µs": took[count // 2] * 1e6, "ask p99 µs": took[count * 99 // 100] * 1e6}


def timers(base: LoopSystemBase, count: int = 100_000) -> dict[str, float]:
    sleeper = base.newPrimaryActor(Sleeper)
    seconds = base.ask(sleeper, (count, 3600.0), 60)
    name = f"ping-pong beside {count} timers sends/s"
    return {"timers set /s": count / seconds, name: ping_pong(base)["ping-pong sends/s"]}


def memory(base: LoopSystemBase, count: int = 10_000) -> dict[str, float]:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [base.newPrimaryActor(Idle) for _ in range(count)]
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"idle actor bytes": used / len(kept)}


BENCHES: list[Bench] = [
    ping_pong,
    lambda base: fan_in(base, 10),
    lambda base: fan_in(base, 1_000),
    lambda base: fan_in(base, 10_000),
    create_and_exit,
    ask_latency,
    timers,
    memory,
]


def measure(strict: bool) -> dict[str, float]:
    figures: dict[str, float] = {}
    for bench in BENCHES:
        base = LoopSystemBase({}, strict=strict)
        asys = ActorSystem(systemBase=base, transientUnique=True, capabilities=base.capabilities)
        figures |= bench(base)
        asys.shutdown()
    return figures


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _cpu(call: Callable[[], object]) -> float:
    """Throughput is counted by CPU seconds, which other load on the machine does not change much."""
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    plain, strict = measure(strict=False), measure(strict=True)
    print(f"{'':40} {'plain':>12} {'strict':>12}")
    for name, figure in plain.items():
        print(f"{name:40} {figure:12,.0f} {strict[name]:12,.0f}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"plain": plain, "strict": strict}, file, indent=2)


if __name__ == "__main__":
    main()
