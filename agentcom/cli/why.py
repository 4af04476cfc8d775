"""`agentcom-admin why TASK`: why a task is where it is, in sentences, and what one can do about it.

A pure function of what the hub tells about the task and the agents.
May import: agentcom.cli.times.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agentcom.cli.times import span

Json = dict[str, Any]
OFFLINE = frozenset({"offline", "disconnected", ""})


def why(task: Json, agents: Sequence[Json], now_ms: float) -> list[str]:
    """Sentences, the most telling first."""
    name = str(task.get("task_id") or task.get("id"))
    return list(_ABOUT[task["status"]](name, task, agents, now_ms))


def _queued(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    yield f"It is queued in lane {task['lane']} since {span(now_ms - task['updated_at'])}."
    if task.get("waiting"):
        yield f"The hub says what it waits for: {task['waiting']}."
        yield from _until(task.get("waiting_until") or 0, now_ms)
    fitting = [agent for agent in agents if _fits(task, agent)]
    online = [agent for agent in fitting if agent.get("state") not in OFFLINE and not agent.get("withheld")]
    if not online:
        yield _nobody(task, fitting)
    elif task.get("waiting"):
        return  # those who look free are not: the hub has just said why
    elif not any(agent.get("state") == "idle" for agent in online):
        yield f"Agents that can do it are busy: {_names(online)}."
    else:
        yield f"{_names(online)} can do it; it is assigned when its turn comes."


def _until(ms: int, now_ms: float) -> Iterator[str]:
    if ms:
        yield f"It looks again in {span(ms - now_ms)}." if ms > now_ms else "It looks again now."


def _nobody(task: Json, fitting: Sequence[Json]) -> str:
    wanted = ", ".join(task.get("needed_capabilities") or []) or "nothing special"
    held_back = [agent for agent in fitting if agent.get("withheld")]
    if held_back:
        names = ", ".join(f"{agent['agent_id']} ({agent['withheld']})" for agent in held_back)
        return f"Agents that can do it get no new work: {names}. To undo it: agentcom-admin resume agent ID"
    if task.get("target"):
        return f"It is aimed at {task['target']}, which is not online: start its sidecar."
    if fitting:
        return f"Agents that can do it are offline: {_names(fitting)}. Start a sidecar."
    return f"No agent has what it needs ({wanted}): start a sidecar with these capabilities."


def _fits(task: Json, agent: Json) -> bool:
    aimed = task.get("target") in (None, "", agent["agent_id"])
    return aimed and set(task.get("needed_capabilities") or []) <= set(agent.get("capabilities") or [])


def _names(agents: Sequence[Json]) -> str:
    return ", ".join(f"{a['agent_id']} ({a.get('state') or 'offline'})" for a in agents)


def _scheduled(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    due = task.get("not_before") or 0
    again = " again" if task.get("attempts") else ""
    yield (
        f"It runs{again} in {span(due - now_ms)}."
        if due > now_ms
        else "Its time has come; it is about to be queued."
    )
    if task.get("attempts"):
        yield f"It failed {task['attempts']} of {task['max_attempts']} times, last: {_last(task)}."


def _held(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    holder = task.get("assigned_to") or "an agent"
    ago = span(now_ms - (task.get("assigned_at") or task["updated_at"]))  # progress updates a task as well
    told = (
        f"was given to {holder} {ago} ago"
        if task["status"] == "assigned"
        else f"is being worked on by {holder} since {ago}"
    )
    yield f"It {told} (generation {task['generation']})."
    if task.get("note"):
        percent = f" ({task['percent']} %)" if task.get("percent") is not None else ""
        yield f"Last progress{percent}: {task['note']}."
    state = next((a.get("state") for a in agents if a["agent_id"] == holder), None)
    if state in OFFLINE or state is None:
        yield f"{holder} is not online: when its lease runs out, the task goes back to its lane."


def _blocked(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    yield f"{task.get('assigned_to')} asks: {task.get('question')}"
    yield f'Answer with: agentcom-admin answer {name} "…"'


def _completed(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    result = task.get("result") or {}
    took = span(task["updated_at"] - task["created_at"])
    yield f"It was completed by {task.get('last_holder') or 'an agent'}, {took} after it was submitted."
    if result.get("branch"):
        yield f"Its work is on branch {result['branch']}" + (
            f", {result['pr_url']}." if result.get("pr_url") else "."
        )


def _dead_letter(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    failures = f"failures {task['attempts']} of {task['max_attempts']}"
    yield f"It is in the dead letter: {failures}, losses {task['losses']} of {task['max_losses']}."
    lines = [
        line for line in reversed(task.get("history") or []) if line.get("agent_id") and line.get("reason")
    ]
    said = list(dict.fromkeys(f"{line['agent_id']}: {line['reason']}" for line in lines))
    last = str(task.get("reason") or "")
    yield from said
    if last and not any(line.endswith(last) for line in said):
        yield f"Reason: {last}."
    yield f"Once the cause is gone: agentcom-admin retry {name}"


def _cancelled(name: str, task: Json, agents: Sequence[Json], now_ms: float) -> Iterator[str]:
    reason = task.get("reason") or "no reason was given"
    yield f"It was cancelled {span(now_ms - task['updated_at'])} ago: {reason}."


def _last(task: Json) -> str:
    return str(task.get("last_error") or task.get("reason") or "the reason is not known")


_ABOUT: dict[str, Callable[[str, Json, Sequence[Json], float], Iterator[str]]] = {
    "queued": _queued,
    "scheduled": _scheduled,
    "assigned": _held,
    "working": _held,
    "blocked": _blocked,
    "completed": _completed,
    "dead_letter": _dead_letter,
    "cancelled": _cancelled,
}
