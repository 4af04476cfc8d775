"""Random batches, lives and full disks against a model of plain dicts."""

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentcom.protocol.ops import Add, Append, AppendMany, Delete, Must, Op, Put
from agentcom.protocol.rows import Mail
from agentcom.store import MemoryStore
from agentcom.store.findings import Findings
from agentcom.store.folding import check_fold
from agentcom.store.messages import Committed, Failed, Open
from tests.store.helpers import LANE, LmdbStore, Writer, all_rows, folded, task
from tests.store.test_contract import no_room

IDS = st.sampled_from(["a", "ab", "b"])
puts = st.builds(lambda i, n: Put("task", (i,), task(i, order=n)), IDS, st.integers(0, 3))
deletes = st.builds(lambda i: Delete("task", (i,)), IDS)
adds = st.builds(lambda n, d: Add("counter", (n, "", ""), d), IDS, st.integers(-2, 2))
appends = st.builds(lambda a, n: Append("mailbox", (a,), Mail(n, 1)), IDS, IDS)
posts = st.builds(lambda to, n: AppendMany("mailbox", tuple(to), Mail(n, 1)), st.lists(IDS, max_size=3), IDS)
trims = st.builds(lambda a, n: Delete("mailbox", (a, n)), IDS, st.integers(1, 4))
ops = st.lists(puts | deletes | adds | appends | posts | trims, max_size=5)
musts = st.lists(
    st.builds(
        lambda i, n: Must("task", (i,)) if n < 0 else Must("task", (i,), "equals", task(i, order=n)),
        IDS,
        st.integers(-1, 3),
    ),
    max_size=1,
)
commits = st.tuples(ops, musts, st.sampled_from([False] * 9 + [True]))


class Model:
    """What the rows must be: tables as dicts, counters and heads as numbers."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, Any], Any] = {}
        self.numbers: dict[tuple[str, Any], int] = {}

    def holds(self, must: Must) -> bool:
        found = self.rows.get((must.table, must.key))
        return found is None if must.rule == "absent" else found == must.row

    def apply(self, given: list[Op]) -> tuple[int, ...]:
        appended: list[int] = []
        for op in sorted(given, key=lambda op: isinstance(op, Append | AppendMany)):  # these come last
            at = (op.table, op.key)
            match op:
                case Put():
                    self.rows[at] = op.row
                case Delete():
                    self.rows.pop(at, None)
                case Add():
                    self.numbers[at] = self.numbers.get(at, 0) + op.delta
                case Append() | AppendMany():
                    appended += (self.append(op.table, text, op.row) for text in op.key)
        return tuple(appended)

    def append(self, table: str, text: Any, row: Any) -> int:
        at = (table, (text,))
        self.numbers[at] = self.numbers.get(at, 0) + 1
        self.rows[table, (text, self.numbers[at])] = row
        return self.numbers[at]


class StoreAgainstModel(RuleBasedStateMachine):
    """Two actors write; the store answers what the model says, and holds what the model holds."""

    def make(self) -> Any:
        return MemoryStore()

    @initialize()
    def start(self) -> None:
        self.store = self.make()
        self.model = Model()
        self.seq = 0
        self.open()

    def open(self) -> None:
        self.writers = [Writer(self.store, LANE), Writer(self.store, "lane.low")]
        self.failed: set[str] = set()

    def trims_last(self, given: list[Op]) -> list[Op]:
        """In one commit ops on one table keep their order among puts and deletes only; appends come last."""
        return sorted(given, key=lambda op: isinstance(op, Append))

    @rule(batch=st.lists(st.tuples(st.integers(0, 1), commits), min_size=1, max_size=5), full=st.booleans())
    def write(self, batch: list[Any], full: bool) -> None:
        asked = []
        for who, (given, must, broken) in batch:
            given = self.trims_last(given)
            asked.append((self.writers[who], given, tuple(must), broken))
        requests = [w.asks(*given, *([bad_op] if broken else []), must=m) for w, given, m, broken in asked]
        if full:
            with no_room(self.store):
                answers = self.store.commit(*requests)
            assert not any(isinstance(answer, Committed) for answer in answers)
            self.failed.update(writer.name for writer, *_ in asked)
            return
        for answer, ask in zip(self.store.commit(*requests), asked, strict=True):
            self.check(answer, *ask)

    def check(
        self, answer: Any, writer: Writer, given: list[Op], must: tuple[Must, ...], broken: bool
    ) -> None:
        if writer.name in self.failed:
            assert answer.code == "aborted"
        elif broken:
            assert answer.code == "failed"
            self.failed.add(writer.name)
        elif not all(self.model.holds(m) for m in must):
            assert isinstance(answer, Failed)
            assert answer.code == "refused"
        else:
            self.seq += 1
            assert answer.seq == self.seq
            assert answer.appended == self.model.apply(given)

    @rule()
    def restart_an_actor(self) -> None:
        self.writers[0].open()
        self.failed.discard(LANE)

    @rule()
    def reopen(self) -> None:
        self.store.reopen()
        self.open()

    @rule()
    def open_alone(self) -> None:
        before = self.writers[1].incarnation
        (opened,) = self.store.commit(Open("lane.low"))
        assert opened.incarnation > before
        self.writers[1].incarnation = opened.incarnation
        self.failed.discard("lane.low")

    @invariant()
    def rows_are_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = {(t, key): row for t in ("task", "mailbox") for key, row in self.store.reader.scan(t)}
        assert rows == self.model.rows
        for (table, key), value in self.model.numbers.items():
            stored = (
                self.store.reader.get(table, key)
                if table == "counter"
                else self.store.reader.head(table, key[0])
            )
            assert stored == value

    @invariant()
    def folding_the_journal_equals_the_rows(self) -> None:
        if hasattr(self, "store"):
            assert self.store.reader.last_seq() == self.seq
            assert folded(self.store) == all_rows(self.store)
            findings = Findings()
            check_fold(self.store, None, None, findings)
            assert findings.problems == []


bad_op = Put("token", ("x",), task("x"))


class LmdbAgainstModel(StoreAgainstModel):
    def make(self) -> Any:
        self.folder = tempfile.TemporaryDirectory()
        return LmdbStore(Path(self.folder.name))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


class TestMemory(StoreAgainstModel.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


class TestLmdb(LmdbAgainstModel.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
