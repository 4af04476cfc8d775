"""Tasks and agents as protocol 1 showed them, for the tokens of agents while `compat.v1` is on.

It had no `working` or `blocked` task, no `scheduled` one and no `cancelled` one: `SHOWN` tells as what they are shown.
Fields that it did not have stay; what a task's state really is, is its `phase`.
May import: msgspec, agentcom.protocol.{live_views, rows, views}.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from agentcom.protocol import views
from agentcom.protocol.live_views import AgentView
from agentcom.protocol.rows import PHASES, Phase

SHOWN: dict[Phase, str] = {
    "queued": "queued", "scheduled": "queued", "assigned": "assigned", "working": "assigned", "blocked": "assigned",
    "completed": "completed", "dead_letter": "dead_letter", "cancelled": "dead_letter",
}  # fmt: skip
FSM_STATES = frozenset({"idle", "assigned", "working", "blocked", "offline"})


class OldTaskQuery(views.TaskQuery, frozen=True, kw_only=True):
    """The same, of one who asks for a status as it is shown."""


def phases(query: views.TaskQuery) -> tuple[Phase, ...]:
    """Which states a query asks for; empty: all."""
    if query.status is None:
        return ()
    if isinstance(query, OldTaskQuery):
        return tuple(phase for phase in PHASES if SHOWN[phase] == SHOWN[query.status])
    return (query.status,)


def _task(view: views.TaskView) -> dict[str, Any]:
    shown = msgspec.structs.asdict(view)
    shown["status"], shown["phase"] = SHOWN[view.status], view.status
    if view.result is not None:  # as it was reported: `data` holds what protocol 2 has no field for
        shown["result"] = {**view.result.get("data", {}), **view.result}
    shown["history"] = [_line(line) for line in view.history]
    return shown


def _line(line: views.HistoryLine) -> dict[str, Any]:
    shown = msgspec.structs.asdict(line)
    details = {"generation": line.generation, "agent_id": line.agent_id, "reason": line.reason}
    return {**shown, "status": SHOWN[line.status], "ts": line.ms, "details": details}  # type: ignore[index]


def _tasks(found: views.TaskList) -> dict[str, Any]:
    return {**msgspec.structs.asdict(found), "tasks": [_task(view) for view in found.tasks]}


class OldTaskStats(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was paused then."""

    by_status: dict[str, int]
    by_priority: dict[str, int]
    dead_letter: int
    queued_index_size: int


def _stats(found: views.TaskStats) -> OldTaskStats:
    by_status = dict.fromkeys(SHOWN.values(), 0)
    for phase, shown in SHOWN.items():
        by_status[shown] += found.by_status.get(phase, 0)
    return OldTaskStats(
        by_status=by_status,
        by_priority=found.by_priority,
        dead_letter=found.dead_letter,
        queued_index_size=by_status["queued"],
    )


_OLD: dict[type, Callable[[Any], Any]] = {
    views.TaskView: _task, views.TaskList: _tasks, views.TaskStats: _stats,
}  # fmt: skip


def as_before(body: Any) -> Any:
    """The answer of a read as protocol 1 has it."""
    make = _OLD.get(type(body))
    return body if make is None else make(body)


def fsm_state(state: str) -> str:
    """Protocol 1's word for what an agent is."""
    if state in FSM_STATES:
        return state
    return {"away": "offline", "stopping": "working", "unresponsive": "working"}.get(state, "idle")


def agent(found: AgentView) -> dict[str, Any]:
    """An agent in a list: of what presence says, with protocol 1's names."""
    return {
        **msgspec.structs.asdict(found),
        "name": found.name or found.agent_id,
        "status": found.status or "connected",
        "connected_at": found.connected_ms,
        "fsm_state": fsm_state(found.state),
    }


def agent_state(found: AgentView) -> dict[str, Any]:
    """One agent's state machine."""
    return {
        **agent(found),
        "capabilities": [{"name": name} for name in found.capabilities],
        "current_task_id": found.task_id or None,
        "flags": ["unresponsive"] if found.state == "unresponsive" else [],
        "last_state_change": found.since_ms,
    }
