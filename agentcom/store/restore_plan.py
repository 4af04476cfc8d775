"""What a restore does, decided from what was found: pure.

A restore follows one line of epochs (see agentcom.store.segments): the one of the highest epoch that anything was
found of. Along it seqs only rise, so that a seq names one entry; what another line wrote under the same number was
discarded by an earlier restore, and stays so.

Lives here: that line, the bases to begin with, the target, what could not be brought back, the next epoch.
May import: agentcom.store.segments.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentcom.store.segments import RAISE, Line


class Way(NamedTuple):
    """One line of epochs: `epoch`, and of those before it the last seq that belongs to it.

    An epoch 0 in it stands for an empty store whose numbers begin there: so does a salvaged store.
    """

    epoch: int
    line: Line = ()

    @property
    def beginning(self) -> int:
        """The seq at which the store was empty."""
        return self.line[0][1] if self.line and self.line[0][0] == 0 else 0

    @property
    def oldest(self) -> int:
        """The first epoch that has an entry on it. What is of one before that was left behind: by a salvage, by a start
        with an empty store, by a restore to before the first entry.
        """
        first = self.beginning + 1
        for epoch, end in self.line:
            if epoch and end >= first:
                return epoch
            first = end + RAISE + 1
        return self.epoch

    def end_of(self, epoch: int) -> int | None:
        """The last seq of an epoch that belongs to it; None for its own, which is open, and for any other."""
        return dict(self.line).get(epoch)

    def continues(self, epoch: int, line: Iterable[Sequence[int]]) -> bool:
        """Whether what wrote under `epoch` and `line` did so on this way, at least at first."""
        known = epoch == self.epoch or self.end_of(epoch) is not None
        return known and straight(line) == tuple(part for part in self.line if part[0] < epoch)

    def cut(self, epoch: int, seq: int) -> int:
        """The last seq up to `seq` that an epoch has on this way; 0 when it has none."""
        end = self.end_of(epoch)
        if end is None:
            return seq if epoch == self.epoch else 0
        return min(seq, end)

    def epoch_of(self, seq: int) -> int:
        """In which epoch of this way a seq lies."""
        return next((epoch for epoch, end in self.line if seq <= end), self.epoch)


class Target(NamedTuple):
    """Up to where to go; without either, to the end."""

    seq: int | None = None
    ms: int | None = None

    def covers(self, seq: int, ms: int) -> bool:
        return (self.seq is None or seq <= self.seq) and (self.ms is None or ms <= self.ms)

    @property
    def is_end(self) -> bool:
        return self.seq is None and self.ms is None


class Base(NamedTuple):
    """A snapshot to begin with."""

    source: str
    epoch: int
    line: Line
    seq: int
    ms: int  #: of its newest entry


class Lost(NamedTuple):
    """Entries that could not be brought back. `last` is 0 when nobody knows how many there were."""

    first: int = 0
    last: int = 0

    def __bool__(self) -> bool:
        return self.first > 0

    def __str__(self) -> str:
        if not self:
            return "nothing was lost"
        if not self.last:
            return f"what was written from entry {self.first} on, if anything, could not be brought back"
        if self.first == self.last:
            return f"entry {self.first} is known to have existed and could not be brought back"
        return f"entries {self.first} to {self.last} are known to have existed and could not be brought back"


def straight(line: Iterable[Sequence[int]]) -> Line:
    """A line as it comes out of msgpack or JSON, as tuples."""
    return tuple((int(epoch), int(seq)) for epoch, seq in line)


def way_of(found: Iterable[tuple[int, Line]]) -> Way | None:
    """The line of the highest epoch among those that something was found of."""
    return max((Way(epoch, straight(line)) for epoch, line in found), default=None)


def bases(way: Way, found: Iterable[Base], target: Target) -> list[Base]:
    """The snapshots to begin with, best first: the newest on the way at or before the target.

    No older one leads further, as the same entries come after both.
    """
    fit = [b for b in found if way.continues(b.epoch, b.line) and way.cut(b.epoch, b.seq) == b.seq]
    return sorted((b for b in fit if target.covers(b.seq, b.ms)), key=lambda b: -b.seq)


def lost(reached: int, newest: int, target: Target, *, end_is_known: bool, stopped: bool) -> Lost:
    """What of the target is not there once everything up to `reached` is.

    `newest` is the highest seq on the way that is known to have existed; `end_is_known`: that none came after it.
    `stopped`: a later entry than the target's was seen, so that all of the target is there.
    """
    if stopped:
        return Lost()
    wanted = newest if target.seq is None else min(target.seq, newest)
    if wanted > reached:
        return Lost(reached + 1, wanted)
    missed = target.seq is None or target.seq > reached
    return Lost(reached + 1) if missed and not end_is_known else Lost()


def continued(way: Way, reached: int, newest: int, highest_epoch: int) -> Way:
    """The way of the epoch that a restore begins when it keeps what is on `way` up to `reached`.

    Its epoch is above all that were seen, and its numbers above all that what it discards (up to `newest`) can have
    minted: each epoch between that of `reached` and its own raises them once more and has no entry on it.
    """
    last = way.epoch_of(reached)
    enough = last + max(0, newest - reached) // RAISE + 1
    epoch = max(way.epoch + 1, highest_epoch + 1, enough)
    between = tuple((n, reached + (n - last) * RAISE) for n in range(last, epoch))
    return Way(epoch, (*(part for part in way.line if part[0] < last), *between))


def anew(epoch: int, newest: int) -> Way:
    """The way of an epoch that continues nothing that was, but is above its numbers."""
    return Way(epoch, tuple((n, newest + n * RAISE) for n in range(epoch)))


def raised_by(way: Way, reached: int) -> int:
    """What the epoch of `way` adds to every number of the one it continues from `reached`."""
    return way.line[-1][1] + RAISE - reached
