"""Air quality by room: 24-hour averages against guidelines, and by hour of day."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from starlette.exceptions import HTTPException

from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import span_of
from language.messages import _
from reports.figures import COVERAGE, DAY_S, GUIDELINES
from storage.timeseries.resolution import whole_quarters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from storage.registry import Room

_QUARTER_S: Final = 900.0
_SHOWN: Final = ("pm25", "co2", "tvoc_ugm3", "tvoc_ppb", "voc_index", "rh")
_BY_KEY: Final = {guideline.quantity: guideline for guideline in GUIDELINES}


class Cell(NamedTuple):
    """One number of a table; `band` 0 is within the guideline; `hours` if too few for a mean."""

    value: float | None
    band: int = 0
    words: str = ""
    hours: float | None = None


class AirPages(PageGroup):
    """Air quality."""

    @serves("/air", one_school=True)
    async def _page(self, request: Request) -> Response:
        context = self._context
        span = span_of(request, "week")
        quantity = request.query_params.get("quantity", "pm25")
        if quantity not in _SHOWN:
            fault = _("There is no such quantity. Choose one of: %(keys)s.", keys=", ".join(_SHOWN))
            raise HTTPException(400, fault)
        now = context.settings.clock()
        days, hours = await context.in_thread(self._load, span, quantity, now)
        shown = [key for key in _SHOWN if any(key in cells for _, cells in days)]
        return context.render(
            request,
            "air.html",
            days=days,
            hours=hours,
            clock=_with_readings(hours),
            shown=shown,
            guidelines=_BY_KEY,
            quantity=quantity,
            span=span,
        )

    def _load(self, span: str, quantity: str, now: float) -> tuple[Any, Any]:
        context = self._context
        series, rooms = context.settings.series, context.registry.rooms.values()
        days, hours = [], []
        local_hour = lru_cache(maxsize=None)(
            lambda quarter: context.times.local(quarter * _QUARTER_S).hour
        )
        for room in rooms:
            means = day_means(series, self._sensors(room), now)
            cells = {
                key: Cell(None, hours=24.0 * share)
                if share < COVERAGE
                else cell_of(key, mean, DAY_S)
                for key, (mean, share) in means.items()
            }
            days.append((room, cells))
            found = self._by_hour(room, quantity, now - SPANS[span], now, local_hour)
            if found:
                hours.append((room, [cell_of(quantity, found.get(hour)) for hour in range(24)]))
        return days, hours

    def _sensors(self, room: Room) -> list[str]:
        return [sensor.id for sensor in self._context.registry.sensors_in(room.id)]

    def _by_hour(
        self,
        room: Room,
        quantity: str,
        start: float,
        end: float,
        local_hour: Callable[[float], int],
    ) -> dict[int, float]:
        start, end = whole_quarters(start, end)
        totals, counts = np.zeros(24), np.zeros(24)
        for sensor in self._sensors(room):
            times, values = self._context.settings.series.readings(
                sensor, start, end, _QUARTER_S, "mean", [quantity]
            )
            if quantity in values:
                known = np.isfinite(values[quantity])
                quarters = times[known] // _QUARTER_S
                hours = np.array([local_hour(at) for at in quarters], dtype=np.int64)
                totals += np.bincount(hours, values[quantity][known], 24)
                counts += np.bincount(hours, minlength=24)
        return {hour: float(totals[hour] / counts[hour]) for hour in range(24) if counts[hour]}


def day_means(series: Any, sensors: list[str], now: float) -> dict[str, tuple[float, float]]:
    """Return the mean of the last 24 hours and its coverage, 0 to 1, by quantity.

    A quarter hour with readings counts once, as the mean of the room's sensors.
    """
    found: defaultdict[str, defaultdict[float, list[float]]]
    found = defaultdict(lambda: defaultdict(list))
    start, end = whole_quarters(now - DAY_S, now)
    for sensor in sensors:
        times, values = series.readings(sensor, start, end, _QUARTER_S, "mean", _SHOWN)
        for key, column in values.items():
            for at, value in zip(times, column, strict=False):
                if math.isfinite(value):
                    found[key][at // _QUARTER_S].append(float(value))
    return {
        key: (fmean(map(fmean, slots.values())), min(1.0, len(slots) * _QUARTER_S / DAY_S))
        for key, slots in found.items()
    }


def cell_of(key: str, value: float | None, over_s: float = 0.0) -> Cell:
    """Compare a mean over so many seconds with the guideline, if that is for such means."""
    guideline = _BY_KEY.get(key)
    if value is None or guideline is None or guideline.over_s > over_s:
        return Cell(value)
    band = guideline.band(value)
    return Cell(value, band.severity, band.words)


def _with_readings(hours: Sequence[tuple[Room, Sequence[Cell]]]) -> range:
    """Return the hours of the day from the first to the last with a mean in any room."""
    found = [k for _, cells in hours for k, cell in enumerate(cells) if cell.value is not None]
    return range(min(found), max(found) + 1) if found else range(0)
