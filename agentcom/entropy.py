"""The real sources of randomness, ids and secrets; tests pass seeded ones.

May import: the standard library.
"""

import random
import secrets


class SystemEntropy:
    """Ids rise with time, so that new rows lie side by side on disk."""

    def __init__(self) -> None:
        self._random = random.Random(secrets.randbits(128))  # noqa: S311 - ids and jitter, no secrets
        self._last = 0

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def task_id(self, now_ms: int) -> str:
        """`task-`, 48 bits of milliseconds, 32 bits that rise within a millisecond from a random start."""
        return f"task-{self._next(now_ms):020x}"

    def message_id(self, now_ms: int) -> str:
        """`msg-` and a number made likewise, so that the order of ids is the order of time; and 32 more bits, as many
        actors make such ids at once.
        """
        return f"msg-{self._next(now_ms):020x}{self._random.getrandbits(32):08x}"

    def _next(self, now_ms: int) -> int:
        self._last = max(self._last + 1, now_ms << 32 | self._random.getrandbits(30))
        return self._last


class SystemSecrets:
    """256 random bits as text, from the operating system."""

    def secret(self) -> str:
        return secrets.token_urlsafe(32)
