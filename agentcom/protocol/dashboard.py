"""What a dashboard shows: the state of the whole hub in one answer, and what changed since.

Times are milliseconds since 1970.
May import: msgspec, agentcom.protocol.
"""

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from agentcom.protocol.frames import Seq
from agentcom.protocol.live_views import AgentView
from agentcom.protocol.rows import Lane, Phase
from agentcom.protocol.v1_bodies import AlertShown

LONGEST = 200
"""Characters of a description that a list shows."""


MOST_EVENTS = 1_000
"""Of one answer, the newest."""


class TaskLine(msgspec.Struct, frozen=True, kw_only=True):
    """A task in a list. `holder` is who has it, or had it last."""

    task_id: str
    description: str
    status: Phase
    lane: Lane
    holder: str
    submitted_by: str
    attempts: int
    generation: int
    reason: str
    tokens_used: int
    pull: str  #: where its pull request is, or its branch; "" when there is none
    created_at: int
    updated_at: int


class Known(NamedTuple):
    """What the gateway and presence know by themselves."""

    now_ms: int
    uptime_ms: int
    agents: list[AgentView]
    agents_total: int
    alerts: list[AlertShown]
    parts: dict[str, dict[str, Any]]


class DashboardState(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/dashboard/state. Lists hold at most 50 tasks, of those that ended the newest; `seq` is where `events`
    goes on from here. In the counts `assigned` are all that agents hold.
    """

    timestamp: int
    seq: int
    uptime_ms: int
    status: str
    agents: list[AgentView]
    agents_total: int
    by_status: dict[str, int]
    by_lane: dict[str, dict[str, int]]
    queued: list[TaskLine]
    active: list[TaskLine]
    recent: list[TaskLine]
    dead_letter: list[TaskLine]
    alerts: list[AlertShown]
    parts: dict[str, dict[str, Any]]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/dashboard/events."""

    after: Seq = 0


class HubEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. `event` says what, to a thing of `type`: `task_event` and so on.

    Dashboards are told of `task_event` and `pull_event` only, which always have a `task_id`.
    """

    type: str
    event: str
    task_id: str = ""
    timestamp: int
    status: str = ""  #: how it is now
    generation: int = 0
    agent_id: str = ""
    reason: str = ""
    url: str = ""
    name: str = ""  #: of anything but a task or an agent: its name or public id
    subject: str = ""  #: whom a token speaks for


class HubEvents(msgspec.Struct, frozen=True, kw_only=True):
    """`seq` is the next `after`. With `gap` some of what happened is not in `events`: look at the whole state again."""

    seq: int
    gap: bool
    events: Annotated[list[HubEvent], Meta(max_length=MOST_EVENTS)]
