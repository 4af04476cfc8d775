"""A wrong tree is refused with a sentence that names what and where, before anything starts."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.root import Root
from supervisors.specs import (
    Backoff,
    ChildSpec,
    DynamicSpec,
    InvalidSpecError,
    SupervisorSpec,
    dynamic,
    problems,
    supervisor,
    with_registry,
)
from tests.supervisors.troupe import play


def child(name: str = "a", actor: str = "Plain", **fields: Any) -> ChildSpec:
    return ChildSpec(name=name, actor=f"tests.supervisors.troupe:{actor}", **fields)


def one(**fields: Any) -> SupervisorSpec:
    return SupervisorSpec(children=(child(**fields),))


GOOD = SupervisorSpec(
    strategy="rest_for_one",
    children=(
        child("a"),
        supervisor("inner", SupervisorSpec(children=(child("b", "NeedsA"),))),
        dynamic("agents", DynamicSpec(template=child("agent.", "NeedsA"))),
    ),
)


def test_a_good_tree_has_no_problems_and_survives_pickling() -> None:
    assert problems(GOOD) == []
    assert problems(with_registry(GOOD)) == []
    assert pickle.loads(pickle.dumps(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (SupervisorSpec(strategy="one_for_none"), "root: expected strategy to be one of"),  # type: ignore[arg-type]
        (SupervisorSpec(intensity=-1), "root: expected intensity to be at least 0, got: -1"),
        (SupervisorSpec(period_s=-5), "root: expected period_s to be a positive number, got: -5"),
        (SupervisorSpec(backoff=Backoff(base_s=2, cap_s=1)), "backoff.cap_s"),
        (SupervisorSpec(children=(child(), child())), "the name a is used 2 times"),
        (one(restart="always"), "root/a: expected restart to be one of permanent, transient, temporary"),
        (one(shutdown=-1), "root/a: expected shutdown to be at least 0, got: -1"),
        (one(shutdown=float("nan")), "root/a: expected shutdown"),
        (one(start_timeout_s=0), "root/a: expected start_timeout_s to be a positive number"),
        (one(name=""), "expected a child's name to be a non-empty string"),
        (one(name=5), "expected a child's name to be a non-empty string, got: 5"),
        (one(hang_s=0), "root/a: expected hang_s to be a positive number, got: 0"),
        (one(hang_s=float("inf")), "root/a: expected hang_s to be finite"),
        (SupervisorSpec(intensity="3"), "root: expected intensity to be at least 0, got: '3'"),  # type: ignore[arg-type]
        (SupervisorSpec(intensity=True), "root: expected intensity to be at least 0, got: True"),
        (SupervisorSpec(period_s=float("nan")), "root: expected period_s to be a positive number, got: nan"),
        (
            SupervisorSpec(backoff=Backoff(base_s=float("inf"), cap_s=float("inf"))),
            "backoff.base_s to be finite",
        ),
        (SupervisorSpec(children=(GOOD,)), "root: expected children to be ChildSpecs, got: SupervisorSpec"),  # type: ignore[arg-type]
        (SupervisorSpec(children=("a",)), "root: expected children to be ChildSpecs, got: str"),  # type: ignore[arg-type]
        (
            SupervisorSpec(children=(dynamic("x", DynamicSpec(template=GOOD)),)),  # type: ignore[arg-type]
            "root/x: expected template to be a ChildSpec, got: SupervisorSpec",
        ),
        (
            SupervisorSpec(auto_shutdown="sometimes", children=(child(),)),  # type: ignore[arg-type]
            "root: expected auto_shutdown to be one of never, any_significant, all_significant, got: 'sometimes'",
        ),
        (one(actor="Homeless"), "cannot use actor 'tests.supervisors.troupe:Homeless': Can't pickle"),
        (
            SupervisorSpec(children=(ChildSpec(name="a", actor="tests.supervisors.wreck:Any"),)),
            "root/a: cannot use actor 'tests.supervisors.wreck:Any': this module cannot be imported",
        ),
        (SupervisorSpec(children=(ChildSpec(name="a", actor="nowhere"),)), "expected package.module:Class"),
        (one(actor="NotAnActor"), "it is not a Supervised actor class"),
        (one(actor="Missing"), "cannot use actor 'tests.supervisors.troupe:Missing'"),
        (one(args=lambda: None), "root/a: args cannot be pickled"),
        (one(significant=True), "a permanent child cannot be significant"),
        (one(significant=True, restart="transient"), "child a is significant, but auto_shutdown is never"),
        (one(actor="NeedsA", name="b"), "b needs a, which does not start earlier"),
        (
            SupervisorSpec(children=(child("b"), child("registry"))),
            "the registry must be the first child of the root",
        ),
        (
            SupervisorSpec(children=(supervisor("inner", GOOD), child("b"))),
            "the name b is used 2 times",
        ),
        (
            SupervisorSpec(children=(supervisor("a", SupervisorSpec(children=(child("b", "NeedsA"),))),)),
            "b needs a, which does not start earlier",
        ),
        (
            SupervisorSpec(children=(ChildSpec(name="x", actor="supervisors.supervisor:Supervisor"),)),
            "root/x: expected kind to be supervisor",
        ),
        (
            SupervisorSpec(children=(dynamic("x", DynamicSpec(template=child(), max_children=0)),)),
            "root/x: expected max_children to be at least 1",
        ),
        (
            SupervisorSpec(children=(dynamic("x", DynamicSpec(template=supervisor("y", GOOD))),)),
            "the template of dynamic children must be a worker",
        ),
    ],
)
def test_a_wrong_tree_is_refused_with_a_sentence(spec: SupervisorSpec, sentence: str) -> None:
    assert any(sentence in problem for problem in problems(spec)), problems(spec)


def test_nothing_of_a_wrong_tree_is_started() -> None:
    async def scene(s: Any) -> None:
        with pytest.raises(InvalidSpecError, match="expected strategy"):
            await Root.start(s.base, SupervisorSpec(strategy="best_effort", children=(s.child("a"),)))
        await asyncio.sleep(0)
        assert s.base.figures() == []

    play(scene)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_never_exceeds_its_cap_nor_falls_below_half(failures: int, draw: float) -> None:
    backoff = Backoff(base_s=0.5, cap_s=20)
    full = min(20.0, 0.5 * 2.0 ** min(failures - 1, 20))
    assert full / 2 <= backoff.delay(failures, draw) <= full
