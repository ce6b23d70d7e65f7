"""Statistics: large figures, alerts by hour, weekday and room, schools, and all key figures.

The figures match a report about the same period (`reports.facts`).
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import read_span
from language.messages import Words, mark, write_date, write_hour
from reports.facts import gather
from reports.figures import compute_figures
from reports.school import Place
from reports.schools import compare_schools
from reports.wording import describe_figure, describe_trend
from storage import sqlite

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from starlette.requests import Request
    from starlette.responses import Response

    from reports.facts import Facts
    from reports.school import School
    from storage.registry import Registry
    from storage.timeseries import Series

_LARGE: Final = ("alerts", "confirmed_rate", "responded_in_5_min", "false_alarms_per_sensor_week")
WEEK_BEFORE: Final = mark("the week before")
_BEFORE: Final = Words(
    {"day": mark("the day before"), "week": WEEK_BEFORE, "month": mark("the month before")}
)


class FigurePages(PageGroup):
    """The statistics page."""

    @serves("/figures", one_school=True, of_any_size=True)
    async def _page(self, request: Request) -> Response:
        context, span = self._context, read_span(request, "week")
        settings, end = context.settings, context.settings.clock()
        facts = await context.run_in_thread(
            gather_facts,
            settings.database,
            settings.series,
            settings.school,
            end - SPANS[span],
            end,
            context.registry if context.room_ids is not None else None,
        )
        found = {figure.key: figure for figure in compute_figures(facts)}
        compared = (
            compare_schools(facts, context.list_down_sensors())
            if len(context.registry.sites) + len(context.registry.closed) > 1
            else ()
        )
        outcome = facts.kpis.outcome
        form = "month and day" if span == "month" else "day and clock"
        return await context.render(
            request,
            "figures.html",
            span=span,
            when=_BEFORE[span],
            period=[
                write_date(context.times.to_local(at), form) for at in (facts.start, facts.end)
            ],
            large=[
                describe_figure(found[key])
                | {"key": key, "trend": describe_trend(found[key], _BEFORE[span])}
                for key in _LARGE
            ],
            figures={key: describe_figure(figure) for key, figure in found.items()},
            compared=compared,
            causes=outcome.causes.items(),
            kinds=Counter(row.kind for row in facts.counted.incidents).most_common(),
            rooms=Counter((row.room_id, row.room) for row in facts.alerts).most_common(20),
            known={**context.registry.rooms, **context.registry.former},
            **_count_over_time(facts),
        )


def _count_over_time(facts: Facts) -> dict[str, Any]:
    opened = [facts.find_calendar(row).to_local(row.opened_at) for row in facts.alerts]
    hours, days = Counter(at.hour for at in opened), Counter(at.weekday() for at in opened)
    week = [opened[0] + timedelta(days=k) for k in range(7)] if opened else []
    span = range(min(hours, default=0), max(hours, default=-1) + 1)
    return {
        "hours": [(write_hour(hour), hours[hour]) for hour in span],
        "days": [
            (write_date(day, "weekday"), days[day.weekday()])
            for day in sorted(week, key=datetime.weekday)
        ],
    }


def gather_facts(
    database: Path,
    series: Series | None,
    school: School,
    start: float,
    end: float,
    only: Registry | None = None,
    days_of_sensors: int | None = None,
) -> Facts:
    """Gather the facts of a time window, and of the one before if it is fully recorded; blocks."""
    find = partial(gather, series=series, only=only, days_of_sensors=days_of_sensors)
    with closing(sqlite.connect(database, read_only=True)) as db:
        facts, earlier = find(school, db, Place(), start, end, end), 2 * start - end
        if facts.recorded_from > earlier:
            return facts
        return replace(facts, before=find(school, db, Place(), earlier, start, start))
