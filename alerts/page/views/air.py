"""Air quality by room: averages of a day, a week or a month, compared with guidelines."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import read_span
from reports.figures import COVERAGE, DAY_S, GUIDELINES
from storage.timeseries.resolution import round_to_quarters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from storage.registry import Room

_QUARTER_S: Final = 900.0
_SHOWN: Final = ("pm25", "co2", "tvoc_ugm3", "tvoc_ppb", "voc_index", "rh")
_BY_KEY: Final = {guideline.quantity: guideline for guideline in GUIDELINES}


class Cell(NamedTuple):
    """A table cell: the mean of all days, and the band of the worst day.

    A `band` of 0 is within the guideline; `over` of `days` days exceeded it. If no day has enough
    readings, there is no mean.
    """

    value: float | None
    band: int = 0
    words: str = ""
    over: int = 0
    days: int = 0


class AirPages(PageGroup):
    """The air quality page."""

    @serves("/air", one_school=True)
    async def _page(self, request: Request) -> Response:
        span = read_span(request)
        days = round(SPANS[span] / DAY_S)
        rows = await self._context.run_in_thread(
            self._compute_rows, self._context.settings.clock(), days
        )
        return await self._context.render(
            request,
            "air.html",
            rows=rows,
            shown=[key for key in _SHOWN if any(key in cells for _, cells in rows)],
            guidelines=_BY_KEY,
            span=span,
            days=days,
        )

    def _compute_rows(self, now: float, days: int) -> list[tuple[Room, dict[str, Cell]]]:
        registry, rows = self._context.registry, []
        for room in registry.rooms.values():
            sensors = [sensor.id for sensor in registry.list_sensors(room.id)]
            means = compute_day_means(self._context.settings.series, sensors, now, days)
            rows.append((room, {key: build_cell(key, found) for key, found in means.items()}))
        return rows


def compute_day_means(
    series: Any, sensors: Sequence[str], now: float, days: int = 1
) -> dict[str, list[tuple[float, float]]]:
    """Return the mean of each 24 hours before `now` and its coverage (0 to 1), by quantity.

    Each quarter hour with readings counts once, as the mean over the sensors. The newest mean is
    first; days without readings are left out.
    """
    start, end = round_to_quarters(now - days * DAY_S, now)
    begins = np.arange(start, end, _QUARTER_S)
    days_ago = np.minimum((end - 1.0 - begins) // DAY_S, days - 1).astype(int)
    sums = defaultdict[str, Any](lambda: np.zeros((2, len(begins))))
    for sensor in sensors:
        times, values = series.aggregate_readings(sensor, start, end, _QUARTER_S, "mean", _SHOWN)
        slots = ((np.asarray(times) - start) // _QUARTER_S).astype(int)
        for key, column in values.items():
            has_value = np.isfinite(column)
            sums[key][0, slots[has_value]] += column[has_value]
            sums[key][1, slots[has_value]] += 1.0
    found = {}
    for key, (total, n) in sums.items():
        has_value = n > 0
        ago, means = days_ago[has_value], total[has_value] / n[has_value]
        counts, totals = np.bincount(ago), np.bincount(ago, means)
        shares = np.minimum(counts * _QUARTER_S / DAY_S, 1.0)
        rows = zip(totals, counts, shares, strict=True)
        found[key] = [(float(sum_ / count), float(share)) for sum_, count, share in rows if count]
    return found


def build_cell(key: str, days: Sequence[tuple[float, float]]) -> Cell:
    """Compare each day's mean with the guideline, if any; omit days with too few readings."""
    means = [mean for mean, share in days if share >= COVERAGE]
    if not means:
        return Cell(None)
    bands = [_BY_KEY[key].find_band(mean) for mean in means] if key in _BY_KEY else []
    worst = max(bands, key=lambda band: band.severity, default=None)
    return Cell(
        fmean(means),
        worst.severity if worst else 0,
        worst.words if worst else "",
        sum(band.severity > 0 for band in bands),
        len(means),
    )
