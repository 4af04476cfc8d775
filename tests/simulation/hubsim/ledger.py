"""What is on disk, folded from the journal entry by entry, and the rules every entry must keep."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentcom.core.transitions import NEXT
from agentcom.protocol.index import entries as index_entries
from agentcom.protocol.rows import HELD, Event, Journal, Phase, Result, TaskState
from agentcom.store.fold import fold
from agentcom.store.tables import BY_NUMBER, TABLES, UNFOLDED, decode_key, decode_row, encode_key
from agentcom.store.verify import check_rows
from hubsim.pauses import Pauses

TIMED_OUT = {"no news of it for too long", "not accepted in time"}
INDEXES = ("ready", "due", "deadline", "waiting", "by_phase", "by_agent")
_TASK, _BODY, _RESULT = (TABLES[name].number for name in ("task", "body", "result"))
_IDEMPOTENCY, _MAILBOX = (TABLES[name].number for name in ("idempotency", "mailbox"))


class Violation(AssertionError):
    """A promise was broken."""


def holds(truth: object, *words: object) -> None:
    if not truth:
        raise Violation(" ".join(map(str, words)))


def _lines(entry: Journal) -> Iterator[tuple[tuple[str, int], Event]]:
    """The lines of history that a commit wrote."""
    table = TABLES["history"]
    for number, key, value in entry.ops:
        if number == table.number and value is not None:
            task_id, n = decode_key(table, key)
            yield (str(task_id), int(n)), decode_row(table, value, key)


class Ledger:
    """`absorb` reads what the journal has beyond what it knows; a rule that an entry breaks raises `Violation`."""

    def __init__(
        self,
        lane_age: Callable[[int], float],
        grace_s: float,
        monotonic: Callable[[], float],
        awake_s: Callable[[], float] | None = None,
    ) -> None:
        self.seq = 0
        self.rows: dict[tuple[int, bytes], bytes] = {}
        self.tasks: dict[str, TaskState] = {}
        self.said: dict[
            str, set[tuple[int, str, str]]
        ] = {}  #: task to every (generation, phase, holder) it had
        self.lanes: dict[str, set[str]] = {}  #: task to every lane it was in
        self.minted: dict[tuple[str, int], str] = {}  #: generation to its holder
        self.statuses: dict[tuple[str, int], str] = {}  #: generation to what its final report was answered
        self.held: dict[str, set[str]] = {}
        self.completed: dict[str, tuple[int, str]] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.needs: dict[str, frozenset[str]] = {}
        self._at: dict[str, tuple[int, Phase]] = {}
        self._assigned_at: dict[tuple[str, int], float] = {}
        self.pauses = Pauses(awake_s or monotonic)
        self._lane_age, self._grace_s, self._monotonic = lane_age, grace_s, monotonic

    def absorb(self, reader: Any) -> int:
        """Everything new; how many entries that was."""
        found = reader.scan("journal", (), after=(self.seq,), limit=10_000)
        for (seq,), entry in found:
            holds(seq == self.seq + 1, "journal seq", seq, "after", self.seq)
            self.seq = seq
            self._entry(entry)
        if found:
            self._rows_are_there(reader, (entry for _, entry in found))
        return len(found)

    def _rows_are_there(self, reader: Any, journal: Iterable[Journal]) -> None:
        """Folding equals rows, for all that these entries touched."""
        touched = {(number, key) for entry in journal for number, key, _ in entry.ops}
        with reader._env.reading() as view:
            for number, key in touched:
                known = self.rows.get((number, key))
                holds(
                    view.get(number, key) == known,
                    "table",
                    BY_NUMBER[number].name,
                    key,
                    "differs from the journal",
                )

    def _entry(self, entry: Journal) -> None:
        results: list[tuple[str, Result]] = []
        self.pauses.entry(entry)
        for (task_id, _), line in sorted(_lines(entry)):
            if line.event == "assigned":
                broken = self.pauses.forbids(entry.stream.removeprefix("lane."), line.agent_id)
                holds(not broken, task_id, "is handed out to", line.agent_id, "in spite of", broken)
            self._line(task_id, line)
        for number, key, value in entry.ops:
            if number == _TASK and value is not None:
                self._task(decode_row(TABLES["task"], value, key))
            elif number == _RESULT and value is not None:
                table, result = TABLES["result"], decode_row(TABLES["result"], value, key)
                results.append((str(decode_key(table, key)[0]), result))
                holds(
                    not result.accepted or (number, key) not in self.rows, "an outcome is written twice", key
                )
            elif number == _BODY and value is not None:
                task_id = str(decode_key(TABLES["body"], key)[0])
                self.needs[task_id] = frozenset(decode_row(TABLES["body"], value, key).needed)
            elif number == _IDEMPOTENCY:
                self._key(key, value)
            if number == _MAILBOX and value is not None:
                holds((number, key) not in self.rows, "a mailbox sequence is used twice", key)
        fold([entry], self.rows)
        for task_id, result in results:
            self._result(task_id, result)
        for agent, held in self.held.items():  # of a whole entry: one may end a hold and begin the next
            holds(len(held) <= 1, agent, "holds", sorted(held))

    # --- one task's next state ---------------------------------------------------------------------

    def _task(self, new: TaskState) -> None:
        old = self.tasks.get(new.id)
        if old is not None:
            holds(new.generation >= old.generation, new.id, "went back to generation", new.generation)
            if old.phase in HELD and new.past[-1:] != old.past[-1:]:
                self._lost_fairly(old, new)
        elif new.idempotency_key:
            key = (new.submitter, new.idempotency_key)
            first = self.keys.setdefault(key, new.id)
            holds(first == new.id, "key", key, "made two tasks:", first, "and", new.id)
        if new.holder:
            self._mint(new.id, new.generation, new.holder)
        if old is not None and old.lane != new.lane:  # what the new lane went through before is past
            self._assigned_at[new.id, new.generation] = self._monotonic()
        at = self._at.get(new.id)
        holds(at in (None, (new.generation, new.phase)), new.id, "is", new.phase, "and its history says", at)
        self._hold(old, new)
        for report in new.reports:
            known = self.statuses.setdefault((new.id, report.generation), report.status)
            holds(
                known == report.status,
                "the answer for",
                new.id,
                report.generation,
                "changed to",
                report.status,
            )
        self.tasks[new.id] = new
        self.lanes.setdefault(new.id, set()).add(new.lane)

    def _line(self, task_id: str, line: Event) -> None:
        """One step of a task. A commit may hold many, of which the task's row shows only the last."""
        generation, phase = self._at.get(task_id, (0, line.phase))
        holds(line.generation >= generation, task_id, "went back to generation", line.generation)
        legal = line.phase == phase or line.phase in NEXT[phase].values()
        holds(legal, task_id, "went from", phase, "to", line.phase)
        if line.generation != generation:
            fresh = (phase, line.phase, line.generation) == ("queued", "assigned", generation + 1)
            holds(fresh, task_id, "was assigned anew while", phase)
            self._mint(task_id, line.generation, line.agent_id)
            self._assigned_at[task_id, line.generation] = self._monotonic()
        self._at[task_id] = (line.generation, line.phase)
        self.said.setdefault(task_id, set()).add((line.generation, line.phase))

    def _mint(self, task_id: str, generation: int, holder: str) -> None:
        first = self.minted.setdefault((task_id, generation), holder)
        holds(first == holder, "generation", generation, "of", task_id, "was minted twice:", first, holder)

    def _lost_fairly(self, old: TaskState, new: TaskState) -> None:
        """A lane that started again gives who held before a grace to come back."""
        last = new.past[-1]
        if (
            last.outcome not in ("loss", "accept_timeout")
            or (last.reason or "not accepted in time") not in TIMED_OUT
        ):
            return
        age = self._lane_age(self.seq)
        held = self._monotonic() - self._assigned_at.get((old.id, old.generation), 0.0)
        holds(
            held <= age or age >= self._grace_s,
            old.id, "was taken from", old.holder, f"{age:.3f} s after its lane started again",
        )  # fmt: skip

    def _hold(self, old: TaskState | None, new: TaskState) -> None:
        if old is not None and old.holder and old.holder != new.holder:
            self.held[old.holder].discard(new.id)
        if new.holder:
            self.held.setdefault(new.holder, set()).add(new.id)

    def _result(self, task_id: str, row: Result) -> None:
        if not row.accepted:
            return
        holder = self.minted.get((task_id, row.generation))
        holds(holder == row.agent_id, "a", row.kind, "by", row.agent_id, "was accepted for", task_id, row.generation,
              "which is", holder)  # fmt: skip
        if row.kind == "complete":
            first = self.completed.setdefault(task_id, (row.generation, row.agent_id))
            holds(first == (row.generation, row.agent_id), task_id, "was completed twice")

    def _key(self, key: bytes, value: bytes | None) -> None:
        table = TABLES["idempotency"]
        submitter, text = decode_key(table, key)
        if value is not None:
            task_id = decode_row(table, value, key).task_id
            first = self.keys.setdefault((str(submitter), str(text)), task_id)
            holds(first == task_id, "key", text, "was given to", task_id, "after", first)

    def moves(self) -> list[Any]:
        """Tasks on their way to another lane."""
        table = TABLES["moves"]
        return [decode_key(table, key) for number, key in self.rows if number == table.number]

    # --- whole -------------------------------------------------------------------------------------

    def check_whole(self, reader: Any) -> None:
        """The journal from its first entry comes to exactly the rows; indexes and counters to the tasks."""
        with reader._env.reading() as view:
            on_disk = {
                (table.number, key): value
                for table in TABLES.values()
                if table.name not in UNFOLDED
                for key, value in view.forward(table.number, b"", None)
            }
        journal = [entry for _, entry in reader.scan("journal", (), limit=1_000_000)]
        holds(fold(journal) == on_disk, "the whole journal does not come to the rows")
        holds(self.rows == on_disk, "the journal as it was seen does not come to the rows")
        problems = check_rows(reader._env).problems
        holds(not problems, "verify finds:", *problems[:3])
        self._indexes_agree(on_disk)
        self._counters_agree(reader)

    def _indexes_agree(self, on_disk: dict[tuple[int, bytes], bytes]) -> None:
        numbers = {TABLES[name].number for name in INDEXES}
        written = {key for key in on_disk if key[0] in numbers}
        wanted = {
            (TABLES[table].number, encode_key(TABLES[table], key))
            for task in self.tasks.values()
            for (table, key), _ in index_entries(task)
        }
        holds(written == wanted, "index rows that no task has, or lacks:", written ^ wanted)

    def _counters_agree(self, reader: Any) -> None:
        counted: dict[tuple[str, str], int] = {}
        for task in self.tasks.values():
            counted[task.lane, task.phase] = counted.get((task.lane, task.phase), 0) + 1
        for (_, lane, phase), value in reader.scan("counter", ("tasks",), limit=1_000):
            holds(counted.get((lane, phase), 0) == value, "counter of", lane, phase, "is", value)
