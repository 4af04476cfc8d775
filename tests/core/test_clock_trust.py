"""Nothing is removed for its age by a clock that leapt ahead, until a day has passed or the clock is back."""

import pytest

from agentcom.core.clock_trust import DAY_MS, HELD_S, ClockTrust, longest_leap_ms
from agentcom.core.messages import Keep

NOW = 20_000 * DAY_MS
YEARS = 3_650 * DAY_MS
WEEK = 7 * DAY_MS


def trust(leapt_ms: int = 0) -> ClockTrust:
    return ClockTrust(WEEK, NOW, 1_000.0, leapt_ms)


def test_a_clock_that_goes_as_time_goes_is_believed_however_long():
    clock = trust()
    for days in range(1, 400):
        assert clock.believes(NOW + days * DAY_MS, 1_000.0 + days * 86_400)


def test_a_leap_while_the_hub_runs_is_held_for_a_day_and_then_believed():
    clock = trust()
    assert not clock.believes(NOW + YEARS, 1_060.0)
    assert "3,650 days ahead" in clock.alert(NOW + YEARS, 1_060.0)
    assert "another 24 hours" in clock.alert(NOW + YEARS, 1_060.0)
    assert not clock.believes(NOW + YEARS + DAY_MS, 1_060.0 + HELD_S - 1)
    assert clock.believes(NOW + YEARS + DAY_MS, 1_060.0 + HELD_S)
    assert clock.believes(NOW + YEARS + DAY_MS + 60_000, 1_120.0 + HELD_S)


def test_a_clock_that_is_set_back_is_believed_at_once_and_its_next_leap_is_held_anew():
    clock = trust()
    assert not clock.believes(NOW + YEARS, 1_060.0)
    assert clock.believes(NOW + 120_000, 1_120.0)
    assert not clock.believes(NOW + YEARS, 1_000.0 + HELD_S + 120)


def test_a_leap_that_the_journal_shows_at_the_start_is_held_too():
    clock = trust(leapt_ms=40 * DAY_MS)
    assert not clock.believes(NOW, 1_000.0)
    assert not clock.believes(NOW + 60_000, 1_060.0)
    assert clock.believes(NOW + DAY_MS, 1_000.0 + HELD_S)
    assert trust(leapt_ms=WEEK).believes(NOW, 1_000.0)


def test_a_clock_that_goes_back_is_believed_as_it_only_makes_things_younger():
    assert trust().believes(NOW - YEARS, 1_060.0)


@pytest.mark.parametrize(
    ("keep_days", "days"), [((30, 90, 7, 365), 3.5), ((30, 90, 30, 365), 7), ((30, 90, 0, 365), 1)]
)
def test_no_leap_makes_old_more_than_half_of_what_is_kept_shortest(keep_days, days):
    assert longest_leap_ms(Keep(*(n * DAY_MS for n in keep_days), 30 * DAY_MS, 30 * DAY_MS)) == days * DAY_MS
