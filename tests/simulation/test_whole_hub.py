"""The whole hub in virtual time: whatever befalls it, it keeps its promises.

A failure names the seed; `make simulate SEED=… RUNS=1` shows it again.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hubsim.bugs import BUGS, planted
from hubsim.ledger import Violation
from hubsim.many import how_to_replay, many, one, table
from hubsim.plan import LEAST_FAULTS, LEAST_TASKS, VERBS, Fault, FaultKind, Meddling, Plan, Work, plan_of
from hubsim.world import AGENTS, run
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
CAUGHT_WITHIN = 1_000
"""Runs, as many as the slow suite makes; most are caught in the first few. A change of the hub deals the seeds anew."""


@pytest.mark.parametrize("seed", range(4))
def test_the_hub_keeps_its_promises_whatever_goes_wrong(seed):
    outcome = run(plan_of(seed))
    assert sum(outcome.phases.values()) >= LEAST_TASKS - 6, (
        "a submit that comes too late for its deadline is refused"
    )


def test_a_plan_has_three_agents_twenty_tasks_and_five_faults():
    plans = [plan_of(seed) for seed in range(100)]
    assert len(AGENTS) >= 3
    assert min(sum(work.count for work in plan.work) for plan in plans) >= LEAST_TASKS
    assert min(len(plan.faults) for plan in plans) >= LEAST_FAULTS


def test_a_run_without_faults_completes_all_that_somebody_can_do():
    outcome = run(
        Plan(1, (Work(0.0, 3), Work(0.1, 1, "urgent", ("rust",)), Work(0.1, 1, needs=("cobol",))), ())
    )
    assert sum(outcome.phases.values()) == 5
    assert outcome.phases["queued"] == 1


def test_the_same_plan_takes_the_same_steps():
    assert run(plan_of(3)) == run(plan_of(3))


@pytest.mark.slow
def test_a_seed_replays_alike_in_another_process():
    """Whatever order sets and dicts of strings have there."""

    def shown(hash_seed: str) -> str:
        env = os.environ | {"PYTHONPATH": str(HERE), "PYTHONHASHSEED": hash_seed}
        asked = [sys.executable, "-m", "hubsim", "--runs", "1", "--seed", "8"]
        return subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout

    first, second = shown("1"), shown("2")
    assert "trace" in first
    assert first == second


@pytest.mark.slow
def test_a_run_is_the_same_whatever_its_process_ran_before_and_however_long_the_machine_took():
    seeds = range(360, 372)
    there, back = {seed: one(seed) for seed in seeds}, {seed: one(seed) for seed in reversed(seeds)}
    assert there == back


# --- volume --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_runs_keep_every_promise_and_see_every_fault():
    report = many(range(1_000), os.cpu_count() or 1)
    print(table(report))
    assert [(how_to_replay(of.seed), of.what) for of in report.failures] == []
    assert report.missing == []


# --- Hypothesis ----------------------------------------------------------------------------------------

picks = st.integers(0, (1 << 16) - 1)
works = st.builds(
    Work,
    after=st.sampled_from([0.0, 0.01, 1.0]),
    count=st.integers(1, 6),
    lane=st.sampled_from(["normal", "urgent", "high", "low"]),
    needs=st.sampled_from([(), ("python",), ("rust",), ("cobol",)]),
    target=st.sampled_from(["", "", "ada"]),
    delay_s=st.sampled_from([0, 0, 5]),
    deadline_s=st.sampled_from([0, 0, 40]),
)
faults = st.builds(Fault, after=st.integers(1, 300), kind=st.sampled_from(FaultKind.__args__), pick=picks)
acts = st.builds(
    Meddling, after=st.sampled_from([0.0, 0.01, 1.0]), verb=st.sampled_from(sorted(set(VERBS))), pick=picks
)
plans = st.builds(
    Plan,
    seed=st.integers(0, 3),
    work=st.lists(works, min_size=1, max_size=10).map(tuple),
    faults=st.lists(faults, max_size=12).map(tuple),
    meddling=st.lists(acts, max_size=8).map(tuple),
    schedule=st.lists(st.integers(0, 255), max_size=300).map(tuple),
)
SLOWLY = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=150, **SLOWLY)
@given(plan=plans)
def test_no_plan_makes_the_hub_break_a_promise(plan):
    run(plan)


@pytest.mark.slow
def test_a_failure_shrinks_to_what_it_needs():
    """Of all that happened only what the bug needs is left: one task that is submitted."""

    def fails(plan: Plan) -> bool:
        try:
            run(plan)
        except Violation:
            return True
        return False

    with planted("reply before commit"):
        least = find(plans, fails, settings=settings(max_examples=50, **SLOWLY))
    assert len(least.work) == 1
    assert (least.faults, least.meddling, least.schedule) == ((), (), ())


# --- planted bugs --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name):
    with planted(name):
        caught = next((n for n in range(CAUGHT_WITHIN) if _breaks(n)), None)
    assert caught is not None, f"{name} was not caught in {CAUGHT_WITHIN} runs"
    print(f"{name}: caught by run {caught + 1}")


def _breaks(seed: int) -> bool:
    try:
        run(plan_of(seed))
    except Violation:
        return True
    return False
