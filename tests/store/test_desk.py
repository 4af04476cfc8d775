"""The store's bookkeeping: when a batch is taken, how its flags turn, and when its thread has been silent too long."""

import pytest

from agentcom.protocol.ops import Must
from agentcom.store.desk import Desk
from agentcom.store.disk import Done, Figures
from agentcom.store.errands import SLOW_S, STUCK_S, TOLD_EVERY, Errands
from agentcom.store.messages import Committed, Open
from agentcom.store.preparing import Prepared
from agentcom.store.tables import TABLES

COMMIT = Prepared("lane.low", 1, 1, "e")


def desk(max_queue: int = 10) -> Desk:
    return Desk(max_queue=max_queue, sync=True)


def said(errands: Errands, seconds: int) -> list[tuple[int, str]]:
    """Each second in which something was said of the silence."""
    passed = [errands.second().silence for _ in range(seconds)]
    return [(at, silence) for at, silence in enumerate(passed, 1) if silence]


@pytest.mark.parametrize(
    ("item", "when"),
    [
        (COMMIT, "soon"),
        (Open("lane.low"), "idle"),
        (Prepared("lane.low", 1, 1, "e", must=[(TABLES["task"], b"t1", Must("task", ("t1",)))]), "idle"),
    ],
)
def test_a_batch_begins_to_gather_once_and_only_when_none_is_written(item, when):
    of = desk()
    of.add("a", item)
    assert [of.gather(item), of.gather(COMMIT)] == [when, ""]
    assert of.take() == [item]
    of.add("a", COMMIT)
    assert of.gather(COMMIT) == "", "what waits is taken when the batch is written"
    of.settle(Done((Committed(1, 1),), Figures(False)))
    assert of.gather(COMMIT) == "soon"


def test_each_turn_of_the_flags_is_told_once():
    of = desk(max_queue=0)
    assert of.turned() == ""
    of.kept(Figures(True))
    assert [of.turned(), of.turned()] == ["full", ""]
    of.kept(Figures(False))
    assert of.turned() == "roomy"
    of.add("a", COMMIT)
    assert of.turned() == "otherwise"


def test_a_disk_that_owes_an_answer_is_slow_and_then_stuck_and_each_is_said_once():
    errands = Errands()
    errands.begun("apply")
    assert said(errands, 2 * STUCK_S) == [(SLOW_S, "slow"), (STUCK_S, "stuck")]


def test_every_answer_ends_the_silence():
    errands = Errands()
    errands.begun("apply")
    errands.begun("trim")
    assert said(errands, SLOW_S - 1) == []
    errands.ended("apply")
    assert said(errands, SLOW_S) == [(SLOW_S, "slow")]


@pytest.mark.parametrize("errand", ["", "finish"])
def test_who_owes_nothing_or_only_its_end_is_not_silent(errand):
    errands = Errands()
    if errand:
        errands.begun(errand)
    assert said(errands, 2 * STUCK_S) == []
    assert errands.is_finishing == bool(errand)


def test_upkeep_waits_for_the_opening_and_for_the_upkeep_before_and_ends_with_the_stop():
    errands = Errands()
    errands.begun("open")
    assert not errands.second().upkeep
    errands.ended("open")
    assert errands.second().upkeep
    errands.begun("upkeep")
    assert not errands.second().upkeep
    errands.ended("upkeep")
    errands.stopping = True
    assert not errands.second().upkeep


def test_the_gateway_is_told_every_few_seconds():
    errands = Errands()
    assert [errands.second().tell for _ in range(2 * TOLD_EVERY)].count(True) == 2
