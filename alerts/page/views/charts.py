"""The page of a room, and its readings as data for charts."""

from __future__ import annotations

import math
import statistics
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from alerts.notify.evidence_picture import PANELS, write_label
from alerts.notify.notice import KIND_WORDS
from alerts.page import queries
from alerts.page.page_group import PageGroup, serves
from alerts.page.rendering import SPANS
from detection.quantities import QUANTITIES
from language.messages import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext

_NOW: Final = "now"
"""Name of the span that shows individual readings of the last half hour."""
_NOW_S: Final = 1800.0
_INTERVALS: Final = {"day": 120.0, "week": 900.0, "month": 3_600.0}
"""Averaging interval in seconds, by span."""
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
"""Groups of quantities, for averages; each chart shows the first of a group that is reported."""
_MAX_POINTS: Final = 1500
_GAP: Final = 4.0
"""A line breaks where its points are more than this many times the usual spacing apart."""


async def send_series(
    context: PageContext,
    room: str,
    start: float,
    end: float,
    every_s: float | None = None,
    *,
    with_marks: bool = True,
) -> JSONResponse:
    """Return a room's readings, or averages over `every_s`, with its events as marks."""
    read, groups = context.settings.series, PANELS if every_s is None else _CHANNELS
    keys = [key for group in groups for key in group]
    columns = {}
    for sensor in context.registry.list_sensors(room):
        find = (
            partial(read.read_window, sensor.id, start, end)
            if every_s is None
            else partial(read.aggregate_readings, sensor.id, start, end, every_s, "mean", keys)
        )
        columns[sensor.id] = await context.run_in_thread(find)
    marks = await context.read(queries.find_room_events, room, start, end) if with_marks else []
    for mark in marks:
        mark["words"] = KIND_WORDS.get(mark["kind"], mark["kind"])
    charts = _build_charts(columns, groups)
    return JSONResponse({"start": start, "end": end, "charts": charts, "marks": marks})


def _build_charts(
    columns: Mapping[str, tuple[Any, Mapping[str, Any]]], groups: Iterable[Iterable[str]]
) -> list[dict[str, Any]]:
    """Return one chart per group, with the group's first quantity that any sensor reported."""
    charts = []
    for group in groups:
        for key in group:
            lines = [
                {"sensor": sensor, **_thin(times, _to_shown_unit(key, values[key]))}
                for sensor, (times, values) in columns.items()
                if key in values and any(math.isfinite(v) for v in values[key])
            ]
            if lines:
                unit = "°F" if key == "temp" else QUANTITIES[key].unit
                charts.append({"title": write_label(key), "unit": unit, "lines": lines})
                break
    return charts


def _to_shown_unit(key: str, values: Any) -> Any:
    return 1.8 * values + 32.0 if key == "temp" else values


def _thin(times: Iterable[float], values: Iterable[float]) -> dict[str, list[float | None]]:
    """Reduce a line to `_MAX_POINTS` points, keeping the largest value of each interval.

    A value of None breaks the line where readings are missing, but not where the interval changed.
    """
    pairs = [(float(t), float(v)) for t, v in zip(times, values, strict=True) if math.isfinite(v)]
    step = max(math.ceil(len(pairs) / _MAX_POINTS), 1)
    if step > 1:
        pairs = [max(pairs[k : k + step], key=lambda tv: tv[1]) for k in range(0, len(pairs), step)]
    spaces = [(first, after - first) for (first, _), (after, _) in pairwise(pairs) if after > first]
    sizes = [space for _, space in spaces]
    usual = statistics.median(sizes or [math.inf])
    points: list[tuple[float, float | None]] = [*pairs]
    for k, (at, space) in enumerate(spaces):
        beside = min(sizes[max(k - 1, 0) : k] + sizes[k + 1 : k + 2], default=usual)
        if space > _GAP * max(usual, beside):
            points.append((at + space / 2, None))
    points.sort(key=itemgetter(0))
    return {"times": [t for t, _ in points], "values": [v for _, v in points]}


def read_span(request: Request, default: str = "day") -> str:
    """Return the name of the requested span of `SPANS`; raise 400 if there is no such span."""
    name = request.query_params.get("span", default)
    if name not in SPANS:
        raise HTTPException(
            400, _("Unknown time span. Choose one of: %(spans)s.", spans=", ".join(SPANS))
        )
    return name


class RoomPages(PageGroup):
    """The page of one room: now, and over a day, a week or a month."""

    @serves("/rooms/{id}")
    async def _page(self, request: Request) -> Response:
        context, room = self._context, self._context.find_room(request)
        incidents = await context.read(queries.find_incidents, room=room.id, limit=10)
        return await context.render(
            request,
            "room.html",
            state=(await context.load_room_states([room]))[0],
            span=_NOW if _is_now(request) else read_span(request),
            sensors=context.registry.list_sensors(room.id),
            incidents=context.add_place_names(incidents),
        )

    @serves("/rooms/{id}/series")
    async def _series(self, request: Request) -> Response:
        room, now = self._context.find_room(request), self._context.settings.clock()
        if _is_now(request):
            return await send_series(self._context, room.id, now - _NOW_S, now)
        span = read_span(request)
        return await send_series(self._context, room.id, now - SPANS[span], now, _INTERVALS[span])


def _is_now(request: Request) -> bool:
    return request.query_params.get("span", _NOW) == _NOW
