"""Do the rows come of the journal? Yes, or it is in doubt; then agentcom.store.folding finds out what is wrong.

The entries after a snapshot, from the archive and from the journal, give one sum (agentcom.store.fold_sums); with the
snapshot's own it must be that of the rows. The journal is read once, as it is checked.
May import: agentcom.protocol.rows, agentcom.store.{batches,errors,facts,fold_sums,folding,reader,tables}, standard
library.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from agentcom.protocol.rows import Journal
from agentcom.store.batches import Doubt, Keys, batches, decoded
from agentcom.store.errors import StoreError
from agentcom.store.facts import Facts, follows, starts
from agentcom.store.fold_sums import MOST, SHARES, Sums, sum_of
from agentcom.store.folding import Archive, archived_entries, sentence
from agentcom.store.reader import Snapshot, View
from agentcom.store.tables import TABLES

_JOURNAL = TABLES["journal"]
_SOME = 500
"""Entries of the archive that are taken at a time."""


class QuickFold:
    """Of one view onto another. `feed` is for the walk of the whole journal that somebody else does."""

    def __init__(
        self, view: View, base: View | None, archive: Archive | None, facts: Facts, *, most: int = MOST
    ) -> None:
        self._view, self._base, self._archive, self._most = view, base, archive, most
        self._line = starts(facts.line)
        self._after = Snapshot(base).seq if base is not None else 0
        self._seq = Snapshot(view).seq
        self.doubt = ""  #: why nothing can be said
        self._begin(Sums(base, most=most))

    def _begin(self, sums: Sums) -> None:
        """A pass over all entries: those of the archive now."""
        self._sums, self._before, self._entries = sums, self._after, 0
        try:
            for keys, raws in self._archived():
                self._feed(keys, decoded(_JOURNAL, raws))
        except (StoreError, OSError) as error:
            self.doubt = str(error)

    def _archived(self) -> Iterator[tuple[Keys, Keys]]:
        entries = archived_entries(self._view, self._after, self._seq, self._archive, self._line)
        while some := list(islice(entries, _SOME)):
            yield [entry.seq.to_bytes(8, "big") for entry in some], [entry.row for entry in some]

    def feed(self, keys: Keys, entries: list[Journal]) -> None:
        """Entries of the journal, contiguous, oldest first; those that the base has already are passed over."""
        first = bisect_right(keys, self._after.to_bytes(8, "big"))
        if self.doubt or first == len(keys):
            return
        try:
            self._feed(keys[first:], entries[first:])
        except Doubt as error:
            self.doubt = str(error)

    def _feed(self, keys: Keys, entries: list[Journal]) -> None:
        first = int.from_bytes(keys[0], "big")
        if not follows(first, self._before, self._line):
            raise Doubt("entries are missing")
        self._before = int.from_bytes(keys[-1], "big")
        self._entries += len(keys)
        self._sums.feed([op for entry in entries for op in entry.ops])

    def said(self, total: int) -> str:
        """When all rows, of which `total` is the sum, come of the journal: what was folded. "" when in doubt.

        Raises `Doubt`, and what LMDB raises.
        """
        if self._base is not None:
            total -= sum_of(self._base)
        total -= self._sums.total()
        while not self.doubt and self._sums.end < SHARES:
            self._begin(Sums(self._base, first=self._sums.end, most=self._most))
            for keys, raws in batches(self._view, _JOURNAL.number, (self._after + 1).to_bytes(8, "big")):
                self.feed(keys, decoded(_JOURNAL, raws))
            total -= self._sums.total()
        if self.doubt or total or self._before != self._seq:
            return ""
        return sentence(self._entries, self._seq, None if self._base is None else self._after)
