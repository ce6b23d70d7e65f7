"""Air quality by room: 24-hour averages against guidelines."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from alerts.page.page_group import PageGroup, serves
from reports.figures import COVERAGE, DAY_S, GUIDELINES
from storage.timeseries.resolution import round_to_quarters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from storage.registry import Room

_QUARTER_S: Final = 900.0
_SHOWN: Final = ("pm25", "co2", "tvoc_ugm3", "tvoc_ppb", "voc_index", "rh")
_BY_KEY: Final = {guideline.quantity: guideline for guideline in GUIDELINES}


class Cell(NamedTuple):
    """A table cell; `band` 0 is within the guideline. With too few `hours`, there is no mean."""

    value: float | None
    band: int = 0
    words: str = ""
    hours: float | None = None


class AirPages(PageGroup):
    """The air quality page."""

    @serves("/air", one_school=True)
    async def _page(self, request: Request) -> Response:
        days = await self._context.run_in_thread(self._compute_days, self._context.settings.clock())
        shown = [key for key in _SHOWN if any(key in cells for _, cells in days)]
        return self._context.render(request, "air.html", days=days, shown=shown, guidelines=_BY_KEY)

    def _compute_days(self, now: float) -> list[tuple[Room, dict[str, Cell]]]:
        context, days = self._context, []
        for room in context.registry.rooms.values():
            sensors = [sensor.id for sensor in context.registry.list_sensors(room.id)]
            means = compute_day_means(context.settings.series, sensors, now)
            cells = {
                key: Cell(None, hours=24.0 * share)
                if share < COVERAGE
                else build_cell(key, mean, DAY_S)
                for key, (mean, share) in means.items()
            }
            days.append((room, cells))
        return days


def compute_day_means(
    series: Any, sensors: list[str], now: float
) -> dict[str, tuple[float, float]]:
    """Return the 24-hour mean and its coverage (0 to 1), by quantity.

    Each quarter hour with readings counts once, as the mean over the room's sensors.
    """
    found: defaultdict[str, defaultdict[float, list[float]]]
    found = defaultdict(lambda: defaultdict(list))
    start, end = round_to_quarters(now - DAY_S, now)
    for sensor in sensors:
        times, values = series.aggregate_readings(sensor, start, end, _QUARTER_S, "mean", _SHOWN)
        for key, column in values.items():
            for at, value in zip(times, column, strict=False):
                if math.isfinite(value):
                    found[key][at // _QUARTER_S].append(float(value))
    return {
        key: (fmean(map(fmean, slots.values())), min(1.0, len(slots) * _QUARTER_S / DAY_S))
        for key, slots in found.items()
    }


def build_cell(key: str, value: float | None, over_s: float = 0.0) -> Cell:
    """Compare a mean over `over_s` seconds with the guideline, if it applies to this period."""
    guideline = _BY_KEY.get(key)
    if value is None or guideline is None or guideline.over_s > over_s:
        return Cell(value)
    band = guideline.find_band(value)
    return Cell(value, band.severity, band.words)
