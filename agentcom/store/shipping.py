"""How the archive is doing, and what that means: for `/health`, for when to try again, for what may be trimmed.

Lives here: pure functions of an archivist's report. May import: msgspec.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

LONGEST_PAUSE_S = 10.0
MAX_NOTED = 5


class Report(msgspec.Struct, frozen=True):
    """What one look at the archive found. Of an archive that could not be read yet the figures are None."""

    folder: str
    newest: int  #: seq of the newest entry of the journal
    archived: int | None  #: seq of the newest entry that is on the archive's disk; 0 before the first
    lag: int | None  #: entries that are not
    age_s: float | None  #: of the oldest of these; 0 when there are none
    segments: int = 0
    bytes: int = 0
    has_more: bool = False  #: it stopped at its budget, and should go on at once
    problem: str = ""  #: why nothing can be written, as a sentence
    told: tuple[str, ...] = ()  #: what someone should know and nobody needs to wait for

    @property
    def promised(self) -> int:
        """The entries up to here can be read back from the archive now; 0 while it cannot be reached."""
        return 0 if self.problem else self.archived or 0


def facts(report: Report, noted: Sequence[str] = ()) -> dict[str, Any]:
    """For `/health`; of what was noted in this life the newest."""
    said: dict[str, Any] = {
        "folder": report.folder,
        "archived_seq": report.archived,
        "newest_seq": report.newest,
        "lag": report.lag,
        "lag_s": None if report.age_s is None else round(report.age_s, 1),
        "segments": report.segments,
        "bytes": report.bytes,
    }
    if report.problem:
        said["problem"] = report.problem
    if noted:
        said["noted"] = list(noted[-MAX_NOTED:])
    return said


def alerts(report: Report, alert_s: float, silent_s: float = 0.0) -> tuple[str, ...]:
    """Sentences for operators; none when all is well. `silent_s` is how long the look under way has taken."""
    if silent_s > alert_s:
        return (f"the archive in {report.folder} has not answered for {silent_s:.0f} s: look at its disk",)
    if report.problem:
        return (f"the journal is not being archived: {report.problem}",)
    if report.age_s is not None and report.age_s > alert_s:
        return (
            f"the archive in {report.folder} is {report.age_s:.0f} s behind ({report.lag} entries): "
            "its disk is too slow, or the hub is too busy",
        )
    return ()


def pause_s(report: Report, failures: int, every_s: float) -> float:
    """Until the next look; `failures` is how many looks in a row found a problem, this one included."""
    if report.problem:
        return min(every_s * 2.0 ** min(failures, 10), max(every_s, LONGEST_PAUSE_S))
    return 0.0 if report.has_more else every_s


def trimmable(
    archived: int,
    snapshot: int,
    oldest: int,
    time_of: Callable[[int], int | None],
    now_ms: int,
    keep_s: float,
) -> int:
    """The newest seq up to which the journal may be trimmed; below `oldest` when nothing may.

    An entry may go when it is archived, in a verified snapshot, and older than `keep_s`. `time_of(seq)` is the time
    (ms) of the first entry at `seq` or behind it, None when there is none; it is asked some twenty times.
    """
    low, high = oldest - 1, min(archived, snapshot)
    latest = now_ms - int(keep_s * 1000)
    while low < high:
        middle = (low + high + 1) // 2
        ms = time_of(middle)
        if ms is not None and ms <= latest:
            low = middle
        else:
            high = middle - 1
    return low
