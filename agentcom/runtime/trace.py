"""What a simulation did, step by step: a hash of all of it and the last of it as text. Standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b

Step = tuple[float, str, int, str, str]
KEPT = 200


class Trace:
    """Two runs with the same hash took the same steps at the same times."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._hash = blake2b(digest_size=16)
        self._recent: deque[Step] = deque(maxlen=KEPT)
        self.steps = 0

    def record(self, what: str, number: int, who: str, message: str) -> None:
        at = self._monotonic()
        self.steps += 1
        self._hash.update(f"{at!r} {what} {number} {who} {message}\n".encode())
        self._recent.append((at, what, number, who, message))

    def hash(self) -> str:
        return self._hash.hexdigest()

    def tail(self, lines: int = 40) -> str:
        """The last steps, the latest at the end."""
        kept = list(self._recent)[-lines:]
        return "\n".join(
            f"{at:12.6f}  {what:12} {who}#{number} {message}" for at, what, number, who, message in kept
        )
