"""The load process: one spec from standard input, that load on the hub, one outcome to standard output.

Its own process, so that the hub has a core for itself; raw asyncio, so that it costs the other core little.
May import: asyncio, msgspec, uvloop, benchmarks.{fleet, meter, mix, specs, wire}.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop

from benchmarks import messages, mix, specs, wire
from benchmarks.fleet import Agent
from benchmarks.meter import Meter

SINGLE, MANY = b"/api/tasks", b"/api/tasks/batch"
_encode = msgspec.json.Encoder().encode
Make = Callable[[int], dict[str, Any]]


class Submitter:
    """Sends tasks over its own connections and counts the answers; only a success counts as done."""

    def __init__(
        self, target: specs.Target, meter: Meter, make: Make, *, first: int = 0, timed: bool = False
    ) -> None:
        self._target, self._meter, self._make = target, meter, make
        self._next, self._timed = first, timed

    async def connections(self, count: int) -> list[wire.Connection]:
        target = self._target
        return [await wire.connect(target.host, target.port, target.token) for _ in range(count)]

    async def one(self, connection: wire.Connection) -> None:
        body = _encode(self._take(1)[0])
        began = time.perf_counter()
        answer = await connection.post(SINGLE, body)
        self._judge(answer, answer.status == 201, 1, began)

    async def many(self, connection: wire.Connection, size: int) -> None:
        body = _encode({"tasks": self._take(size)})
        began = time.perf_counter()
        answer = await connection.post(MANY, body)
        good = answer.status in (200, 201) and answer.body.count(b'"task_id"') == size
        self._judge(answer, good, size, began)

    def _take(self, size: int) -> list[dict[str, Any]]:
        start, self._next = self._next, self._next + size
        return [self._make(number) for number in range(start, start + size)]

    def _judge(self, answer: wire.Answer, good: bool, size: int, began: float) -> None:
        if not good:
            shown = answer.body[:200].decode(errors="replace")
            self._meter.error(f"submit was answered {answer.status}: {shown}")
            return
        self._meter.acknowledged += size
        if self._timed:
            self._meter.done(time.perf_counter() - began, size)


async def fill(spec: specs.Fill, meter: Meter) -> None:
    submitter = Submitter(spec.target, meter, lambda n: mix.task(spec.mix, n), first=spec.first, timed=True)
    left = [min(spec.size, spec.count - start) for start in range(0, spec.count, spec.size)]
    left.reverse()

    async def work(connection: wire.Connection) -> None:
        while left:
            size = left.pop()
            await submitter.many(connection, size)

    connections = await submitter.connections(spec.connections)
    meter.open()
    await asyncio.gather(*map(work, connections))
    meter.close()


async def submit(spec: specs.Submit, meter: Meter) -> None:
    submitter = Submitter(spec.target, meter, lambda n: mix.task(mix.Mix(), n), timed=True)
    connections = await submitter.connections(spec.connections)
    await _closed_loop(connections, meter, spec.warmup_s, spec.seconds, submitter.one)


async def batch(spec: specs.Batch, meter: Meter) -> None:
    submitter = Submitter(spec.target, meter, lambda n: mix.task(mix.Mix(), n), timed=True)
    connections = await submitter.connections(spec.connections)
    await _closed_loop(
        connections, meter, spec.warmup_s, spec.seconds, lambda c: submitter.many(c, spec.size)
    )


async def _closed_loop(
    connections: list[wire.Connection],
    meter: Meter,
    warmup_s: float,
    seconds: float,
    act: Callable[[wire.Connection], Awaitable[None]],
) -> None:
    ending = asyncio.Event()

    async def work(connection: wire.Connection) -> None:
        while not ending.is_set():
            await act(connection)

    workers = [asyncio.create_task(work(connection)) for connection in connections]
    await _unless_failed(meter.window(warmup_s, seconds), workers)
    ending.set()
    await asyncio.gather(*workers)


async def lifecycle(spec: specs.Lifecycle, meter: Meter) -> None:
    submitter = Submitter(spec.target, meter, lambda n: mix.task(spec.mix, n))
    owed = asyncio.Semaphore(0)

    def on_done(seconds: float) -> None:
        meter.done(seconds)
        meter.completed += 1
        if meter.completed % spec.chunk == 0:
            owed.release()

    async def top_up(connection: wire.Connection) -> None:
        while True:
            await owed.acquire()
            await submitter.many(connection, spec.chunk)

    connections = await submitter.connections(4)
    fillers = [asyncio.create_task(top_up(connection)) for connection in connections]
    agents = [Agent(plan, lambda *_: None, on_done, meter.error, acked=spec.acked) for plan in spec.agents]
    await asyncio.gather(*(agent.join(spec.target) for agent in agents))
    await _unless_failed(meter.window(spec.warmup_s, spec.seconds), fillers)
    await asyncio.gather(*(agent.leave() for agent in agents))
    await _stop(fillers)


async def _stop(workers: list[asyncio.Task[None]]) -> None:
    """Workers that are waiting for an answer count it first, so that the totals stay true."""
    await asyncio.sleep(0.2)
    for worker in workers:
        worker.cancel()
    for result in await asyncio.gather(*workers, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def latency(spec: specs.Latency, meter: Meter) -> None:
    sent: dict[int, float] = {}

    def on_assign(frame: Any, now: float) -> None:
        began = sent.pop(frame.metadata["n"], None)
        if began is not None:
            meter.done(now - began)

    def on_done(_seconds: float) -> None:
        meter.completed += 1

    agents = [Agent(plan, on_assign, on_done, meter.error) for plan in spec.agents]
    holder = await _holder(spec, meter, on_done)
    await asyncio.gather(*(agent.join(spec.target) for agent in agents))
    await _open_loop(spec, meter, sent)
    if sent:
        meter.error(f"{len(sent)} tasks were not assigned within 5 s")
    await asyncio.gather(*(agent.leave() for agent in [*agents, *holder]))


async def _until_empty(waiting: dict[int, float], deadline_s: float) -> None:
    deadline = time.perf_counter() + deadline_s
    for _ in range(round(deadline_s / 0.01)):
        if not waiting or time.perf_counter() > deadline:
            return
        await asyncio.sleep(0.01)


async def _holder(spec: specs.Latency, meter: Meter, on_done: Callable[[float], None]) -> list[Agent]:
    """Online, and busy with one task of the backlog: so the backlog is work that somebody fits."""
    if spec.holder is None:
        return []
    holder = Agent(spec.holder, lambda *_: None, on_done, meter.error, acked=True, keep=True)
    await holder.join(spec.target)
    await asyncio.wait_for(holder.holding.wait(), 30)
    return [holder]


async def _open_loop(spec: specs.Latency, meter: Meter, sent: dict[int, float]) -> None:
    submitter = Submitter(spec.target, meter, mix.quick_task)
    free = await submitter.connections(16)
    asking: set[asyncio.Task[None]] = set()

    async def ask(number: int, connection: wire.Connection) -> None:
        sent[number] = time.perf_counter()
        await submitter.one(connection)
        free.append(connection)

    warm, total = round(spec.warmup_s * spec.rate), round((spec.warmup_s + spec.seconds) * spec.rate)
    began = time.perf_counter()
    for number in range(total):
        due = began + number / spec.rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if number == warm:
            meter.open()
        meter.late(time.perf_counter() - due)
        if not free:
            free.extend(await submitter.connections(1))
        asking.add(asyncio.create_task(ask(number, free.pop())))
    await asyncio.gather(*asking)
    await _until_empty(sent, 5.0)
    meter.close()


async def _unless_failed(window: Awaitable[None], workers: list[asyncio.Task[None]]) -> None:
    """Wait for the window; a worker that ends before it ends the measurement with its error."""
    watch = asyncio.ensure_future(window)
    done, _ = await asyncio.wait([watch, *workers], return_when=asyncio.FIRST_COMPLETED)
    if watch not in done:
        watch.cancel()
        for worker in done:
            worker.result()
        raise RuntimeError("a load worker ended before the measurement did")
    watch.result()


LOADS: dict[type[specs.Spec], Callable[[Any, Meter], Awaitable[None]]] = {
    specs.Fill: fill,
    specs.Submit: submit,
    specs.Batch: batch,
    specs.Lifecycle: lifecycle,
    specs.Latency: latency,
    specs.DirectRate: messages.at_a_rate,
    specs.DirectPairs: messages.pairs,
    specs.Posts: messages.posts,
}


async def run(spec: specs.AnySpec) -> specs.Outcome:
    meter = Meter(spec.target.pid)
    await LOADS[type(spec)](spec, meter)
    return meter.outcome()


def main() -> None:
    spec: specs.AnySpec = msgspec.json.decode(sys.stdin.buffer.read(), type=specs.AnySpec)
    gc.disable()  # a collection here would be seen as the hub's latency; nothing of this process lives long
    outcome = uvloop.run(run(spec))
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")


if __name__ == "__main__":
    main()
