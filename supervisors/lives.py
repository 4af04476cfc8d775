"""One dynamic child's life: pure. Each has a restart budget of its own, may sleep, may be quarantined.

Lives here: the state of one child, the events that reach it, the actions it asks its shell for.
May import: msgspec, supervisors.{specs,restarts}. Never: a clock, randomness, I/O.

Mail is the shell's: it delivers while `phase` is "up", refuses while it is CLOSED, and keeps it otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from supervisors.restarts import ABORTED, LATE, failures_after, spend, wants_restart
from supervisors.specs import DynamicSpec

Phase = Literal["down", "starting", "up", "draining", "stopping", "asleep", "quarantined", "terminated"]
After = Literal["restart", "down", "forget", ""]
Act = Literal["start", "stop", "kill", "grant", "deliver", "refuse", "quarantine", "forget", "wait"]

RUNNING = ("starting", "up", "draining", "stopping")
CLOSED = ("quarantined", "terminated")  # mail is refused until someone asks for the child by name


class Life(msgspec.Struct, frozen=True):
    """`start` numbers its lives; `after` says what follows a stop that was asked for."""

    phase: Phase = "down"
    start: int = 0
    window: tuple[float, ...] = ()
    failures: int = 0
    due: float = 0.0
    ready_at: float = 0.0
    after: After = ""


Outcome = tuple[Life, tuple[Act, ...]]


def is_waiting(life: Life, now: float) -> bool:
    """In backoff: it starts again by itself."""
    return life.phase == "down" and life.due > now


def on_wanted(life: Life, now: float) -> Outcome:
    """There is mail for it, or someone asked for it to run, or its backoff may be over."""
    if life.phase not in ("down", "asleep") or is_waiting(life, now):
        return life, ()
    return replace(life, phase="starting", start=life.start + 1, due=0.0, after=""), ("start",)


def on_ready(life: Life, now: float) -> Outcome:
    if life.phase != "starting":
        return life, ()
    return replace(life, phase="up", ready_at=now), ("deliver",)


def on_may_sleep(life: Life) -> Outcome:
    return (replace(life, phase="draining"), ("grant",)) if life.phase == "up" else (life, ())


def on_stay_awake(life: Life) -> Outcome:
    return (replace(life, phase="up"), ("deliver",)) if life.phase == "draining" else (life, ())


def on_stop(life: Life, after: After, now: float) -> Outcome:
    """Stop it, then restart, leave down or forget it. Ends a quarantine and a backoff, and counts nowhere."""
    if life.phase in RUNNING:
        asked: tuple[Act, ...] = () if life.phase == "stopping" else ("stop",)
        return replace(life, phase="stopping", after=after), asked
    fresh = replace(life, phase="down", window=(), failures=0, due=0.0)
    return _then(fresh, after, now)


def on_late(life: Life) -> Outcome:
    """Its time to get ready, or to stop, is over."""
    if life.phase not in ("starting", "stopping"):
        return life, ()
    return replace(life, phase="stopping"), ("kill",)


def on_exit(life: Life, spec: DynamicSpec, reason: str, now: float, draw: float) -> Outcome:
    if life.after:
        return _then(replace(life, phase="down", window=(), failures=0), life.after, now)
    if life.phase == "draining" and reason == "normal":
        return replace(life, phase="asleep"), ()
    if life.phase == "stopping":
        reason = LATE
    if not wants_restart(spec.template.restart, reason):
        return replace(life, phase="down"), ("forget",)
    return _again(life, spec, reason, now, draw)


def _again(life: Life, spec: DynamicSpec, reason: str, now: float, draw: float) -> Outcome:
    was_up = life.phase in ("up", "draining")
    failures = failures_after(
        life.failures, "up" if was_up else "starting", now - life.ready_at, spec.backoff
    )
    if reason == ABORTED:
        due = now + spec.backoff.delay(failures, draw)
        return replace(life, phase="down", failures=failures, due=due), ("wait",)
    window = spend(life.window, now, spec.period_s)
    if len(window) > spec.intensity:
        return replace(life, phase="quarantined", window=window), ("quarantine", "refuse")
    if was_up:
        return on_wanted(replace(life, phase="down", window=window, failures=0, due=now), now)
    due = now + spec.backoff.delay(failures, draw)
    return replace(life, phase="down", window=window, failures=failures, due=due), ("wait",)


def _then(life: Life, after: After, now: float) -> Outcome:
    if after == "restart":
        return on_wanted(replace(life, due=0.0), now)
    if after == "forget":
        return replace(life, after=""), ("refuse", "forget")
    return replace(life, phase="terminated", after=""), ("refuse",)
