"""Work that may block, off the loop, with its result as a message. Knows actors only by their base's hook.

Our bases offer it by a method `run_blocking(job)` on what Thespian calls an actor's `_myRef`; on Thespian's own
it is done by a thread and wakeups.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import msgspec
from thespian.actors import Actor


class BlockingDone(msgspec.Struct, frozen=True):
    """The function returned."""

    token: Any
    value: Any

    def __str__(self) -> str:
        return "BlockingDone"


class BlockingFailed(msgspec.Struct, frozen=True):
    """The function raised."""

    token: Any
    error_type: str
    text: str
    traceback: str

    def __str__(self) -> str:
        return "BlockingFailed"


class TimedOut(msgspec.Struct, frozen=True):
    """The deadline came first. Nothing more will be heard of this token."""

    token: Any

    def __str__(self) -> str:
        return "TimedOut"


class Job:
    """One call on its way: what to do, for whom by which name, and until when."""

    __slots__ = ("args", "deadline_s", "executor", "fn", "settled", "token")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        token: object,
        deadline_s: float | None,
        executor: Executor | None,
    ) -> None:
        self.fn = fn
        self.args = args
        self.token = token
        self.deadline_s = deadline_s
        self.executor = executor
        self.settled = False

    def run(self) -> BlockingDone | BlockingFailed:
        try:
            return BlockingDone(self.token, self.fn(*self.args))
        except BaseException as exc:  # noqa: BLE001 - whatever it was, the actor that asked is told
            return BlockingFailed(self.token, type(exc).__name__, str(exc), traceback.format_exc())

    def __str__(self) -> str:
        return f"{getattr(self.fn, '__qualname__', self.fn)} (token {self.token!r})"


def run_blocking(
    actor: Actor,
    fn: Callable[..., Any],
    *args: Any,
    token: object,
    deadline_s: float | None = None,
    executor: Executor | None = None,
) -> None:
    """Runs `fn(*args)` elsewhere; the actor gets BlockingDone, BlockingFailed or TimedOut from itself."""
    hook = getattr(actor._myRef, "run_blocking", None)
    job = Job(fn, args, token, deadline_s, executor)
    if hook is not None:
        hook(job)
        return
    from agentcom.runtime.elsewhere import start_elsewhere  # its threads are for Thespian's own bases only

    start_elsewhere(actor, job)
