"""How often one client may ask: a cell rate (GCRA) with a warning before, and a penalty that grows for who goes on.

One number says how full a bucket is: `tat`, when it would be full again. Nothing ticks, so an idle client costs
nothing, and one that is full again may be forgotten. Times are monotonic seconds, brought by the caller.
May import: nothing of ours.
"""

from typing import Literal, NamedTuple

Tier = Literal["light", "normal", "heavy"]
TIERS: tuple[Tier, ...] = ("light", "normal", "heavy")

PENALTIES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds of silence asked of who goes on although refused; after the last one a session is closed."""
HEARD_S = 1.0
"""What arrives so soon after a refusal may have been sent before the refusal was read: it is no going on."""
FORGIVEN_S = 60.0
"""So long after the last refusal, penalties begin anew."""
ROUNDING_S = 1e-6
"""Sums of floating-point numbers are that exact at least."""
NEAR = 0.2
"""A warning comes when less than this share of the burst is left."""


class Rate(NamedTuple):
    """So many a minute in the long run, so many at once."""

    per_min: float
    burst: int

    def times(self, factor: float) -> "Rate":
        return Rate(self.per_min * factor, max(1, int(self.burst * factor)))


class Bucket:
    """One client's use of one rate.

    Invariant: what was allowed within any span of `s` seconds costs at most `burst + per_min / 60 * s`.
    """

    __slots__ = (
        "blocked_until", "burst", "interval", "refused", "refused_s", "strikes", "struck_s", "tat", "tolerance",
        "warn_at", "warned",
    )  # fmt: skip

    def __init__(self, rate: Rate) -> None:
        self.interval = 60.0 / rate.per_min
        self.burst = rate.burst
        self.tolerance = self.interval * rate.burst + ROUNDING_S
        self.warn_at = self.tolerance * (1 - NEAR)
        self.tat = self.blocked_until = 0.0
        self.warned = False
        self.strikes = self.refused = 0
        self.refused_s = self.struck_s = 0.0

    def spend(self, cost: int, now: float) -> float:
        """0 when it is allowed; else the seconds until the same would be, if nothing else is asked meanwhile."""
        tat = self.tat
        if tat < now:
            tat, self.warned = now, False
        after = tat + self.interval * (cost if cost < self.burst else self.burst)
        if after - now <= self.tolerance and now >= self.blocked_until:
            self.tat = after
            return 0.0
        return self._refuse(after - self.tolerance, now)

    def peek(self, now: float) -> float:
        """What `spend(1, now)` would answer, if it were asked; nothing is spent and nobody is punished."""
        after = (self.tat if self.tat > now else now) + self.interval
        return max(after - self.tolerance - now, self.blocked_until - now, 0.0)

    def is_near(self, now: float) -> bool:
        """Little is left."""
        return self.tat - now > self.warn_at

    def warns(self, now: float) -> bool:
        """Little is left, and this is the first time since the bucket was full."""
        if self.warned or self.tat - now <= self.warn_at:
            return False
        self.warned = True
        return True

    def left(self, now: float) -> int:
        """How many could be asked at once now."""
        return max(0, int((self.tolerance - max(0.0, self.tat - now)) / self.interval + 1e-6))

    @property
    def is_lost(self) -> bool:
        """It went on through every penalty."""
        return self.strikes > len(PENALTIES)

    def is_idle(self, now: float) -> bool:
        """As good as new."""
        return self.tat <= now and self.blocked_until <= now and now - self.refused_s >= FORGIVEN_S

    def _refuse(self, possible_at: float, now: float) -> float:
        if now - self.refused_s >= FORGIVEN_S and now >= self.blocked_until:
            self.strikes = self.refused = 0
        self.refused_s = now
        self.refused += 1
        if self._goes_on(now):
            self.strikes += 1
            self.refused, self.struck_s = 0, now
            self.blocked_until = max(
                self.blocked_until, now + PENALTIES[min(self.strikes, len(PENALTIES)) - 1]
            )
        elif now >= self.blocked_until:
            self.struck_s, self.blocked_until = now, possible_at
        return max(possible_at - now, self.blocked_until - now, ROUNDING_S)

    def _goes_on(self, now: float) -> bool:
        """It must have read that it has to wait, and did not; or it sends more than it could have in store."""
        knew = self.struck_s + HEARD_S <= now < self.blocked_until
        return knew or self.refused > self.burst + 10
