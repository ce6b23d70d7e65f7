"""Figures of alerts: how many, right and prompt, by hour, day, cause and room.

The key figures are those of `reports.kpis`, computed over what the series holds of incidents and
sensors, which is the same that dashboards read.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from starlette.responses import JSONResponse
from starlette.routing import Route

from alerts.notice import KIND_WORDS
from alerts.web.desk import NavLink, Pages
from alerts.web.history import SPANS, span_of
from alerts.web.rendering import VERDICT_WORDS
from reports import kpis
from reports.rows import IncidentRow, SensorDay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from storage.timeseries import Series
    from storage.timeseries.records import Record

__all__ = ["FigurePages", "figures", "incident_row", "sensor_time"]


class FigurePages(Pages):
    """Alerts by hour and cause."""

    nav: ClassVar[tuple[NavLink, ...]] = (NavLink("/figures", "Figures"),)

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [Route("/figures", self.page), Route("/figures/series", self.series)]

    async def page(self, request: Request) -> Response:
        """Show key figures, causes and rooms, and what the charts show as a table."""
        desk = self._desk
        session, span = await desk.may_read(request), span_of(request, "week")
        end = desk.settings.clock()
        start, series = end - SPANS[span], desk.settings.series
        zone = ZoneInfo(desk.settings.engine.policy.zone)
        chosen = await desk.threads.run(
            figures, series, start, end, zone, desk.registry.sensors
        )
        rooms = Counter(row.room for row in chosen.incidents)
        return desk.render(
            request,
            "figures.html",
            session,
            span=span,
            spans=tuple(SPANS),
            chosen=chosen,
            outcome=kpis.outcome(chosen.incidents, chosen.sensor_days),
            response=kpis.response(chosen.incidents, end),
            rooms=[(desk.registry.rooms.get(room), room, n) for room, n in rooms.most_common(20)],
            kinds=Counter(row.kind for row in chosen.incidents).most_common(),
            suppressed=[row for row in chosen.incidents if row.suppressed_by][-20:],
        )

    async def series(self, request: Request) -> Response:
        """Return counts by hour of the day and by day as JSON."""
        desk = self._desk
        await desk.may_read(request)
        span = span_of(request, "week")
        end = desk.settings.clock()
        zone = ZoneInfo(desk.settings.engine.policy.zone)
        chosen = await desk.threads.run(
            figures, desk.settings.series, end - SPANS[span], end, zone, desk.registry.sensors
        )
        rows = chosen.incidents

        def local(row: IncidentRow) -> datetime:
            return datetime.fromtimestamp(row.opened_at, UTC).astimezone(zone)

        hours = [f"{hour:02}" for hour in range(24)]
        days = sorted({local(row).strftime("%m-%d") for row in rows})
        charts = [
            _stacks("By hour of the day", hours, rows, lambda r: local(r).strftime("%H"), _kind),
            _stacks("By day", days, rows, lambda r: local(r).strftime("%m-%d"), _verdict),
        ]
        return JSONResponse({"charts": charts if rows else []})


def figures(
    series: Series, start: float, end: float, zone: ZoneInfo, sensors: Iterable[str]
) -> kpis.Chosen:
    """Choose the incidents of a span, tests left out, and how long sensors were on line.

    Parameters
    ----------
    series : Series
    start, end : float
        Unix seconds.
    zone : ZoneInfo
    sensors : iterable of str
        The registered ones.
    """
    rows = [incident_row(record) for record in series.records("incident", start, end)]
    return kpis.chosen(rows, (), sensor_time(series, start, end, zone, sensors), None, zone)


def incident_row(record: Record) -> IncidentRow:
    """Return an incident of the series as figures take it; places are ids."""
    fields = record.fields

    def number(name: str) -> float | None:
        value = fields.get(name)
        return value if isinstance(value, float) else None

    def after(moment: float | None, name: str) -> float | None:
        span = number(name)
        return None if moment is None or span is None else moment + span

    notified = after(record.time, "notified_s")
    return IncidentRow(
        id=record.id,
        kind=record.kind,
        sensor=str(fields.get("sensor", "")),
        room=record.room,
        first_evidence_at=number("onset") or record.time,
        opened_at=record.time,
        notified_at=notified,
        acknowledged_at=after(notified, "acknowledged_s"),
        closed_at=after(record.time, "resolved_s"),
        verdict=str(fields.get("verdict", "")),
        cause=str(fields.get("cause", "")),
        suppressed_by=str(fields.get("suppressed_by", "")),
        withdrawn=bool(fields.get("withdrawn")),
        confidence=number("confidence") or 0.0,
    )


def sensor_time(
    series: Series, start: float, end: float, zone: ZoneInfo, sensors: Iterable[str]
) -> list[SensorDay]:
    """Return how long each sensor was on line in a span, as one row dated with its last day."""
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
    return VERDICT_WORDS.get(row.verdict, "No feedback")


def _stacks(
    title: str,
    bins: list[str],
    rows: Iterable[IncidentRow],
    bin_of: Callable[[IncidentRow], str],
    part_of: Callable[[IncidentRow], str],
) -> dict[str, Any]:
    """Count by bin, one list a part, the most frequent part first."""
    counts = Counter((part_of(row), bin_of(row)) for row in rows)
    totals: Counter[str] = Counter()
    for (part, _), n in counts.items():
        totals[part] += n
    parts = [
        {"name": part, "counts": [counts[part, name] for name in bins]}
        for part, _ in totals.most_common()
    ]
    return {"title": title, "bins": bins, "parts": parts}
