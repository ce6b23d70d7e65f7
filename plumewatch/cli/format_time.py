"""Spans of time as people write them on the command line."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from plumewatch.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

_LATEST: Final = 9_214_646_400.0
"""2262-01-01: what an InfluxDB can name."""
_ONLY_DATE: Final = len("2026-09-07")


class SpanError(UsageError, ValueError):
    """What was written is no moment; the message says what is allowed."""


def moment_of(text: str, zone: tzinfo, *, end: bool = False) -> float:
    """Return Unix seconds of a date, a date with a time, or Unix seconds.

    Parameters
    ----------
    zone : tzinfo
        Of what names none: that of the school.
    end : bool
        A date alone then means the end of that day, else its beginning.

    Raises
    ------
    SpanError

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> zone = ZoneInfo("America/New_York")
    >>> moment_of("2026-09-07", zone), moment_of("2026-09-07", zone, end=True)
    (1788753600.0, 1788840000.0)
    >>> moment_of("2026-09-07T10:05:00Z", zone), moment_of("1788775500.5", zone)
    (1788775500.0, 1788775500.5)
    """
    try:
        found = float(text)
    except ValueError:
        found = _iso(text.strip(), zone, end=end)
    if not math.isfinite(found) or abs(found) > _LATEST:
        raise SpanError(f"{text[:40]!r} is not a moment between 1678 and 2261")
    return found


def _iso(text: str, zone: tzinfo, *, end: bool) -> float:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise SpanError(
            f"{text[:40]!r} is none of: a date (2026-09-07), a date with a time"
            " (2026-09-07T10:05, with or without a zone), Unix seconds"
        ) from None
    try:
        if len(text) == _ONLY_DATE:
            day = stamp.date() + timedelta(days=end)
            return datetime.combine(day, time(), tzinfo=zone).timestamp()
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=zone)).timestamp()
    except OverflowError:  # the first or last days that a date can be
        return math.inf


def said(at: float, zone: tzinfo) -> str:
    """Say a moment in a zone.

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> said(1788775500.25, ZoneInfo("America/New_York"))
    '2026-09-07 06:05:00-04:00'
    """
    return datetime.fromtimestamp(at, UTC).astimezone(zone).isoformat(sep=" ", timespec="seconds")
