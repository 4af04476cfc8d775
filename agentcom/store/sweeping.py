"""Is all well? A whole store checked in one pass over it, in batches; in doubt it says so, and never what is wrong.

What `verify.examine` checks row by row is checked here by comparing lists and sums: no row is looked up, so a
million tasks take no longer each than a thousand. A store without a `Doubt` here has no problem there, but for damage
that two checksums miss; the tests hold one against the other.
May import: agentcom.protocol, agentcom.store.{batches,facts,findings,reader,tables,task_rows,task_sweep,walking}.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from operator import attrgetter, itemgetter
from struct import unpack
from typing import Any, NamedTuple

from agentcom.protocol.rows import Journal
from agentcom.store.batches import Batch, Doubt, Keys, batches, check_keys, decoded, fingerprint, parts_of
from agentcom.store.facts import Facts, file_facts, follows, starts
from agentcom.store.findings import Findings
from agentcom.store.reader import View
from agentcom.store.tables import BY_NUMBER, NAMED, TABLES, UNFOLDED, Table
from agentcom.store.task_rows import WALKED
from agentcom.store.task_sweep import TaskSweep
from agentcom.store.walking import Look

_JOURNAL, _HEAD, _PULL, _PULLS = (TABLES[name] for name in ("journal", "head", "pull", "pull_by_task"))
_OPS, _NUMBER = attrgetter("ops"), itemgetter(0)

OnEntries = Callable[[Keys, list[Journal]], None]


class Swept(NamedTuple):
    """A store in which all is well. `total` is the fingerprint of all rows that the journal should come to."""

    facts: Facts
    rows: dict[str, int]
    seq: int
    total: int


def sweep(view: View, on_entries: OnEntries | None = None) -> Swept:
    """Read all of `view`. `on_entries` gets the journal's keys and entries as they are read, oldest first.

    Raises `Doubt`, and what LMDB raises, after which the view is of no use.
    """
    try:
        return _Sweep(view, on_entries).run()
    except (ValueError, OverflowError) as error:  # a row whose index row has no key
        raise Doubt(str(error)) from None


class _Sweep:
    def __init__(self, view: View, on_entries: OnEntries | None) -> None:
        self._view, self._on_entries = view, on_entries
        self._rows = dict.fromkeys(TABLES, 0)
        self._totals = dict.fromkeys(TABLES, 0)

    def run(self) -> Swept:
        facts = self._facts()
        tasks = TaskSweep(self._view, self._batches)
        tasks.run()
        tasks.check_sums(self._totals)
        heads: dict[tuple[str, Any], int] = {}
        for table in TABLES.values():
            if table.name not in WALKED and table.name not in UNFOLDED:
                self._table(table, heads)
        if any(self._head(*at) < seq for at, seq in heads.items()):
            raise Doubt("a sequence goes further than its head says")
        seq = self._journal(starts(facts.line))
        return Swept(facts, self._rows, seq, sum(self._totals.values()))

    def _batches(self, table: Table) -> Iterator[Batch]:
        """Every batch of a table, counted and summed up."""
        number, name = table.number, table.name
        for keys, raws in batches(self._view, number):
            self._rows[name] += len(keys)
            self._totals[name] += fingerprint(number, keys, raws)
            yield keys, raws

    def _facts(self) -> Facts:
        findings = Findings()
        look = Look(self._view, findings)
        facts = file_facts(look)
        if findings.problems:
            raise Doubt(str(findings.problems[0]))
        self._rows["meta"] = look.rows["meta"]
        return facts

    def _head(self, table: str, name: Any) -> int:
        raw = self._view.get(_HEAD.number, _HEAD.encode((table, name)))
        return -1 if raw is None else int(decoded(_HEAD, [raw])[0])

    # --- tables without tasks ------------------------------------------------------------------------

    def _table(self, table: Table, heads: dict[tuple[str, Any], int]) -> None:
        pulls = 0
        for keys, raws in self._batches(table):
            rows = decoded(table, raws)
            if table.append:
                heads.update({(table.name, parts[0]): int(parts[1]) for parts in parts_of(table, keys)})
            elif table.name in NAMED:
                said = map(attrgetter(NAMED[table.name]), rows)
                if [(name,) for name in said] != parts_of(table, keys):
                    raise Doubt(f"a row of {table.name} is under another's key")
            else:
                check_keys(table, keys)
            if table is _PULL:
                pulls += sum(map(hash, map(attrgetter("task_id", "pr_id"), rows)))
        if table is _PULL and pulls != self._listed():
            raise Doubt("pull requests are not those that are listed")

    def _listed(self) -> int:
        """The sum of what is listed: each pull request must be, once, under its task."""
        return sum(
            hash(at) for keys, _ in batches(self._view, _PULLS.number) for at in parts_of(_PULLS, keys)
        )

    # --- the journal ---------------------------------------------------------------------------------

    def _journal(self, line: frozenset[int]) -> int:
        """Entries are contiguous, but where an epoch begins; returns the newest one's seq."""
        before = 0
        for keys, raws in batches(self._view, _JOURNAL.number):
            self._rows["journal"] += len(keys)
            before = _contiguous(keys, before, line)
            entries: list[Journal] = decoded(_JOURNAL, raws)
            if not set(map(_NUMBER, chain.from_iterable(map(_OPS, entries)))) <= BY_NUMBER.keys():
                raise Doubt("an entry writes to a table that does not exist")
            if self._on_entries is not None:
                self._on_entries(keys, entries)
        return before


def _contiguous(keys: Keys, before: int, line: frozenset[int]) -> int:
    if set(map(len, keys)) != {8}:
        raise Doubt("a key of the journal is not a number")
    seqs = unpack(f">{len(keys)}Q", b"".join(keys))
    before = before or seqs[0] - 1
    if seqs != tuple(range(before + 1, before + 1 + len(seqs))):
        for seq in seqs:
            if not follows(seq, before, line):
                raise Doubt("entries are missing")
            before = seq
    return int(seqs[-1])
