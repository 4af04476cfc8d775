"""What the main process asks of the load process, and what it gets back: one JSON line each way.

May import: msgspec, benchmarks.{mix, stats}.
"""

import msgspec

from benchmarks.mix import Mix
from benchmarks.stats import Spread


class Target(msgspec.Struct, frozen=True):
    host: str
    port: int
    token: str
    pid: int  #: of the serving process, to read its CPU time


class AgentPlan(msgspec.Struct, frozen=True):
    agent_id: str
    token: str
    capabilities: tuple[str, ...]


class Spec(msgspec.Struct, frozen=True, kw_only=True, tag_field="load"):
    target: Target


class Fill(Spec, frozen=True, kw_only=True, tag="fill"):
    """Submit `count` tasks in batches, as fast as the hub takes them."""

    mix: Mix
    first: int  #: number of the first task, so that a later fill goes on where this one ended
    count: int
    connections: int = 4
    size: int = 500


class Submit(Spec, frozen=True, kw_only=True, tag="submit"):
    """Closed loop: each connection sends the next task when the last was answered."""

    seconds: float
    warmup_s: float
    connections: int = 32


class Batch(Spec, frozen=True, kw_only=True, tag="batch"):
    """Closed loop of batches; the rate counts tasks."""

    seconds: float
    warmup_s: float
    connections: int = 8
    size: int = 100


class Lifecycle(Spec, frozen=True, kw_only=True, tag="lifecycle"):
    """Agents that accept and complete at once, while batches keep the queue as deep as it was."""

    mix: Mix
    agents: list[AgentPlan]
    seconds: float
    warmup_s: float
    chunk: int  #: tasks submitted each time that many were completed
    acked: bool = False  #: complete only when the accept was acknowledged


class Latency(Spec, frozen=True, kw_only=True, tag="latency"):
    """Open loop at `rate` a second; idle agents. The holder has work in hand, and fits the whole backlog."""

    agents: list[AgentPlan]
    holder: AgentPlan | None  #: None when there is no backlog
    rate: float
    seconds: float
    warmup_s: float


class Talk(Spec, frozen=True, kw_only=True):
    """Base of the loads of messages."""

    agents: list[AgentPlan]
    seconds: float
    warmup_s: float


class DirectRate(Talk, frozen=True, kw_only=True, tag="direct_rate"):
    """Open loop: direct messages at `rate` a second; half of the agents send, half receive."""

    rate: float


class DirectPairs(Talk, frozen=True, kw_only=True, tag="direct_pairs"):
    """Closed loop: as many direct messages as go, each sender with `ahead` on their way."""

    ahead: int = 8


class Posts(Talk, frozen=True, kw_only=True, tag="posts"):
    """Closed loop: the first agent posts to a channel that the others subscribe to; deliveries are counted."""

    channel: str
    ahead: int = 4


AnySpec = Fill | Submit | Batch | Lifecycle | Latency | DirectRate | DirectPairs | Posts


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`count` things in `seconds` of measuring; the totals include the warm-up and the end."""

    count: int
    seconds: float
    spread: Spread | None = None
    acknowledged: int = 0  #: tasks whose submit was answered with success
    completed: int = 0  #: tasks whose completion was acknowledged
    hub_cpu: float = 0.0  #: cores the hub used while measuring
    load_cpu: float = 0.0  #: cores the load process used while measuring
    late_ms: float = (
        0.0  #: p99 of how late an open loop sent; above a millisecond or two the load process was the limit
    )
    queued: float = (
        0.0  #: of the time some thread of the measured process waited for a core; 0 where it was not read
    )
    errors: int = 0
    first_errors: list[str] = []

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds > 0 else 0.0

    @property
    def hub_us_each(self) -> float:
        """The hub's CPU time for one thing, in microseconds."""
        return self.hub_cpu * self.seconds / self.count * 1e6 if self.count else 0.0
