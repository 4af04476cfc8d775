"""When a lane looks at all its signatures again: soon when it must, and never for most of its time."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from agentcom.core.survey_pace import LONGEST_S, RESTS, SurveyPace

IDLE = {"running": False, "wanted": False, "useful": False}


def begins(pace, now, **how):
    return pace.begins(now, **(IDLE | how))


def over(pace, began, took):
    """One that was wanted, from its beginning to its end."""
    assert begins(pace, began, wanted=True)
    begins(pace, began, running=True)
    begins(pace, began + took)


def test_the_first_begins_at_once_when_it_is_wanted_or_useful():
    assert begins(SurveyPace(), 0.0, wanted=True)
    assert begins(SurveyPace(), 0.0, useful=True)
    assert not begins(SurveyPace(), 0.0)


def test_none_begins_while_one_is_under_way():
    pace = SurveyPace()
    assert begins(pace, 0.0, wanted=True)
    assert not begins(pace, 100.0, running=True, wanted=True)


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.0), (1.0, RESTS), (60.0, LONGEST_S)])
def test_after_one_the_next_waits_some_times_as_long_but_not_for_ever(took, pause):
    pace = SurveyPace()
    over(pace, 5.0, took)
    if pause:
        assert not begins(pace, 5.0 + took + pause - 0.01, wanted=True)
    assert begins(pace, 5.0 + took + pause, wanted=True)


def test_what_is_only_useful_waits_longer():
    pace = SurveyPace()
    over(pace, 0.0, 0.5)
    assert not begins(pace, LONGEST_S - 0.01, useful=True)
    assert begins(pace, LONGEST_S, useful=True)


def test_the_time_of_one_that_others_began_counts_too():
    pace = SurveyPace()
    begins(pace, 0.0, running=True)
    begins(pace, 2.0)
    assert not begins(pace, 7.9, wanted=True)
    assert begins(pace, 8.0, wanted=True)


@given(st.lists(st.tuples(st.floats(0.001, 30), st.floats(0, 5)), min_size=1, max_size=30))
def test_whoever_always_wants_one_waits_no_longer_than_the_longest_pause(turns):
    pace, now = SurveyPace(), 0.0
    for took, late in turns:
        assert begins(pace, now, wanted=True)
        now += took
        begins(pace, now, wanted=True)
        now += LONGEST_S + late
