"""Are a task's rows what the task says? Body, history, results, index rows, keys and counters.

The tables that begin with a task's id are walked side by side; each index row a task must have is looked up, and an
index table with more rows than were found is walked again for the surplus. So memory stays small at any size.
May import: agentcom.protocol, agentcom.store.{tables,walking}.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from agentcom.protocol import index
from agentcom.protocol.ops import Key
from agentcom.protocol.rows import HELD, TaskState, counted
from agentcom.store.tables import TABLES, Table, decode_key, encode_key, encode_row
from agentcom.store.walking import Look

TASK, BODY, HISTORY, RESULT = (TABLES[name] for name in ("task", "body", "history", "result"))
COUNTER, KEYS, SIGNATURE, MOVES = (TABLES[n] for n in ("counter", "idempotency", "signature", "moves"))
INDEXES = ("ready", "due", "deadline", "waiting", "by_phase", "by_agent", "by_submitter")
WALKED = frozenset(
    {"task", "body", "history", "result", "counter", "signature", "moves", "idempotency", *INDEXES}
)

_END = b"\xff" * 512
MARK, _READY = encode_row(index.MARK), encode_row(index.READY)


def check_tasks(look: Look) -> None:
    _Tasks(look).run()


def expected(task: TaskState) -> Iterator[tuple[str, Key, bytes]]:
    """Table, key and bytes of every index row that `task` must have."""
    for (table, key), row in index.entries(task):
        yield table, key, raw_of(row)
    yield "by_submitter", (task.submitter, task.id), MARK


def raw_of(row: Any) -> bytes:
    """An index row's bytes."""
    return MARK if row is index.MARK else _READY if row is index.READY else encode_row(row)


class _Side:
    """A table whose keys begin with a task's id, walked beside the tasks."""

    def __init__(self, look: Look, table: Table) -> None:
        self._look, self._table = look, table
        self._rows = look.walk(table, keys=False)
        self._row: Any = None
        self._step()

    def _step(self) -> None:
        self._key, self._row = next(self._rows, (_END, None))

    def of(self, prefix: bytes) -> list[tuple[bytes, Any]]:
        """The rows of the task with this key. Those before it have no task."""
        if self._key < prefix:
            self._orphans(prefix)
        found, rows = [], self._rows
        key, row = self._key, self._row
        while key.startswith(prefix):
            found.append((key, row))
            key, row = next(rows, (_END, None))
        self._key, self._row = key, row
        return found

    def finish(self) -> None:
        self._orphans(_END)

    def _orphans(self, stop: bytes) -> None:
        while self._key < stop:
            if self._look.parts(self._table, self._key) and "task" not in self._look.findings.broken:
                self._look.findings.tell(self._table, self._key, "its task does not exist")
            self._step()


class _Tasks:
    """One pass over the tasks, and then one over each index."""

    def __init__(self, look: Look) -> None:
        self.look, self.tell = look, look.findings.tell
        self.found: Counter[str] = Counter()  #: index rows by table
        self.counts: Counter[tuple[str, str]] = Counter()
        self.signed: set[tuple[Any, Any]] = set()

    def run(self) -> None:
        self._signatures()
        body, history, result = (_Side(self.look, table) for table in (BODY, HISTORY, RESULT))
        for key, task in self.look.walk(TASK, keys=False):
            bodies, lines, results = body.of(key), history.of(key), result.of(key)
            if task is None:
                continue
            if key[:-1] != task.id.encode():
                self.tell(TASK, key, f"the row says that it is task {task.id!r}")
                continue
            self._task(key, task)
            if len(bodies) != 1 or bodies[0][0] != key:
                self._body(key, bodies)
            self._history(key, task, lines)
            self._results(results)
        for side in (body, history, result):
            side.finish()
        for name in INDEXES:
            self._index(TABLES[name])
        self._counters()
        self._moves()
        self._keys()

    # --- one task ----------------------------------------------------------------------------------

    def _task(self, key: bytes, task: TaskState) -> None:
        self.counts[task.lane, counted(task.phase)] += 1
        if bool(task.holder) != (task.phase in HELD):
            holder = f"held by {task.holder!r}" if task.holder else "held by nobody"
            self.tell(TASK, key, f"it is {task.phase} and {holder}")
        for name, parts, value in expected(task):
            table = TABLES[name]
            at = table.encode(parts)
            raw = self.look.get(table, at)
            if raw is not None:
                self.found[name] += 1
            if raw != value:
                self._differs(table, at, raw, task)
        if task.idempotency_key:
            self._key_of(task)
        if task.phase == "queued" and not task.waiting and (task.lane, task.signature) not in self.signed:
            self._unsigned(task)

    def _differs(self, table: Table, key: bytes, raw: bytes | None, task: TaskState) -> None:
        if raw is None:
            self.look.lacks(
                table, key, f"the row is missing: task {task.id} is {task.phase} in lane {task.lane}"
            )
        else:
            self.tell(table, key, f"the row's content is not what follows from task {task.id}")

    def _key_of(self, task: TaskState) -> None:
        key = encode_key(KEYS, (task.submitter, task.idempotency_key))
        row = self.look.row(KEYS, key)
        if row is None:
            if self.look.get(KEYS, key) is None:
                self.look.lacks(KEYS, key, f"the row is missing: task {task.id} was submitted with this key")
        elif row.task_id == task.id:
            self.found["idempotency"] += 1
        else:
            self.tell(
                KEYS, key, f"it stands for task {row.task_id}, but task {task.id} was submitted with it too"
            )

    def _unsigned(self, task: TaskState) -> None:
        if "signature" not in self.look.findings.broken:
            self.signed.add((task.lane, task.signature))  # told once
            what = f"no row has signature {task.signature}, which task {task.id} needs in lane {task.lane}"
            self.tell(SIGNATURE, b"", what)

    def _body(self, key: bytes, bodies: list[tuple[bytes, Any]]) -> None:
        if not any(found == key for found, _ in bodies):
            self.look.lacks(BODY, key, "the row is missing: its task exists")
        for found, _ in bodies:
            if found != key:
                self.tell(BODY, found, "the key does not decode")

    def _history(self, key: bytes, task: TaskState, lines: list[tuple[bytes, Any]]) -> None:
        """Lines count from 0. As many as the task says, the last of which has the last number: none is missing."""
        last = key + (task.history_len - 1).to_bytes(8, "big", signed=True)
        if len(lines) != task.history_len or (lines and lines[-1][0] != last):
            self._history_differs(key, task, lines)
        elif lines and (event := lines[-1][1]) is not None and event.phase != task.phase:
            self.tell(HISTORY, last, f"the newest line says {event.phase}, the task is {task.phase}")

    def _history_differs(self, key: bytes, task: TaskState, lines: list[tuple[bytes, Any]]) -> None:
        there = {line for line, _ in lines}
        due = [key + n.to_bytes(8, "big") for n in range(min(max(0, task.history_len), len(lines) + 1))]
        missing = next((line for line in due if line not in there), None)
        if missing is not None:
            self.look.lacks(HISTORY, missing, f"the line is missing: its task has {task.history_len} lines")
        last = key + max(0, task.history_len).to_bytes(8, "big")
        for line in sorted(there):
            if line >= last or len(line) != len(last):
                self.tell(HISTORY, line, f"the line is too many: its task has {task.history_len} lines")

    def _results(self, results: list[tuple[bytes, Any]]) -> None:
        for key, row in results:
            parts = self.look.parts(RESULT, key)
            if parts and row is not None and row.generation != parts[1]:
                self.tell(RESULT, key, f"the row says generation {row.generation}")

    # --- the other direction -----------------------------------------------------------------------

    def _index(self, table: Table) -> None:
        for _ in self.look.walk(table, keys=False):
            pass
        if self.look.findings.broken & {"task", table.name}:
            return
        if self.look.rows[table.name] != self.found[table.name]:
            for key, _ in self.look.raw(table):
                self._surplus(table, key)

    def _surplus(self, table: Table, key: bytes) -> None:
        parts = self.look.parts(table, key)
        if parts is None:
            return
        task_key = encode_key(TASK, (parts[-1],))
        task = self.look.row(TASK, task_key)
        if task is None:
            if self.look.get(TASK, task_key) is None:
                self.tell(table, key, "the row is too many: its task does not exist")
        elif (table.name, parts) not in {(name, at) for name, at, _ in expected(task)}:
            self.tell(table, key, f"the row is too many: its task is {task.phase} in lane {task.lane}")

    def _counters(self) -> None:
        told: dict[tuple[Any, Any], tuple[bytes, Any]] = {}
        for key, row in self.look.walk(COUNTER):
            if key.startswith(b"tasks\0") and row is not None:
                _, lane, phase = decode_key(COUNTER, key)
                told[lane, phase] = key, row
        if (self.look.findings.broken | self.look.damaged) & {"task", "counter"}:
            return  # told already, and what they would count for is unknown
        for at in sorted(self.counts.keys() | told.keys()):
            key, row = told.get(at, (encode_key(COUNTER, ("tasks", *at)), 0))
            if row != self.counts[at]:
                self.tell(COUNTER, key, f"it says {row}, there are {self.counts[at]} such tasks")

    def _signatures(self) -> None:
        for key, row in self.look.walk(SIGNATURE):
            if row is None:
                continue
            parts = decode_key(SIGNATURE, key)
            self.signed.add((parts[0], parts[2]))
            if min(row.capabilities, default="") != parts[1]:
                self.tell(
                    SIGNATURE, key, f"the row's capabilities are {', '.join(row.capabilities) or 'none'}"
                )

    def _moves(self) -> None:
        """A task that came to a lane which has not said yet that it took it in; by then it may have gone on."""
        for key, row in self.look.walk(MOVES):
            if row is not None and (row.to, row.task_id) != decode_key(MOVES, key):
                self.tell(MOVES, key, f"the row says task {row.task_id} to lane {row.to}")

    def _keys(self) -> None:
        """A key may outlive its task, never the other way round. The others were found from their tasks."""
        for _ in self.look.walk(KEYS):
            pass
        if self.look.rows["idempotency"] == self.found["idempotency"]:
            return
        for key, raw in self.look.raw(KEYS):
            row = self.look.decoded(KEYS, key, raw)
            task = None if row is None else self.look.row(TASK, encode_key(TASK, (row.task_id,)))
            if task is not None and (task.submitter, task.idempotency_key) != self.look.parts(KEYS, key):
                self.tell(KEYS, key, f"it stands for task {row.task_id}, which was submitted without it")
