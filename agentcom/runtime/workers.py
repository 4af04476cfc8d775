"""A pool of daemon threads for blocking work. Standard library only.

concurrent.futures' own pool joins its threads at interpreter exit, so one stuck call would keep a finished
process alive for ever. Here a stuck thread dies with the process, and is replaced while it is stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

Work = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonExecutor(Executor):
    """Threads start when they are needed, up to `limit` that are not written off."""

    def __init__(self, limit: int = 16) -> None:
        self._limit = limit
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._unclaimed = 0  # idle threads less queued work

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            self._unclaimed -= 1
            self._queue.put((future, fn, args, kwargs))
            self._grow()
        return future

    def write_off(self) -> None:
        """One thread is stuck: it no longer counts."""
        with self._lock:
            self._limit += 1
            self._grow()

    def written_off_returned(self) -> None:
        with self._lock:
            self._limit -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            for _ in range(self._threads):
                self._queue.put(None)

    def _grow(self) -> None:
        if self._unclaimed < 0 and self._threads < self._limit:
            self._threads += 1
            self._unclaimed += 1
            Thread(target=self._work, name=f"agentcom-worker-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            future, fn, args, kwargs = work
            if future.set_running_or_notify_cancel():
                _fill(future, fn, args, kwargs)
            with self._lock:
                self._unclaimed += 1


def _fill(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        result = fn(*args, **kwargs)
    except BaseException as exc:  # noqa: BLE001 - it belongs to whoever holds the future
        future.set_exception(exc)
    else:
        future.set_result(result)
