"""What a lane removes for its age: finished tasks with all their rows, and old keys.

Each walk looks at a slice of an index, oldest first, and remembers where it ended; the next slice is asked for only
when this one is on disk. Only a row's writer removes it, so that what it keeps in memory is never wrong.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import Expire, Expired, Keep
from agentcom.protocol.index import entries
from agentcom.protocol.ops import Add, Delete, Key, Must, Op
from agentcom.protocol.rows import FINAL, LANES, Idempotent, Lane, Phase, TaskState, counted

EXAMINED = 500
"""Rows that one slice looks at: a few milliseconds of an actor's time."""
REST_MS = 3_600_000
"""Between two walks through a table that has no order of time: keys, pull records, tokens."""
KEY_KEEPER: Lane = LANES[0]
"""The lane that looks after all keys whose task is gone."""


class Walk:
    """Through one index, from its oldest entry on."""

    def __init__(self) -> None:
        self.after: Key | None = None
        self.due_ms = 0  #: nothing can be found before
        self._least = 0

    def begin(self, now_ms: int, next_ms: int) -> bool:
        """Whether there is anything to look for. `next_ms`: when what comes meanwhile can be found."""
        if now_ms < self.due_ms:
            return False
        if self.after is None:
            self._least = next_ms
        return True

    def not_before(self, ms: int) -> None:
        """Something was passed by that can be found then."""
        self._least = min(self._least, ms)

    def end(self) -> None:
        """Through: the next walk begins at the oldest again, when the first of what was passed by is due."""
        self.after, self.due_ms = None, self._least


# --- a lane's tasks --------------------------------------------------------------------------------


class LaneRetention:
    """The walks of one lane."""

    def __init__(self, lane: Lane) -> None:
        self.keeps_keys = lane == KEY_KEEPER
        self._lane = lane
        self._walks: dict[Phase, Walk] = {phase: Walk() for phase in sorted(FINAL)}
        self._keys = Walk()

    def expire(self, ask: Expire, rows: Rows, now_ms: int) -> Iterator[Decision]:
        """One slice. The answer leaves with the last of its commits."""
        old: list[TaskState] = []
        more = False
        for phase, walk in self._walks.items():
            if len(old) < ask.limit and walk.begin(now_ms, now_ms + ask.keep.of(phase)):
                more |= self._old(walk, phase, ask, rows, now_ms, old)
        ops = [op for task in old for op in removal(task, rows, ask.keep, now_ms)]
        if not self.keeps_keys or not self._keys.begin(now_ms, now_ms + REST_MS):
            yield Decision(tuple(ops), (answer(ask, len(old), more),), "expired")
            return
        yield Decision(tuple(ops), (), "expired")
        unused, more_keys = self._unused_keys(ask, rows, now_ms)
        told = answer(ask, len(old) + len(unused), more or more_keys)
        yield Decision(
            tuple(Delete(must.table, must.key) for must in unused), (told,), "expired", tuple(unused)
        )

    def _old(
        self, walk: Walk, phase: Phase, ask: Expire, rows: Rows, now_ms: int, old: list[TaskState]
    ) -> bool:
        """Adds to `old`, up to the limit; whether there may be more. Ids rise with time, and a task that was made too
        lately cannot have ended before that.
        """
        keep = ask.keep.of(phase)
        found = rows.scan("by_phase", (phase, self._lane), after=walk.after, limit=EXAMINED)
        for key, _ in found:
            task: TaskState = rows.get("task", (key[2],))
            if task.created_ms + keep > now_ms:
                walk.not_before(task.created_ms + keep)
                walk.end()
                return False
            walk.after = key
            if task.updated_ms + keep > now_ms:
                walk.not_before(task.updated_ms + keep)
                continue
            old.append(task)
            if len(old) == ask.limit:
                return True
        if len(found) < EXAMINED:
            walk.end()
            return False
        return True

    def _unused_keys(self, ask: Expire, rows: Rows, now_ms: int) -> tuple[list[Must], bool]:
        """Keys to remove, and that they must still be what they were: another lane may have used one anew."""
        found = rows.scan("idempotency", (), after=self._keys.after, limit=EXAMINED)
        unused = [
            Must("idempotency", key, "equals", row)
            for key, row in found
            if row.ms + ask.keep.idempotency_ms <= now_ms and rows.get("task", (row.task_id,)) is None
        ]
        more = len(unused) > ask.limit
        unused = unused[: ask.limit]
        if more:
            self._keys.after = unused[-1].key
        elif len(found) == EXAMINED:
            self._keys.after, more = found[-1][0], True
        else:
            self._keys.end()
        return unused, more


def removal(task: TaskState, rows: Rows, keep: Keep, now_ms: int) -> Iterator[Op]:
    """Every row of a finished task, and its part of the counters. Its key stays while it is young."""
    yield Delete("task", (task.id,))
    yield Delete("body", (task.id,))
    yield from (Delete("history", (task.id, n)) for n in range(task.history_len))
    yield from (Delete("result", key) for key in _all(rows, "result", (task.id,)))
    yield from (Delete(table, key) for (table, key), _ in entries(task))
    yield Delete("by_submitter", (task.submitter, task.id))
    yield Add("counter", ("tasks", task.lane, counted(task.phase)), -1)
    if task.idempotency_key:
        where = (task.submitter, task.idempotency_key)
        key: Idempotent | None = rows.get("idempotency", where)
        if key and key.task_id == task.id and key.ms + keep.idempotency_ms <= now_ms:
            yield Delete("idempotency", where)


def again(ask: Expire) -> Decision:
    """A key was used anew just now: the keys of that slice wait for the next walk, when the rest is looked at."""
    return Decision(outputs=(answer(ask, 0, more=True),))


def _all(rows: Rows, table: str, prefix: Key) -> Iterator[Key]:
    after: Key | None = None
    while found := rows.scan(table, prefix, after=after, limit=EXAMINED):
        yield from (key for key, _ in found)
        after = found[-1][0]


def answer(ask: Expire, removed: int, more: bool) -> Output:
    return Output(ask.reply_to, Expired(ask.round, removed, more))
