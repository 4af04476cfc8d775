"""The table and the JSON file.

May import: msgspec, benchmarks.{figures, machine, stats}.
"""

from collections.abc import Iterable, Sequence

import msgspec

from benchmarks.figures import DEPTH_AIM, KINDS, Figure, Kind, drift
from benchmarks.machine import BUSY, Machine
from benchmarks.specs import Outcome
from benchmarks.stats import depth_factor

DRIFTED = 1.25  #: from before a depth to after it; more, and its rates are not those of one machine


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run measured, and on what."""

    schema: int = 1
    started: str
    took_s: float
    commit: str
    arguments: list[str]
    machine: Machine
    figures: list[Figure]
    errors: list[str]


def to_json(report: Report) -> bytes:
    """With aim and ratio beside each figure, so that a reader needs no table of ours."""
    plain = msgspec.to_builtins(report)
    for row, figure in zip(plain["figures"], report.figures, strict=True):
        row |= {
            "title": figure.kind.title.strip(),
            "unit": figure.kind.unit,
            "aim": figure.aim,
            "ratio": figure.ratio,
        }
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def table(figures: Sequence[Figure]) -> str:
    """One line a figure, one column a depth; `1.20x` beside a value is its ratio to the aim."""
    depths = sorted({figure.depth for figure in figures})
    cells = {(figure.name, figure.depth): figure for figure in figures}
    head = ["figure", "unit", "aim", *(f"depth {depth:,}" for depth in depths), "depth factor"]
    body = [
        _line(kind, [cells.get((name, depth)) for depth in depths])
        for name, kind in KINDS.items()
        if any(figure.name == name for figure in figures)
    ]
    return _aligned([head, *body])


def _line(kind: Kind, row: Sequence[Figure | None]) -> list[str]:
    return [
        kind.title,
        kind.unit,
        _aim(kind),
        *map(_cell, row),
        _factor(kind, [figure for figure in row if figure]),
    ]


def _aim(kind: Kind) -> str:
    if kind.aim is None:
        return ""
    return f"{'≥' if kind.more_is_better else '≤'} {kind.aim:,g}"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}x"
    return f"{number(figure.value)} {ratio:>6}"


def _factor(kind: Kind, row: Sequence[Figure]) -> str:
    """How many times worse the deepest is than the shallowest; `!` above the aim for it."""
    if not kind.flat or len(row) < 2:
        return ""
    factor = depth_factor(row[0].value, row[-1].value, more_is_better=kind.more_is_better)
    return f"{factor:.2f}{' !' if factor > DEPTH_AIM else ''}"


def number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(_pad, row, widths, range(len(row)))) for row in rows]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]])


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def load_table(figures: Iterable[Figure]) -> str:
    """How many cores hub and load process used: a load process near 1.0 was the limit, not the hub.

    The hub's CPU time for each thing done hardly depends on what else the machine does.
    """
    head = [
        "while measuring",
        "depth",
        "hub cores",
        "hub µs each",
        "load cores",
        "sent late p99 ms",
        "errors",
    ]
    body = [_load_line(figure, figure.detail) for figure in figures if figure.detail is not None]
    return _aligned([head, *body]) if body else ""


def _load_line(figure: Figure, load: Outcome) -> list[str]:
    shares = f"{load.hub_cpu:.2f}", f"{load.hub_us_each:,.0f}", f"{load.load_cpu:.2f}"
    return [
        figure.name.partition(".")[0],
        f"{figure.depth:,}",
        *shares,
        f"{load.late_ms:.1f}",
        str(load.errors),
    ]


def verdicts(report: Report) -> list[str]:
    """Sentences for what spoils the figures, for what is under half of an aim, and for every error."""
    missed = [
        f"under half of the aim: {figure.name} at depth {figure.depth:,}: "
        f"{number(figure.value)} {figure.kind.unit}"
        for figure in report.figures
        if figure.failed
    ]
    doubts = [*_noise(report.machine), *_drifted(report.figures)]
    return [*doubts, *missed, *(f"error: {error}" for error in report.errors)]


def _noise(machine: Machine) -> list[str]:
    if machine.load_before <= BUSY:
        return []
    return [
        f"the machine was busy: its load was {machine.load_before:.1f} before the run; figures are too low"
    ]


def _drifted(figures: Sequence[Figure]) -> list[str]:
    return [
        f"the machine changed its speed at depth {depth:,}: plain Python was {factor:.2f} times as fast before it "
        "as after it; trust ratios to peers, not rates"
        for depth, factor in drift(figures).items()
        if not 1 / DRIFTED <= factor <= DRIFTED
    ]
