"""Alert statistics: key figures, and incidents by hour, day of the week, kind, cause and room.

The key figures are of all days, where reports cover school days.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import span_of
from language.dates import date_text
from reports import kpis, read
from reports.figures import response_times
from reports.rows import SensorDay
from reports.text import duration, median_basis
from storage import sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from starlette.requests import Request
    from starlette.responses import Response

    from storage.registry import Registry
    from storage.timeseries import Series


class FigurePages(PageGroup):
    """Key figures and counts."""

    @serves("/figures", one_school=True)
    async def _page(self, request: Request) -> Response:
        context = self._context
        chosen, span, end = await self._chosen(request)
        opened = [context.times.local(row.opened_at) for row in chosen.incidents]
        hours, days = Counter(at.hour for at in opened), Counter(at.weekday() for at in opened)
        week = [opened[0] + timedelta(days=k) for k in range(7)] if opened else []
        response = kpis.response(chosen.incidents, end)
        return context.render(
            request,
            "figures.html",
            span=span,
            chosen=chosen,
            outcome=kpis.outcome(chosen.incidents, chosen.sensor_days),
            response=response,
            times=response_times(response),
            duration=duration,
            median_basis=median_basis,
            hours=[
                (f"{hour:02}:00", hours[hour])
                for hour in range(min(hours, default=0), max(hours, default=-1) + 1)
            ],
            days=[
                (date_text(day, "weekday"), days[day.weekday()])
                for day in sorted(week, key=datetime.weekday)
            ],
            kinds=Counter(row.kind for row in chosen.incidents).most_common(),
            rooms=Counter((row.room_id, row.room) for row in chosen.incidents).most_common(20),
            known=context.registry.rooms,
        )

    async def _chosen(self, request: Request) -> tuple[kpis.Chosen, str, float]:
        context, settings = self._context, self._context.settings
        span, end = span_of(request, "week"), settings.clock()
        source = settings.files.database, settings.series, context.registry
        start, zone = end - SPANS[span], context.times.zone
        only_known = context.rooms is not None
        chosen = await context.in_thread(figures, *source, start, end, zone, only_known=only_known)
        return chosen, span, end


def figures(
    database: Path,
    series: Series,
    registry: Registry,
    start: float,
    end: float,
    zone: ZoneInfo,
    *,
    only_known: bool = False,
) -> kpis.Chosen:
    """Return incidents and notices of a span, without tests, and how long sensors were online."""
    with closing(sqlite.connect(database, read_only=True)) as db:
        rooms = registry.rooms if only_known else None
        rows = read.incidents(db, registry, start, end, rooms)
        notices = read.notices(db, {}, start, end, rooms)
    return kpis.chosen(
        rows, notices, sensor_time(series, start, end, zone, registry.sensors), None, zone
    )


def sensor_time(
    series: Series, start: float, end: float, zone: ZoneInfo, sensors: Iterable[str]
) -> list[SensorDay]:
    """Return how long each sensor was online in a span, as one row dated with its last day."""
    day = datetime.fromtimestamp(end, UTC).astimezone(zone).date()
    wanted = ("online_s", "period_s", "received", "missing")
    found = series.sums("sensor_health", wanted, start, end, sensors)
    return [
        SensorDay(sensor, day, online_s, period_s, round(received), round(missing))
        for sensor, (online_s, period_s, received, missing) in found.items()
    ]
