"""Readings of a sensor for programs."""

from __future__ import annotations

import csv
import io
import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from pydantic import ConfigDict, Field
from starlette.responses import Response

from alerts.access.api_tokens import Scope
from alerts.page.api.incidents import bounds_of
from alerts.page.api.operation import (
    CSV,
    JSON,
    Model,
    Time,
    Words,
    invalid,
    moment,
    operation,
)
from alerts.page.page_group import PageGroup
from detection.quantities import COLUMNS, QUANTITIES

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_RAW_S: Final = 86_400.0
MOST_INTERVALS: Final = 10_000
Format = Annotated[Literal["json", "csv"], Field(description="Of the answer")]


class Reading(Model):
    """The values of one moment, by quantity; null where there is none."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    time: datetime


class Readings(Model):
    """Readings in ``[from, to)``; `step` is null for each reading, else seconds of the averages."""

    sensor: str
    step: float | None
    units: dict[str, str]
    items: list[Reading]


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


class ReadingApi(PageGroup):
    """Readings for programs."""

    @operation(
        "/sensors/{id}/readings", Scope.READINGS, Readings, query=ReadingsQuery, kinds=(JSON, CSV)
    )
    async def readings(self, request: Request, asked: ReadingsQuery) -> Response:
        """Return the readings of a sensor, or their averages by step."""
        sensor = self._context.sensor(request).id
        unknown = [key for key in asked.quantities if key not in COLUMNS]
        if unknown:
            raise invalid([("quantities", f"one or more of {', '.join(COLUMNS)}")])
        start, end = bounds_of(asked.start, asked.end)
        keys = tuple(dict.fromkeys(asked.quantities)) or COLUMNS
        _check_size(start, end, asked.step)
        series = self._context.settings.series
        if asked.step is None:
            times, columns = await self._context.in_thread(series.window, sensor, start, end)
        else:
            times, columns = await self._context.in_thread(
                series.readings, sensor, start, end, asked.step, asked.aggregate, keys
            )
        shown = [key for key in keys if key in columns]
        rows = [
            {"time": moment(at), **{key: _finite(columns[key][k]) for key in shown}}
            for k, at in enumerate(map(float, times))
            if at < end
        ]
        if asked.format == "csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, ["time", *shown])
            writer.writeheader()
            writer.writerows(msgspec.to_builtins(rows))
            return Response(text.getvalue(), media_type=CSV)
        units = {key: QUANTITIES[key].unit for key in shown}
        found = {"sensor": sensor, "step": asked.step, "units": units, "items": rows}
        return Response(msgspec.json.encode(found), media_type=JSON)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _check_size(start: float, end: float, step: float | None) -> None:
    if step is None and end - start > MOST_RAW_S:
        raise invalid([("to", "each reading is for at most a day; for longer, give a step")])
    if step is not None and (end - start) / step > MOST_INTERVALS:
        least = math.ceil((end - start) / MOST_INTERVALS)
        raise invalid([("step", f"at most {MOST_INTERVALS} averages: at least {least} here")])
