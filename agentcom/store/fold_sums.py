"""What the journal's entries come to, as one sum: what `quick_fold` compares with the sum of the rows.

Of each op only two hashes are kept, of where it writes and of all of it, and of these only as many as fit: when it is
more, a part of the places is left to further passes.
May import: agentcom.store.{batches,reader,tables}.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import compress
from operator import itemgetter

from agentcom.store.batches import Doubt, batches, fingerprint
from agentcom.store.reader import View
from agentcom.store.tables import BY_NUMBER, UNFOLDED

MOST = 16_000_000
"""Ops that are kept, 16 bytes each: a million tasks from their submit to their end write about as many."""
SHARES = 64
"""Into so many the places of a table are divided, if there are too many of them."""
AT_ONCE = 1_000_000
"""Places that are looked at together, some hundred bytes each."""

Op = tuple[int, bytes, bytes | None]
FOLDED = frozenset(number for number, table in BY_NUMBER.items() if table.name not in UNFOLDED)
_NUMBER, _KEY = itemgetter(0), itemgetter(1)


class Sums:
    """One pass. Feed it every op in order; it keeps those of the shares from `first` to before `end`."""

    def __init__(
        self, base: View | None, *, first: int = 0, most: int = MOST, at_once: int = AT_ONCE
    ) -> None:
        """`base`: what the ops are folded onto, None for nothing."""
        self.first, self.end = first, SHARES
        self._base, self._most, self._at_once = base, most, at_once
        self._tables: dict[int, _Places] = {}
        self._ops = 0

    def feed(self, ops: list[Op]) -> None:
        """Raises `Doubt` for a table that is not folded."""
        ops = sorted(ops, key=_NUMBER)  # stable: those of a table stay in their order
        numbers, at = list(map(_NUMBER, ops)), 0
        while at < len(ops):
            end = bisect_right(numbers, numbers[at])
            self._feed(numbers[at], ops[at:end])
            at = end
        if self._ops > self._most:
            self._fit()

    def total(self) -> int:
        """By how much the rows that come of it differ from the base's, as a sum, in the shares that were kept."""
        return sum(places.total(self._at_once) for places in self._tables.values())

    def _feed(self, number: int, ops: list[Op]) -> None:
        if number not in FOLDED:
            raise Doubt("an entry writes to a table that is not folded")
        if self.end - self.first < SHARES:
            ops = [op for op in ops if self.first <= hash(op[1]) % SHARES < self.end]
        places = self._tables.setdefault(number, _Places())
        places.where.extend(list(map(hash, map(_KEY, ops))))
        places.what.extend([hash(op) if op[2] is not None else 0 for op in ops])
        if self._base is not None:
            places.was.extend(_hashes_in(self._base, number, list(map(_KEY, ops))))
        self._ops += len(ops)

    def _fit(self) -> None:
        """Only the newest op of each place counts; if these are too many, half of the shares are left out."""
        for places in self._tables.values():
            places.keep_newest(self._at_once)
        if sum(map(len, self._tables.values())) > self._most // 2 and self.end - self.first > 1:
            self.end -= (self.end - self.first) // 2
            for places in self._tables.values():
                places.keep_shares(self.first, self.end)
        self._ops = sum(map(len, self._tables.values()))


class _Places:
    """The ops of one table in their order, by columns; `was` is what the base has there, empty without a base."""

    def __init__(self) -> None:
        self.where, self.what, self.was = array("q"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self.where)

    def total(self, at_once: int) -> int:
        newest, before = self._last(self.what, at_once), self._last(self.was, at_once)
        return sum(sum(of.values()) for of in newest) - sum(sum(of.values()) for of in before)

    def keep_newest(self, at_once: int) -> None:
        where, what, was = array("q"), array("q"), array("q")
        for newest in self._last(self.what, at_once):
            where.extend(newest)
            what.extend(newest.values())
        for before in self._last(self.was, at_once):  # the same places, in the same order
            was.extend(before.values())
        self.where, self.what, self.was = where, what, was

    def keep_shares(self, first: int, end: int) -> None:
        kept = [first <= at % SHARES < end for at in self.where]
        for name in ("was", "what", "where"):
            setattr(self, name, array("q", compress(getattr(self, name), kept)))

    def _last(self, column: "array[int]", at_once: int) -> Iterator[dict[int, int]]:
        """What a column says last of each place, in parts of not many more than `at_once` places."""
        parts = max(1, -(-len(column) // at_once))
        for part in range(parts):
            said = zip(self.where, column, strict=False)
            yield dict(said if parts == 1 else (of for of in said if of[0] % parts == part))


def sum_of(view: View) -> int:
    """Of all rows that a journal folds to."""
    return sum(fingerprint(number, *batch) for number in FOLDED for batch in batches(view, number))


def _hashes_in(base: View, number: int, keys: list[bytes]) -> list[int]:
    """What each op finds in the base, as an op that would write it; 0 for nothing."""
    found = base.get_many(number, sorted(set(keys)))
    return [hash((number, key, found[key])) if key in found else 0 for key in keys]
