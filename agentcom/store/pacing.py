"""Work that may take its time, beside a hub whose work may not.

A low priority decides who runs on a core, not how fast a core is while its neighbour is busy too: on two virtual cores
a process of the lowest priority that never rested took a third of the hub's speed. So such work rests. The lowest
priority itself is not for it: beside busy neighbours it would take hours.
May import: operating system.
"""

import contextlib
import signal
import time
from collections.abc import Iterator

SHARE = 0.3
"""Of one core, at most."""
_SPELL_S = 0.005


class Pace:
    """Rests for who works in parts and calls `rest` after each."""

    def __init__(self, *, share: float = SHARE, idle: float = 1.0, longest_s: float = 0.1) -> None:
        """At most `share` of a core; and idle for `idle` of the time that a part took, which is long on a busy disk."""
        self._per_cpu, self._idle, self._longest_s = 1 / share - 1, idle, longest_s
        self._start()

    def _start(self) -> None:
        self._begun, self._cpu = time.monotonic(), time.process_time()

    def rest(self) -> None:
        took, cpu = time.monotonic() - self._begun, time.process_time() - self._cpu
        time.sleep(min(max(self._idle * took, self._per_cpu * cpu - (took - cpu)), self._longest_s))
        self._start()


@contextlib.contextmanager
def resting(share: float = SHARE) -> Iterator[None]:
    """The main thread of this process, whatever it does, sleeps after each few milliseconds of work.

    It ends before the interpreter does: that gives up its handlers first, and the signal would then end the process.
    """

    def rest(*_: object) -> None:
        time.sleep(_SPELL_S * (1 / share - 1))

    signal.signal(signal.SIGPROF, rest)
    signal.setitimer(signal.ITIMER_PROF, _SPELL_S, _SPELL_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
