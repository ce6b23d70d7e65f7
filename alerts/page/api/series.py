"""Readings of a sensor, the series as they are stored, and queries over them."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

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
    rows_response,
    tagged,
)
from alerts.page.page_context import READ_S
from alerts.page.page_group import PageGroup
from detection.quantities import COLUMNS, QUANTITIES
from storage import sqlite
from storage.timeseries import influxql, influxql_sql
from storage.timeseries.influxql import SOURCES, TAGS, QueryError
from storage.timeseries.line_protocol import to_ns
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext
    from storage.timeseries.influxql import Query

MOST_RAW_S: Final = 86_400.0
MOST_INTERVALS: Final = 10_000
_AT_ONCE: Final = 2
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
        rows: list[list[Any]] = [
            [moment(at), *(_finite(columns[key][k]) for key in shown)]
            for k, at in enumerate(map(float, times))
            if at < end
        ]
        return rows_response(
            ["time", *shown],
            rows,
            asked.format,
            sensor=sensor,
            step=asked.step,
            units={key: QUANTITIES[key].unit for key in shown},
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _check_size(start: float, end: float, step: float | None) -> None:
    if step is None and end - start > MOST_RAW_S:
        raise invalid([("to", "each reading is for at most a day; for longer, give a step")])
    if step is not None and (end - start) / step > MOST_INTERVALS:
        least = math.ceil((end - start) / MOST_INTERVALS)
        raise invalid([("step", f"at most {MOST_INTERVALS} averages: at least {least} here")])


class Measurement(Model):
    """One series: its tags, and its fields with what they mean."""

    name: str
    about: str
    tags: list[str]
    fields: dict[str, str]


class SeriesList(Model):
    """All series."""

    items: list[Measurement]
    next: str | None = None


class Row(Model):
    """One row: its time, and the columns that were asked for."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | str | None]


class Rows(Model):
    """Rows of a series."""

    items: list[Row]


class RecordQuery(Model):
    """Which records."""

    start: Annotated[Time, Field(alias="from")]
    end: Annotated[Time, Field(alias="to")]
    format: Format = "json"


class SelectQuery(Model):
    """A query in the part of InfluxQL that dashboards use."""

    q: Annotated[str, Field(min_length=1, max_length=8000)]
    format: Format = "json"


class SeriesApi(PageGroup):
    """Series for programs such as Grafana, in few threads: people who respond need some, too."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @operation("/series", Scope.READINGS, SeriesList)
    async def index(self, _request: Request) -> SeriesList:
        """List the series, their tags and their fields."""
        return SeriesList(
            items=[
                Measurement(
                    name=name,
                    about=MEASUREMENTS[name].about if name in MEASUREMENTS else "",
                    tags=[c for c in columns if c in TAGS],
                    fields={c: _ABOUT.get((name, c), "") for c in columns if c not in TAGS},
                )
                for name, columns in SOURCES.items()
            ]
        )

    @operation("/series/{measurement}", Scope.READINGS, Rows, query=RecordQuery, kinds=(JSON, CSV))
    async def records(self, request: Request, asked: RecordQuery) -> Response:
        """Return what a series has in a range, with all its columns."""
        name = request.path_params["measurement"]
        if name not in SOURCES:
            raise HTTPException(404, "There is no such series.")
        start, end = bounds_of(asked.start, asked.end)
        select = tuple((column, ("name", column)) for column in SOURCES[name])
        query = influxql.Query(select, name, None, to_ns(start), to_ns(end) - 1)
        return await self._rows(request, query, asked.format)

    @operation("/query", Scope.READINGS, Rows, query=SelectQuery, kinds=(JSON, CSV))
    async def query(self, request: Request, asked: SelectQuery) -> Response:
        """Answer a SELECT over the series of the embedded store."""
        try:
            query = influxql.parse(asked.q, self._context.settings.clock())
        except QueryError as error:
            raise invalid([("q", str(error))]) from None
        return await self._rows(request, query, asked.format)

    async def _rows(self, request: Request, query: Query, kind: str) -> Response:
        series, registry = self._context.settings.series, self._context.registry
        limited = self._context.sites is not None
        if not isinstance(series, SqliteSeries):
            raise HTTPException(404, "The series of this service is an InfluxDB: ask it.")

        def work() -> Response:
            with closing(sqlite.connect(series.path, read_only=True)) as db:
                found = influxql_sql.answer(db, registry, query, registered_only=limited)
            rows: list[list[Any]] = [[moment(row[0] / 1e9), *row[1:]] for row in found.rows]
            return tagged(request, rows_response(found.columns, rows, kind))

        try:
            return await self._in_slot(work)
        except QueryError as error:
            raise invalid([("q", str(error))]) from None

    async def _in_slot(self, work: Callable[[], Response]) -> Response:
        """Run in a thread; its slot is free once it has ended, even if the page gave up before."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        call = self._context.threads.submit(work)
        call.add_done_callback(lambda _call: loop.call_soon_threadsafe(self._slots.release))
        async with asyncio.timeout(READ_S):
            return await asyncio.wrap_future(call)


_ABOUT = {(t.name, f.name): f.about for t in MEASUREMENTS.values() for f in t.fields}
