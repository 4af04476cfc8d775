"""Pauses: an operator stops the hub, a lane or an agent from handing out or getting new work, and lets it go on.

A pause is a row. That an agent is drained is not: it ends with the session, which its actor has in memory.
May import: agentcom.protocol, agentcom.core.
"""

import re
from collections.abc import Callable, Iterable

from agentcom.core.decision import Decision, Output
from agentcom.core.directory_base import Asked, done, refused
from agentcom.core.messages import Condition, PauseChanged
from agentcom.core.missing import missing
from agentcom.protocol import views
from agentcom.protocol.ops import Delete, Op, Put
from agentcom.protocol.pauses import Kind, Pause, every_pause, is_paused
from agentcom.protocol.rows import LANES

_AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Older hubs gave names with capital letters."""
SHOWN = 100
"""Paused agents that `/health` names."""


def condition(pauses: Iterable[Pause]) -> Condition:
    """What `/health` says of them. Who paused something is in the audit: anyone may read this."""
    names: dict[Kind, list[str]] = {"hub": [], "lane": [], "agent": []}
    for pause in pauses:
        names[pause.kind].append(pause.name)
    if not any(names.values()):
        return Condition("pauses", {})
    facts = {
        "hub": bool(names["hub"]),
        "lanes": names["lane"],
        "agents": names["agent"][:SHOWN],
        "agents_paused": len(names["agent"]),
    }
    alerts = [f"lane {lane} hands out no task: agentcom-admin resume lane {lane}" for lane in names["lane"]]
    if names["hub"]:
        alerts.insert(0, "the hub is drained and hands out no task: agentcom-admin resume hub")
    return Condition("pauses", facts, tuple(alerts))


def _set(asked: Asked, kind: Kind, name: str, paused: bool, tell: tuple[Output, ...]) -> Decision:
    """`tell` goes out in any case: whoever is told looks at its row, and does nothing if it knew."""
    word = "drained" if kind == "hub" else "paused"
    said = views.Acknowledged(word if paused else "resumed")
    if is_paused(asked.rows, kind, name) == paused:
        return done(asked, (), said, tell=tell)
    pause = Pause(kind, name, asked.msg.by, asked.now_ms)
    op: Op = Put("config", pause.key, pause.row) if paused else Delete("config", pause.key)
    others = [of for of in every_pause(asked.rows) if of.key != pause.key]
    shown = condition([*others, pause] if paused else others)
    return done(asked, (op,), said, tell=(*tell, Output("gateway", shown)))


def _lane(paused: bool) -> Callable[[Asked], Decision]:
    def decide(asked: Asked) -> Decision:
        name = asked.msg.args.get("lane", "")
        if name not in LANES:
            return refused(asked, missing("lane", name, "lane"))
        return _set(asked, "lane", name, paused, (Output(f"lane.{name}", PauseChanged()),))

    return decide


def _hub(paused: bool) -> Callable[[Asked], Decision]:
    def decide(asked: Asked) -> Decision:
        told = tuple(Output(f"lane.{lane}", PauseChanged()) for lane in LANES)
        return _set(asked, "hub", "", paused, told)

    return decide


def _agent(decide: Callable[[Asked, str], Decision]) -> Callable[[Asked], Decision]:
    """Of one that this hub knows."""

    def of_a_known_one(asked: Asked) -> Decision:
        name = asked.msg.args.get("agent_id", "")
        if not _AGENT_ID.fullmatch(name) or asked.rows.get("agent", (name,)) is None:
            return refused(asked, missing("agent", name, "agent_id"))
        return decide(asked, name)

    return of_a_known_one


def _pause_agent(asked: Asked, name: str) -> Decision:
    return _set(asked, "agent", name, True, _to_agent(name, PauseChanged()))


def _resume_agent(asked: Asked, name: str) -> Decision:
    return _set(asked, "agent", name, False, _to_agent(name, PauseChanged(drained=False)))


def _drain_agent(asked: Asked, name: str) -> Decision:
    told = _to_agent(name, PauseChanged(drained=True))
    return done(asked, (), views.Acknowledged("draining"), tell=told)


def _to_agent(name: str, message: PauseChanged) -> tuple[Output, ...]:
    return (Output(f"agents/agent.{name}", message),)


PAUSE_VERBS: dict[str, Callable[[Asked], Decision]] = {
    "lane.pause": _lane(True),
    "lane.resume": _lane(False),
    "agent.pause": _agent(_pause_agent),
    "agent.resume": _agent(_resume_agent),
    "agent.drain": _agent(_drain_agent),
    "hub.drain": _hub(True),
    "hub.resume": _hub(False),
}
