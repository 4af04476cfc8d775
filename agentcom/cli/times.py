"""Times as people write and read them.

May import: click only.
"""

import re
from datetime import datetime

import click

_SPAN = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h|d)$")
END_MS = 253_402_214_400_000
"""A day before the year 10000 in UTC: what is earlier has a local time of day everywhere."""
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Moment(click.ParamType[int]):
    """A time in milliseconds since 1970: a span from now (`90s`, `2h`) or an ISO date and time."""

    name = "when"
    direction = 1

    def __init__(self, now_ms: int | None = None) -> None:
        self.now_ms = now_ms

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if found := _SPAN.match(text):
            ms = self._now() + self.direction * float(found[1]) * _SECONDS[found[2]] * 1_000
        else:
            ms = self._date(text)
        return int(ms) if 0 <= ms < END_MS else self.fail(f"expected a time from 1970 to 9999, got: {text}")

    def _date(self, text: str) -> float:
        try:
            return datetime.fromisoformat(text).timestamp() * 1_000
        except OverflowError:
            return -1.0  # of the year 1, in a zone where it was not yet
        except ValueError:
            self.fail(
                f"expected a span like 90s, 15m or 2h, or a date and time like 2030-01-31T12:00, got: {text}"
            )

    def _now(self) -> int:
        return int(datetime.now().timestamp() * 1_000) if self.now_ms is None else self.now_ms


class Past(Moment):
    """The same, but that a span is how long ago."""

    direction = -1


class Span(click.ParamType[int]):
    """Whole seconds: `90s`, `10m`, `12h`, `30d`."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SPAN.match(str(value).strip())
        if isinstance(value, int) or found is None:
            return (
                value
                if isinstance(value, int)
                else self.fail(f"expected a span like 90s, 15m or 2h, got: {value}")
            )
        seconds = float(found[1]) * _SECONDS[found[2]]
        if seconds * 1_000 >= END_MS:
            self.fail(f"expected a span of less than 8,000 years, got: {value}")
        return max(1, int(seconds))


def span(ms: float) -> str:
    """Milliseconds, short: `320 ms`, `4.1 s`, `3 min`, `2 h 05`, `3 d`."""
    if ms < 1_000:
        return f"{max(ms, 0):.0f} ms"
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min"
    if seconds < 86_400:
        return f"{seconds // 3_600:.0f} h {seconds % 3_600 // 60:02.0f}"
    return f"{seconds // 86_400:.0f} d"


def clock(ms: int) -> str:
    """Local time of day, with the date when it is not today. A time that no calendar has is its number."""
    try:
        moment = datetime.fromtimestamp(ms / 1_000)
    except (ValueError, OverflowError, OSError):  # where a calendar ends depends on the zone
        return f"{ms} ms since 1970"
    today = moment.date() == datetime.now().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
