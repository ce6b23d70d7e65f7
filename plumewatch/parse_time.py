"""Parse times as people write them."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

_LATEST: Final = 9_214_646_400.0
"""2262-01-01: the last time that InfluxDB can store."""
_ONLY_DATE: Final = len("2026-09-07")


class TimeError(UsageError, ValueError):
    """The text is not a time, or the range is impossible; the message explains what is allowed."""


def parse_time(text: str, zone: tzinfo, *, end: bool = False) -> float:
    """Parse a date, a date with a time, or Unix seconds to Unix seconds; raises `TimeError`.

    `zone` applies if the text names none. A date alone means the beginning of that day, or its end
    if `end` is set.

    >>> from zoneinfo import ZoneInfo
    >>> zone = ZoneInfo("America/New_York")
    >>> parse_time("2026-09-07", zone), parse_time("2026-09-07", zone, end=True)
    (1788753600.0, 1788840000.0)
    >>> parse_time("2026-09-07T10:05:00Z", zone), parse_time("1788775500.5", zone)
    (1788775500.0, 1788775500.5)
    """
    try:
        found = float(text)
    except ValueError:
        found = _parse_iso(text.strip(), zone, end=end)
    if not math.isfinite(found) or abs(found) > _LATEST:
        raise TimeError(f"{text[:40]!r} is not a time between 1678 and 2261")
    return found


def _parse_iso(text: str, zone: tzinfo, *, end: bool) -> float:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise TimeError(
            f"{text[:40]!r} is not a time: write a date (2026-09-07), a date with a time"
            " (2026-09-07T10:05, with or without a zone), or Unix seconds"
        ) from None
    try:
        if len(text) == _ONLY_DATE:
            day = stamp.date() + timedelta(days=end)
            return datetime.combine(day, time(), tzinfo=zone).timestamp()
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=zone)).timestamp()
    except OverflowError:  # a day at the limits of Python's `date`
        return math.inf
