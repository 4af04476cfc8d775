"""The check before a hub opens its store; a tool, as a damaged file may end the process that reads it.

After a clean stop a glance: the file's own facts, the root of every table, the counters, the journal's tail. After a
crash also every row that the tail wrote: it must be what its newest entry says. What the tail does not know is left
to the full check in the background. The time is bounded by the tail and does not grow with the store.
May import: agentcom.store.{child,env,errors,facts,findings,foreign,tables,walking}, lmdb.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from agentcom.store import child
from agentcom.store.env import SCHEMA
from agentcom.store.errors import NewerSchema, StoreUnreadable
from agentcom.store.facts import file_facts, follows, starts
from agentcom.store.findings import Findings, difference
from agentcom.store.foreign import Foreign
from agentcom.store.reader import Readable
from agentcom.store.tables import BY_NUMBER, TABLES
from agentcom.store.walking import Look

CLEAN_TAIL, TAIL = 1_000, 10_000
"""Journal entries that are looked at after a clean stop, and after a crash."""
MOST_KEYS = 200_000
"""Rows that are compared; a tail of huge commits is cut short there."""

_JOURNAL, _COUNTER = TABLES["journal"], TABLES["counter"]
_COUNTERS = 20_000


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the tool says, as JSON. `problems` are those of agentcom.store.findings."""

    clean: bool  #: the last hub ended in order
    seq: int
    epoch: int
    entries: int  #: of the journal that were looked at
    rows: int  #: that were compared with them
    problems: list[Any]


def check_start(source: Readable, folder: str = "", tail: int = TAIL) -> Checked:
    """Look at a store nobody has open. Raises `NewerSchema`; damage is in the result."""
    findings = Findings()
    with source.reading() as view:
        look = Look(view, findings)
        facts = file_facts(look)
        if facts.schema > SCHEMA:
            raise NewerSchema(folder, facts.schema, SCHEMA)
        _check_roots(look)
        for _ in islice(look.walk(_COUNTER), _COUNTERS):
            pass
        checked = _Tail(look, starts(facts.line))
        checked.run(CLEAN_TAIL if facts.clean else tail, compare=not facts.clean)
    return Checked(
        clean=facts.clean, seq=checked.seq, epoch=facts.epoch, entries=checked.entries,
        rows=len(checked.seen), problems=findings.problems,
    )  # fmt: skip


def _check_roots(look: Look) -> None:
    for table in TABLES.values():
        try:
            look.view.first(table.number, b"\0")
            look.view.last_key(table.number)
        except lmdb.Error as error:
            look.findings.unreadable(table, b"", str(error))


class _Tail:
    """The journal from its end backward: the first op that names a key is the one that its row must agree with."""

    def __init__(self, look: Look, line: frozenset[int]) -> None:
        self.look, self._line = look, line
        self.seq = self.entries = 0
        self.seen: set[tuple[int, bytes]] = set()

    def run(self, most: int, *, compare: bool) -> None:
        after = 0
        for key, raw in islice(self._backward(), most):
            entry = self.look.read(_JOURNAL, key, raw)
            seq = int.from_bytes(key, "big")
            self.entries += 1
            self.seq = self.seq or seq
            if after and not follows(after, seq, self._line):
                what = f"the entries {seq + 1} to {after - 1} before it are missing"
                self.look.findings.tell(_JOURNAL, after.to_bytes(8, "big"), what)
            after = seq
            if entry is None:
                return  # what it wrote is unknown, and so is what older entries may still be held to
            if compare:
                self._compare(seq, entry.ops)
                if len(self.seen) > MOST_KEYS:
                    return

    def _backward(self) -> Iterator[tuple[bytes, bytes]]:
        last = b""
        try:
            for key, raw in self.look.view.backward(_JOURNAL.number, b"", None):
                if last and key >= last:
                    self.look.findings.unreadable(_JOURNAL, b"", "its keys are not in order")
                    return
                last = key
                yield key, raw
        except lmdb.Error as error:
            self.look.findings.unreadable(_JOURNAL, b"", str(error))

    def _compare(self, seq: int, ops: tuple[tuple[int, bytes, bytes | None], ...]) -> None:
        for number, key, value in reversed(ops):
            if (number, key) in self.seen or number not in BY_NUMBER:
                continue
            self.seen.add((number, key))
            table = BY_NUMBER[number]
            raw = self.look.get(table, key)
            if raw == value or table.name in self.look.findings.broken:
                continue
            self.look.findings.tell(table, key, difference(raw, value), seq)


def work(argument: Any) -> Any:
    """`{"store": folder}` of the store in force."""
    store = Path(argument["store"])
    try:
        with Foreign(store, lock=False) as source:
            return msgspec.to_builtins(check_start(source, str(store.parent)))
    except lmdb.Error as error:  # a damaged page ends the whole transaction, not only the walk that met it
        raise StoreUnreadable(str(store), str(error)) from error


if __name__ == "__main__":
    child.main(work, nice=0)  # a hub that is about to serve waits for it
