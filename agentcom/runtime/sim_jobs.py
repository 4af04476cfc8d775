"""Blocking work in a simulation: inline, in a later step than it was asked for. Imports cells and jobs.

As with threads, work runs though its actor is gone, and jobs of one executor run in the order they were given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from agentcom.runtime.blocking import Job, TimedOut
from agentcom.runtime.cell import DEAD, Cell


class Later(Protocol):
    def later(self, delay_s: float, call: Callable[[], object]) -> None: ...
    def monotonic(self) -> float: ...


class SimJobs:
    def __init__(self, host: Later) -> None:
        self._host = host
        self._lines: dict[Any, deque[tuple[Cell, Job]]] = {}  # an executor -> its jobs, oldest first
        self._busy_until: dict[Any, float] = {}

    def start(self, cell: Cell, job: Job, delay_s: float) -> None:
        line = job if job.executor is None else job.executor
        now = self._host.monotonic()
        due = max(now + delay_s, self._busy_until.get(line, now))
        self._busy_until[line] = due
        self._lines.setdefault(line, deque()).append((cell, job))
        self._host.later(due - now, partial(self._run_first, line))
        if job.deadline_s is not None and now + job.deadline_s < due:
            self._host.later(job.deadline_s, partial(self._overdue, cell, job))

    def _run_first(self, line: Any) -> None:
        jobs = self._lines[line]
        cell, job = jobs.popleft()
        if not jobs:
            del self._lines[line], self._busy_until[line]
        outcome = job.run()
        if not job.settled:
            _settle(cell, job, outcome)

    def _overdue(self, cell: Cell, job: Job) -> None:
        """The work itself cannot be stopped, and will still run."""
        _settle(cell, job, TimedOut(job.token))


def _settle(cell: Cell, job: Job, outcome: object) -> None:
    job.settled = True
    if cell.state is not DEAD:
        cell.put(outcome, cell.address)
