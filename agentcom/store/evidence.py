"""What several witnesses say of rows, put together: damaged files, each of one state, and entries of the journal.

The rule: of each key the newest word counts. A file that can be read around a key has the last word on all that was up
to its own newest entry, also when the key is not in it: then it was deleted. Where it is silent, older ones count.
May import: agentcom.store.{drafts,errors,facts,pages,raising,rebuilding,segments,tables}.
"""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Protocol

from agentcom.store.drafts import JOURNAL, Draft
from agentcom.store.errors import CorruptRow
from agentcom.store.facts import follows, starts
from agentcom.store.pages import Holes, Item, Tree
from agentcom.store.raising import Write
from agentcom.store.rebuilding import BODY, LEFT_OUT, TASK
from agentcom.store.segments import Entry, Line
from agentcom.store.tables import BY_NUMBER, NAMED, TABLES, Table, decode_key, decode_row, encode_key

TABLES_READ = [table for table in TABLES.values() if table.name not in LEFT_OUT]
READ = frozenset(table.number for table in TABLES_READ)
OWN_KEY = {**NAMED, "task": "id"}
SLICE = 500


class Witness(Protocol):
    """A state of all tables: that after the entry `seq`."""

    seq: int

    def is_silent(self, number: int, key: bytes) -> bool:
        """Whether it cannot tell what was under a key."""


def counts(witnesses: Iterable[Witness], seq: int, number: int, key: bytes) -> bool:
    """Whether what an entry says of a key is not overruled: no state that contains the entry can tell of it."""
    return all(witness.is_silent(number, key) for witness in witnesses if witness.seq >= seq)


class State:
    """One file's tables, as far as they can be read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seq = self.last = 0  #: what it is the state after; the newest entry that was read in it
        self.rows = 0  #: that count
        self.holes = {table.number: Holes() for table in (JOURNAL, *TABLES_READ)}

    def is_silent(self, number: int, key: bytes) -> bool:
        return key in self.holes[number]

    @property
    def is_whole(self) -> bool:
        return not any(self.holes[table.number] for table in TABLES_READ)

    @property
    def knows_end(self) -> bool:
        return self.last > 0 and not self.holes[JOURNAL.number].at_end

    def unread(self) -> Iterator[str]:
        """A sentence for each table of which something is missing."""
        for number, holes in self.holes.items():
            if holes:
                yield f"table {BY_NUMBER[number].name} of {self.name} cannot be read whole: {holes} of it are lost"


class Evidence:
    """What counts, in a draft of its own: first `read` the files, newest first, then `lay` the entries over them."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.states: list[State] = []
        self.newest = 0  #: of the entries that were read anywhere
        self.first = self.last = 0  #: of the entries that had something to say
        self.changes = 0  #: that they made

    def read(
        self, tree: Tree, name: str, seq: int | None = None, *, otherwise: int = 0, line: Line = ()
    ) -> None:
        """`seq` is that of its state; None: its journal tells, or, when that has lost its end, it is `otherwise`.
        `line` is that of its epochs.
        """
        state = State(name)
        self.draft.write(self._journal(tree, state, starts(line)))
        for table in TABLES_READ:
            self.draft.write(self._rows(tree, table, state))
        self._part(state)
        if seq is None:
            seq = state.last if state.knows_end else max(state.last, otherwise)
        state.seq = seq
        self.newest = max(self.newest, state.last)
        self.states.append(state)

    def _journal(self, tree: Tree, state: State, begins: frozenset[int]) -> Iterator[Write]:
        """The last one only when it follows another: nothing else tells that its number is not damaged, and by it all
        is dated.
        """
        holes, held, before = state.holes[JOURNAL.number], None, -1
        for key, row in _whole(tree, JOURNAL, holes):
            if held is not None:
                yield JOURNAL.number, *held
                before = int.from_bytes(held[0], "big")
                state.last = max(state.last, before)
            held = key, row
        if held is None:
            return
        seq = int.from_bytes(held[0], "big")
        if follows(seq, before, begins) or (before < 0 and not holes):
            state.last = max(state.last, seq)
            yield JOURNAL.number, *held
        else:
            holes.add((before + 1).to_bytes(8, "big"), None)

    def _rows(self, tree: Tree, table: Table, state: State) -> Iterator[Write]:
        for key, row in _whole(tree, table, state.holes[table.number]):
            if all(newer.is_silent(table.number, key) for newer in self.states):
                state.rows += 1
                yield table.number, key, row

    def _part(self, state: State) -> None:
        """A task without its text, or a text without its task: a damaged key hides the other one."""
        keys = merge(self._keys(TASK), self._keys(BODY))
        for key, tables in groupby(keys, key=itemgetter(0)):
            for number in {TASK.number, BODY.number} - {number for _, number in tables}:
                if not state.is_silent(number, key):
                    state.holes[number].add_key(key)

    def _keys(self, table: Table) -> Iterator[tuple[bytes, int]]:
        return ((key, table.number) for key, _ in self.rows(table))

    @property
    def wants_more(self) -> bool:
        """Whether an older file can have a word on anything."""
        return not any(state.is_whole for state in self.states)

    def journal(self) -> Iterator[Entry]:
        """The entries that were in the files."""
        return (Entry(int.from_bytes(key, "big"), row) for key, row in self.rows(JOURNAL))

    def lay(self, entries: Iterable[Entry]) -> None:
        """Entries in the order of their seqs."""
        self.changes += self.draft.write(self._changes(entries))

    def _changes(self, entries: Iterable[Entry]) -> Iterator[Write]:
        for entry in entries:
            try:
                told = decode_row(JOURNAL, entry.row, entry.seq)
            except CorruptRow:
                continue
            self.newest = max(self.newest, entry.seq)
            for number, key, value in told.ops:
                if number in READ and counts(self.states, entry.seq, number, key):
                    self.first, self.last = self.first or entry.seq, entry.seq
                    yield number, key, value

    def rows(self, table: Table) -> Iterator[Item]:
        """Of one table, in key order."""
        start = b""
        while True:
            with self.draft.reading() as view:
                rows = list(islice(view.forward(table.number, start, None), SLICE))
            if not rows:
                return
            yield from rows
            start = rows[-1][0] + b"\0"


def _whole(tree: Tree, table: Table, holes: Holes) -> Iterator[Item]:
    """Rows that are what was written, under the keys that they name themselves; the others are holes."""
    own = OWN_KEY.get(table.name)
    for key, raw in tree.rows(table.name, holes):
        try:
            parts = decode_key(table, key)
            row = decode_row(table, raw, parts)
        except CorruptRow:
            holes.add_key(key)
            continue
        if own is not None and getattr(row, own) != parts[0]:
            key = encode_key(table, (getattr(row, own),))
            holes.found([key])
        yield key, raw
