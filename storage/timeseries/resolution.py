"""How long readings and averages are kept, and which resolution a query uses.

There are three resolutions: readings, 1-minute averages and 15-minute averages. Each average also
has the lowest and highest value and the number of readings (`n`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_DAY_S: Final = 86_400.0
_LONG_S: Final = 2 * _DAY_S
"""Longest span for which a query uses readings, so that a chart of a day is exact."""


class Level(NamedTuple):
    """A resolution of averages: its retention policy, measurement, and length in seconds."""

    name: str
    measurement: str
    step_s: int


MINUTE: Final = Level("m1", "reading_1m", 60)
QUARTER_HOUR: Final = Level("m15", "reading_15m", 900)


class Retention(NamedTuple):
    """How many days each resolution is kept, counted from the event time."""

    raw_days: int = 30
    minute_days: int = 730
    quarter_hour_days: int = 1_826

    def keep_s(self, level: Level | None) -> float:
        """Return how many seconds the averages of a level, or readings (None), are kept."""
        days = {None: self.raw_days, MINUTE: self.minute_days, QUARTER_HOUR: self.quarter_hour_days}
        return days[level] * _DAY_S


def choose_level(
    start: float,
    end: float,
    every_s: float,
    now: float,
    retention: Retention,
    levels: Sequence[Level] = (MINUTE, QUARTER_HOUR),
) -> Level | None:
    """Choose the resolution for a query; None means readings.

    For up to two days, a query uses readings if they are still kept. But if it asks for whole
    quarter hours, it uses the averages, which give the same result (`round_to_quarters`). For more
    than two days, it uses the coarsest averages that divide the intervals evenly. If they are no
    longer kept at the start of the span, it uses a resolution that still is.

    >>> day = 86_400.0
    >>> choose_level(99 * day, 100 * day, 60, 100 * day, Retention()) is None
    True
    >>> [choose_level(70 * day, 100 * day, e, 100 * day, Retention()).name for e in (60, 900, 5400)]
    ['m1', 'm15', 'm15']
    >>> choose_level(70 * day, 100 * day, 10, 100 * day, Retention()) is None
    True
    >>> choose_level(10 * day, 11 * day, 10, 100 * day, Retention()).name
    'm1'
    >>> choose_level(99 * day, 100 * day, 900, 100 * day, Retention()).name
    'm15'
    >>> choose_level(99 * day + 60, 100 * day, 900, 100 * day, Retention()) is None
    True
    """
    held: list[Level | None] = [
        level for level in (None, *levels) if now - start <= retention.keep_s(level)
    ]
    if not held:
        return levels[-1] if levels else None
    is_same = every_s == QUARTER_HOUR.step_s and (start, end) == round_to_quarters(start, end)
    if held[0] is None and end - start <= _LONG_S and not is_same:
        return None
    fitting = [level for level in held if level is None or every_s % level.step_s == 0]
    return fitting[-1] if fitting else held[0]


def round_to_quarters(start: float, end: float) -> tuple[float, float]:
    """Extend a span to whole quarter hours, so that stored averages can be used."""
    step = QUARTER_HOUR.step_s
    return start // step * step, -(-end // step) * step


def stretch_interval(every_s: float, level: Level | None) -> float:
    """Lengthen an interval to a multiple of the resolution."""
    return every_s if level is None else max(1, math.ceil(every_s / level.step_s)) * level.step_s
