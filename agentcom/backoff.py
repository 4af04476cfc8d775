"""How long to wait before the next try.

May import: the standard library.
"""

import random


def delay_s(
    attempt: int, rng: random.Random, *, base_s: float, cap_s: float, at_least_s: float = 0.0
) -> float:
    """Full jitter over a capped exponential, so that many clients do not come back at once."""
    return at_least_s + rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt, 30)))
