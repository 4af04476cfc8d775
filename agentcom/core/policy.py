"""The numbers the task life cycle is decided by, taken from the settings at start.

May import: msgspec.
"""

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds unless the name says otherwise; see `agentcom.config` for what each means."""

    accept_s: float = 60.0
    work_s: float = 120.0
    grace_s: float = 60.0
    reconnect_jitter_s: float = 5.0
    heartbeat_s: float = 15.0
    max_runtime_s: float = 14_400.0
    stop_s: float = 60.0
    max_attempts: int = 3
    max_losses: int = 3
    backoff_base_s: float = 5.0
    backoff_cap_s: float = 600.0
    exclude_base_s: float = 60.0
    exclude_cap_s: float = 3_600.0
    blocked_max_s: float = 86_400.0
    max_queued: int = 20_000_000
    window: int = 64
    max_signatures: int = 10_000
    breaker_timeouts: int = 3
    breaker_rest_s: float = 60.0

    @property
    def renewal_s(self) -> float:
        """What every lease gets after a part it depends on was down."""
        return self.grace_s + self.reconnect_jitter_s
