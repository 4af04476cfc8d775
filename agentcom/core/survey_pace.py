"""When a lane's next survey begins: soon when it must, and never for most of the lane's time.

With far more signatures than windows each survey is wanted as soon as the last is over; meanwhile tasks come from the
windows there are, so that waiting costs exact order and no work.
May import: nothing of ours.
"""

LONGEST_S = 10.0
"""Buckets that found no place in the windows wait this long at most for one that others left, and for the next look."""
RESTS = 3
"""The pause after a survey that is wanted again, in times of how long it took."""


class SurveyPace:
    """Told at every change how things are; times are monotonic seconds."""

    def __init__(self) -> None:
        self._running = False
        self._began = self._rest_until = float("-inf")

    def begins(self, now: float, *, running: bool, wanted: bool, useful: bool) -> bool:
        """Whether to begin one now. `running`: one is under way, whoever began it; `wanted`: what is not in memory may
        be older than what is; `useful`: there is room for more.
        """
        if self._running and not running:
            self._rest_until = now + min(RESTS * (now - self._began), LONGEST_S)
        due = self._rest_until if wanted else self._began + LONGEST_S
        begins = (wanted or useful) and not running and now >= due
        if (begins or running) and not self._running:
            self._began = now
        self._running = begins or running
        return begins
