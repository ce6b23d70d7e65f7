"""Native messages in columns: what the intake makes of plain ones, at a tenth of its cost.

A message is plain if it is a flat object of usual values with a time stamp near its receipt, and
newer than everything of its sensor. All of a sensor's messages of a trigger are read here, or none.
The last one is left to the intake, which so remembers how new its sensor is; it does not know the
others when they come again, but what is not newer than a sensor's last reading changes no detector.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from detection.quantities import COLUMNS
from ingest.decoders import DECODERS
from ingest.decoders.native import PREFIX
from ingest.validation import USUAL, parse_time, version_of
from scale.history import PLACE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.intake import Intake
    from storage.registry import Registry

_Plain: Final = msgspec.defstruct(
    "_Plain",
    [
        ("time", float | str | None, None),
        ("events", list[str] | None, None),
        ("firmware", str, ""),
        ("seq", int | None, None),
        *((key, float | None, None) for key in COLUMNS),
    ],
    forbid_unknown_fields=True,
    gc=False,
)
_ROW: Final = msgspec.json.Decoder(_Plain)
_NONE: Final = _Plain()
_EMPTY: Final = pl.DataFrame(schema={"row": pl.UInt32(), **SCHEMA})
_LONGEST: Final = 4_096
"""Bytes of a plain message."""
_SECONDS: Final = 1e11
"""Time stamps below are Unix seconds."""


class NativeColumns:
    """Reads the plain messages of one shard."""

    def __init__(self, intake: Intake, registry: Registry) -> None:
        self._intake = intake
        self._limits = intake.config.context.limits
        renamed = {*intake.config.aliases, *intake.config.aliases.values()}
        rows = []
        for sensor in registry.sensors.values():
            topic, room = f"{PREFIX}{sensor.id}/reading", registry.room_of(sensor.id)
            own = intake.readers(topic) == (DECODERS["native"],) and sensor.id not in renamed
            if own and room is not None:
                place = (room.site, room.building, room.floor, room.id, sensor.model)
                rows.append((topic.encode(), sensor.id, *place))
        kinds = {"key": pl.Binary(), "sensor": pl.String(), **dict.fromkeys(PLACE, pl.String())}
        self._places = pl.DataFrame(rows, schema=kinds, orient="row")

    def read(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return the plain ones of records with their `row`, as `SCHEMA` and `row`."""
        found = records.join(self._places, "key", maintain_order="left")
        found = found.filter(pl.col("value").bin.size() <= _LONGEST)
        if not found.height:
            return _EMPTY
        values, received = found["value"].to_list(), found["received"].to_list()
        messages = _parsed(values)
        versions = {text: version_of(text) is not None for text in {m.firmware for m in messages}}
        time = [
            m.time if type(m.time) is float and 0 < m.time < _SECONDS else parse_time(m.time, at)
            for m, at in zip(messages, received, strict=True)
        ]
        numbers = {}
        for key in COLUMNS:
            column = [*map(attrgetter(key), messages)]
            if column.count(None) < len(column):
                numbers[key] = pl.Series(column, dtype=pl.Float64())
        if not numbers:
            return _EMPTY
        table = found.with_columns(
            time=pl.Series(time, dtype=pl.Float64()),
            usual=pl.Series([versions[m.firmware] and not m.events for m in messages]),
            **numbers,
        )
        newest = {name: self._intake.newest(name) for name in table["sensor"].unique()}
        before = pl.col("time").shift(1).over("sensor")
        last = pl.col("sensor").replace_strict(newest, return_dtype=pl.Float64())
        age = pl.col("received") - pl.col("time")
        plain = (
            pl.col("usual")
            & age.is_between(-self._limits.max_skew_s, self._limits.late_after_s)
            & (pl.col("time") > pl.coalesce(before, last))
            & pl.any_horizontal(pl.col(*numbers).is_not_null())
            & pl.all_horizontal(
                pl.col(key).is_null() | pl.col(key).is_between(*USUAL[key]) for key in numbers
            )
        )
        table = table.filter(
            plain.fill_null(value=False).all().over("sensor")
            & (pl.col("row") < pl.col("row").max().over("sensor"))
        )
        text = pl.lit(None, pl.String())
        absent = [pl.lit(None, pl.Float64()).alias(key) for key in COLUMNS if key not in numbers]
        named = table.with_columns(
            *absent,
            position="offset",
            judged=pl.lit(value=True),
            events=text,
            faults=text,
            flags=text,
        )
        return named.select("row", *SCHEMA)


def _parsed(values: Sequence[bytes]) -> list[Any]:
    """Return each message; what is none is without anything."""
    lines = b"\n".join(values)
    if lines.count(b"\n") == len(values) - 1:
        try:
            rows = _ROW.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = []
        if len(rows) == len(values):
            return rows
    return [_one(value) for value in values]


def _one(value: bytes) -> Any:
    try:
        return _ROW.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _NONE
