"""Sinks of a stream: files of events, points in an InfluxDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from scale.history import PLACE, readings_of
from storage.files import sync
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storage.timeseries.influx_http import InfluxSettings

EVENT_COLUMNS: Final = ("id", "sensor", "kind", "phase", "time", "event")
_KINDS: Final = {name: pl.Float64() if name == "time" else pl.String() for name in EVENT_COLUMNS}


class EventFiles:
    """Writes the events of a trigger to a Parquet file named after it, whole and repeatable."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, events: Sequence[tuple[object, ...]], number: int) -> None:
        """Write the events of a trigger; without events there is no file."""
        path = self._folder / f"trigger-{number:012d}.parquet"
        if not events:
            path.unlink(missing_ok=True)
            return
        draft = path.with_name(f"_{path.name}.draft")
        pl.DataFrame(events, schema=_KINDS, orient="row").write_parquet(draft)
        sync(draft)
        draft.replace(path)


def write_points(settings: InfluxSettings, frame: pl.DataFrame) -> int:
    """Write readings of `SCHEMA` as the service does, again and again alike; return how many."""
    for part in frame.partition_by("site"):
        places = part.select("sensor", *PLACE).unique(maintain_order=True).rows(named=True)
        known = [row for row in places if row["room"]]
        registry = Registry.of(
            (Room(r["room"], r["room"], r["floor"], r["building"], r["site"]) for r in known),
            (Sensor(r["sensor"], r["room"], r["model"]) for r in known),
        )
        with InfluxSeries(settings, registry, ":memory:") as series:
            series.write(readings_of(part))
    return frame.height
