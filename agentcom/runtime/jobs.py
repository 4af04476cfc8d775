"""Blocking jobs of actors: threads, deadlines, and what becomes of late results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from agentcom.runtime.blocking import Job, TimedOut
from agentcom.runtime.cell import DEAD, Cell
from agentcom.runtime.timers import Fire
from agentcom.runtime.workers import DaemonExecutor

log = logging.getLogger("agentcom.runtime")

Post = Callable[..., None]
CallAfter = Callable[[float, Cell, Fire, object], None]


class Jobs:
    """Each job is settled once: by its result, or by its deadline."""

    def __init__(self, post: Post, call_after: CallAfter) -> None:
        self._post = post
        self._call_after = call_after
        self._workers: DaemonExecutor | None = None
        self._closed = False

    def start(self, cell: Cell, job: Job) -> None:
        future = self._executor_of(job).submit(job.run)
        future.add_done_callback(lambda done: self._returned(cell, job, done))
        if job.deadline_s is not None:
            self._call_after(job.deadline_s, cell, self._overdue, (job, future))

    def close(self) -> None:
        self._closed = True
        if self._workers is not None:
            self._workers.shutdown()

    def _executor_of(self, job: Job) -> Executor:
        if job.executor is not None:
            return job.executor
        if self._workers is None:
            self._workers = DaemonExecutor()
        return self._workers

    def _returned(self, cell: Cell, job: Job, future: Future[Any]) -> None:
        """On the worker's thread."""
        if not (future.cancelled() or self._closed):
            self._post(self._settle, cell, job, future.result())

    def _settle(self, cell: Cell, job: Job, outcome: object) -> None:
        if job.settled:
            log.warning("a leaked thread has returned: %s", job)
            if job.executor is None and self._workers is not None:
                self._workers.written_off_returned()
            return
        job.settled = True
        if cell.state is not DEAD:
            cell.put(outcome, cell.address)

    def _overdue(self, cell: Cell, call: tuple[Job, Future[Any]]) -> None:
        job, future = call
        if job.settled:
            return
        job.settled = True
        if not future.cancel():
            log.warning("past its deadline of %s s, its thread has leaked: %s", job.deadline_s, job)
            if job.executor is None and self._workers is not None:
                self._workers.write_off()
        cell.put(TimedOut(job.token), cell.address)
