"""Readings of a sensor for programs."""

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
from alerts.page.api.incidents import bounds_of
from alerts.page.api.operation import (
    CSV,
    JSON,
    Model,
    OfSite,
    Time,
    Words,
    invalid,
    moment,
    operation,
)
from alerts.page.page_group import PageGroup
from detection.quantities import COLUMNS, QUANTITIES
from language.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

MOST_RAW_S: Final = 86_400.0
"""Most seconds of each reading in one answer, times sensors."""
MOST_AVERAGES: Final = 50_000
Format = Annotated[Literal["json", "csv"], Field(description="Of the answer")]


class Reading(Model):
    """The values of one moment, by quantity; null where there is none."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    time: datetime


class Readings(Model):
    """Readings in ``[from, to)``; `step` is null for each reading, else seconds of the averages."""

    step: float | None
    units: dict[str, str]
    items: list[Reading]


class ReadingsOfSensor(Readings):
    """Readings of one sensor."""

    sensor: str


class ReadingOfSensor(Reading):
    """A reading and its sensor."""

    sensor: str


class ReadingsOfSensors(Readings):
    """Readings of several sensors, one after the other, in the order asked for."""

    items: list[ReadingOfSensor]  # type: ignore[assignment]


class ReadingsQuery(Model):
    """Which readings."""

    start: Annotated[Time, Field(alias="from")]
    end: Annotated[Time, Field(alias="to")]
    step: Annotated[
        float | None,
        Field(
            ge=1,
            le=366 * 86_400,
            allow_inf_nan=False,
            description="Seconds of an average; without it, each reading of at most a day",
        ),
    ] = None
    aggregate: Literal["mean", "min", "max"] = "mean"
    quantities: Annotated[Words, Field(description="Such as pm25,rh; all if absent")] = ()
    format: Format = "json"


class ManyQuery(ReadingsQuery, OfSite):
    """Which readings of which sensors."""

    sensors: Annotated[Words, Field(description="Ids; all if absent")] = ()
    room: Annotated[str, Field(max_length=200, description="Id of a room")] = ""


class ReadingApi(PageGroup):
    """Readings for programs."""

    @operation(
        "/sensors/{id}/readings",
        Scope.READINGS,
        ReadingsOfSensor,
        query=ReadingsQuery,
        kinds=(JSON, CSV),
    )
    async def readings(self, request: Request, asked: ReadingsQuery) -> Response:
        """Return the readings of a sensor, or their averages by step."""
        sensor = self._context.sensor(request).id
        return await self._answer([sensor], asked, {"sensor": sensor})

    @operation("/readings", Scope.READINGS, ReadingsOfSensors, query=ManyQuery, kinds=(JSON, CSV))
    async def of_sensors(self, _request: Request, asked: ManyQuery) -> Response:
        """Return the readings of several sensors, or their averages by step."""
        known = self._context.registry.sensors
        if unknown := [sensor for sensor in asked.sensors if sensor not in known]:
            raise invalid([("sensors", f"no such sensor: {', '.join(unknown)[:200]}")])
        chosen = dict.fromkeys(asked.sensors or known)
        own = [s for s in chosen if asked.room in ("", known[s].room)]
        return await self._answer(own, asked)

    async def _answer(
        self, sensors: Sequence[str], asked: ReadingsQuery, one: Mapping[str, str] | None = None
    ) -> Response:
        if any(key not in COLUMNS for key in asked.quantities):
            raise invalid([("quantities", f"one or more of {', '.join(COLUMNS)}")])
        start, end = bounds_of(asked.start, asked.end)
        _check_size(end - start, asked.step, len(sensors))
        keys = tuple(dict.fromkeys(asked.quantities)) or COLUMNS
        rows: list[dict[str, Any]] = []
        for sensor in sensors:
            name = {} if one else {"sensor": sensor}
            rows += await self._context.in_thread(self._rows, sensor, asked, keys, name)
        return await self._context.in_thread(_written, rows, asked, keys, one)

    def _rows(
        self, sensor: str, asked: ReadingsQuery, keys: Sequence[str], name: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        start, end = asked.start.timestamp(), asked.end.timestamp()
        series = self._context.settings.series
        if asked.step is None:
            times, columns = series.window(sensor, start, end)
        else:
            times, columns = series.readings(sensor, start, end, asked.step, asked.aggregate, keys)
        shown = [key for key in keys if key in columns]
        return [
            {**name, "time": moment(at), **{key: _finite(columns[key][k]) for key in shown}}
            for k, at in enumerate(map(float, times))
            if at < end
        ]


def _written(
    rows: Sequence[Mapping[str, Any]],
    asked: ReadingsQuery,
    keys: Sequence[str],
    one: Mapping[str, str] | None,
) -> Response:
    found = set().union(*rows)
    shown = [key for key in keys if key in found]
    if asked.format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, [*(() if one else ("sensor",)), "time", *shown])
        writer.writeheader()
        writer.writerows(msgspec.to_builtins(rows))
        return Response(text.getvalue(), media_type=CSV)
    units = {key: QUANTITIES[key].unit for key in shown}
    answer = {**(one or {}), "step": asked.step, "units": units, "items": rows}
    return Response(msgspec.json.encode(answer), media_type=JSON)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _check_size(span_s: float, step: float | None, sensors: int) -> None:
    if step is None and span_s * sensors > MOST_RAW_S:
        most = f"at most {MOST_RAW_S / sensors:,.0f} s of {counted(sensors, 'sensor')}"
        raise invalid([("to", f"each reading is for {most}; for longer, give a step")])
    if step is not None and span_s / step * sensors > MOST_AVERAGES:
        least = math.ceil(span_s * sensors / MOST_AVERAGES)
        most = f"at most {MOST_AVERAGES:,} averages in one answer"
        raise invalid([("step", f"{most}: {least:,} s or more for {counted(sensors, 'sensor')}")])
