"""Blocking work on Thespian's own bases, which know nothing of it: a thread, and wakeups that look for its result.

Imports blocking work only.
"""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import Future
from datetime import timedelta
from time import monotonic
from typing import Any

import msgspec
from thespian.actors import Actor, WakeupMessage

from agentcom.runtime.blocking import BlockingDone, BlockingFailed, Job, TimedOut
from agentcom.runtime.workers import DaemonExecutor

log = logging.getLogger("agentcom.runtime")

FIRST_LOOK_S, SLOWEST_LOOK_S = 0.002, 0.1


class Look(msgspec.Struct, frozen=True):
    """Payload of the wakeup at which an actor looks whether its work is done."""

    def __str__(self) -> str:
        return "Look"


class Elsewhere:
    """One actor's work on its way. It stands before the actor's `receiveMessage` and takes the looks out.

    What the actor gets is a message it sends itself, so Thespian's rules for failing handlers hold for it.
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._receive = actor.receiveMessage
        self._workers = DaemonExecutor()
        self._open: list[tuple[Job, Future[Any], float | None]] = []
        self._interval_s = FIRST_LOOK_S
        self._looking = False
        self._watching: Any = None
        actor.receiveMessage = self._before  # the instance's own attribute hides its class's method

    def start(self, job: Job) -> None:
        due = None if job.deadline_s is None else monotonic() + job.deadline_s
        self._open.append((job, (job.executor or self._workers).submit(job.run), due))
        self._interval_s = FIRST_LOOK_S
        if not self._looking:
            self._look_later()

    def _before(self, message: Any, sender: Any) -> Any:
        """What the actor watches stays watched over a look; returning None would end it."""
        if isinstance(message, WakeupMessage) and isinstance(message.payload, Look):
            self._look()
        else:
            self._watching = self._receive(message, sender)
        return self._watching

    def _look(self) -> None:
        self._looking = False
        self._open = [item for item in self._open if not self._settled(*item)]
        if self._open:
            self._look_later()

    def _look_later(self) -> None:
        self._looking = True
        self._actor.wakeupAfter(timedelta(seconds=self._interval_s), Look())
        self._interval_s = min(SLOWEST_LOOK_S, 2 * self._interval_s)

    def _settled(self, job: Job, future: Future[Any], due: float | None) -> bool:
        if future.done():
            self._tell(_portable(future.result()))
        elif due is not None and monotonic() >= due:
            if not future.cancel():
                log.warning("past its deadline of %s s, its thread has leaked: %s", job.deadline_s, job)
            self._tell(TimedOut(job.token))
        else:
            return False
        return True

    def _tell(self, outcome: object) -> None:
        self._actor.send(self._actor.myAddress, outcome)


def start_elsewhere(actor: Actor, job: Job) -> None:
    found = actor.__dict__.get("_agentcom_elsewhere")
    if found is None:
        found = actor._agentcom_elsewhere = Elsewhere(actor)
    found.start(job)


def _portable(outcome: BlockingDone | BlockingFailed) -> BlockingDone | BlockingFailed:
    """A result that could not be sent has to be a failure that can."""
    try:
        pickle.dumps(outcome)
    except Exception as exc:  # noqa: BLE001 - whatever pickling it raises
        return BlockingFailed(outcome.token, type(exc).__name__, f"its result cannot be pickled: {exc}", "")
    return outcome
