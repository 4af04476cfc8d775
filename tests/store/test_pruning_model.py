"""Random lives of a hub, with restores and salvages: what its snapshots and its archive still have after each pruning.

The model knows of each store every entry that it comes from; a line of epochs is only what pruning is told.
"""

from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agentcom.store.manifests import Manifest
from agentcom.store.pruning import ALWAYS, DAY_MS, HOUR_MS, kept, place, tip_of, unneeded
from agentcom.store.restore_plan import Way, anew, continued
from agentcom.store.segments import RAISE, Segment, name_of
from tests.store.test_pruning import NOON_MS, manifest

Entry = tuple[int, int]
"""Epoch and seq."""


class Stored(NamedTuple):
    """A state of a store: its way, and every entry since it was empty."""

    way: Way
    entries: tuple[Entry, ...]

    def comes_from(self, other: "Stored") -> bool:
        return self.entries[: len(other.entries)] == other.entries


class Archived(NamedTuple):
    epoch: int
    first: int
    last: int

    @property
    def segment(self) -> Segment:
        return Segment(Path(name_of(self.epoch, self.first)), self.epoch, self.first)


class PruningModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Stored(Way(1), ())
        self.snapshots: dict[tuple[int, int], tuple[Manifest, Stored]] = {}
        self.archive: list[Archived] = []
        self.highest_epoch = self.highest_seq = 1
        self.now_ms = NOON_MS

    @initialize(hourly=st.integers(1, 3), daily=st.integers(1, 3))
    def begin(self, hourly: int, daily: int) -> None:
        self.slots = ((HOUR_MS, hourly), (DAY_MS, daily))
        self.write(1, rotates=True)

    # --- what happens to a hub -----------------------------------------------------------------------

    @rule(count=st.integers(1, 4), rotates=st.booleans())
    def write(self, count: int, rotates: bool) -> None:
        """And ship it: each entry is appended to the newest segment of the epoch, or begins another."""
        for _ in range(count):
            entry = self._next()
            epoch, seq = entry
            self.store = self.store._replace(entries=(*self.store.entries, entry))
            self.highest_seq = max(self.highest_seq, seq)
            last = self.archive[-1] if self.archive else None
            if last is not None and not rotates and (last.epoch, last.last + 1) == entry:
                self.archive[-1] = last._replace(last=seq)
            else:
                self.archive.append(Archived(epoch, seq, seq))
            rotates = False

    def _next(self) -> Entry:
        way, entries = self.store
        if entries and entries[-1][0] == way.epoch:
            return way.epoch, entries[-1][1] + 1
        return way.epoch, way.line[-1][1] + RAISE + 1 if way.line else 1

    @rule(minutes=st.sampled_from([1, 10, 60, 300, 1_440, 5_000]))
    def time_passes(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    @rule(data=st.data())
    def restore(self, data: Any) -> None:
        """To any entry of the store, or of any state that a snapshot is there of: also to what was left out before."""
        states = [self.store, *(state for _, state in self.snapshots.values())]
        way, entries = data.draw(st.sampled_from(states))
        reached = data.draw(st.sampled_from(entries))
        newest = entries[-1][1]
        self._go_on(
            continued(way, reached[1], newest, self.highest_epoch), entries[: entries.index(reached) + 1]
        )

    @rule()
    def salvage(self) -> None:
        """Or start empty: nothing of what was is continued."""
        self._go_on(anew(self.highest_epoch + 1, self.highest_seq), ())

    def _go_on(self, way: Way, entries: tuple[Entry, ...]) -> None:
        self.store, self.highest_epoch = Stored(way, entries), way.epoch
        self.write(1, rotates=True)

    # --- a snapshot, and what must hold after it -------------------------------------------------------

    @rule()
    def snapshot(self) -> None:
        epoch, seq = self.store.entries[-1]
        newest = manifest(epoch, seq, self.now_ms, self.store.way.line)
        self.snapshots[epoch, seq] = newest, self.store
        there, archived = dict(self.snapshots), list(self.archive)
        stay = kept(tip_of(newest), [each for each, _ in there.values()], *(count for _, count in self.slots))
        self.snapshots = {place(each): there[place(each)] for each in stay}
        segments = sorted((each.segment for each in archived), key=lambda each: each[1:])
        gone = unneeded(tip_of(newest), segments, stay)
        self.archive = [each for each in archived if each.segment not in gone]
        self._another_is_there(there)
        self._each_leads_to_the_newest_entry(archived)
        self._nothing_of_before_is_gone(there, archived)
        self._what_was_left_out_has_its_time(there)

    def _here(self, among: dict[Entry, tuple[Manifest, Stored]]) -> list[Entry]:
        return sorted(at for at, (_, state) in among.items() if self.store.comes_from(state))

    def _another_is_there(self, there: dict[Entry, tuple[Manifest, Stored]]) -> None:
        assert self._here(self.snapshots)[-ALWAYS:] == self._here(there)[-ALWAYS:]

    def _each_leads_to_the_newest_entry(self, archived: list[Archived]) -> None:
        """An archive that had all of it since the store was empty is another one to fall back on."""
        here = self._here(self.snapshots)
        if len(here) < ALWAYS:
            assert self.archive == archived
        oldest = min(len(self.snapshots[at][1].entries) for at in here)
        readable = {(each.epoch, seq) for each in self.archive for seq in range(each.first, each.last + 1)}
        assert readable.issuperset(self.store.entries[oldest:])

    def _nothing_of_before_is_gone(
        self, there: dict[Entry, tuple[Manifest, Stored]], archived: list[Archived]
    ) -> None:
        first, _ = self.store.entries[0]
        assert {at for at in there if at[0] < first} <= self.snapshots.keys()
        assert {each for each in archived if each.epoch < first} <= set(self.archive)

    def _what_was_left_out_has_its_time(self, there: dict[Entry, tuple[Manifest, Stored]]) -> None:
        """As if there had been no restore: no other line's snapshots drive it out before its hour and day are over."""
        first, _ = self.store.entries[0]
        left_out = {at for at in there if at[0] >= first} - set(self._here(there))
        for at in left_out:
            made_ms = there[at][0].made_ms
            for length, count in self.slots:
                spans = sorted(
                    {of.made_ms // length for (epoch, _), (of, _) in there.items() if epoch >= first}
                )
                same = (
                    o
                    for o in left_out
                    if o[0] == at[0] and there[o][0].made_ms // length == made_ms // length
                )
                if made_ms // length in spans[-count:] and at == max(same):
                    assert at in self.snapshots
        assert len(self.snapshots.keys() & left_out) <= len({at[0] for at in left_out}) * sum(
            count for _, count in self.slots
        )


TestPruningModel = PruningModel.TestCase
TestPruningModel.settings = settings(deadline=None, stateful_step_count=40)
