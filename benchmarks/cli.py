"""The command line: which measurements, at which depths, and where the results go.

May import: argparse, benchmarks.{durability, hub, machine, mix, report, suite}.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import durability, machine, mix, report
from benchmarks.hub import LAUNCH, ROOT, Hub
from benchmarks.suite import (
    DURABILITY,
    HUBLESS,
    MESSAGES,
    PEERS,
    STORE,
    WHAT,
    Options,
    Suite,
    measure,
    measure_durability,
    measure_messages,
    measure_peers,
    measure_store,
)

RESULTS = ROOT / "benchmarks" / "results"
DEEPEST = 1_000_000
SETS = ("limits.enabled=false",)  #: one token sends thousands of requests a second here


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How fast the hub is, and how far from its aims."
    )
    families = [*WHAT, "signatures", MESSAGES, DURABILITY]
    parse.add_argument("what", nargs="*", choices=[*families, "all"], default="all", metavar="WHAT",
                       help=f"{', '.join(families)}, or all (default)")  # fmt: skip
    parse.add_argument(
        "--depth", nargs="+", type=int, metavar="N", help="tasks in the queue (default: 100 10000)"
    )
    parse.add_argument(
        "--slow",
        action="store_true",
        help=f"also at depth {DEEPEST:,}, and `all` includes signatures, {MESSAGES} and {DURABILITY}",
    )
    parse.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default: 10)")
    parse.add_argument(
        "--signatures", type=int, default=100_000, metavar="N", help="distinct capability sets"
    )
    parse.add_argument("--signature-tasks", type=int, default=DEEPEST, metavar="N", help="tasks over them")
    parse.add_argument("--json", type=Path, metavar="FILE", help="default: benchmarks/results/TIME.json")
    parse.add_argument(
        "--profile", action="store_true", help="say where the hub's time goes in each measurement"
    )
    parse.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the hub")
    parse.add_argument(
        "--folder", type=Path, default=RESULTS, help="where the hub's data lies meanwhile; on a disk"
    )
    parse.add_argument("--keep", action="store_true", help="keep the hub's data and log")
    return parse


def main(argv: Sequence[str], command: Sequence[str] = LAUNCH) -> int:
    """0 when all was measured, 1 when something was not, whatever the figures."""
    arguments = parser().parse_args(argv)
    began, started = time.monotonic(), datetime.now(UTC)
    file: Path = arguments.json or RESULTS / f"{started:%Y%m%dT%H%M%S}.json"
    profiles = _profiles(file) if arguments.profile else None
    with work_folder(arguments.folder, keep=arguments.keep) as folder:
        described = machine.describe(folder)
        say(
            f"{described.cpu}, {described.cores} cores, {described.filesystem}, "
            f"fsync {described.fsync_ms:.2f} ms"
        )
        suites = list(_measure_all(arguments, command, folder, profiles))
    result = report.Report(
        started=started.isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - began, 1),
        commit=machine.commit(ROOT),
        arguments=list(argv),
        machine=described,
        figures=[figure for suite in suites for figure in suite.figures],
        errors=[error for suite in suites for error in suite.errors],
    )
    _publish(result, file, profiles)
    return 1 if result.errors else 0


def depths(arguments: argparse.Namespace) -> list[int]:
    chosen: list[int] = arguments.depth or [100, 10_000]
    return sorted({*chosen, DEEPEST} if arguments.slow else set(chosen))


def chosen(arguments: argparse.Namespace) -> frozenset[str]:
    """Submits are compared with their peers, so they bring them along."""
    asked = {arguments.what} if isinstance(arguments.what, str) else set(arguments.what)
    if "all" in asked or not asked:
        asked |= {*WHAT, "signatures", MESSAGES, DURABILITY} if arguments.slow else set(WHAT)
    if "submit" in asked:
        asked.add(PEERS)
    return frozenset(asked - {"all"})


def _measure_all(
    arguments: argparse.Namespace, command: Sequence[str], folder: Path, profiles: Path | None
) -> Iterator[Suite]:
    what, sets = chosen(arguments), [*SETS, *arguments.set]
    at_depth = set(WHAT) - set(HUBLESS)
    options = Options(what=what, seconds=arguments.seconds, profiles=profiles)
    if PEERS in what and not what & at_depth:
        yield measure_peers(Hub(folder / PEERS, command, sets), options, say)
    if STORE in what:
        yield measure_store(Hub(folder / STORE, command, sets), options, say)
    if MESSAGES in what:
        yield measure_messages(Hub(folder / MESSAGES, command, sets), options, say)
    for depth in depths(arguments) if what & at_depth else []:
        say(f"depth {depth:,}")
        yield measure(Hub(folder / f"depth-{depth}", command, sets), depth, mix.Mix(), options, say)
    for depth in depths(arguments) if DURABILITY in what else []:
        say(f"durability at depth {depth:,}")
        hub = Hub(folder / f"{DURABILITY}-{depth}", command, [*sets, *durability.SETS])
        yield measure_durability(hub, depth, options, say)
    if "signatures" in what:
        say(f"{arguments.signature_tasks:,} tasks over {arguments.signatures:,} signatures")
        hub = Hub(folder / "signatures", command, sets)
        yield measure(hub, arguments.signature_tasks, mix.Mix(arguments.signatures), options, say)


def _profiles(file: Path) -> Path:
    """Beside the JSON file, by its name."""
    folder = file.with_name(f"{file.stem}-profiles")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def work_folder(parent: Path, *, keep: bool) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        yield folder
    finally:
        if keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def _publish(result: report.Report, file: Path, profiles: Path | None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(report.to_json(result))
    print(f"\n{report.table(result.figures)}\n\n{report.load_table(result.figures)}\n")
    for profile in sorted(profiles.glob("*.profile")) if profiles else []:
        print(f"{profile.stem}:\n{profile.read_text()}")
    for sentence in report.verdicts(result):
        print(sentence)
    print(f"took {result.took_s:.0f} s; written to {file}")


def say(sentence: str) -> None:
    print(f"· {sentence}", file=sys.stderr, flush=True)
