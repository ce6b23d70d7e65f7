"""The history of one room: all its quantities over a day, a week or a month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from alerts.page.page_context import PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import charts_of, marked
from detection.events import KIND_NAMES
from language.messages import _
from storage.timeseries.records import CLASSES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_INTERVALS: Final = {"day": 120.0, "week": 900.0, "month": 3_600.0}
_CHANNELS: Final = (
    ("pm25", "pm1", "pm4", "pm10"),
    ("n03", "n05", "n10", "n25"),
    ("voc_index",),
    ("tvoc_ppb",),
    ("tvoc_ugm3",),
    ("co2",),
    ("rh",),
    ("temp",),
    ("co",),
    ("pressure",),
    ("light",),
)
"""One chart each; of several quantities the first that the room's sensors report."""
_LIKELY: Final = 50.0
"""Percent that a class must reach to have a line."""
_MOST_LINES: Final = 4
"""As many as the charts have colors."""


def span_of(request: Request, default: str = "day") -> str:
    """Return the name of the requested span; raise 400 if there is no such span."""
    name = request.query_params.get("span", default)
    if name not in SPANS:
        raise HTTPException(
            400, _("There is no such span. Choose one of: %(spans)s.", spans=", ".join(SPANS))
        )
    return name


class HistoryPages(PageGroup):
    """Room history."""

    @serves("/rooms/{id}/history")
    async def page(self, request: Request) -> Response:
        """Show the charts."""
        room, span = self._context.room(request), span_of(request)
        return self._context.render(request, "history.html", room=room, span=span)

    @serves("/rooms/{id}/history/series")
    async def series(self, request: Request) -> Response:
        """Return readings, class probabilities and events of the span as JSON."""
        context = self._context
        room, span = self._context.room(request), span_of(request)
        end = context.settings.clock()
        start = end - SPANS[span]
        charts = await context.in_thread(self._charts, room.id, start, end, _INTERVALS[span])
        return await marked(context, room.id, start, end, charts)

    def _charts(self, room: str, start: float, end: float, every_s: float) -> list[dict[str, Any]]:
        series = self._context.settings.series
        keys = [key for group in _CHANNELS for key in group]
        found = {
            sensor.id: series.readings(sensor.id, start, end, every_s, "mean", keys)
            for sensor in self._context.registry.sensors_in(room)
        }
        charts = charts_of(found, _CHANNELS)
        measured = {float(t) // every_s * every_s for times, _ in found.values() for t in times}
        chances = self._chances(room, start, end, every_s, measured)
        return [*charts, chances] if chances["lines"] else charts

    def _chances(
        self, room: str, start: float, end: float, every_s: float, measured: set[float]
    ) -> dict[str, Any]:
        """Return the highest probability of the likely classes in each interval, in percent.

        0 at baseline; None outside of the intervals that were `measured`.
        """
        series = self._context.settings.series
        highest: dict[str, dict[float, float]] = {kind: {} for kind in CLASSES}
        for sensor in self._context.registry.sensors_in(room):
            for record in series.records("detection", start, end, sensor=sensor.id):
                at = record.time // every_s * every_s
                for kind, points in highest.items():
                    chance = record.fields.get(kind)
                    if isinstance(chance, float):
                        points[at] = max(points.get(at, 0.0), 100.0 * chance)
        likely = [kind for kind in CLASSES if max(highest[kind].values(), default=0.0) >= _LIKELY]
        likely.sort(key=lambda kind: -sum(highest[kind].values()))
        times = [
            start // every_s * every_s + k * every_s
            for k in range(int((end - start) // every_s) + 2)
        ]
        lines = [
            {
                "sensor": KIND_NAMES[kind].capitalize(),
                "times": times,
                "values": [highest[kind].get(at, 0.0 if at in measured else None) for at in times],
            }
            for kind in likely[:_MOST_LINES]
        ]
        return {"title": _("Detector probability"), "unit": "%", "lines": lines, "gaps": True}
