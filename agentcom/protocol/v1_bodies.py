"""Bodies and answers of routes that only protocol 1 has.

May import: msgspec, agentcom.protocol.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agentcom.protocol.bodies import Subject
from agentcom.protocol.frames import AnyAgentId, Short

Interval = Annotated[int, Meta(ge=1, le=31_536_000_000)]
TokenHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$(?!\n)")]


class AgentTokenFor(msgspec.Struct, frozen=True):
    """POST /admin/tokens."""

    agent_id: AnyAgentId


class AgentToken(msgspec.Struct, frozen=True):
    """The only time the secret is shown."""

    agent_id: str
    token: str


class TokenPrefix(msgspec.Struct, frozen=True):
    """A token that is good. Of the secret nothing is kept: `token_prefix` is the head of its id."""

    agent_id: str
    token_prefix: str


class Revoked(msgspec.Struct, frozen=True):
    status: str
    agent_id: str
    count: int


class HashedToken(msgspec.Struct, frozen=True):
    """An identity of an older hub: the secret's SHA-256 in hexadecimal."""

    agent_id: AnyAgentId
    token_hash: TokenHash


class ImportTokens(msgspec.Struct, frozen=True):
    """POST /api/tokens/import."""

    tokens: Annotated[list[HashedToken], Meta(min_length=1, max_length=1_000)]


class ImportedTokens(msgspec.Struct, frozen=True):
    """One word for each, in order: imported, known, revoked or conflict (it is somebody else's)."""

    results: list[str]


class PushTask(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/admin/push-task."""

    agent_id: AnyAgentId
    description: Annotated[str, Meta(min_length=1, max_length=10_000)]
    metadata: dict[str, Any] = {}


class Pushed(msgspec.Struct, frozen=True):
    status: str
    task_id: str


class DefaultRepoUrl(msgspec.Struct, frozen=True):
    """PUT /api/config/default-repo."""

    url: Annotated[str, Meta(min_length=1, max_length=512)]


class DefaultRepoShown(msgspec.Struct, frozen=True):
    """`default_repo` is its URL."""

    default_repo: str | None
    configured: bool


class HeartbeatInterval(msgspec.Struct, frozen=True):
    """GET and PUT /api/config/heartbeat-interval. Kept for those who ask; `lease.heartbeat_s` is what counts."""

    heartbeat_interval_ms: Interval


class MailboxRetention(msgspec.Struct, frozen=True):
    """GET and PUT /api/config/mailbox-retention."""

    mailbox_ttl_ms: Interval


class LogLevel(msgspec.Struct, frozen=True):
    """PUT /api/admin/log-level: until the next start. `notice` is the same as `info`."""

    level: Annotated[str, Meta(pattern="^(debug|info|notice|warning|error)$(?!\n)")]


class LogLevelSet(msgspec.Struct, frozen=True, kw_only=True):
    status: str = "ok"
    level: str


class AlertShown(msgspec.Struct, frozen=True, kw_only=True):
    rule_id: str
    severity: str
    message: str
    details: dict[str, Any]
    fired_at: int
    acknowledged: bool


class AlertList(msgspec.Struct, frozen=True):
    alerts: list[AlertShown]
    timestamp: int


class AlertAcknowledged(msgspec.Struct, frozen=True):
    status: str
    rule_id: str


class StoreTable(msgspec.Struct, frozen=True, kw_only=True):
    """The store as a whole, where the older hub had many tables."""

    table: str = "store"
    status: str
    detail: Short = ""
    file_size_bytes: int | None = None
    fragmentation_ratio: float | None = None


class StoreDone(msgspec.Struct, frozen=True):
    """What was done, of the store as a whole."""

    status: str
    tables: list[StoreTable]


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/admin/dets-health. Times are milliseconds since 1970."""

    health_status: str  #: healthy, warning or unhealthy
    stale_backup: bool
    high_fragmentation: bool
    last_backup_at: int | None
    tables: list[StoreTable]


class Whitelist(msgspec.Struct, frozen=True):
    """GET /api/admin/rate-limits/whitelist."""

    whitelist: list[Subject]


class Schemas(msgspec.Struct, frozen=True):
    """GET /api/schemas: what frames and bodies of protocol 1 must and may have."""

    schemas: dict[str, Any]
    version: str


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/metrics: what the store and the open sessions tell now."""

    timestamp: int
    queue_depth: dict[str, Any]
    agent_utilization: dict[str, Any]
    error_rates: dict[str, Any]
    dets_health: dict[str, Any]
    compat: dict[str, int]  #: how much protocol 1 is still used
