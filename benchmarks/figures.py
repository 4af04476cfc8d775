"""The figures, their units and aims.

The aims are for the machine the project is developed on: two cores, fsync on.
May import: msgspec, benchmarks.{specs, stats}.
"""

from collections.abc import Sequence

import msgspec

from benchmarks.specs import Outcome
from benchmarks.stats import Spread, ratio_to_aim

DEPTH_AIM = 1.5  #: from the shallowest to the deepest queue nothing may get worse by more than this
FAILED = 0.5  #: under half of an aim the aim is missed, not merely not reached


class Kind(msgspec.Struct, frozen=True):
    title: str
    unit: str
    more_is_better: bool = False
    aim: float | None = None
    aim_from_depth: int = 0  #: the aim is stated for a queue at least this deep
    flat: bool = False  #: must not change with depth


KINDS: dict[str, Kind] = {
    "submit.rate": Kind("submit, 32 connections", "/s", True, 4_000, flat=True),
    "submit.p50": Kind("  answered, median", "ms"),
    "submit.p99": Kind("  answered, p99", "ms"),
    "submit.of_uvicorn": Kind("  of bare uvicorn's answers", "x", True, flat=True),
    "submit.cpu_of_uvicorn": Kind("  hub's CPU for one, in bare answers", "x", flat=True),
    "submit.of_lmdb": Kind("  submits to a bare commit", "x", True),
    "batch.rate": Kind("submit by batches of 100", "/s", True, 15_000, flat=True),
    "batch.p50": Kind("  a batch answered, median", "ms"),
    "batch.p99": Kind("  a batch answered, p99", "ms"),
    "lifecycle.rate": Kind("full life cycles, 8 agents", "/s", True, 1_500, flat=True),
    "lifecycle.p50": Kind("  assigned to done, median", "ms"),
    "lifecycle.p99": Kind("  assigned to done, p99", "ms"),
    "lifecycle_acked.rate": Kind("  waiting for each ack", "/s", True, flat=True),
    "latency100.p50": Kind("submit to assigned, 100/s, median", "ms", aim=4, flat=True),
    "latency100.p99": Kind("  p99", "ms", aim=15, flat=True),
    "latency100.max": Kind("  max", "ms"),
    "latency20.p50": Kind("submit to assigned, 20/s, median", "ms", flat=True),
    "latency20.p99": Kind("  p99", "ms"),
    "latency20.max": Kind("  max", "ms"),
    "direct500.p50": Kind("direct message, 500/s, median", "ms", aim=2.5),
    "direct500.p99": Kind("  p99", "ms", aim=15),
    "direct500.max": Kind("  max", "ms"),
    "direct.rate": Kind("direct messages, 8 pairs", "/s", True, 5_000),
    "direct.p50": Kind("  sent to received, median", "ms"),
    "direct.p99": Kind("  sent to received, p99", "ms"),
    "posts.rate": Kind("posts to 200 agents, deliveries", "/s", True, 40_000),
    "posts.p50": Kind("  sent to received, median", "ms"),
    "posts.p99": Kind("  sent to received, p99", "ms"),
    "memory.growth": Kind("RssAnon growth by the queue", "MB", aim=150, aim_from_depth=1_000_000),
    "memory.start": Kind("RssAnon of an empty hub", "MB"),
    "memory.restarted": Kind("RssAnon after the restart", "MB"),
    "restart.seconds": Kind("kill -9 to serving again", "s", aim=10, aim_from_depth=1_000_000),
    "restart.clean": Kind("orderly stop, start to serving", "s", aim=3, aim_from_depth=1_000_000),
    "verify.rate": Kind("verify beside an idle hub", "MB/s", True, 100, aim_from_depth=100_000),
    "snapshot.share": Kind("submits left beside a snapshot", "x", True, 0.8),
    "snapshot.seconds": Kind("  it took", "s"),
    "snapshot.size": Kind("  its size", "MB"),
    "fill.rate": Kind("fill by batches of 500", "/s", True),
    "disk.size": Kind("data folder, filled", "MB"),
    "signatures.rate": Kind("life cycles, many signatures", "/s", True, 1_500),
    "signatures.p50": Kind("  assigned to done, median", "ms"),
    "signatures.p99": Kind("  assigned to done, p99", "ms"),
    "signatures.growth": Kind("RssAnon growth, many signatures", "MB", aim=150, aim_from_depth=1_000_000),
    "signatures.fill": Kind("fill, many signatures", "/s", True),
    "signatures.restart": Kind("kill -9 to serving again", "s"),
    "uvicorn.rate": Kind("peer: bare uvicorn, 32 connections", "/s", True),
    "uvicorn.p50": Kind("  answered, median", "ms"),
    "uvicorn.p99": Kind("  answered, p99", "ms"),
    "lmdb.rate": Kind("peer: bare LMDB, one put a commit", "/s", True),
    "lmdb.p50": Kind("  one commit, median", "ms"),
    "lmdb.p99": Kind("  one commit, p99", "ms"),
    "store1.rate": Kind("store alone, 1 writer", "/s", True),
    "store1.of_lmdb": Kind("  commits to a bare one", "x", True),
    "store1.p50": Kind("  committed, median", "ms"),
    "store1.p99": Kind("  committed, p99", "ms"),
    "store1_busy.rate": Kind("  beside a busy loop", "/s", True),
    "store1_busy.p99": Kind("  its p99", "ms"),
    "store64.rate": Kind("store alone, 64 writers", "/s", True),
    "store64.of_lmdb": Kind("  commits to a bare one", "x", True, 8),
    "store64.of_sqlite": Kind("  commits to one of SQLite", "x", True),
    "store64.p50": Kind("  committed, median", "ms"),
    "store64.p99": Kind("  committed, p99", "ms"),
    "store64_busy.rate": Kind("  beside a busy loop", "/s", True),
    "store64_busy.p50": Kind("  its median", "ms"),
    "store64_busy.p99": Kind("  its p99", "ms", aim=10),
    "store64_busy.queued": Kind("  a thread waited for a core", "%"),
    "store512.rate": Kind("store alone, 512 writers", "/s", True),
    "store512.of_lmdb": Kind("  commits to a bare one", "x", True, 20),
    "store512.of_sqlite": Kind("  commits to one of SQLite", "x", True),
    "store512.p50": Kind("  committed, median", "ms"),
    "store512.p99": Kind("  committed, p99", "ms"),
    "store512_busy.rate": Kind("  beside a busy loop", "/s", True),
    "store512_busy.p99": Kind("  its p99", "ms"),
    "store_lmdb.rate": Kind("peer of the store: bare LMDB", "/s", True),
    "store_lmdb.p50": Kind("  one commit, median", "ms"),
    "store_lmdb.p99": Kind("  one commit, p99", "ms"),
    "store_sqlite.rate": Kind("peer of the store: SQLite, WAL", "/s", True),
    "store_sqlite.p50": Kind("  one commit, median", "ms"),
    "store_sqlite.p99": Kind("  one commit, p99", "ms"),
    "python.before": Kind("peer: plain Python, before the depth", "M/s", True),
    "python.after": Kind("  after it", "M/s", True),
}
"""In the order of the table."""

SHARES = {
    "submit.of_uvicorn": ("submit.rate", "uvicorn.rate"),
    "submit.cpu_of_uvicorn": ("submit.cpu", "uvicorn.cpu"),
    "submit.of_lmdb": ("submit.rate", "lmdb.rate"),
    "store1.of_lmdb": ("store1.rate", "store_lmdb.rate"),
    "store64.of_lmdb": ("store64.rate", "store_lmdb.rate"),
    "store64.of_sqlite": ("store64.rate", "store_sqlite.rate"),
    "store512.of_lmdb": ("store512.rate", "store_lmdb.rate"),
    "store512.of_sqlite": ("store512.rate", "store_sqlite.rate"),
}
"""Ratios of a figure to its peer's, both of one run and one depth.

NAME.cpu is the server's CPU time for one thing of NAME.rate.
"""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value. `detail` is what the load process reported, where there was one."""

    name: str
    depth: int
    value: float
    detail: Outcome | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def aim(self) -> float | None:
        return self.kind.aim if self.depth >= self.kind.aim_from_depth else None

    @property
    def ratio(self) -> float | None:
        """1 is the aim, more is better; None where no aim is stated."""
        aim = self.aim
        return None if aim is None else ratio_to_aim(self.value, aim, more_is_better=self.kind.more_is_better)

    @property
    def failed(self) -> bool:
        return self.ratio is not None and self.ratio < FAILED


def of_rate(name: str, depth: int, outcome: Outcome) -> list[Figure]:
    """The rate and how long one thing took."""
    rate = Figure(name=f"{name}.rate", depth=depth, value=outcome.rate, detail=outcome)
    known = [figure for figure in _spread(name, depth, outcome.spread) if figure.name in KINDS]
    return [rate, *known]


def of_latency(name: str, depth: int, outcome: Outcome) -> list[Figure]:
    """The median carries what the load process reported."""
    figures = _spread(name, depth, outcome.spread)
    return [msgspec.structs.replace(figure, detail=outcome) for figure in figures[:1]] + figures[1:]


def of_commits(name: str, depth: int, outcome: Outcome) -> list[Figure]:
    """Without what the load process reported: there was none, and no hub."""
    figures = [msgspec.structs.replace(figure, detail=None) for figure in of_rate(name, depth, outcome)]
    if f"{name}.queued" in KINDS:
        figures.append(Figure(name=f"{name}.queued", depth=depth, value=outcome.queued * 100))
    return figures


def shares(figures: Sequence[Figure]) -> list[Figure]:
    """Each figure over its peer's; none where either is missing, or where the peer did nothing."""
    values = {(figure.name, figure.depth): figure.value for figure in figures}
    values |= {
        (figure.name.replace(".rate", ".cpu"), figure.depth): figure.detail.hub_us_each
        for figure in figures
        if figure.detail
    }
    return [
        Figure(name=name, depth=depth, value=value / peer)
        for name, (own, other) in SHARES.items()
        for (measured, depth), value in values.items()
        if measured == own and (peer := values.get((other, depth)))
    ]


def drift(figures: Sequence[Figure]) -> dict[int, float]:
    """By depth: how many times as fast plain Python was before it as after it."""
    after = {figure.depth: figure.value for figure in figures if figure.name == "python.after"}
    return {
        figure.depth: figure.value / after[figure.depth]
        for figure in figures
        if figure.name == "python.before" and after.get(figure.depth)
    }


def _spread(name: str, depth: int, spread: Spread | None) -> list[Figure]:
    if spread is None:
        return []
    values = {"p50": spread.p50, "p99": spread.p99, "max": spread.max}
    return [Figure(name=f"{name}.{what}", depth=depth, value=value) for what, value in values.items()]
