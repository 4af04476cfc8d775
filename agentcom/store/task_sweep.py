"""Are all tasks' rows what the tasks say? The part of a sweep (agentcom.store.sweeping) that knows tasks.

The tables that begin with a task's id are compared with the tasks list by list. What an index, or the keys of submits,
must hold is summed up as the tasks go by, and compared with the sum of what is there.
May import: agentcom.protocol, agentcom.store.{batches,findings,reader,tables,task_rows,walking}.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from operator import attrgetter
from typing import Any

from agentcom.protocol import index
from agentcom.protocol.rows import HELD, Event, Result, TaskState, counted
from agentcom.store.batches import Batch, Doubt, Keys, batches, check_keys, decoded, fingerprint, parts_of
from agentcom.store.reader import View
from agentcom.store.tables import TABLES, Table, after_prefix
from agentcom.store.task_rows import (
    BODY,
    COUNTER,
    HISTORY,
    INDEXES,
    KEYS,
    MARK,
    MOVES,
    RESULT,
    SIGNATURE,
    TASK,
    raw_of,
)

_INDEX = {name: (TABLES[name].number, TABLES[name].encode) for name in INDEXES}
_LINES = tuple(n.to_bytes(8, "big") for n in range(4096))
"""The end of a history line's key. A task with more lines is in doubt."""
_LANE_PHASE = attrgetter("lane", "phase")

ReadTable = Callable[[Table], Iterator[Batch]]


class _Beside:
    """A table whose keys begin with a task's id, read in step with the tasks."""

    def __init__(self, table: Table, read: Iterator[Batch]) -> None:
        self._table, self._read = table, read
        self._keys: list[bytes] = []
        self._rows: list[Any] = []
        self._ended = False

    def until(self, stop: bytes) -> tuple[list[bytes], list[Any]]:
        """All rows that were not taken yet and whose key is less than `stop`."""
        while not self._ended and not (self._keys and self._keys[-1] >= stop):
            self._more()
        at = bisect_left(self._keys, stop)
        keys, rows = self._keys[:at], self._rows[:at]
        del self._keys[:at], self._rows[:at]
        return keys, rows

    def _more(self) -> None:
        batch = next(self._read, None)
        if batch is None:
            self._ended = True
        else:
            self._keys += batch[0]
            self._rows += decoded(self._table, batch[1])

    def finish(self) -> None:
        if not self._ended:
            self._more()
        if self._keys:
            raise Doubt(f"rows of {self._table.name} have no task")


class TaskSweep:
    """All tables that `task_rows` walks. `read` gives a table's batches."""

    def __init__(self, view: View, read: ReadTable) -> None:
        self._view, self._read = view, read
        self._due = dict.fromkeys(INDEXES, 0)  #: sums of what the indexes must hold
        self._keys_due = self._keys_count = 0
        self._counts: Counter[tuple[Any, Any]] = Counter()
        self._needed: set[tuple[Any, str]] = set()

    def run(self) -> None:
        """Every table that is about tasks. Raises `Doubt`."""
        self._tasks()
        for name in INDEXES:
            for _ in self._read(TABLES[name]):
                pass
        self._signatures()
        self._counters()
        self._moves()
        self._idempotency()

    def check_sums(self, totals: Mapping[str, int]) -> None:
        """`totals` are those of the tables as read."""
        for name, due in self._due.items():
            if totals[name] != due:
                raise Doubt(f"the index {name} is not what the tasks say")

    # --- tasks and what lies beside them -------------------------------------------------------------

    def _tasks(self) -> None:
        beside = body, history, result = [
            _Beside(table, self._read(table)) for table in (BODY, HISTORY, RESULT)
        ]
        for keys, raws in self._read(TASK):
            tasks: list[TaskState] = decoded(TASK, raws)
            stop = after_prefix(keys[-1])
            if stop is None or [f"{task.id}\0".encode() for task in tasks] != list(keys):
                raise Doubt("a row of task is under another's key")
            if body.until(stop)[0] != list(keys):
                raise Doubt("bodies are not those of the tasks")
            self._history(keys, tasks, *history.until(stop))
            self._results(keys, *result.until(stop))
            self._indexed(tasks)
        for side in beside:
            side.finish()

    @staticmethod
    def _history(keys: Keys, tasks: list[TaskState], lines: list[bytes], events: list[Event]) -> None:
        lengths = [task.history_len for task in tasks]
        if max(lengths) > len(_LINES) or min(lengths) < 0:
            raise Doubt("a history is long")
        if [key + n for key, length in zip(keys, lengths, strict=True) for n in _LINES[:length]] != lines:
            raise Doubt("lines of history are not as many as tasks say")
        ends = accumulate(lengths)
        pairs = zip(tasks, lengths, ends, strict=True)
        if any(length and events[end - 1].phase != task.phase for task, length, end in pairs):
            raise Doubt("a history ends in another phase than its task's")

    @staticmethod
    def _results(tasks: Keys, keys: list[bytes], rows: list[Result]) -> None:
        if not keys:
            return
        if not {key[:-16] for key in keys} <= set(tasks):
            raise Doubt("a result has no task")
        said = zip(keys, rows, strict=True)
        if any(int.from_bytes(key[-16:-8], "big") != row.generation for key, row in said):
            raise Doubt("a result is of another generation than its key says")

    def _indexed(self, tasks: list[TaskState]) -> None:
        if [task for task in tasks if bool(task.holder) != (task.phase in HELD)]:
            raise Doubt("a task is held by nobody, or not in a phase to be held")
        self._counts.update(map(_LANE_PHASE, tasks))
        self._needed |= {(t.lane, t.signature) for t in tasks if t.phase == "queued" and not t.waiting}
        due = self._due
        for task in tasks:
            for (name, parts), row in index.entries(task):
                number, encode = _INDEX[name]
                due[name] += hash((number, encode(parts), raw_of(row)))
        number, encode = _INDEX["by_submitter"]
        keys = [encode((task.submitter, task.id)) for task in tasks]
        due["by_submitter"] += fingerprint(number, keys, [MARK] * len(keys))
        keyed = [(task.submitter, task.idempotency_key) for task in tasks if task.idempotency_key]
        self._keys_count += len(keyed)
        ids = [task.id for task in tasks if task.idempotency_key]
        self._keys_due += self._sum(list(map(KEYS.encode, keyed)), ids)

    # --- the rest ------------------------------------------------------------------------------------

    def _signatures(self) -> None:
        signed: set[tuple[Any, Any]] = set()
        for keys, raws in self._read(SIGNATURE):
            parts, rows = parts_of(SIGNATURE, keys), decoded(SIGNATURE, raws)
            if [min(row.capabilities, default="") for row in rows] != [part[1] for part in parts]:
                raise Doubt("a signature is under another's key")
            signed.update((part[0], part[2]) for part in parts)
        if not self._needed <= signed:
            raise Doubt("a task needs a signature that no row has")

    def _counters(self) -> None:
        due: Counter[tuple[Any, Any]] = Counter()
        for (lane, phase), count in self._counts.items():
            due[lane, counted(phase)] += count
        told: dict[tuple[Any, Any], int] = {}
        for keys, raws in self._read(COUNTER):
            rows = zip(parts_of(COUNTER, keys), decoded(COUNTER, raws), strict=True)
            told |= {(lane, phase): row for (name, lane, phase), row in rows if name == "tasks"}
        if {at: n for at, n in told.items() if n} != dict(due):
            raise Doubt("counters do not say how many tasks there are")

    def _moves(self) -> None:
        for keys, raws in self._read(MOVES):
            if [(row.to, row.task_id) for row in decoded(MOVES, raws)] != parts_of(MOVES, keys):
                raise Doubt("a move is under another's key")

    def _idempotency(self) -> None:
        """A key may outlive its task; then those whose tasks are there are summed up once more."""
        count = total = 0
        for keys, raws in self._read(KEYS):
            check_keys(KEYS, keys)
            count += len(keys)
            total += self._sum(keys, [row.task_id for row in decoded(KEYS, raws)])
        if count != self._keys_count:
            total = self._sum_of_living()
        if total != self._keys_due:
            raise Doubt("idempotency keys are not those of the tasks")

    @staticmethod
    def _sum(keys: Keys, task_ids: list[str]) -> int:
        return sum(map(hash, zip(keys, task_ids, strict=True)))

    def _sum_of_living(self) -> int:
        total = 0
        for keys, raws in batches(self._view, KEYS.number):
            owners = [row.task_id for row in decoded(KEYS, raws)]
            at = [TASK.encode((owner,)) for owner in owners]
            there = self._view.get_many(TASK.number, sorted(set(at)))
            living = [n for n, key in enumerate(at) if key in there]
            total += self._sum([keys[n] for n in living], [owners[n] for n in living])
        return total
