"""What is in no row, as HTTP shows it: agents as presence knows them, and the hub's own actors.

Times are milliseconds since 1970, but for names that end in `_s`: those are seconds.
May import: msgspec.
"""

import msgspec


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that was seen since the hub started."""

    agent_id: str
    state: str
    task_id: str  #: what it has; "" when nothing
    generation: int  #: of that
    capabilities: tuple[str, ...]
    connected_ms: int  #: when its session began; 0 while it has none
    since_ms: int  #: when it became what is shown here
    status: str  #: what it says of itself
    name: str  #: what its client calls it; "" is the same as its id
    withheld: str  #: why it gets no new work: "paused", "draining", or "" when neither


class AgentList(msgspec.Struct, frozen=True):
    """In the order of their ids."""

    agents: list[AgentView]


# --- the supervision tree --------------------------------------------------------------------------


class ActorView(msgspec.Struct, frozen=True, kw_only=True):
    """One actor. `parent` is empty for the root; `address` while nothing runs under this name."""

    name: str
    parent: str
    kind: str
    state: str
    start: int  #: its supervisor's count of its starts
    incarnation: int
    restarts: int
    last_crash: str
    uptime_s: float
    address: str
    mailbox: int  #: messages that wait
    handled: int  #: messages since it started


class ActorList(msgspec.Struct, frozen=True):
    """A supervisor precedes its children."""

    actors: list[ActorView]


class RestartBudget(msgspec.Struct, frozen=True, kw_only=True):
    """More than `intensity` restarts within `period_s` are too many; `spent` of them are in that window now.

    `shared` with the other children of its supervisor, which then gives up; else its own, and it is quarantined.
    """

    intensity: int
    period_s: float
    spent: int
    shared: bool


class ActorDetail(ActorView, frozen=True, kw_only=True):
    """With what its supervisor keeps of it; of the root, which has none, that is empty."""

    actor: str = ""  #: its class
    restart: str = ""  #: permanent, transient or temporary
    needs: tuple[str, ...] = ()
    soft_needs: tuple[str, ...] = ()  #: names it can serve without
    last_exit: str = ""
    traceback: str = ""  #: of the last crash, cut to what was reported
    budget: RestartBudget | None = None


class ActorTold(msgspec.Struct, frozen=True, kw_only=True):
    """It was asked for, of the actor `name`."""

    status: str = "ok"
    name: str


class LoopBlocked(msgspec.Struct, frozen=True, kw_only=True):
    status: str = "ok"
    seconds: float
