"""``plumewatch export readings``: stored readings as Parquet or CSV, in time order, streamed.

Constraints
-----------
Only about ten thousand readings are in memory at a time, however long the span: the store is read
in slices whose length is adapted to the number of readings in them. A file is written under a
temporary name and then renamed, so it is never incomplete. ``plumewatch replay`` reads the CSV.

The columns are always the same (`SCHEMA`), so that the files of several months can be concatenated.
In a CSV, times are ISO 8601 in UTC, and absent values are empty. Text that a spreadsheet would
treat as a formula gets an apostrophe in front; in Parquet, text is unchanged.
"""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Literal, cast

import polars as pl
from polars.io.plugins import register_io_source

from detection.quantities import COLUMNS
from reports.files import make_inert_columns
from storage.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from storage.reading import Reading
    from storage.registry import Registry
    from storage.timeseries import Series

Format = Literal["csv", "parquet"]

_MOMENT: Final = pl.Datetime("us", "UTC")
_WHERE: Final = ("site", "building", "floor", "room")
_SAID: Final = ("events", "faults", "flags")
SCHEMA: Final = pl.Schema(
    {
        "time": _MOMENT,
        "sensor": pl.String(),
        **{name: pl.String() for name in _WHERE},
        **{key: pl.Float64() for key in COLUMNS},
        **{name: pl.String() for name in _SAID},
        "received": _MOMENT,
    }
)
"""Columns of an export."""

_FEW, _MANY = 10_000, 40_000
_SHORTEST_S, _LONGEST_S = 1.0, 86_400.0
_ROW_GROUP: Final = 100_000


def read_slices(
    series: Series,
    start: float,
    end: float,
    on_time: Callable[[float], None] = lambda _: None,
    sensors: Collection[str] | None = None,
) -> Iterator[list[Reading]]:
    """Yield the readings of a span in slices, in time order; raises `StorageUnavailableError`."""
    at, length = start, 600.0
    while at < end:
        until = min(at + length, end)
        found = series.between(at, until, sensors)
        if found:
            yield found
        if len(found) > _MANY:
            length = max(_SHORTEST_S, length / 2)
        elif len(found) < _FEW:
            length = min(_LONGEST_S, length * 2)
        at = until
        on_time(at)


def export_readings(
    series: Series,
    registry: Registry,
    start: float,
    end: float,
    path: Path,
    kind: Format,
    *,
    sensors: frozenset[str] = frozenset(),
    on_time: Callable[[float], None] = lambda _: None,
) -> int:
    """Write the readings of a span to a file; return their number.

    If this fails, no file is left.
    """
    count = 0

    def frames() -> Iterator[pl.DataFrame]:
        nonlocal count
        for found in read_slices(series, start, end, on_time, sensors or None):
            count += len(found)
            yield _make_frame(found, registry)

    with atomic_write(path) as partial:
        if kind == "parquet":
            _sink(frames, partial)
        else:
            with _open(partial, compressed=path.suffix == ".gz") as file:
                _write_csv(pl.DataFrame(schema=SCHEMA), file, header=True)
                for frame in frames():
                    _write_csv(frame, file, header=False)
    return count


def _make_frame(readings: list[Reading], registry: Registry) -> pl.DataFrame:
    rooms = [registry.room_of(r.sensor) for r in readings]
    columns: dict[str, list[Any]] = {
        "time": [round(r.time * 1e6) for r in readings],
        "sensor": [r.sensor for r in readings],
        "site": [room and room.site for room in rooms],
        "building": [room and room.building for room in rooms],
        "floor": [room and room.floor for room in rooms],
        "room": [room and room.id for room in rooms],
        **{key: [r.values.get(key) for r in readings] for key in COLUMNS},
        "events": [" ".join(r.events) for r in readings],
        "faults": [" ".join(r.faults) for r in readings],
        "flags": [" ".join(r.flags) for r in readings],
        "received": [round(r.received * 1e6) for r in readings],
    }
    texts = [name for name, kind in SCHEMA.items() if kind == pl.String()]
    raw = {name: pl.Int64() if kind == _MOMENT else kind for name, kind in SCHEMA.items()}
    return pl.DataFrame(columns, schema=raw).with_columns(
        pl.col("time", "received").cast(_MOMENT), pl.col(texts).replace("", None)
    )


def _sink(frames: Callable[[], Iterator[pl.DataFrame]], path: Path) -> None:
    """Write data frames to a Parquet file as they arrive; errors raised by `frames` propagate."""
    raised: list[BaseException] = []

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, n: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        if columns is not None or predicate is not None or n is not None:
            raise NotImplementedError("frames are written whole")
        try:
            yield from frames()
        except Exception as error:
            raised.append(error)
            raise

    try:
        register_io_source(source, schema=SCHEMA).sink_parquet(path, row_group_size=_ROW_GROUP)
    except pl.exceptions.PolarsError:
        if raised:
            raise raised[0] from None
        raise


def _write_csv(frame: pl.DataFrame, file: IO[bytes], *, header: bool) -> None:
    make_inert_columns(frame).write_csv(
        file, include_header=header, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ"
    )


@contextmanager
def _open(path: Path, *, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as stored:
        if not compressed:
            yield stored
            return
        with gzip.GzipFile(filename="", fileobj=stored, mode="wb", mtime=0) as file:
            yield cast("IO[bytes]", file)
