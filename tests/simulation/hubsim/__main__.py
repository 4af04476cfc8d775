"""`python -m hubsim --runs N --seed S`: runs from seed S on. Exit code 1 if one failed."""

import argparse
import os
import sys

import msgspec

from hubsim.many import Failure, Report, how_to_replay, judged, many, table
from hubsim.plan import Plan, plan_of

SHOWN = 5


def main() -> int:
    asked = _arguments()
    if asked.plan or asked.runs == 1:
        plan = msgspec.json.decode(asked.plan, type=Plan) if asked.plan else plan_of(asked.seed)
        return _show(plan, replays=not asked.plan)
    report = many(range(asked.seed, asked.seed + asked.runs), asked.workers, _progress)
    print(table(report))
    for failure in report.failures[:SHOWN]:
        print(f"\nseed {failure.seed}: {failure.what}\n  see it again: {how_to_replay(failure.seed)}")
    return 1 if report.failures else 0


def _show(plan: Plan, *, replays: bool) -> int:
    """One run in full."""
    outcome = judged(plan)
    if isinstance(outcome, Failure):
        print(f"{outcome.what}\n{outcome.story}")
        if replays:
            print(f"see it again: {how_to_replay(plan.seed)}")
        return 1
    print(f"{outcome.steps} deliveries, {outcome.seconds:.1f} s of virtual time, trace {outcome.trace}")
    print("what went wrong: " + ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.seen.items())))
    print("tasks: " + ", ".join(f"{count} {phase}" for phase, count in sorted(outcome.phases.items())))
    return 0


def _progress(report: Report) -> None:
    if report.runs % 100 == 0:
        print(f"{report.runs} runs, {len(report.failures)} failed", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hubsim", description="Simulate the whole hub, many times.")
    parser.add_argument("--runs", type=int, default=200, help="how many, each with the next seed")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--plan", default="", help="one run by its plan, as JSON, in place of a seed")
    asked = parser.parse_args()
    if asked.runs < 1 or asked.workers < 1:
        parser.error(f"--runs and --workers are at least 1, got {asked.runs} and {asked.workers}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
