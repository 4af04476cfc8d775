"""A store's whole life in any order: commits, archive, snapshots, trims, rewrites, crashes, power cuts, restores.

The model is the rows after each commit. After every step the rows are the model's and everything checks; a restore to
any entry that can be reached brings back exactly what the rows were then, but for the numbers that it raises.
"""

import random
import shutil
import tempfile
import threading
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from agentcom.store import restore, restore_sources, switching
from agentcom.store.child import Tool
from agentcom.store.layout import Layout
from agentcom.store.messages import SwitchStore
from agentcom.store.restore_plan import Lost, Target
from agentcom.store.rewriting import Order
from agentcom.store.segments import RAISE
from agentcom.store.trimming import trim
from agentcom.store.verify import check_rows
from tests.store.helpers import LmdbStore, Writer, all_rows
from tests.store.history import InProcess, archive, folders_in, snapshot
from tests.store.sound import fill
from tests.store.test_restoring import decoded, lowered

QUICK = ("commit", "commit", "commit", "ship", "snapshot", "trim", "crash", "cut", "restore")


class Life:
    def __init__(self, folder: Path) -> None:
        self.folder, self.moves = folder, 0
        self.store = LmdbStore(folder / "0")
        self.lane = fill(self.store)
        self.n = 100
        self.shipped = self.snapped = 0
        self.trimmed = False
        self.rows = {self.seq: all_rows(self.store)}

    @property
    def seq(self) -> int:
        return self.store.reader.last_seq()

    # --- steps -------------------------------------------------------------------------------------

    def commit(self, rng: random.Random) -> None:
        task_id = self.lane.submit(self.n)
        self.n += 1
        self.rows[self.seq] = all_rows(self.store)
        if rng.random() < 0.3:
            self.lane.finish(task_id)
            self.rows[self.seq] = all_rows(self.store)

    def ship(self, _rng: random.Random) -> None:
        if self.seq > self.shipped:
            archive(self.store, self.shipped + 1, self.seq)
            self.shipped = self.seq

    def snapshot(self, _rng: random.Random) -> None:
        if self.seq > self.snapped:
            snapshot(self.store)
            self.snapped = self.seq

    def trim(self, rng: random.Random) -> None:
        """Only what is archived and in a snapshot."""
        upto = min(self.shipped, self.snapped)
        self.trimmed |= trim(self.store.env, upto, rng.randrange(1, 50)).gone > 0

    def rewrite(self, rng: random.Random) -> None:
        place = switching.place(self.store.env)
        told = Tool("rewriting").run(Order(place.store, place.into))
        self.commit(rng)
        done = switching.switch(self.store.env, SwitchStore(place.into, told["seq"]), self.store.env.life)
        assert done.problem == ""
        switching.sweep(self.store.env)
        for thread in threading.enumerate():
            if thread.name == "sweep":
                thread.join(30)  # `cut` may not find a folder that is half gone

    def crash(self, _rng: random.Random) -> None:
        """Without the mark of a clean stop."""
        self.store.reopen()
        self._go_on()

    def cut(self, _rng: random.Random) -> None:
        """The data is found on another disk, as after a power cut: LMDB's file goes back to its checkpoint first."""
        self.moves += 1
        to = self.folder / str(self.moves)
        shutil.copytree(self.store.folder, to)
        self.store.close()
        self.store = LmdbStore(to)
        self._go_on()

    def restore(self, rng: random.Random) -> None:
        """To the end, or to an entry that the snapshots and the archive still reach."""
        last = self.seq
        reachable = [seq for seq in self.rows if seq >= self.snapped or not self.trimmed]
        to = rng.choice([None, *reachable])
        folder = self.store.folder
        self.store.close()
        made, _ = restore.restore(Layout(folder), folders_in(folder), Target(seq=to), "test")
        self.store = LmdbStore(folder)
        assert made.reached == (last if to is None else to)
        assert made.lost == Lost()
        raised = (self.seq - 1 - made.reached) // RAISE * RAISE
        assert raised >= RAISE
        assert lowered(all_rows(self.store), raised) == decoded(self.rows[made.reached])
        self.shipped = self.snapped = made.reached + raised
        self.rows = {self.seq: all_rows(self.store)}
        self.trimmed = True  # what was before belongs to another epoch
        self.snapshot(rng)
        self._go_on()

    # --- what holds --------------------------------------------------------------------------------

    def _go_on(self) -> None:
        self.lane.writer = Writer(self.store)

    def holds(self) -> None:
        assert all_rows(self.store) == self.rows[self.seq]
        report = check_rows(self.store.env)
        assert report.problems == [] or report.problems == ()


def lived(steps: list[str], seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore, "Tool", InProcess)
        patch.setattr(restore_sources, "Tool", InProcess)
        life = Life(Path(name))
        for step in steps:
            getattr(life, step)(rng)
            life.holds()
        life.store.close()


@settings(deadline=None, max_examples=12)
@given(st.lists(st.sampled_from(QUICK), max_size=12), st.integers(0, 2**32))
def test_whatever_happens_the_rows_are_what_was_committed(steps, seed):
    lived(steps, seed)


@pytest.mark.slow
def test_long_lives_with_rewrites_keep_every_row():
    for seed in range(15):
        steps = random.Random(seed).choices([*QUICK, "rewrite"], k=40)
        lived(steps, seed)
