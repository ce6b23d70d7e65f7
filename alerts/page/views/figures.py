"""Alert statistics: key figures, and incidents by hour, day, cause and room.

The key figures are of all days, where reports cover school days; so do notices per duty hour here.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from alerts.incidents.incident import VERDICT_WORDS
from alerts.notify.notice import KIND_WORDS
from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import span_of
from language.messages import _
from reports import kpis, read
from reports.figures import response_times
from reports.rows import SensorDay
from reports.text import duration, median_basis
from storage import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from starlette.requests import Request

    from reports.rows import DutySpan, IncidentRow
    from storage.registry import Registry
    from storage.timeseries import Series

_MOST_PARTS: Final = 4


class FigurePages(PageGroup):
    """Key figures, causes and charts."""

    @serves("/figures", one_school=True)
    async def _page(self, request: Request) -> Response:
        context = self._context
        chosen, span, start, end = await self._chosen(request)
        load = await context.in_thread(self._load, chosen, start, end)
        response = kpis.response(chosen.incidents, end)
        rooms = Counter((row.room_id, row.room) for row in chosen.incidents)
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
            load=load,
            rooms=rooms.most_common(20),
            known=context.registry.rooms,
            kinds=Counter(row.kind for row in chosen.incidents).most_common(),
            suppressed=[row for row in chosen.incidents if row.suppressed_by][-20:],
        )

    @serves("/figures/series", one_school=True)
    async def _series(self, request: Request) -> Response:
        chosen, *_rest = await self._chosen(request)
        rows = chosen.incidents

        def local(row: IncidentRow) -> datetime:
            return self._context.times.local(row.opened_at)

        hours = [f"{hour:02}" for hour in range(24)]
        days = sorted({local(row).strftime("%m-%d") for row in rows})
        charts = [
            _stacks(_("By hour of the day"), hours, rows, lambda r: local(r).strftime("%H"), _kind),
            _stacks(_("By day"), days, rows, lambda r: local(r).strftime("%m-%d"), _verdict),
        ]
        return JSONResponse({"charts": charts if rows else []})

    async def _chosen(self, request: Request) -> tuple[kpis.Chosen, str, float, float]:
        context, settings = self._context, self._context.settings
        span, end = span_of(request, "week"), settings.clock()
        source = settings.files.database, settings.series, context.registry
        start, zone = end - SPANS[span], context.times.zone
        only_known = context.rooms is not None
        chosen = await context.in_thread(figures, *source, start, end, zone, only_known=only_known)
        return chosen, span, start, end

    def _load(self, chosen: kpis.Chosen, start: float, end: float) -> kpis.Load:
        settings = self._context.settings
        rows = [
            row
            for row in chosen.incidents
            if settings.school.has_school(row.opened_at, row.room_id)
        ]
        ids = {row.id for row in rows}
        notices = [notice for notice in chosen.notices if notice.incident in ids]
        with closing(sqlite.connect(settings.files.database, read_only=True)) as db:
            recorded_from = read.recorded_from(db)
        return kpis.load(rows, notices, self._on_duty(start, end), recorded_from)

    def _on_duty(self, start: float, end: float) -> list[DutySpan]:
        people = {member.id for member in self._context.staff}
        roster, school = self._context.policy.roster, self._context.settings.school
        spans = school.duty(roster.shifts if roster else (), start, end)
        return [s for s in spans if self._context.sites is None or s.person in people]


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


def _kind(row: IncidentRow) -> str:
    return KIND_WORDS.get(row.kind, row.kind)


def _verdict(row: IncidentRow) -> str:
    return VERDICT_WORDS.get(row.verdict, _("No feedback"))


def _stacks(
    title: str,
    bins: list[str],
    rows: Iterable[IncidentRow],
    bin_of: Callable[[IncidentRow], str],
    part_of: Callable[[IncidentRow], str],
) -> dict[str, Any]:
    """Count by bin, a list for each part, the most frequent first; the rarest are merged."""
    counts = Counter((part_of(row), bin_of(row)) for row in rows)
    totals: Counter[str] = Counter()
    for (part, _bin), n in counts.items():
        totals[part] += n
    ordered = [part for part, _n in totals.most_common()]
    kept = ordered if len(ordered) <= _MOST_PARTS else ordered[: _MOST_PARTS - 1]
    parts = [{"name": part, "counts": [counts[part, name] for name in bins]} for part in kept]
    if rest := ordered[len(kept) :]:
        summed = [sum(counts[part, name] for part in rest) for name in bins]
        parts.append({"name": _("Other"), "counts": summed})
    return {"title": title, "bins": bins, "parts": parts}
