"""Whether the wall clock may be believed by who removes things for their age.

A clock that is set far into the future, by a bad time server or an empty battery, makes everything old at once. What
is removed for that does not come back; what waits a day longer harms nobody. So after a leap ahead nothing is removed
for a day of running time, with an alert; then the clock is believed, or it was set back and the leap is forgotten.
A hub that was off for weeks, or a machine that slept, looks the same.
May import: agentcom.core.messages, msgspec.
"""

import msgspec

from agentcom.core.messages import Keep

DAY_MS = 86_400_000
MOST_MS = 7 * DAY_MS
"""A hub may be off over a long weekend."""
HELD_S = 86_400.0


def longest_leap_ms(keep: Keep) -> int:
    """By no more may the clock go ahead: at most half of the shortest time that anything is kept."""
    return max(DAY_MS, min(MOST_MS, min(keep) // 2))


class ClockTrust(msgspec.Struct):
    """The clock of one actor's life. Times: wall in milliseconds, monotonic in seconds."""

    longest_ms: int
    wall_ms: int  #: when it was believed last
    monotonic_s: float  #: likewise
    leapt_ms: int = 0  #: by so much it was ahead of what was written already then
    held_s: float | None = None  #: since when it is not believed, monotonic

    def ahead_ms(self, now_ms: int, monotonic_s: float) -> int:
        """Of where the time that has passed would have brought it."""
        passed_ms = int((monotonic_s - self.monotonic_s) * 1000)
        return self.leapt_ms + now_ms - self.wall_ms - passed_ms

    def held(self, now_ms: int, monotonic_s: float) -> str:
        """Look at the clock: why nothing may be removed by it now, "" when it is believed."""
        return "" if self.believes(now_ms, monotonic_s) else self.alert(now_ms, monotonic_s)

    def believes(self, now_ms: int, monotonic_s: float) -> bool:
        """Whether it may be gone by now."""
        if self.ahead_ms(now_ms, monotonic_s) > self.longest_ms:
            if self.held_s is None:
                self.held_s = monotonic_s
            if monotonic_s - self.held_s < HELD_S:
                return False
        self.wall_ms, self.monotonic_s, self.leapt_ms, self.held_s = now_ms, monotonic_s, 0, None
        return True

    def alert(self, now_ms: int, monotonic_s: float) -> str:
        """Why nothing is removed."""
        ahead = self.ahead_ms(now_ms, monotonic_s) / DAY_MS
        left = HELD_S - (monotonic_s - (self.held_s or 0.0))
        return (
            f"the clock is {ahead:,.0f} days ahead of the newest thing written before it leapt: nothing is removed for "
            f"its age for another {left / 3600:.0f} hours; if the clock is wrong, set it right by then, and if it is "
            "right, there is nothing to do"
        )
