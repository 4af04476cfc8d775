"""When a hub that ended is started again: the keeper's decision, without a process."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom import exit_codes, keeping
from agentcom.cli import exits
from agentcom.keeping import Again, End, Enough, Past, decide
from supervisors import restarts
from supervisors.specs import Backoff

SERVED = Past(ever_served=True)
RESTARTED = (-9, -11, 3, exit_codes.ROOT_GAVE_UP, exit_codes.STORE_PANIC, exit_codes.HUNG)


def ends(code, *lives, served=True):
    """What was decided after each of these lives (seconds), one after the other."""
    past, now, decided = Past(), 0.0, []
    for lived in lives:
        now += lived
        decided.append(decide(past, End(code, lived, served), now))
        if isinstance(decided[-1], Enough):
            break
        past, now = decided[-1].past, now + decided[-1].wait_s
    return decided


@pytest.mark.parametrize("code", RESTARTED)
def test_an_abnormal_end_is_followed_by_a_start_at_once(code):
    decided = decide(Past(), End(code, 100, True), 100)
    assert isinstance(decided, Again)
    assert decided.wait_s == 0


@pytest.mark.parametrize("code", [exits.OK, exits.REFUSED, exits.USAGE])
def test_an_orderly_end_or_a_refused_start_is_final(code):
    assert decide(SERVED, End(code, 1, False), 1) == Enough(code, gave_up=False)


@pytest.mark.parametrize("code", RESTARTED)
def test_a_hub_that_never_served_is_not_started_again(code):
    assert decide(Past(), End(code, 1, False), 1) == Enough(keeping.exit_code(code), gave_up=False)


def test_a_start_that_fails_after_one_that_served_is_tried_again():
    decided = decide(SERVED, End(exit_codes.STORE_PANIC, 1, False), 1)
    assert isinstance(decided, Again)
    assert decided.past.ever_served


def test_ends_in_a_row_wait_longer_each_time_until_the_keeper_gives_up():
    *again, last = ends(exit_codes.ROOT_GAVE_UP, *[1.0] * 20)
    assert [one.wait_s for one in again] == [0, 1, 2, 4, 8]
    assert last == Enough(exit_codes.ROOT_GAVE_UP, gave_up=True)


def test_a_hub_that_hangs_each_minute_is_given_up_with_its_code():
    *again, last = ends(exit_codes.HUNG, *[70.0] * 20)
    assert [one.wait_s for one in again] == [0] * 5
    assert last == Enough(exit_codes.HUNG, gave_up=True)


def test_ends_far_apart_are_never_too_many():
    assert all(isinstance(one, Again) and one.wait_s == 0 for one in ends(-9, *[200.0] * 50))


def test_a_killed_hub_is_told_as_shells_tell_it():
    assert ends(-9, *[1.0] * 20)[-1] == Enough(137, gave_up=True)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 700), max_size=30))
def test_the_keeper_counts_as_supervisors_do(lives):
    """The window, and when it is too full, are those of `supervisors.restarts`."""
    window, now = (), 0.0
    for one in ends(-9, *lives):
        now += lives[0]
        lives = lives[1:]
        window = restarts.spend(window, now, keeping.PERIOD_S)
        assert isinstance(one, Enough) == (len(window) > keeping.INTENSITY)
        if isinstance(one, Again):
            assert one.past.window == window
            now += one.wait_s


@given(st.integers(2, 100))
def test_the_keeper_waits_as_supervisors_do_without_their_jitter(failures):
    backoff = Backoff(base_s=keeping.BASE_S, cap_s=keeping.CAP_S)
    top = backoff.delay(failures - 1, 1.0)
    assert keeping.wait_s(failures) == pytest.approx(top)
