"""What one measurement counts: things done in a window of time, errors, and the CPU that both processes used.

May import: msgspec, benchmarks.{specs, stats}.
"""

import asyncio
import os
import time
from pathlib import Path

from benchmarks.specs import Outcome
from benchmarks.stats import percentile, spread

TICKS = os.sysconf("SC_CLK_TCK")
KEPT_ERRORS = 5


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process. Raises FileNotFoundError when it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Meter:
    """Counts only between `open` and `close`; totals and errors count always."""

    def __init__(self, hub_pid: int) -> None:
        self._pid = hub_pid
        self._running = False
        self._began = self._ended = 0.0
        self._cpu = (0.0, 0.0)
        self._durations: list[float] = []
        self._late: list[float] = []
        self.count = self.acknowledged = self.completed = self.errors = 0
        self._first_errors: list[str] = []

    async def window(self, warmup_s: float, seconds: float) -> None:
        """Warm up, then measure."""
        await asyncio.sleep(warmup_s)
        self.open()
        await asyncio.sleep(seconds)
        self.close()

    def open(self) -> None:
        self._cpu = (cpu_seconds(self._pid), time.process_time())
        self._began, self._running = time.perf_counter(), True

    def close(self) -> None:
        self._ended, self._running = time.perf_counter(), False
        hub, load = self._cpu
        self._cpu = (cpu_seconds(self._pid) - hub, time.process_time() - load)

    def done(self, duration_s: float, things: int = 1) -> None:
        if self._running:
            self.count += things
            self._durations.append(duration_s)

    def late(self, seconds: float) -> None:
        self._late.append(seconds)

    def error(self, sentence: str) -> None:
        self.errors += 1
        if len(self._first_errors) < KEPT_ERRORS and sentence not in self._first_errors:
            self._first_errors.append(sentence)

    def outcome(self) -> Outcome:
        seconds = self._ended - self._began
        hub, load = self._cpu
        return Outcome(
            count=self.count,
            seconds=seconds,
            spread=spread(self._durations),
            acknowledged=self.acknowledged,
            completed=self.completed,
            hub_cpu=hub / seconds,
            load_cpu=load / seconds,
            late_ms=percentile(sorted(self._late), 0.99) * 1e3 if self._late else 0.0,
            errors=self.errors,
            first_errors=self._first_errors,
        )
