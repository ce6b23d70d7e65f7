"""Air quality by room: 24-hour averages against guidelines, by hour of day, and air changes.

The guideline values are those of the Grafana dashboards.
"""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from starlette.exceptions import HTTPException

from alerts.page.page_context import NavLink, PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.history import span_of
from language.messages import _, mark
from reports.guidelines import COVERAGE, DAY_S, GUIDELINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from storage.registry import Room

_QUARTER_S: Final = 900.0
_SHOWN: Final = ("pm25", "co2", "tvoc_ugm3", "tvoc_ppb", "voc_index", "rh")
_SLOWEST: Final = 0.1
_BY_KEY: Final = {guideline.quantity: guideline for guideline in GUIDELINES}


class Cell(NamedTuple):
    """One number of a table; `band` is 0 within the guideline, 1 or more above it.

    `hours` is how much of the day has readings, if that is too little for a mean.
    """

    value: float | None
    band: int = 0
    words: str = ""
    hours: float | None = None


class AirPages(PageGroup):
    """Air quality."""

    nav: ClassVar[tuple[NavLink, ...]] = (NavLink("/air", mark("Air")),)

    @serves("/air")
    async def page(self, request: Request) -> Response:
        """Show all rooms."""
        context = self._context
        span = span_of(request, "week")
        quantity = request.query_params.get("quantity", "pm25")
        if quantity not in _SHOWN:
            fault = _("There is no such quantity. Choose one of: %(keys)s.", keys=", ".join(_SHOWN))
            raise HTTPException(400, fault)
        now = context.settings.clock()
        days, hours, changes = await context.in_thread(self._load, span, quantity, now)
        shown = [key for key in _SHOWN if any(key in cells for _, cells in days)]
        return context.render(
            request,
            "air.html",
            days=days,
            hours=hours,
            clock=_with_readings(hours),
            changes=changes,
            shown=shown,
            guidelines=_BY_KEY,
            quantity=quantity,
            span=span,
        )

    def _load(self, span: str, quantity: str, now: float) -> tuple[Any, Any, Any]:
        context = self._context
        series, rooms = context.settings.series, context.registry.rooms.values()
        days, hours = [], []
        for room in rooms:
            means = day_means(series, self._sensors(room), now)
            cells = {
                key: Cell(None, hours=24.0 * share)
                if share < COVERAGE
                else cell_of(key, mean, DAY_S)
                for key, (mean, share) in means.items()
            }
            days.append((room, cells))
            found = self._by_hour(room, quantity, now - SPANS[span], now)
            if found:
                hours.append((room, [cell_of(quantity, found.get(hour)) for hour in range(24)]))
        records = series.records("event", now - SPANS[span], now)
        bounds = [(room, most_air_changes(records, room.id)) for room in rooms]
        changes = [(room, *bound) for room, bound in bounds if bound is not None]
        return days, hours, changes

    def _sensors(self, room: Room) -> list[str]:
        return [sensor.id for sensor in self._context.registry.sensors_in(room.id)]

    def _by_hour(self, room: Room, quantity: str, start: float, end: float) -> dict[int, float]:
        found: defaultdict[int, list[float]] = defaultdict(list)
        for sensor in self._sensors(room):
            times, values = self._context.settings.series.readings(
                sensor, start, end, _QUARTER_S, "mean", [quantity]
            )
            for at, value in zip(times, values.get(quantity, ()), strict=False):
                if math.isfinite(value):
                    found[self._context.times.local(at).hour].append(float(value))
        return {hour: fmean(values) for hour, values in found.items()}


def day_means(series: Any, sensors: list[str], now: float) -> dict[str, tuple[float, float]]:
    """Return the mean of the last 24 hours and its coverage, 0 to 1, by quantity.

    Each quarter hour with readings counts once, as the mean of the sensors of the room; coverage is
    the share of those quarter hours.
    """
    found: defaultdict[str, defaultdict[float, list[float]]]
    found = defaultdict(lambda: defaultdict(list))
    for sensor in sensors:
        times, values = series.readings(sensor, now - DAY_S, now, _QUARTER_S, "mean", _SHOWN)
        for key, column in values.items():
            for at, value in zip(times, column, strict=False):
                if math.isfinite(value):
                    found[key][at // _QUARTER_S].append(float(value))
    return {
        key: (fmean(map(fmean, slots.values())), min(1.0, len(slots) * _QUARTER_S / DAY_S))
        for key, slots in found.items()
    }


def most_air_changes(records: Any, room: str) -> tuple[float, int] | None:
    """Return an upper bound of a room's air changes per hour, and the number of plumes.

    None with fewer than five plumes that faded. Mixing and settling also remove particles, so the
    bound is the tenth percentile of the fading rates, ranked as InfluxQL ranks.
    """
    rates = sorted(
        3600.0 * math.log(2.0) / float(record.fields["fine_half_s"])
        for record in records
        if record.room == room
        and record.fields.get("fine_half_s", 0.0) > 0.0
        and not record.fields.get("withdrawn")
    )
    rank = math.floor(_SLOWEST * len(rates) + 0.5)
    return (rates[rank - 1], len(rates)) if rank else None


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
