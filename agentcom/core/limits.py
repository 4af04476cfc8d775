"""Who may ask how often: a standing for each subject and, before login, for each address.

All tokens of a subject share one standing, so that a second token does not double what it may do. What an operator
set for a subject (`Override`) counts instead of the defaults. Clients that are idle are forgotten.
May import: agentcom.protocol, agentcom.core.
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from agentcom.core.conduct import Conduct
from agentcom.core.messages import Fault
from agentcom.core.rates import TIERS, Bucket, Rate, Tier
from agentcom.protocol.rows import Token

Kind = Literal["agent", "operator", "address", "local"]

MOST_CLIENTS = 50_000
"""Of each kind; those above it share one standing, so that inventing addresses costs no memory."""
SIZE_STEP = 1 << 16
"""A request costs one more for each so many bytes: decoding is what costs the hub most."""


class LimitRules(NamedTuple):
    """The settings. An operator may so many times what an agent may, an address before login so much of it."""

    enabled: bool = True
    light: Rate = Rate(6_000, 2_000)
    normal: Rate = Rate(6_000, 2_000)
    heavy: Rate = Rate(1_200, 200)
    operator_factor: float = 200.0
    address_factor: float = 0.1
    max_bad: int = 10
    bad_window_s: float = 60.0


class Override(NamedTuple):
    """What an operator set for one subject; a tier that is not in `rates` keeps its default."""

    exempt: bool = False
    rates: Mapping[str, Rate] = {}


def to_row(override: Override) -> dict[str, Any]:
    rates = {tier: [rate.per_min, rate.burst] for tier, rate in override.rates.items()}
    return {"exempt": override.exempt, "rates": rates}


def from_row(row: Any) -> Override | None:
    """What `to_row` wrote; None for a row that is gone."""
    if not row:
        return None
    rates = {tier: Rate(float(per_min), int(burst)) for tier, (per_min, burst) in row["rates"].items()}
    return Override(bool(row["exempt"]), rates)


class Standing:
    """One client: its buckets, made when first used, and its conduct."""

    __slots__ = ("_buckets", "conduct", "exempt", "max_bad", "rates")

    def __init__(self, rates: Mapping[Tier, Rate], exempt: bool, max_bad: int) -> None:
        self.rates, self.exempt, self.max_bad = rates, exempt, max_bad
        self._buckets: dict[Tier, Bucket] = {}
        self.conduct = Conduct()

    def bucket(self, tier: Tier) -> Bucket:
        found = self._buckets.get(tier)
        if found is None:
            found = self._buckets[tier] = Bucket(self.rates[tier])
        return found

    def wait(self, tier: Tier, size: int, now: float) -> float:
        """0 when this may be asked now; else the seconds until it may. On the way of every frame."""
        if self.exempt:
            return 0.0
        bucket = self._buckets.get(tier) or self.bucket(tier)
        return bucket.spend(1 + size // SIZE_STEP, now)

    def is_near(self, tier: Tier, now: float) -> bool:
        bucket = self._buckets.get(tier)
        return bucket is not None and bucket.tat - now > bucket.warn_at

    def is_idle(self, now: float, window_s: float) -> bool:
        return self.conduct.is_idle(now, window_s) and all(b.is_idle(now) for b in self._buckets.values())

    def refused(self, now: float) -> dict[str, int]:
        """Milliseconds until it may ask again, by tier; only what it may not ask now."""
        waits = {tier: ms(bucket.peek(now)) for tier, bucket in self._buckets.items()}
        return {tier: wait for tier, wait in waits.items() if wait}


class Limits:
    """All standings. Nothing here is on disk but the overrides, which the directory keeps."""

    def __init__(self, rules: LimitRules) -> None:
        self.rules = rules
        self.overrides: dict[str, Override] = {}
        self._of: dict[Kind, dict[str, Standing]] = {"agent": {}, "operator": {}, "address": {}, "local": {}}
        self._others: dict[Kind, Standing] = {}
        self.rates = {kind: _rates(rules, kind) for kind in self._of}

    # --- whose ---------------------------------------------------------------------------------------

    def of_agent(self, agent_id: str) -> Standing:
        return self._of["agent"].get(agent_id) or self._make("agent", agent_id)

    def of_token(self, who: Token) -> Standing:
        kind: Kind = "agent" if who.role == "agent" else "operator"
        return self._of[kind].get(who.subject) or self._make(kind, who.subject)

    def of_address(self, peer: str, *, direct: bool) -> Standing:
        """`direct`: nothing says that it speaks for somebody else."""
        key = network_of(peer)
        kind: Kind = "local" if direct and key == LOOPBACK else "address"
        return self._of[kind].get(key) or self._make(kind, key)

    def _make(self, kind: Kind, key: str) -> Standing:
        known = self._of[kind]
        if len(known) >= MOST_CLIENTS:
            return self._others.setdefault(kind, self._new(kind, Override()))
        named = kind in ("agent", "operator")
        override = self.overrides.get(key, Override()) if named else Override()
        made = known[key] = self._new(kind, override)
        return made

    def _new(self, kind: Kind, override: Override) -> Standing:
        factor = self.rules.operator_factor if kind == "operator" else 1.0
        rates = {tier: override.rates.get(tier, rate) for tier, rate in self.rates[kind].items()}
        exempt = override.exempt or not self.rules.enabled
        return Standing(rates, exempt, max(1, int(self.rules.max_bad * factor)))

    def override(self, subject: str, what: Override | None) -> None:
        """From now on; the subject begins with full buckets and a clean slate."""
        if what is None:
            self.overrides.pop(subject, None)
        else:
            self.overrides[subject] = what
        for kind in ("agent", "operator"):
            self._of[kind].pop(subject, None)

    def set_overrides(self, all_of_them: dict[str, Override]) -> None:
        """As after a start: what is in force already is left alone."""
        for subject in {*self.overrides, *all_of_them}:
            if self.overrides.get(subject) != all_of_them.get(subject):
                self.override(subject, all_of_them.get(subject))

    # --- what it costs ---------------------------------------------------------------------------------

    def spend(self, client: Standing, tier: Tier, size: int, now: float) -> Fault | None:
        """Why this may not be asked now, if so."""
        wait = client.wait(tier, size, now)
        return over(wait, f"too many {tier} requests", tier) if wait else None

    def violation(self, client: Standing, now: float) -> float:
        """Seconds of the cool-down that one more violation begins; 0 when it is forgiven."""
        return client.conduct.violation(now, client.max_bad, self.rules.bad_window_s)

    def forget(self, now: float) -> None:
        """Who is idle need not be remembered."""
        for known in self._of.values():
            for key in [k for k, one in known.items() if one.is_idle(now, self.rules.bad_window_s)]:
                del known[key]

    def refused(self, now: float, most: int = 100) -> list[dict[str, Any]]:
        """Who may not ask now, and for how long: for operators."""
        found = (
            {"kind": kind, "name": name, "retry_after_ms": waits, "cool_down_ms": ms(one.conduct.wait(now))}
            for kind, known in self._of.items()
            for name, one in known.items()
            if (waits := one.refused(now)) or one.conduct.wait(now)
        )
        return [one for one, _ in zip(found, range(most), strict=False)]


def _rates(rules: LimitRules, kind: Kind) -> dict[Tier, Rate]:
    factor = {
        "agent": 1.0, "operator": rules.operator_factor, "local": rules.operator_factor,
        "address": rules.address_factor,
    }[kind]  # fmt: skip
    return {tier: getattr(rules, tier).times(factor) for tier in TIERS}


def over(wait_s: float, message: str, tier: str = "") -> Fault:
    return Fault("rate_limited", message, retry_after_ms=ms(wait_s), tier=tier)


def ms(seconds: float) -> int:
    """Rounded up, so that who waits so long has waited long enough."""
    return -int(-seconds * 1000 // 1)


LOOPBACK = "loopback"


@lru_cache(maxsize=4096)
def network_of(peer: str) -> str:
    """An address as one client: of IPv6 its /64, which one household or host has whole."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return LOOPBACK
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
