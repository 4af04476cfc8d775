"""Times as people write and read them."""

import click
import pytest

from agentcom.cli.times import Moment, clock, span


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90s", 91_000), ("15m", 901_000), ("2h", 7_201_000), ("1d", 86_401_000), ("0.5s", 1_500)],
)
def test_a_span_counts_from_now(text, ms):
    assert Moment(now_ms=1_000).convert(text, None, None) == ms


def test_a_date_with_its_zone_is_a_moment():
    assert Moment().convert("2030-01-01T00:00:00+00:00", None, None) == 1_893_456_000_000


@pytest.mark.parametrize("text", ["", "soon", "12", "-5s", "2h30"])
def test_anything_else_is_refused(text):
    with pytest.raises(click.BadParameter):
        Moment().convert(text, None, None)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (-5, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (59_900, "59.9 s"), (60_000, "1 min"),
     (3_600_000, "1 h 00"), (5_400_000, "1 h 30"), (172_800_000, "2 d")],
)  # fmt: skip
def test_a_span_is_short(ms, text):
    assert span(ms) == text


@pytest.mark.parametrize("ms", [253_402_300_799_999, 1_700_000_000_000_000, 2**53])
def test_a_moment_beyond_the_calendar_is_told_all_the_same(ms):
    """A deadline in microseconds, as hubs took it once, or one at the end of the last year east of Greenwich."""
    assert "9999" in clock(ms) or str(ms) in clock(ms)
