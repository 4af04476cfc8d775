"""What a restore would do, decided from what was found: pure.

A restore follows one line of epochs (see agentcom.store.segments): the one of the highest epoch that anything was
found of. Along it seqs only rise, so that a seq names one entry; what another line wrote under the same number was
discarded by an earlier restore, and stays so.

Lives here: the line, the choice of a base and of the runs of entries after it, what could not be brought back.
May import: agentcom.store.segments.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentcom.store.segments import Line

JUMP = 1 << 20
"""What a restore adds to the journal's seq, to each mailbox's sequence and to each generation, at least."""


class Way(NamedTuple):
    """One line of epochs: `epoch`, and of each before it the last seq that belongs to it.

    An epoch 0 in it stands for an empty store that is numbered so: a salvaged store begins there.
    """

    epoch: int
    line: Line = ()

    @property
    def beginning(self) -> "Base":
        """The empty store before its first entry."""
        first = min((epoch for epoch, _ in self.line), default=self.epoch)
        return Base("", 0, self.line[0][1]) if first == 0 else Base("", first, 0)

    def end_of(self, epoch: int) -> int | None:
        """The last seq of an epoch that belongs to it; None for its own, which is open."""
        return dict(self.line).get(epoch)

    def continues(self, epoch: int, line: Line) -> bool:
        """Whether what wrote under `epoch` and `line` did so on this way, at least at first."""
        known = epoch == self.epoch or self.end_of(epoch) is not None
        return known and tuple(line) == tuple(part for part in self.line if part[0] < epoch)

    def holds(self, epoch: int, seq: int) -> bool:
        end = self.end_of(epoch)
        return epoch == self.epoch if end is None else seq <= end

    def epoch_of(self, seq: int) -> int:
        """In which epoch of this way a seq lies."""
        return next((epoch for epoch, end in self.line if seq <= end), self.epoch)

    def follows(self, at: int, epoch: int, seq: int) -> bool:
        """Whether the entry (epoch, seq) is the one right after the seq `at`."""
        here = self.epoch_of(at)
        if at != self.end_of(here):
            return epoch == here and seq == at + 1
        later = [other for other, _ in self.line if other > here] + [self.epoch]
        return epoch == later[0] and seq - at > JUMP and (seq - at - 1) % JUMP == 0


class Base(NamedTuple):
    """A snapshot to begin with, or the empty store when `source` is empty."""

    source: str
    epoch: int
    seq: int
    ms: int = 0  #: of its newest entry


class Run(NamedTuple):
    """Entries that can be read, without a gap."""

    source: str
    epoch: int
    first: int
    last: int


class Plan(NamedTuple):
    base: Base
    runs: tuple[Run, ...]  #: after it, in order, each cut to what is to be applied
    reached: int  #: the last seq that will be there

    @property
    def entries(self) -> int:
        return sum(run.last - run.first + 1 for run in self.runs)


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


def way_of(found: Iterable[tuple[int, Line]]) -> Way | None:
    """The line of the highest epoch among those that something was found of."""
    ways = [Way(epoch, tuple(tuple(part) for part in line)) for epoch, line in found]  # type: ignore[misc]
    return max(ways, default=None)


def plan(way: Way, bases: Iterable[Base], runs: Sequence[Run], upto: int | None = None) -> Plan | None:
    """The newest base at or before `upto` (None: the end), and the runs after it as far as there is no gap.

    None when there is no base, and not all entries since the beginning either. The newest base is the best one: no
    older one reaches further, as the same entries come after both.
    """
    fits = [b for b in bases if way.holds(b.epoch, b.seq) and (upto is None or b.seq <= upto)]
    base = max(fits, key=lambda b: b.seq, default=way.beginning)
    at, chosen = base.seq, []
    while (run := _next(way, runs, at, upto)) is not None:
        chosen.append(run)
        at = run.last
    return Plan(base, tuple(chosen), at) if fits or chosen else None


def _next(way: Way, runs: Sequence[Run], at: int, upto: int | None) -> Run | None:
    """The run that leads furthest from `at`, cut to its part of the way."""
    fits = []
    for run in runs:
        end = min(n for n in (run.last, way.end_of(run.epoch), upto) if n is not None)
        first = run.first if way.follows(at, run.epoch, run.first) else at + 1
        if run.first <= first <= end and way.follows(at, run.epoch, first):
            fits.append(run._replace(first=first, last=end))
    return max(fits, key=lambda run: run.last, default=None)


def newest(way: Way, seen: Iterable[tuple[int, int]]) -> int:
    """The highest seq on the way among (epoch, seq) that are known to have existed."""
    ends = (_cut(way, epoch, seq) for epoch, seq in seen)
    return max((end for end in ends if end is not None), default=0)


def _cut(way: Way, epoch: int, seq: int) -> int | None:
    end = way.end_of(epoch)
    if end is None:
        return seq if epoch == way.epoch else None
    return min(seq, end)


def continued(way: Way, reached: int) -> Way:
    """The way of the epoch that a restore begins, when it keeps what is on `way` up to `reached`.

    Its number is for the caller to raise above all that were ever seen.
    """
    last = way.epoch_of(reached)
    return Way(way.epoch + 1, (*(part for part in way.line if part[0] < last), (last, reached)))


def lost(made: Plan, newest_known: int, upto: int | None, *, end_is_known: bool) -> Lost:
    """What the plan cannot bring back of what was asked for.

    `end_is_known`: nothing can have been written after `newest_known`, as the store's own journal was read to its end.
    """
    wanted = newest_known if upto is None else min(upto, newest_known)
    if wanted > made.reached:
        return Lost(made.reached + 1, wanted)
    open_end = upto is None and not end_is_known
    return Lost(made.reached + 1) if open_end else Lost()


def jump(reached: int, newest_known: int) -> int:
    """What to add to every number: above all that the discarded entries can have minted."""
    return JUMP * (1 + max(0, newest_known - reached) // JUMP)
