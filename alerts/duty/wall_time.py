"""Local wall time: days and minutes of a school into instants, and spans of them.

A school day has wall times; an instant is unique. The two differ where clocks are set:

- a wall time that is skipped means the instant at which the clocks jump: 02:30 of a spring
  night means 03:00;
- a wall time that comes twice means the first.

So wall times never run backwards, and spans that touch on the clock face touch as instants: a day
that is covered on paper is covered in fact, with neither gap nor overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

DAY_MIN: Final = 1440
"""Minutes of a day by the clock face."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval [start, end) in UTC, and what it is.

    Attributes
    ----------
    start, end : datetime
        Aware, UTC.
    label : str
        For people, such as ``"period 3"``.
    people : tuple of str or None
        Who it is about, where the span itself says so; None: whoever has the shift.
    """

    start: datetime
    end: datetime
    label: str
    people: tuple[str, ...] | None = None

    def holds(self, at: datetime) -> bool:
        """Tell whether an instant lies within."""
        return self.start <= at < self.end


def minutes(text: str, *, latest: int = DAY_MIN - 1) -> int:
    """Minutes after midnight of a wall time ``HH:MM``.

    Raises
    ------
    ValueError
        If it is none, or later than `latest` minutes.

    Examples
    --------
    >>> minutes("07:45"), minutes("24:00", latest=DAY_MIN)
    (465, 1440)
    """
    hours, colon, rest = text.partition(":")
    if len(text) == 5 and colon and (hours + rest).isascii() and (hours + rest).isdecimal():
        found = int(hours) * 60 + int(rest)
        if int(rest) < 60 and found <= latest:
            return found
    raise ValueError(f"a wall time from 00:00 to {latest // 60:02}:{latest % 60:02}")


def wall(after_midnight: int) -> str:
    """Write minutes after midnight as a wall time.

    Examples
    --------
    >>> wall(465), wall(1440 + 90)
    ('07:45', '01:30')
    """
    return f"{after_midnight // 60 % 24:02}:{after_midnight % 60:02}"


def clock(at: datetime, zone: ZoneInfo) -> str:
    """Wall time of an instant in a zone."""
    return at.astimezone(zone).strftime("%H:%M")


@lru_cache(maxsize=16_384)
def instant(zone: ZoneInfo, day: date, after_midnight: int) -> datetime:
    """Instant at which clocks show so many minutes after the midnight of `day`.

    Parameters
    ----------
    after_midnight : int
        By the clock face, not elapsed; 1440 and more are of the following day.

    Returns
    -------
    datetime
        Aware, UTC. See the module for wall times that are skipped or come twice.

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> chicago = ZoneInfo("America/Chicago")
    >>> instant(chicago, date(2020, 3, 8), 150).astimezone(chicago).strftime("%H:%M")
    '03:00'
    """
    shown = datetime(day.year, day.month, day.day) + timedelta(minutes=after_midnight)  # noqa: DTZ001 - a wall time
    first = shown.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == shown:
        return first
    early = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    offset = early.astimezone(zone).utcoffset()
    low, high = 0, round((first - early).total_seconds())
    while high - low > 1:  # the clocks jump between `early` and `first`
        middle = (low + high) // 2
        same = (early + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset
        low, high = (middle, high) if same else (low, middle)
    return early + timedelta(seconds=high)


def uncovered(whole: Span, parts: Iterable[Span]) -> tuple[Span, ...]:
    """Stretches of a span that none of the others covers, in order.

    Examples
    --------
    >>> ten = [datetime(2026, 9, 7, 10, m, tzinfo=UTC) for m in (0, 10, 20, 40, 50)]
    >>> parts = [Span(ten[1], ten[2], ""), Span(ten[2], ten[3], "")]
    >>> gaps = uncovered(Span(ten[0], ten[4], ""), parts)
    >>> [(gap.start.minute, gap.end.minute) for gap in gaps]
    [(0, 10), (40, 50)]
    """
    covered = sorted((p.start, p.end) for p in parts if p.start < whole.end and p.end > whole.start)
    edges = [(whole.start, whole.start), *covered, (whole.end, whole.end)]
    found = []
    reached = whole.start
    for (_, end), (start, _) in pairwise(edges):
        reached = max(reached, end)
        if start > reached:
            found.append(Span(reached, start, whole.label))
    return tuple(found)
