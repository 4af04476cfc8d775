"""What the queue is filled with."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import mix

PLAIN = mix.Mix()


def test_most_of_the_backlog_is_in_the_lane_and_signature_that_is_measured():
    tasks = [mix.task(PLAIN, number) for number in range(1000)]
    kinds = Counter((task["priority"], tuple(task["needed_capabilities"])) for task in tasks)
    assert kinds[("normal", ("bench",))] == 600
    assert len(kinds) == 4


def test_every_agent_of_the_fleet_fits_every_task_of_the_plain_mix():
    for number in range(10):
        needed = set(mix.task(PLAIN, number)["needed_capabilities"])
        assert all(needed <= set(capabilities) for capabilities in mix.fleet(PLAIN, 8))


def test_no_idle_agent_of_the_latency_runs_fits_any_of_the_backlog():
    assert not any(
        set(mix.task(PLAIN, number)["needed_capabilities"]) <= set(mix.QUICK) for number in range(10)
    )
    assert mix.quick_task(3)["needed_capabilities"] == mix.QUICK


@given(st.integers(1, 3000))
def test_many_signatures_are_exactly_as_many_as_asked_for(signatures):
    many = mix.Mix(signatures)
    seen = {tuple(mix.task(many, number)["needed_capabilities"]) for number in range(signatures * 2)}
    assert len(seen) == signatures


def test_with_many_signatures_each_agent_fits_some_and_half_of_them_fit_all():
    many = mix.Mix(500)
    needs = [set(mix.task(many, number)["needed_capabilities"]) for number in range(500)]
    fits = [sum(need <= set(capabilities) for need in needs) for capabilities in mix.fleet(many, 8)]
    assert fits.count(500) == 4
    assert min(fits) > 1


def test_a_hundred_thousand_signatures_stay_within_the_capabilities_a_hello_may_list():
    assert len(mix.universe(100_000)) <= 1_000


def test_idempotency_keys_are_unique_and_sort_by_the_time_they_were_made():
    keys = [mix.key() for _ in range(1000)]
    assert len(set(keys)) == 1000
    assert sorted(keys) == keys
