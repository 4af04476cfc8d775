"""The arithmetic of the figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stats import depth_factor, percentile, ratio_to_aim, spread

durations = st.lists(st.floats(0, 1e3), min_size=1)


def test_the_median_and_p99_of_one_to_a_hundred_are_fifty_and_ninety_nine():
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)


@given(durations, st.floats(0.001, 1))
def test_a_percentile_is_a_measured_value_that_enough_others_do_not_exceed(values, share):
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    assert sum(value < found for value in ordered) < share * len(ordered)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 0), ([1], 1.1)])
def test_a_percentile_of_nothing_or_of_no_share_is_refused(values, share):
    with pytest.raises(ValueError, match="expected"):
        percentile(values, share)


def test_a_spread_is_in_milliseconds_whatever_the_order_it_came_in():
    found = spread([0.003, 0.001, 0.002])
    assert (found.count, found.p50, found.p99, found.max) == (3, 2.0, 3.0, 3.0)


def test_a_spread_of_nothing_is_none_and_not_zero():
    assert spread([]) is None


def test_a_ratio_above_one_is_always_better_than_the_aim():
    assert ratio_to_aim(3000, 1500, more_is_better=True) == 2
    assert ratio_to_aim(2, 4, more_is_better=False) == 2
    assert ratio_to_aim(0, 4, more_is_better=False) == math.inf


def test_a_depth_factor_above_one_always_means_worse_when_deep():
    assert depth_factor(3000, 1500, more_is_better=True) == 2
    assert depth_factor(2, 4, more_is_better=False) == 2
    assert depth_factor(0, 0, more_is_better=False) == 1
    assert depth_factor(1000, 0, more_is_better=True) == math.inf
