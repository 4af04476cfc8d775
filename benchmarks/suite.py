"""The order of measurements at one depth, each on a hub of its own data folder.

Fill, then what leaves the queue as deep as it was (latency, life cycle), then `kill -9` and restart, then
what makes it deeper (submit, batch); the peers right after the submits they are compared with. The last
check is the promise: no acknowledged task is missing.
May import: msgspec, agentcom.store.errors, benchmarks.{durability, figures, hub, mix, peers, profiling, specs, store}.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from agentcom.store.errors import StoreError
from benchmarks import durability, mix, peers, specs, store
from benchmarks.figures import Figure, of_commits, of_latency, of_rate, shares
from benchmarks.hub import ROOT, Hub, HubError
from benchmarks.profiling import profiled

AGENTS = 8
RATES = (20, 100)
PEERS, STORE, MESSAGES, DURABILITY = "peers", "store", "messages", "durability"
RECEIVERS = 200
WHAT = ("submit", "batch", "lifecycle", "latency", PEERS, STORE)
HUBLESS = (PEERS, STORE)
"""What needs no hub."""
PYTHON_S = 1.0


class LoadError(Exception):
    """The load process ended with an error, or not at all."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    what: frozenset[str]
    seconds: float
    warmup_s: float = 1.0
    profiles: Path | None = None  #: folder for profiles, None for no profiling


Say = Callable[[str], None]


class Suite:
    """Runs on one hub; collects figures, errors and what the hub has acknowledged."""

    def __init__(self, hub: Hub, depth: int, plan: mix.Mix, options: Options, say: Say) -> None:
        self._hub, self._depth, self._mix, self._options, self._say = hub, depth, plan, options, say
        self._acknowledged = 0
        self._phase = 0
        self.figures: list[Figure] = []
        self.errors: list[str] = []

    def at_depth(self) -> None:
        """All that was asked for, on the plain mix."""
        self._calibrate("python.before")
        self._start_and_fill("memory.start", "memory.growth", "fill.rate", "disk.size")
        self._if("latency", self._latencies)
        self._if("lifecycle", self._lifecycles)
        self._restart("restart.seconds", "memory.restarted")
        self._if("submit", self._submit)
        self._if(PEERS, self._peers)
        self._if("batch", self._batch)
        self._check_nothing_is_missing()
        self._hub.stop()
        self._calibrate("python.after")

    def only_peers(self) -> None:
        """Without a hub."""
        self._calibrate("python.before")
        self._attempt(PEERS, self._peers)
        self._calibrate("python.after")

    def only_store(self) -> None:
        """Without a hub: the store actor in a process of its own."""
        self._calibrate("python.before")
        self._attempt(STORE, self._store)
        self._calibrate("python.after")

    def messages(self) -> None:
        """Agents that talk, on a hub without tasks."""
        self._calibrate("python.before")
        self._hub.start()
        self._attempt(MESSAGES, self._talk)
        self._hub.stop()
        self._calibrate("python.after")

    def _talk(self) -> None:
        seconds, warmup_s = self._options.seconds, self._options.warmup_s
        plans = self._agents([()] * (2 * AGENTS))
        rate = specs.DirectRate(
            target=self._target(), agents=plans, rate=500, seconds=seconds, warmup_s=warmup_s
        )
        self.figures += of_latency("direct500", self._depth, self._load(rate, "direct messages at 500/s"))
        pairs = specs.DirectPairs(
            target=self._target(),
            agents=self._agents([()] * (2 * AGENTS)),
            seconds=seconds,
            warmup_s=warmup_s,
        )
        self.figures += of_rate("direct", self._depth, self._load(pairs, "direct messages"))
        self._hub.make_channel("bench")
        posts = specs.Posts(
            target=self._target(),
            agents=self._agents([()] * (RECEIVERS + 1)),
            channel="bench",
            seconds=seconds,
            warmup_s=warmup_s,
        )
        self.figures += of_rate("posts", self._depth, self._load(posts, "posts to a channel"))

    def durable(self) -> None:
        """What keeping the data safe costs, at one depth."""
        self._start_and_fill("", "", "", "disk.size")
        self._hub.stop(deadline_s=120.0)
        self._say("start again after an orderly stop")
        self._figure("restart.clean", self._hub.start(ready_s=600))
        self._attempt("verify", self._verify)
        self._attempt("snapshot", self._snapshot)
        self._restart("restart.seconds", "")
        self._hub.stop()

    def _verify(self) -> None:
        self._say("verify, beside the idle hub")
        self._figure("verify.rate", durability.verify_rate(self._hub.data))

    def _snapshot(self) -> None:
        self._say("submits beside a snapshot, which is stopped and continued in turns")
        seconds = min(3.0, self._options.seconds)

        def piece() -> float:
            spec = specs.Submit(target=self._target(), seconds=seconds, warmup_s=0.5)
            outcome = run_load(spec)
            self._acknowledged += outcome.acknowledged
            self._judge(outcome, "submit beside a snapshot")
            return outcome.rate

        cost = durability.snapshot_cost(self._hub, piece)
        self._figure("snapshot.share", cost.share)
        self._figure("snapshot.seconds", cost.seconds)
        self._figure("snapshot.size", cost.megabytes)

    def many_signatures(self) -> None:
        """The life cycle on many signatures."""
        self._start_and_fill("", "signatures.growth", "signatures.fill", "")
        self._attempt("signatures", lambda: self._lifecycle("signatures", acked=False))
        self._restart("signatures.restart", "")
        self._check_nothing_is_missing()
        self._hub.stop()

    def _if(self, what: str, measure: Callable[[], None]) -> None:
        if what in self._options.what:
            self._attempt(what, measure)

    def _attempt(self, what: str, measure: Callable[[], None]) -> None:
        """A measurement that fails is reported, and the others go on."""
        try:
            measure()
        except (HubError, LoadError, StoreError, peers.PeerError) as exc:
            self.errors.append(f"{what} at depth {self._depth:,}: {exc}")

    def _start_and_fill(self, start: str, growth: str, rate: str, disk: str) -> None:
        self._hub.start()
        empty = self._hub.rss_anon_mb()
        self._say(f"filling the queue to {self._depth:,}")
        filled = self._load(
            specs.Fill(target=self._target(), mix=self._mix, first=0, count=self._depth), "fill"
        )
        time.sleep(1.0)  # what the last commits still use is not the queue's
        self._figure(start, empty)
        self._figure(growth, self._hub.rss_anon_mb() - empty)
        self._figure(rate, filled.rate, filled)
        self._figure(disk, self._hub.data_mb())

    def _latencies(self) -> None:
        for rate in RATES:
            self._latency(rate)

    def _latency(self, rate: int) -> None:
        holder = self._agents([mix.FLEET])[0] if self._depth else None
        spec = specs.Latency(
            target=self._target(), agents=self._agents([mix.QUICK] * AGENTS), holder=holder, rate=rate,
            seconds=self._options.seconds, warmup_s=self._options.warmup_s,
        )  # fmt: skip
        self.figures += of_latency(f"latency{rate}", self._depth, self._load(spec, f"latency at {rate}/s"))

    def _lifecycles(self) -> None:
        self._lifecycle("lifecycle", acked=False)
        self._lifecycle("lifecycle_acked", acked=True)

    def _lifecycle(self, name: str, *, acked: bool) -> None:
        spec = specs.Lifecycle(
            target=self._target(), mix=self._mix, agents=self._agents(mix.fleet(self._mix, AGENTS)),
            seconds=self._options.seconds, warmup_s=self._options.warmup_s,
            chunk=max(1, min(100, self._depth // 4)), acked=acked,
        )  # fmt: skip
        self.figures += of_rate(name, self._depth, self._load(spec, name))

    def _submit(self) -> None:
        spec = specs.Submit(
            target=self._target(), seconds=self._options.seconds, warmup_s=self._options.warmup_s
        )  # fmt: skip
        self.figures += of_rate("submit", self._depth, self._load(spec, "submit"))

    def _batch(self) -> None:
        spec = specs.Batch(
            target=self._target(), seconds=self._options.seconds, warmup_s=self._options.warmup_s
        )
        self.figures += of_rate("batch", self._depth, self._load(spec, "batch"))

    def _peers(self) -> None:
        seconds = min(peers.PEER_S, self._options.seconds)
        self._say("peers: bare uvicorn, bare LMDB")
        with peers.bare_server() as target:
            outcome = run_load(
                specs.Submit(target=target, seconds=seconds, warmup_s=min(0.5, self._options.warmup_s))
            )
        self._judge(outcome, "bare uvicorn")
        self.figures += of_rate("uvicorn", self._depth, outcome)
        self.figures += of_commits("lmdb", self._depth, peers.commits(self._hub.folder, seconds))
        self.figures += shares(self.figures)

    def _store(self) -> None:
        self._say("the store alone, bare LMDB and SQLite, in turns")
        self._hub.folder.mkdir(parents=True, exist_ok=True)
        found = run_store(store.Plan(str(self._hub.folder), self._options.seconds))
        for name, outcome in found.items():
            self.figures += of_commits(name, self._depth, outcome)
        self.figures += shares(self.figures)

    def _calibrate(self, name: str) -> None:
        self._figure(name, peers.additions(min(PYTHON_S, self._options.seconds)))

    def _restart(self, seconds: str, memory: str) -> None:
        self._say("kill -9, and start again")
        self._hub.kill()
        self._figure(seconds, self._hub.start(ready_s=600))
        self._figure(memory, self._hub.rss_anon_mb())
        self._check_nothing_is_missing()

    def _check_nothing_is_missing(self) -> None:
        there = self._hub.tasks()
        if there < self._acknowledged:
            self.errors.append(
                f"depth {self._depth:,}: {self._acknowledged:,} tasks were acknowledged, {there:,} are there"
            )

    def _agents(self, capabilities: Sequence[tuple[str, ...]]) -> list[specs.AgentPlan]:
        """New identities for each measurement, so that none inherits what an earlier one left behind."""
        self._phase += 1
        names = [f"bench-{self._phase}-{n}" for n in range(len(capabilities))]
        return [
            specs.AgentPlan(name, self._hub.register(name, has), has)
            for name, has in zip(names, capabilities, strict=True)
        ]

    def _target(self) -> specs.Target:
        return specs.Target(self._hub.host, self._hub.port, self._hub.token, self._hub.pid)

    def _load(self, spec: specs.AnySpec, title: str) -> specs.Outcome:
        if title != "fill":
            self._say(title)
        with self._profiling(title):
            outcome = run_load(spec)
        self._acknowledged += outcome.acknowledged
        self._judge(outcome, title)
        return outcome

    def _judge(self, outcome: specs.Outcome, title: str) -> None:
        if not outcome.count:
            self.errors.append(f"{title} at depth {self._depth:,}: nothing was done while measuring")
        if outcome.errors:
            first = "; ".join(outcome.first_errors)
            self.errors.append(f"{title} at depth {self._depth:,}: {outcome.errors} errors, first: {first}")

    def _profiling(self, title: str) -> "nullcontext[None]":
        if self._options.profiles is None:
            return nullcontext()
        name = f"{title.replace(' ', '-').replace('/', '-per-')}-{self._depth}.profile"
        return profiled(self._hub, self._options.profiles / name)  # type: ignore[return-value]

    def _figure(self, name: str, value: float, detail: specs.Outcome | None = None) -> None:
        """An empty name is a figure this run does not show."""
        if name:
            self.figures.append(Figure(name=name, depth=self._depth, value=value, detail=detail))


def run_load(spec: specs.AnySpec) -> specs.Outcome:
    """One load process, from start to end. Raises LoadError with what it said last."""
    return msgspec.json.decode(_run("benchmarks.load", spec, _deadline_s(spec)), type=specs.Outcome)


def run_store(plan: store.Plan) -> store.Measured:
    """One process that measures the store. Raises LoadError with what it said last."""
    return msgspec.json.decode(_run("benchmarks.store", plan, 180 + 20 * plan.seconds), type=store.Measured)


def _run(module: str, given: msgspec.Struct, deadline_s: float) -> bytes:
    argv = [sys.executable, "-m", module]
    try:
        done = subprocess.run(
            argv,
            input=msgspec.json.encode(given),
            capture_output=True,
            cwd=ROOT,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise LoadError(f"the load process did not end within {exc.timeout:.0f} s") from exc
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        raise LoadError(f"the load process ended with {done.returncode}: {last[0]}")
    return done.stdout


def _deadline_s(spec: specs.AnySpec) -> float:
    """Generous: it bounds a hang, and is no measure of speed."""
    if isinstance(spec, specs.Fill):
        return 120 + spec.count / 200
    return 180 + spec.seconds + spec.warmup_s


def measure(hub: Hub, depth: int, plan: mix.Mix, options: Options, say: Say) -> Suite:
    """All figures of one depth. Whatever happens, the hub is gone afterwards."""
    suite = Suite(hub, depth, plan, options, say)
    try:
        suite.many_signatures() if plan.signatures else suite.at_depth()
    except (HubError, LoadError) as exc:
        suite.errors.append(f"depth {depth:,}: {exc}")
    finally:
        hub.kill()
    return suite


def measure_messages(hub: Hub, options: Options, say: Say) -> Suite:
    """What agents say to each other; no queue of tasks matters to it."""
    suite = Suite(hub, 0, mix.Mix(), options, say)
    try:
        suite.messages()
    except (HubError, LoadError) as exc:
        suite.errors.append(f"messages: {exc}")
    finally:
        hub.kill()
    return suite


def measure_durability(hub: Hub, depth: int, options: Options, say: Say) -> Suite:
    """The figures of durability at one depth, on a hub of their own."""
    suite = Suite(hub, depth, mix.Mix(), options, say)
    try:
        suite.durable()
    except (HubError, LoadError, StoreError) as exc:
        suite.errors.append(f"durability at depth {depth:,}: {exc}")
    finally:
        hub.kill()
    return suite


def measure_peers(hub: Hub, options: Options, say: Say) -> Suite:
    """The peers alone, in the folder of a hub that is never started; the queue they see has depth 0."""
    suite = Suite(hub, 0, mix.Mix(), options, say)
    suite.only_peers()
    return suite


def measure_store(hub: Hub, options: Options, say: Say) -> Suite:
    """The store alone, likewise."""
    suite = Suite(hub, 0, mix.Mix(), options, say)
    suite.only_store()
    return suite
