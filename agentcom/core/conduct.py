"""What one client did wrong lately, and how long it must therefore stay away.

Violations count in a window that slides and forgets; too many in it begin a cool-down, which grows with each and is
told to the client. Times are monotonic seconds, brought by the caller.
May import: nothing of ours.
"""

from collections import deque

COOL_DOWNS = (30.0, 60.0, 300.0)
"""Seconds; the last one for each further time."""
FORGOTTEN_S = 3_600.0
"""So long after its last cool-down a client begins anew."""


class Conduct:
    """Invariant: a cool-down begins exactly when more than `most` violations lie within `window_s`."""

    __slots__ = ("_times", "cool_downs", "until_s")

    def __init__(self) -> None:
        self._times: deque[float] | None = None
        self.cool_downs = 0
        self.until_s = 0.0

    def violation(self, now: float, most: int, window_s: float) -> float:
        """0 while it is forgiven; else the seconds of the cool-down that begins now."""
        times = self._times
        if times is None:
            times = self._times = deque()
        while times and now - times[0] >= window_s:
            times.popleft()
        times.append(now)
        if len(times) <= most:
            return 0.0
        self._times = None
        return self.punish(now)

    def punish(self, now: float) -> float:
        """Begin the next cool-down. Its seconds."""
        if now - self.until_s >= FORGOTTEN_S:
            self.cool_downs = 0
        seconds = COOL_DOWNS[min(self.cool_downs, len(COOL_DOWNS) - 1)]
        self.cool_downs += 1
        self.until_s = now + seconds
        return seconds

    def wait(self, now: float) -> float:
        """The seconds it must still stay away."""
        return max(0.0, self.until_s - now)

    def is_idle(self, now: float, window_s: float) -> bool:
        """Nothing is left to remember."""
        remembered = self.cool_downs and now - self.until_s < FORGOTTEN_S
        return not remembered and (self._times is None or now - self._times[-1] >= window_s)
