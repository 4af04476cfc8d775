"""Many runs over both cores: how many, what befell them, which failed and how to see one again."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from hubsim.plan import FAULT_KINDS, Plan, plan_of
from hubsim.world import Outcome, run


class Failure(msgspec.Struct, frozen=True):
    seed: int
    what: str
    story: str


class Report(msgspec.Struct):
    runs: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    took_s: float = 0.0
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    phases: Counter[str] = msgspec.field(default_factory=Counter)
    failures: list[Failure] = msgspec.field(default_factory=list)

    def add(self, outcome: Outcome | Failure) -> None:
        self.runs += 1
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            return
        self.steps += outcome.steps
        self.virtual_s += outcome.seconds
        self.seen.update(outcome.seen)
        self.phases.update(outcome.phases)

    @property
    def missing(self) -> list[str]:
        """Kinds of fault that no run has seen."""
        return [kind for kind in FAULT_KINDS if not self.seen[kind]]


def one(seed: int) -> Outcome | Failure:
    """A run by its seed."""
    return judged(plan_of(seed))


def judged(plan: Plan) -> Outcome | Failure:
    try:
        return run(plan)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is what this run came to
        story = "\n".join(getattr(error, "__notes__", ()))
        return Failure(plan.seed, f"{type(error).__name__}: {error}", story)


def many(seeds: Iterable[int], workers: int, told: Callable[[Report], Any] = lambda _: None) -> Report:
    """All of them. `told` hears of each run; stopping it early is an exception away."""
    report, begun = Report(), time.monotonic()
    for outcome in _outcomes(seeds, workers):
        report.add(outcome)
        report.took_s = time.monotonic() - begun
        told(report)
    return report


def _outcomes(seeds: Iterable[int], workers: int) -> Iterator[Outcome | Failure]:
    if workers < 2:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(one, seeds, chunksize=4)


def table(report: Report) -> str:
    """What the runs saw."""
    rate = report.runs / report.took_s if report.took_s else 0.0
    lines = [
        f"{report.runs} runs in {report.took_s:.1f} s ({rate:.1f} a second), {len(report.failures)} failed",
        f"{report.steps} deliveries, {report.virtual_s / 3600:.1f} hours of virtual time",
        "tasks: " + ", ".join(f"{count} {phase}" for phase, count in sorted(report.phases.items())),
        "what went wrong:",
    ]
    width = max((len(kind) for kind in report.seen), default=0)
    lines += [f"  {kind:{width}} {count:7}" for kind, count in sorted(report.seen.items())]
    if report.missing:
        lines.append(f"never seen: {', '.join(report.missing)}")
    return "\n".join(lines)


def how_to_replay(seed: int) -> str:
    return f"make simulate SEED={seed} RUNS=1"
