"""What each alert rule says of a sample: does it hold, and in which words.

What ended in the last hour is the difference of two totals, never a total: `Window` keeps old ones to compare with.
May import: agentcom.protocol.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentcom.protocol.alerts import WINDOW_MS, Asking, Ended, Rule, Sample, Silent, Thresholds

SPACING_MS = WINDOW_MS // 60
"""Old totals are kept so far apart at least: they are written to disk, and the window is that exact."""
NAMED = 10
"""Stuck tasks named in an alert."""
ASKED = 3
"""Questions named in one: each is somebody's to answer, and the next one is named once an older one is."""
Details = dict[str, int | float | str | list[str]]


class Verdict(NamedTuple):
    """`holds` None: nobody can say just now, so nothing changes."""

    holds: bool | None
    message: str = ""
    details: Details = {}


class Window:
    """What ended in the last hour, from totals that count for ever and survive restarts.

    Invariant: `marks` rise in time and never fall in number; all but the first are younger than the window.
    """

    def __init__(self, marks: Iterable[Ended] = ()) -> None:
        self.marks = list(marks)

    def look(self, now: Ended) -> bool:
        """Take in today's totals. True when the marks are others than before, and so are to be written."""
        before = list(self.marks)
        self._follow(now)
        if not self.marks or self._is_news(now):
            self.marks.append(now)
        while len(self.marks) > 1 and self.marks[1].ms <= now.ms - WINDOW_MS:
            del self.marks[0]
        return self.marks != before

    def of_late(self, now: Ended) -> Ended:
        """What ended in the window that ends now."""
        start = self.marks[0]
        return Ended(now.ms, now.completed - start.completed, now.failed - start.failed)

    def _is_news(self, now: Ended) -> bool:
        last = self.marks[-1]
        return last[1:] != now[1:] and now.ms - last.ms >= SPACING_MS

    def _follow(self, now: Ended) -> None:
        """Totals that went back (a restore, an agent that was removed) and a clock that did take no failure back."""
        if not self.marks:
            return
        last = self.marks[-1]
        completed, failed = max(0, last.completed - now.completed), max(0, last.failed - now.failed)
        if completed or failed or last.ms > now.ms:
            self.marks = [
                Ended(min(mark.ms, now.ms), mark.completed - completed, mark.failed - failed)
                for mark in self.marks
            ]


class Trend:
    """How the queue's length went from check to check."""

    def __init__(self) -> None:
        self.rises = self.stable = 0  #: checks in a row
        self._last: int | None = None

    def look(self, queued: int) -> None:
        if self._last is not None and queued > self._last:
            self.rises, self.stable = self.rises + 1, 0
        elif self._last is not None:
            self.rises, self.stable = 0, self.stable + 1
        self._last = queued


def judge(
    sample: Sample, limits: Thresholds, trend: Trend, window: Window, growing: bool
) -> dict[Rule, Verdict]:
    """Of each rule. `trend` and `window` have seen this sample; `growing`: that the queue grows is an alert now."""
    late = window.of_late(Ended(sample.now_ms, sample.completed, sample.failed))
    return {
        "queue_growing": _queue_growing(sample, limits, trend, growing),
        "high_failure_rate": _high_failure_rate(late, limits),
        "stuck_tasks": _stuck_tasks(sample, limits),
        "no_agents_online": _no_agents_online(sample),
        "high_error_rate": _high_error_rate(late, limits),
        "unanswered_questions": _unanswered_questions(sample, limits),
    }


def _queue_growing(sample: Sample, limits: Thresholds, trend: Trend, growing: bool) -> Verdict:
    """Two counts, so that the one which raises it is not the one which ends it."""
    of = limits.queue_growing
    holds = trend.stable < of.stable_checks if growing else trend.rises >= of.increases
    said = f"the queue grows: {sample.queued} tasks wait"
    return Verdict(holds, said, {"queued": sample.queued, "increases": trend.rises})


def _high_failure_rate(late: Ended, limits: Thresholds) -> Verdict:
    of, ended = limits.high_failure_rate, late.completed + late.failed
    percent = 100 * late.failed / ended if ended else 0.0
    said = f"{late.failed} of {ended} tasks that ended in the last hour failed ({percent:.0f} %)"
    details: Details = {"failed": late.failed, "completed": late.completed, "percent": round(percent, 1)}
    return Verdict(ended >= of.min_tasks and percent > of.percent, said, details)


def _stuck_tasks(sample: Sample, limits: Thresholds) -> Verdict:
    if sample.silent is None:
        return Verdict(None)
    limit = sample.now_ms - limits.stuck_tasks.silent_ms
    stuck = sorted(task for task in sample.silent if task.updated_ms <= limit)
    return _of_tasks("nothing is heard of tasks that agents hold", stuck, NAMED)


def _unanswered_questions(sample: Sample, limits: Thresholds) -> Verdict:
    blocked_ms = limits.unanswered_questions.blocked_ms
    assert blocked_ms is not None, "thresholds in force say how long"
    old = [task for task in sample.asking if task.blocked_ms <= sample.now_ms - blocked_ms]
    return _of_tasks("tasks wait for an answer", old, ASKED)


def _of_tasks(said: str, tasks: Sequence[Silent | Asking], named: int) -> Verdict:
    """It holds while there are any; the first ones are named."""
    ids = [task.task_id for task in tasks[:named]]
    more = f" and {len(tasks) - named} more" if len(tasks) > named else ""
    details: Details = {
        "count": len(tasks),
        "tasks": ids,
        "agents": sorted({task.holder for task in tasks[:named]}),
    }
    return Verdict(bool(tasks), f"{said}: {', '.join(ids)}{more}", details)


def _no_agents_online(sample: Sample) -> Verdict:
    if sample.online is None:
        return Verdict(None)
    said = f"no agent is connected, and {sample.known} could be"
    return Verdict(sample.online == 0 and sample.known > 0, said, {"known": sample.known})


def _high_error_rate(late: Ended, limits: Thresholds) -> Verdict:
    said = f"{late.failed} failures in the last hour"
    return Verdict(late.failed > limits.high_error_rate.failures, said, {"failed": late.failed})
