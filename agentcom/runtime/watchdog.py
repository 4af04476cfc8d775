"""Sees from another thread that a loop is blocked, and says where. Standard library only."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic

log = logging.getLogger("agentcom.runtime")


class LoopWatchdog:
    """Logs all stacks when the loop has not answered for `warn_s`; calls `on_hang` after `hang_s`, once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        warn_s: float = 1.0,
        hang_s: float | None = None,
        on_hang: Callable[[], object] | None = None,
    ) -> None:
        self.lag_s = 0.0  #: how long the loop took to answer, when it was last asked
        self._loop = loop
        self._warn_s = warn_s
        self._hang_s = hang_s
        self._on_hang = on_hang
        self._end = threading.Event()
        self._loop_thread: int | None = None
        self._thread = threading.Thread(target=self._watch, name="agentcom-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(2 * self._warn_s)

    def _watch(self) -> None:
        while not self._end.wait(self._warn_s / 2):
            answered = threading.Event()
            try:
                self._loop.call_soon_threadsafe(self._answer, answered, monotonic())
            except RuntimeError:  # the loop was closed: nothing left to watch
                return
            if not answered.wait(self._warn_s):
                self._blocked(answered, monotonic() - self._warn_s)

    def _answer(self, answered: threading.Event, asked: float) -> None:
        self.lag_s = monotonic() - asked
        self._loop_thread = threading.get_ident()
        answered.set()

    def _blocked(self, answered: threading.Event, since: float) -> None:
        log.error("the loop has been blocked for %.1f s\n%s", self._warn_s, stacks(self._loop_thread))
        hung = False
        while not self._end.is_set() and not answered.wait(self._warn_s / 2):
            if not hung and self._hang_s is not None and monotonic() - since >= self._hang_s:
                hung = True
                self._hang()
        if answered.is_set():
            log.warning("the loop runs again after %.1f s", monotonic() - since)

    def _hang(self) -> None:
        log.critical("the loop has hung for %s s\n%s", self._hang_s, stacks(self._loop_thread))
        if self._on_hang is not None:
            self._on_hang()


def stacks(first: int | None = None) -> str:
    """Every thread's stack as text, `first` on top."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != first)
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames
        if ident != threading.get_ident()
    )
