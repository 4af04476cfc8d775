"""An actor sees its own writes, whatever of them is already on disk."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentcom.protocol.ops import Delete, Key, Op, Put
from agentcom.protocol.rows import Held, Ready
from agentcom.store import MemoryStore, Overlay
from tests.store.helpers import Writer, task

IDS = st.sampled_from(["a", "aa", "b", "c", "ca"])


class OverlayAgainstModel(RuleBasedStateMachine):
    """Tickets are added, reach the disk, and are dropped, each step at any later time but in order.

    The model is one dict that every ticket changes at once.
    """

    @initialize(cached=st.booleans(), size=st.integers(1, 3))
    def start(self, cached: bool, size: int) -> None:
        self.store = MemoryStore()
        self.writer = Writer(self.store)
        tables = ("task", "ready") if cached else ()
        self.overlay = Overlay(self.store.reader, cache_tables=tables, cache_size=size)
        self.model: dict[str, dict[Key, Any]] = {"task": {}, "ready": {}}
        self.unsent: list[Any] = []
        self.on_disk: list[int] = []

    ready_keys = st.tuples(st.sampled_from(["normal", "low"]), IDS, IDS, st.integers(0, 2), IDS)
    some_op = (
        st.builds(lambda i, n: Put("task", (i,), task(i, order=n)), IDS, st.integers(0, 5))
        | st.builds(lambda i: Delete("task", (i,)), IDS)
        | st.builds(lambda k, x: Put("ready", k, Ready((x,))), ready_keys, IDS)
        | st.builds(lambda k: Delete("ready", k), ready_keys)
    )

    @rule(ops=st.lists(some_op, min_size=1, max_size=4))
    def adopt(self, ops: list[Op]) -> None:
        commit = self.writer.asks(*ops)
        self.overlay.add(commit.ticket, ops)
        self.unsent.append(commit)
        for op in ops:
            if isinstance(op, Put):
                self.model[op.table][op.key] = op.row
            else:
                self.model[op.table].pop(op.key, None)

    @rule(n=st.integers(1, 3))
    def reach_the_disk(self, n: int) -> None:
        batch, self.unsent = self.unsent[:n], self.unsent[n:]
        if batch:
            self.on_disk += [answer.ticket for answer in self.store.commit(*batch)]

    @rule()
    def hear_of_it(self) -> None:
        if self.on_disk:
            self.overlay.drop(self.on_disk.pop(0))

    @rule(ops=st.lists(some_op, min_size=1, max_size=3))
    def be_refused(self, ops: list[Op]) -> None:
        self.writer.ticket += 1
        self.overlay.add(self.writer.ticket, ops)
        self.overlay.discard(self.writer.ticket)

    @rule(
        lane=st.sampled_from(["normal", "low"]),
        limit=st.integers(1, 4),
        reverse=st.booleans(),
        data=st.data(),
    )
    def scan(self, lane: str, limit: int, reverse: bool, data: Any) -> None:
        rows = self.model["ready"]
        keys = sorted((key for key in rows if key[0] == lane), reverse=reverse)
        after = data.draw(st.none() | st.tuples(st.just(lane), IDS, IDS, st.integers(0, 2), IDS))
        if after is not None:
            keys = [key for key in keys if (key < after if reverse else key > after)]
        found = self.overlay.scan("ready", (lane,), after=after, limit=limit, reverse=reverse)
        assert found == [(key, rows[key]) for key in keys[:limit]]

    @rule(i=IDS)
    def get(self, i: str) -> None:
        assert self.overlay.get("task", (i,)) == self.model["task"].get((i,))

    @invariant()
    def nothing_is_kept_for_dropped_tickets(self) -> None:
        if hasattr(self, "overlay"):
            assert self.overlay.outstanding == len(self.unsent) + len(self.on_disk)


class TestOverlay(OverlayAgainstModel.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def test_a_pending_row_on_the_last_page_hides_only_itself():
    store = MemoryStore()
    writer = Writer(store)
    writer.commit(*[Put("by_agent", ("ada", i), Held("normal")) for i in "abcd"])
    overlay = Overlay(store.reader)
    overlay.add(9, [Delete("by_agent", ("ada", "a")), Delete("by_agent", ("ada", "b"))])
    assert [key[1] for key, _ in overlay.scan("by_agent", ("ada",), limit=2)] == ["c", "d"]


def test_a_warm_row_of_a_cached_table_needs_no_read(monkeypatch: pytest.MonkeyPatch):
    store = MemoryStore()
    overlay = Overlay(store.reader, cache_tables=("task",))
    overlay.add(1, [Put("task", ("t",), task("t"))])
    overlay.drop(1)
    monkeypatch.setattr(store.reader, "get", lambda *_: pytest.fail("read from disk"))
    assert overlay.get("task", ("t",)) == task("t")


def test_a_ticket_adopted_late_does_not_hide_a_newer_one():
    """A refusable commit is added when it is on disk; what came after it may be there already."""
    overlay = Overlay(MemoryStore().reader, cache_tables=("task",))
    overlay.add(2, [Put("task", ("t",), task("t", order=2))])
    overlay.add(1, [Put("task", ("t",), task("t", order=1))])
    assert overlay.get("task", ("t",)).order == 2
    overlay.drop(1)
    overlay.drop(2)
    assert overlay.get("task", ("t",)).order == 2


def test_what_was_decided_from_a_refusable_commit_before_its_answer_came_stays_the_newer_row():
    """A lane finds a task that it submitted on disk, and takes it up, before it hears that the submit is there."""
    overlay = Overlay(MemoryStore().reader, cache_tables=("task",))
    overlay.add(2, [Put("task", ("t",), task("t", order=2))])
    other = Put("task", ("u",), task("u"))
    assert overlay.learn([Put("task", ("t",), task("t", order=1)), other]) == (other,)
    overlay.drop(2)
    assert overlay.get("task", ("t",)).order == 2


def test_a_row_of_a_refusable_commit_is_warm_once_it_is_on_disk(monkeypatch: pytest.MonkeyPatch):
    store = MemoryStore()
    overlay = Overlay(store.reader, cache_tables=("task",))
    overlay.learn([Put("task", ("t",), task("t"))])
    monkeypatch.setattr(store.reader, "get", lambda *_: pytest.fail("read from disk"))
    assert overlay.get("task", ("t",)) == task("t")


def test_a_row_that_was_handed_away_is_read_anew():
    store = MemoryStore()
    old_lane, new_lane = Writer(store, "lane.normal"), Writer(store, "lane.low")
    overlay = Overlay(store.reader, cache_tables=("task",), cache_if=lambda row: row.lane == "normal")
    moved = Put("task", ("t",), task("t", lane="low"))
    overlay.add(1, [moved])
    old_lane.commit(moved)
    overlay.drop(1)
    new_lane.commit(Put("task", ("t",), task("t", lane="low", order=9)))
    assert overlay.get("task", ("t",)).order == 9
