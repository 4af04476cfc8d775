"""Which snapshot and entries a restore takes: never of a discarded tail, never over a gap, and it says what is lost."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.store import manifests
from agentcom.store.layout import DATA
from agentcom.store.replay import stretches
from agentcom.store.restore_plan import (
    Base,
    Lost,
    Target,
    Way,
    anew,
    bases,
    continued,
    lost,
    raised_by,
    way_of,
)
from agentcom.store.restore_sources import Ask, Sources
from agentcom.store.restoring import NothingToRestore, work
from agentcom.store.segments import RAISE
from tests.store.history import describe, empty_entry, folders_in, segment


def test_the_line_of_the_highest_epoch_is_followed():
    assert way_of([(1, ()), (3, ((1, 5), (2, RAISE + 9))), (2, ((1, 5),))]) == Way(
        3, ((1, 5), (2, RAISE + 9))
    )
    assert way_of([]) is None


def test_the_oldest_epoch_of_a_way_is_the_first_that_has_an_entry_on_it():
    begun = anew(4, 900)
    later = continued(begun, begun.line[-1][1] + RAISE + 3, begun.line[-1][1] + 5 * RAISE, 4)
    of_nothing = continued(Way(2, ((1, 50),)), 0, 90, 2)
    assert [way.oldest for way in (Way(1), Way(2, ((1, 50),)), begun, later, of_nothing)] == [1, 1, 4, 4, 3]


def test_a_snapshot_of_a_discarded_tail_is_no_base():
    way = Way(2, ((1, 10),))
    kept, gone, own = (
        Base("kept", 1, (), 10, 1), Base("gone", 1, (), 11, 1), Base("own", 2, ((1, 10),), RAISE + 12, 2)
    )  # fmt: skip
    strange = Base("strange", 2, ((1, 9),), RAISE + 12, 1)
    assert bases(way, [kept, gone, own, strange], Target()) == [own, kept]
    assert bases(way, [kept, gone, own], Target(seq=RAISE)) == [kept]
    assert bases(way, [kept, gone, own], Target(ms=1)) == [kept]


@pytest.mark.parametrize(
    ("reached", "newest", "target", "known", "stopped", "said"),
    [
        (9, 9, Target(), True, False, Lost()),
        (9, 9, Target(), False, False, Lost(10)),
        (9, 12, Target(), True, False, Lost(10, 12)),
        (9, 12, Target(seq=10), False, False, Lost(10, 10)),
        (9, 12, Target(seq=9), False, False, Lost()),
        (9, 12, Target(ms=5), False, True, Lost()),
    ],
)
def test_what_is_lost_is_said_exactly(reached, newest, target, known, stopped, said):
    assert lost(reached, newest, target, end_is_known=known, stopped=stopped) == said


@pytest.mark.parametrize(
    ("missed", "sentence"),
    [
        (Lost(), "nothing was lost"),
        (Lost(5), "what was written from entry 5 on, if anything, could not be brought back"),
        (Lost(5, 5), "entry 5 is known to have existed and could not be brought back"),
        (Lost(5, 9), "entries 5 to 9 are known to have existed and could not be brought back"),
    ],
)
def test_what_is_lost_is_a_sentence(missed, sentence):
    assert str(missed) == sentence


def test_a_new_epoch_is_above_everything_that_was_discarded():
    assert continued(Way(1), 100, 100, 1) == Way(2, ((1, 100),))
    assert continued(Way(1), 100, 100, 7).epoch == 8
    far = continued(Way(1), 100, 100 + 2 * RAISE, 1)
    assert raised_by(far, 100) == 3 * RAISE
    back = continued(Way(2, ((1, 100),)), 50, 100 + RAISE + 7, 2)
    assert back.line[0] == (1, 50)
    assert 50 + raised_by(back, 50) > 100 + RAISE + 7


@given(st.lists(st.tuples(st.integers(0, 3 * RAISE), st.floats(0, 1)), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_no_number_is_minted_twice_however_often_one_goes_back(restores):
    """Also a store whose numbers are those of the journal: what an epoch mints begins above all that was ever there."""
    way, at, highest = Way(1), 0, 0
    for written, back in restores:
        at += written
        assert at >= highest
        highest = at
        kept = int(at * back)
        if way.epoch_of(kept) != way.epoch:
            kept = dict(way.line).get(way.epoch_of(kept), kept) and kept
        new = continued(way, kept, highest, way.epoch)
        first = stretches(new.line, new.epoch)[-1].first
        assert first == kept + raised_by(new, kept) + 1
        assert first > highest
        way, at = new, first
        highest = first


class World:
    """A hub's history as it truly was, what is left of it on disk, and what a restore must therefore do."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self.way = Way(1)
        self.line: list[tuple[int, int]] = []  #: (epoch, seq) on the line in force
        self.at, self.ms = 0, 1_000
        self.times: dict[tuple[int, int], int] = {}
        self.readable: set[tuple[int, int]] = set()
        self.seen: set[tuple[int, int]] = set()  #: known to have been, though it may not be readable
        self.snapshots: set[tuple[int, int]] = set()
        self.ways: dict[int, Way] = {1: self.way}
        self.found: set[int] = set()  #: epochs of which something is left

    def live(self) -> None:
        """Commits, archived in segments of random length, some of which are damaged then; snapshots now and then."""
        pending = []
        for _ in range(self.dice.randrange(1, 12)):
            self.at += 1
            self.ms += 10
            self.line.append((self.way.epoch, self.at))
            self.times[self.line[-1]] = self.ms
            pending.append(empty_entry(self.at, self.ms))
            if self.dice.random() < 0.4:
                self.ship(pending)
                pending = []
            if self.dice.random() < 0.15:
                self.snapshot()
        self.ship(pending)

    def ship(self, entries: list) -> None:
        if not entries:
            return
        path = segment(folders_in(self.folder).archive, self.way.epoch, self.way.line, entries)
        fate, size = self.dice.random(), path.stat().st_size
        if fate < 0.1:
            path.unlink()
            return
        self.found.add(self.way.epoch)
        self.seen.add((self.way.epoch, entries[0].seq))  # its name says that there was this one
        read = len(entries)
        if fate < 0.2:  # cut in the last entry
            path.write_bytes(path.read_bytes()[: size - self.dice.randrange(1, 20)])
            read -= 1
        self.readable |= {(self.way.epoch, entry.seq) for entry in entries[:read]}

    def snapshot(self) -> None:
        path = folders_in(self.folder).snapshots / manifests.name_of(self.way.epoch, self.at)
        if path.exists():
            return
        path.mkdir(parents=True)
        (path / DATA).write_bytes(b"rows")
        describe(path, self.way.epoch, self.way.line, self.at, self.ms)
        if self.dice.random() < 0.2:
            (path / manifests.MANIFEST).write_bytes(b"{")
            return
        self.found.add(self.way.epoch)
        if self.dice.random() < 0.2:
            (path / DATA).write_bytes(b"rots")
            self.seen.add((self.way.epoch, self.at))
            return
        self.snapshots.add((self.way.epoch, self.at))

    def go_back(self) -> None:
        kept = self.dice.choice(self.line)
        new = continued(self.way, kept[1], self.at, self.way.epoch)
        self.line = self.line[: self.line.index(kept) + 1]
        self.way, self.at = new, kept[1] + raised_by(new, kept[1])
        self.ways[new.epoch] = new

    # --- what a restore must do ---------------------------------------------------------------------

    def expected(self, upto: int | None):
        """(way, base, reached, newest known); base None when nothing can be restored."""
        way = self.ways[max(self.found)]
        line = [place for place in self.truth(way) if upto is None or place[1] <= upto]
        base = max((seq for epoch, seq in self.snapshots if (epoch, seq) in line), default=0)
        reached = base
        for place in line:
            if place[1] <= base:
                continue
            if place not in self.readable:
                break
            reached = place[1]
        known = self.readable | self.snapshots | self.seen
        return (
            way,
            base,
            reached,
            max((seq for epoch, seq in known if (epoch, seq) in self.truth(way)), default=0),
        )

    def truth(self, way: Way) -> list[tuple[int, int]]:
        """Every entry that there was on a way, in order."""
        return [place for place in sorted(self.times) if way.cut(*place) == place[1]]


SEEDS = st.integers(0, 1 << 32), st.integers(0, 4), st.booleans()


@given(*SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_restore_follows_one_line_to_the_first_gap_and_says_what_is_missing(seed, restores, to_the_end):
    check(seed, restores, to_the_end)


@pytest.mark.slow
@given(*SEEDS)
@settings(max_examples=1_000, deadline=None)
def test_a_restore_follows_one_line_in_a_thousand_histories(seed, restores, to_the_end):
    check(seed, restores, to_the_end)


def check(seed, restores, to_the_end):
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), seed)
        for _ in range(restores):
            world.live()
            world.go_back()
        world.live()
        if not world.found:
            return
        upto = None if to_the_end else world.dice.choice(world.line)[1]
        folders = folders_in(world.folder)
        ask = Ask(name, str(folders.snapshots), str(folders.archive), to_seq=upto)
        way, base, reached, newest = world.expected(upto)
        if not reached:
            with pytest.raises(NothingToRestore):
                work(ask)
            return
        made = work(ask)
        assert (made.base, made.reached) == (base, reached)
        seqs = [entry.seq for entry in Sources(ask).entries(way, base) if upto is None or entry.seq <= upto]
        assert [(way.epoch_of(seq), seq) for seq in seqs] == [
            place for place in world.truth(way) if base < place[1] <= reached
        ]
        wanted = newest if upto is None else min(upto, newest)
        if wanted > reached:
            assert made.lost == Lost(reached + 1, wanted)
        else:
            assert made.lost == (Lost() if reached == upto else Lost(reached + 1))
