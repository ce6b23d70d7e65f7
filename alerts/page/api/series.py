"""Readings of sensors for programs."""

from __future__ import annotations

import csv
import io
import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import ConfigDict, Field
from starlette.responses import Response

from alerts.access.api_tokens import Scope
from alerts.page.api.incidents import read_bounds
from alerts.page.api.operation import (
    CSV,
    JSON,
    Model,
    OfSite,
    Time,
    Words,
    build_invalid,
    operation,
    round_number,
    to_moment,
)
from alerts.page.page_group import PageGroup
from detection.quantities import COLUMNS, QUANTITIES
from language.plain_text import make_inert, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

MAX_RAW_S: Final = 86_400.0
"""Maximum sensor-seconds of single readings in one response."""
MAX_AVERAGES: Final = 50_000


class Reading(Model):
    """The values of a sensor at one time, by quantity. A missing value is null."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    sensor: str
    site: str = Field(description="Id of the site.")
    site_name: str
    time: datetime


class Readings(Model):
    """Readings from `from` to just before `to`, sensor by sensor, in the order of the request.

    `step` is the length of each average in seconds, or null for single readings. `units` has the
    unit of each quantity.
    """

    step: float | None
    units: dict[str, str]
    items: list[Reading]


class ReadingsQuery(OfSite):
    """Filters for readings."""

    start: Annotated[Time, Field(alias="from", description="First time.")]
    end: Annotated[Time, Field(alias="to", description="End of the range, not included.")]
    step: Annotated[
        float | None,
        Field(
            ge=1,
            le=366 * 86_400,
            allow_inf_nan=False,
            description="Average over this many seconds. If omitted, single readings of at most a"
            " day, shared among the sensors.",
        ),
    ] = None
    aggregate: Annotated[
        Literal["mean", "min", "max"], Field(description="How to combine readings with `step`.")
    ] = "mean"
    quantities: Annotated[Words, Field(description="Such as `pm25,rh`. If omitted, all.")] = ()
    format: Annotated[Literal["json", "csv"], Field(description="Format of the response.")] = "json"
    sensors: Annotated[Words, Field(description="Ids of sensors. If omitted, all.")] = ()
    room: Annotated[str, Field(max_length=200, description="Id of a room.")] = ""


class ReadingApi(PageGroup):
    """Readings for programs."""

    @operation("/readings", Scope.READINGS, Readings, query=ReadingsQuery, kinds=(JSON, CSV))
    async def get_readings(self, _request: Request, query: ReadingsQuery) -> Response:
        """Get readings of sensors, or averages over `step` seconds."""
        registry = self._context.registry
        known = {**registry.sensors, **registry.former_sensors}
        if unknown := [sensor for sensor in query.sensors if sensor not in known]:
            raise build_invalid([("sensors", f"no such sensor: {', '.join(unknown)[:200]}")])
        chosen = dict.fromkeys(query.sensors or known)
        sensors = [s for s in chosen if query.room in ("", known[s].room)]
        if any(key not in COLUMNS for key in query.quantities):
            raise build_invalid([("quantities", f"one or more of {', '.join(COLUMNS)}")])
        start, end = read_bounds(query.start, query.end)
        _check_size(end - start, query.step, len(sensors))
        keys = tuple(dict.fromkeys(query.quantities)) or COLUMNS
        rows: list[dict[str, Any]] = []
        for sensor in sensors:
            room = registry.get_room(known[sensor].room)
            place = {
                "sensor": sensor,
                "site": room.site_id if room else "",
                "site_name": room.site if room else "",
            }
            rows += await self._context.run_in_thread(self._read_rows, place, query, keys)
        return await self._context.run_in_thread(_write_answer, rows, query, keys)

    def _read_rows(
        self, place: Mapping[str, str], query: ReadingsQuery, keys: Sequence[str]
    ) -> list[dict[str, Any]]:
        start, end = query.start.timestamp(), query.end.timestamp()
        series, sensor = self._context.settings.series, place["sensor"]
        if query.step is None:
            times, columns = series.read_window(sensor, start, end)
        else:
            times, columns = series.aggregate_readings(
                sensor, start, end, query.step, query.aggregate, keys
            )
        shown = [key for key in keys if key in columns]
        return [
            {**place, "time": to_moment(at), **{key: _to_finite(columns[key][k]) for key in shown}}
            for k, at in enumerate(map(float, times))
            if at < end
        ]


def _write_answer(
    rows: Sequence[Mapping[str, Any]], query: ReadingsQuery, keys: Sequence[str]
) -> Response:
    found = set().union(*rows)
    shown = [key for key in keys if key in found]
    if query.format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, ["sensor", "site", "site_name", "time", *shown])
        writer.writeheader()
        for row in msgspec.to_builtins(rows):
            writer.writerow({k: make_inert(v) if isinstance(v, str) else v for k, v in row.items()})
        return Response(text.getvalue(), media_type=CSV)
    units = {key: QUANTITIES[key].unit for key in shown}
    answer = {"step": query.step, "units": units, "items": rows}
    return Response(msgspec.json.encode(answer), media_type=JSON)


def _to_finite(value: float) -> float | None:
    return round_number(value) if math.isfinite(value) else None


def _check_size(span_s: float, step: float | None, sensors: int) -> None:
    if step is None and span_s * sensors > MAX_RAW_S:
        most = f"at most {MAX_RAW_S / sensors:,.0f} s of {pluralize(sensors, 'sensor')}"
        raise build_invalid([("to", f"single readings are for {most}; for longer, give a step")])
    if step is not None and span_s / step * sensors > MAX_AVERAGES:
        least = math.ceil(span_s * sensors / MAX_AVERAGES)
        most = f"at most {MAX_AVERAGES:,} averages in one answer"
        raise build_invalid(
            [("step", f"{most}: {least:,} s or more for {pluralize(sensors, 'sensor')}")]
        )
