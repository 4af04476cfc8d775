"""Which rows a task has besides its own, as a function of its state; and the ops that lead from one state to the next.

Everything a list, a window, a timer or a counter reads is written here and nowhere else, so that it can never
disagree with the task.
May import: agentcom.protocol.
"""

from collections.abc import Iterator
from typing import Any

from agentcom.protocol.ops import Add, Delete, Key, Op, Put
from agentcom.protocol.rows import FINAL, HELD, Event, Held, Mark, Ready, TaskState, counted

MARK, READY = Mark(), Ready()
Entry = tuple[str, Key]


def entries(task: TaskState) -> list[tuple[Entry, Any]]:
    """Every index row of `task`."""
    if task.phase == "queued":
        found = _queued(task)
    elif task.phase in HELD:
        found = [(("by_agent", (task.holder, task.id)), Held(task.lane))]
    else:
        found = [(("by_phase", (task.phase, task.lane, task.id)), MARK)]
    if task.phase == "scheduled":
        found.append((("due", (task.lane, task.not_before_ms, task.id)), MARK))
    if task.deadline_ms and task.phase not in FINAL:
        found.append((("deadline", (task.lane, task.deadline_ms, task.id)), MARK))
    return found


def _queued(task: TaskState) -> list[tuple[Entry, Any]]:
    if not task.waiting:
        row = Ready(excluded=tuple(agent for agent, _ in task.excluded)) if task.excluded else READY
        return [(ready_key(task), row)]
    found: list[tuple[Entry, Any]] = [(("waiting", (task.lane, task.id)), MARK)]
    if task.waiting_until_ms:
        found.append((("due", (task.lane, task.waiting_until_ms, task.id)), MARK))
    return found


def ready_key(task: TaskState) -> Entry:
    return "ready", (task.lane, task.target, task.signature, task.order, task.id)


def ops_between(before: TaskState, after: TaskState) -> tuple[Op, ...]:
    """The task's row and the least change of its index rows and counters."""
    old = dict(entries(before))
    new = dict(entries(after))
    ops: list[Op] = [Put("task", (after.id,), after)]
    ops += (Delete(table, key) for table, key in old if (table, key) not in new)
    ops += (Put(table, key, row) for (table, key), row in new.items() if old.get((table, key)) != row)
    ops += _counted(before, after)
    return tuple(ops)


def ops_of_new(task: TaskState) -> tuple[Op, ...]:
    """The same for a task that was not there: the path of every submit."""
    puts = [Put(table, key, row) for (table, key), row in entries(task)]
    return (
        Put("task", (task.id,), task),
        *puts,
        Add("counter", ("tasks", task.lane, counted(task.phase)), 1),
    )


def _counted(before: TaskState, after: TaskState) -> Iterator[Op]:
    was, is_ = ("tasks", before.lane, counted(before.phase)), ("tasks", after.lane, counted(after.phase))
    if was != is_:
        yield Add("counter", was, -1)
        yield Add("counter", is_, 1)


def history(task: TaskState, event: Event) -> Op:
    """The line of `task`'s history that its newest transition writes (`history_len` already counts it)."""
    return Put("history", (task.id, task.history_len - 1), event)
