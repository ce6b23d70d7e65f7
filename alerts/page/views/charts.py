"""Readings of a room in the form that the charts of the page need, and the history of a room."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from alerts.notify.evidence_picture import PANELS, label_of
from alerts.notify.notice import KIND_WORDS
from alerts.page import queries
from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from detection.quantities import QUANTITIES
from language.messages import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext

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
_MAX_POINTS: Final = 1500


async def series(
    context: PageContext,
    room: str,
    start: float,
    end: float,
    extra: Sequence[str] = (),
    *,
    with_marks: bool = True,
) -> JSONResponse:
    """Return readings of a room's sensors, and of the `extra` ones, with its events as marks."""
    ids = dict.fromkeys([*(s.id for s in context.registry.sensors_in(room)), *extra])
    read = context.settings.series.window
    columns = {i: await context.in_thread(read, i, start, end) for i in ids}
    charts = charts_of(columns, PANELS)
    return await marked(context, room, start, end, charts, with_marks=with_marks)


def charts_of(
    columns: Mapping[str, tuple[Any, Mapping[str, Any]]], groups: Iterable[Iterable[str]]
) -> list[dict[str, Any]]:
    """Return one chart for each group, of its first quantity that any sensor reported."""
    charts = []
    for group in groups:
        for key in group:
            lines = [
                {"sensor": sensor, **_thinned(times, _shown(key, values[key]))}
                for sensor, (times, values) in columns.items()
                if key in values and any(math.isfinite(v) for v in values[key])
            ]
            if lines:
                unit = "°F" if key == "temp" else QUANTITIES[key].unit
                charts.append({"title": label_of(key), "unit": unit, "lines": lines})
                break
    return charts


async def marked(
    context: PageContext,
    room: str,
    start: float,
    end: float,
    charts: list[dict[str, Any]],
    *,
    with_marks: bool = True,
) -> JSONResponse:
    """Return charts of a room with its events as marks: ``title``, ``unit`` and ``lines``."""
    marks = await context.read(queries.room_events, room, start, end) if with_marks else []
    for mark in marks:
        mark["words"] = KIND_WORDS.get(mark["kind"], mark["kind"])
    zone = context.times.zone.key
    return JSONResponse(
        {"start": start, "end": end, "zone": zone, "charts": charts, "marks": marks}
    )


def _shown(key: str, values: Any) -> Any:
    return 1.8 * values + 32.0 if key == "temp" else values


def _thinned(times: Iterable[float], values: Iterable[float]) -> dict[str, list[float | None]]:
    """Thin to `_MAX_POINTS` points, the largest of each step, so that peaks stay."""
    pairs = [(float(t), float(v)) for t, v in zip(times, values, strict=True) if math.isfinite(v)]
    step = max(math.ceil(len(pairs) / _MAX_POINTS), 1)
    if step > 1:
        pairs = [max(pairs[k : k + step], key=lambda tv: tv[1]) for k in range(0, len(pairs), step)]
    return {"times": [t for t, _ in pairs], "values": [v for _, v in pairs]}


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
    async def _page(self, request: Request) -> Response:
        room, span = self._context.room(request), span_of(request)
        return self._context.render(request, "history.html", room=room, span=span)

    @serves("/rooms/{id}/history/series")
    async def _series(self, request: Request) -> Response:
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
        return charts_of(found, _CHANNELS)
