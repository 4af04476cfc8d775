"""OTP's grid: {restart type} x {how it ends} x {strategy} x {flat, nested}, the same on every system base.

What must come of each cell is read from tables that state OTP's documentation and know nothing of our code.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentcom.runtime import Faults
from supervisors.specs import DynamicSpec, SupervisorSpec, dynamic, supervisor
from tests.supervisors.stages import LoopStage, ProcessStage, Scene, SimStage, Stage
from tests.supervisors.troupe import Say

COMES_BACK = {
    "permanent": {"normal", "shutdown", "crash", "kill"},
    "transient": {"crash", "kill"},
    "temporary": set(),
}
ENDS = ("normal", "shutdown", "crash", "kill")
# "p.b" is the one that ends. "p.t" is temporary: taken along, it must not come back.
STATIC = ("p.a", "p.b", "p.c", "p.t")
DYNAMIC = ("p.a", "p.b", "p.c")
TAKEN_ALONG = {
    "one_for_one": (),
    "rest_for_one": ("p.c", "p.t"),
    "one_for_all": ("p.a", "p.c", "p.t"),
    "dynamic": (),
}
GRID = list(itertools.product(COMES_BACK, ENDS, TAKEN_ALONG, ("flat", "nested")))


class Outcome(NamedTuple):
    """By OTP's documentation: who was asked to stop, who was started again, both in order, and who is known no more."""

    stopped: list[str]
    restarted: list[str]
    forgotten: set[str]


def documented(restart: str, end: str, strategy: str) -> Outcome:
    if end not in COMES_BACK[restart]:
        kept = restart == "transient" and strategy != "dynamic"
        return Outcome([], [], set() if kept else {"p.b"})
    along = TAKEN_ALONG[strategy]
    restarted = sorted({"p.b", *along} - {"p.t"})
    return Outcome(sorted(along, reverse=True), restarted, {"p.t"} & set(along))


STAGES: dict[str, Callable[[Path], Stage]] = {
    "loop": lambda _: LoopStage(strict=False),
    "strict": lambda _: LoopStage(strict=True),
    "sim": lambda _: SimStage(7),
    "sim, notices twice": lambda _: SimStage(7, Faults(notice_twice=1.0)),
    "sim, notices late": lambda _: SimStage(7, Faults(notice_late=1.0, delays_s=(0.01, 0.1, 2.0))),
    # Of one that is killed without a word, and without a notice, only a ping without an answer tells.
    "sim, notices lost": lambda _: SimStage(7, Faults(notice_lost=1.0), hang_s=1.0),
    "processes": lambda folder: ProcessStage(folder / "thespian.log"),
}
SLOW = ("processes",)


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in STAGES])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    made = STAGES[request.param](tmp_path)
    try:
        yield made
    finally:
        made.close()


def tree(s: Stage, restart: Any, strategy: Any, shape: str) -> SupervisorSpec:
    if strategy == "dynamic":
        group = dynamic("group", DynamicSpec(template=s.child("p.", restart=restart)))
    else:
        kinds = {"p.b": restart, "p.t": "temporary"}
        children = tuple(s.child(name, restart=kinds.get(name, "permanent")) for name in STATIC)
        trio = SupervisorSpec(strategy=strategy, children=children)
        if shape == "flat":
            return trio
        group = supervisor("group", trio)
    if shape == "nested":
        group = supervisor("inner", SupervisorSpec(children=(group,)))
    return SupervisorSpec(children=(s.child("outside"), group))


def begin(s: Stage, spec: SupervisorSpec, strategy: str) -> tuple[str, ...]:
    """Everyone is up; returns who."""
    s.start(spec)
    if strategy != "dynamic":
        s.until(lambda now: all(now.up(name) for name in STATIC), "everyone")
        return STATIC
    s.until(lambda now: now.up("group"), "their supervisor")
    for name in DYNAMIC:
        s.mail("group", name, Say("hello"))
        s.until(lambda now, name=name: now.up(name), name)
    return DYNAMIC


@pytest.mark.parametrize(("restart", "end", "strategy", "shape"), GRID)
def test_an_exit_has_the_outcome_that_otp_documents(
    stage: Stage, restart: str, end: str, strategy: str, shape: str
) -> None:
    names = begin(stage, tree(stage, restart, strategy, shape), strategy)
    stage.end("p.b", end)

    expected = documented(restart, end, strategy)

    def came_out(now: Scene) -> bool:
        for name in names:
            if name in expected.forgotten:
                right = name not in now.children
            elif name == "p.b" and not expected.restarted:
                right = now.children[name].state == "gone"
            else:
                right = now.up(name, 2 if name in expected.restarted else 1)
            if not right:
                return False
        return len(started(now)) >= len(names) + len(expected.restarted)

    now = stage.until(came_out, str(expected))
    assert_same(stage, started(now), [*names, *expected.restarted])
    assert_same(stage, now.told("stopping"), expected.stopped)
    assert now.gave_up is None
    above = [now.children[name] for name in ("outside", "inner", "group") if name in now.children]
    assert all(child.start == 1 and child.state == "up" for child in above)


def started(now: Scene) -> list[str]:
    return [name for name in now.told("started") if name != "outside"]


def assert_same(s: Stage, told: list[str], expected: list[str]) -> None:
    """In this order, where the base lets different actors' mail arrive as it was sent."""
    if s.ordered:
        assert told == expected
    else:
        assert sorted(told) == sorted(expected)
