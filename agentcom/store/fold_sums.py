"""What the journal's entries come to, as one sum: what `quick_fold` compares with the sum of the rows.

Of each op only two hashes are kept, of where it writes and of all of it, and of these only as many as fit: when it is
more, a part of the places is left to further passes.
May import: agentcom.store.{batches,reader,tables}.
"""

from array import array
from operator import itemgetter

from agentcom.store.batches import Doubt, batches, fingerprint
from agentcom.store.reader import View
from agentcom.store.tables import BY_NUMBER, UNFOLDED

MOST = 16_000_000
"""Ops that are kept, 16 bytes each: a million tasks from their submit to their end write about as many."""
SHARES = 64

Op = tuple[int, bytes, bytes | None]
FOLDED = frozenset(number for number, table in BY_NUMBER.items() if table.name not in UNFOLDED)
_number = itemgetter(0)


class Sums:
    """One pass. Feed it every op in order; it keeps those of the shares from `first` to before `end`."""

    def __init__(self, base: View | None, *, first: int = 0, most: int = MOST) -> None:
        """`base`: what the ops are folded onto, None for nothing."""
        self.first, self.end = first, SHARES
        self._base, self._most = base, most
        self._where, self._what, self._was = ([array("q") for _ in range(SHARES)] for _ in range(3))

    def feed(self, ops: list[Op]) -> None:
        """Raises `Doubt` for a table that is not folded."""
        if not set(map(_number, ops)) <= FOLDED:
            raise Doubt("an entry writes to a table that is not folded")
        where = [hash((number, key)) for number, key, _ in ops]
        _deal(self._where, where, where)
        _deal(self._what, where, [hash(op) if op[2] is not None else 0 for op in ops])
        if self._base is not None:
            _deal(self._was, where, _hashes_in(self._base, ops))
        if self.end - self.first < SHARES:
            self._drop()
        if sum(map(len, self._where)) > self._most:
            self._fit()

    def total(self) -> int:
        """By how much the rows that come of it differ from the base's, as a sum, in the shares that were kept."""
        return sum(map(_newest, self._where, self._what)) - sum(map(_newest, self._where, self._was))

    def _fit(self) -> None:
        """Only the newest op of each place counts; if these are too many, half of the shares are left out."""
        for n, where in enumerate(self._where):
            for column in (self._what, self._was):
                column[n] = array("q", dict(zip(where, column[n], strict=False)).values())
            self._where[n] = array("q", dict.fromkeys(where))
        if sum(map(len, self._where)) > self._most // 2:
            self.end -= (self.end - self.first) // 2
            self._drop()

    def _drop(self) -> None:
        for n in (*range(self.first), *range(self.end, SHARES)):
            for column in (self._where, self._what, self._was):
                del column[n][:]


def sum_of(view: View) -> int:
    """Of all rows that a journal folds to."""
    return sum(fingerprint(number, *batch) for number in FOLDED for batch in batches(view, number))


def _deal(shares: "list[array[int]]", where: list[int], values: list[int]) -> None:
    put = [share.append for share in shares]
    for at, value in zip(where, values, strict=True):
        put[at & (SHARES - 1)](value)


def _newest(where: "array[int]", values: "array[int]") -> int:
    """The sum over all places of what was said of each last."""
    return sum(dict(zip(where, values, strict=False)).values())


def _hashes_in(base: View, ops: list[Op]) -> list[int]:
    """What each op finds in the base, as an op that would write it; 0 for nothing."""
    keys: dict[int, set[bytes]] = {}
    for number, key, _ in ops:
        keys.setdefault(number, set()).add(key)
    found = {
        (number, key): hash((number, key, raw))
        for number, some in keys.items()
        for key, raw in base.get_many(number, sorted(some)).items()
    }
    return [found.get((number, key), 0) for number, key, _ in ops]
