"""What keeping data safe costs: `python -m benchmarks durability --depth 1000000`.

Here: how fast a store is verified beside its idle hub, and what a snapshot takes from submits. A snapshot runs for
longer than a shared machine keeps its speed, so its processes are stopped and continued in turns, and each piece with
them is compared with its neighbours without.
May import: agentcom.store, benchmarks.{hub, stats}, operating system.
"""

import os
import signal
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from agentcom.store.child import Tool
from agentcom.store.findings import Report
from agentcom.store.layout import Layout
from benchmarks.hub import Hub, HubError, descendants

SETS = ("snapshots.first_s=1000000", "snapshots.every_s=1000000")
"""No snapshot but the one that is asked for."""
TOOLS = (b"agentcom.store.snapshotting", b"agentcom.store.proving")
PIECES = 21  #: at most; the rest of the snapshot is not measured
SNAPSHOT_S = 3_600.0

Piece = Callable[[], float]  #: submits in a second, measured for a moment


def verify_rate(data: Path) -> float:
    """Million bytes a second: of the pages in use, all of whose rows are read and held against the journal."""
    told: dict[str, Any] = Tool("verifying").run(
        {
            "store": str(Layout(data).store),
            "snapshots": str(data / "snapshots"),
            "archive": str(data / "archive"),
        }
    )
    report = msgspec.convert(told, Report)
    if report.problems or not report.fold or report.fold.startswith("not folded"):
        raise HubError(f"verify found {len(report.problems)} problems; {report.fold}")
    return report.used / 1e6 / report.seconds


class Cost(msgspec.Struct, frozen=True):
    share: float  #: of the submits without it that are left beside it; median over pairs
    seconds: float  #: it took, without the time in which it was stopped
    megabytes: float


def snapshot_cost(hub: Hub, piece: Piece) -> Cost:
    """Submits beside a snapshot and, in turns, without. Raises HubError when none was made, or too fast to tell."""
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(hub)), daemon=True)
    asking.start()
    rates: list[float] = []
    for number in range(PIECES):
        with _stopped(hub.pid, number % 2 == 0):
            rates.append(piece())
        if not asking.is_alive():
            break
    asking.join(SNAPSHOT_S)
    if not answers or not isinstance(answers[0], httpx.Response) or answers[0].status_code not in (200, 201):
        raise HubError(f"no snapshot was made: {answers and answers[0]}")
    pairs = list(shares(rates))
    if not pairs:
        raise HubError(
            "the snapshot was made before anything could be measured beside it; use a greater depth"
        )
    made = answers[0].json()
    return Cost(statistics.median(pairs), made["seconds"], made["snapshot"]["bytes"] / 1e6)


def shares(rates: list[float]) -> Iterator[float]:
    """Every second piece, over the mean of the one before and the one behind it."""
    for before, beside, behind in zip(rates[::2], rates[1::2], rates[2::2], strict=False):
        if before + behind:
            yield beside / ((before + behind) / 2)


def _ask(hub: Hub) -> Any:
    try:
        return hub.http.post("/api/snapshots", timeout=SNAPSHOT_S)
    except httpx.HTTPError as error:
        return error


@contextmanager
def _stopped(hub: int, stop: bool) -> Iterator[None]:
    """With `stop` the tools that make a snapshot stand still meanwhile."""
    tools = [pid for pid in descendants(hub) if _is_tool(pid)] if stop else []
    _signal_all(tools, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(tools, signal.SIGCONT)


def _is_tool(pid: int) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(name in argv for name in TOOLS)


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
