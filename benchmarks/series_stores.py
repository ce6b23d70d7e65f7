"""Lines, writes and queries of the series stores.

Usage: python benchmarks/series_stores.py [--sensors 20] [--days 1] [--interval 5]

Encodes readings of ten quantities with our encoder and with `influxdb_client.Point`; then writes
the same readings to SQLite, a real InfluxDB 1.x and VictoriaMetrics (lines only), in batches of
2,000 as the service does; then asks each store for one day of one sensor by the minute. Bytes are
those on disk right after the last write, before any compaction. Exits 1 if the encoder takes more
than 5 µs of processor time a reading. Servers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from influxdb_client import Point

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.line_protocol import LineEncoder, to_ns
from storage.timeseries.sqlite import SqliteSeries
from tests.support.influx import Influxd, VictoriaMetrics, influxql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage.timeseries import Series

KEYS = ("pm1", "pm25", "pm4", "pm10", "n05", "n10", "rh", "temp", "voc_index", "nox_index")
BATCH = 2_000
DAY = 86_400.0


def batches(sensors: Sequence[str], start: float, end: float, every: float) -> Iterator[list]:
    """Make readings in time order, in batches, as they are needed."""
    chance = random.Random(1)
    batch, at = [], start
    while at < end:
        for name in sensors:
            values = {key: round(chance.uniform(1, 60), 1) for key in KEYS}
            batch.append(Reading(name, at + chance.random(), at + 1, values))
            if len(batch) == BATCH:
                yield batch
                batch = []
        at += every
    if batch:
        yield batch


def by_point(reading: Reading) -> str:
    """Encode as the library does."""
    point = Point("reading")
    tags = {"site": "S", "building": "North", "floor": "2", "room": "r", "model": "sen55"}
    for key, text in {**tags, "sensor": reading.sensor}.items():
        point.tag(key, text)
    for key, value in reading.values.items():
        point.field(key, value)
    point.field("received", reading.received)
    return str(point.time(to_ns(reading.time)).to_line_protocol())


def cpu_us(work: Callable[[], object], count: int) -> float:
    """Least processor time of three runs, µs a reading."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        work()
        taken.append((time.process_time() - begun) / count * 1e6)
    return min(taken)


def size(folder: Path) -> int:
    """Bytes below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def measure(name: str, series: Series, feed: Iterator[list], last: float, folder: Path) -> None:
    """Write everything, then ask."""
    count, busy = 0, 0.0
    for batch in feed:
        begun = time.perf_counter()
        series.write(batch, count + len(batch))
        busy += time.perf_counter() - begun
        count += len(batch)
    print(f"{name}: {count:,} readings, {count / busy:,.0f} readings/s", end="")
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        found, _ = series.readings("s0", last - DAY, last, 60)
        taken.append((time.perf_counter() - begun) * 1e3)
    print(f"; a day by the minute ({len(found)} rows) {min(taken):.0f}-{max(taken):.0f} ms", end="")
    print(f"; {size(folder) / count:.0f} bytes a reading")


def main() -> int:
    """Measure; 1 if the encoder is too slow."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sensors", type=int, default=20)
    parser.add_argument("--days", type=float, default=1)
    parser.add_argument("--interval", type=float, default=5)
    wanted = parser.parse_args()
    names = [f"s{i}" for i in range(wanted.sensors)]
    registry = Registry.of(
        [Room("r", "R", "2", "North", "S")], [Sensor(n, "r", "sen55") for n in names]
    )
    last = time.time() // 60 * 60
    first = last - wanted.days * DAY

    print(f"{platform.machine()}, Python {platform.python_version()}")
    sample = [r for b in batches(names, last - 3600, last, 5) for r in b][:20_000]
    encoder = LineEncoder(registry)
    ours = cpu_us(lambda: encoder.encode(sample), len(sample))
    points = cpu_us(lambda: [by_point(r) for r in sample], len(sample))
    print(f"encoding ten quantities: {ours:.1f} µs, Point {points:.1f} µs of processor time")

    def feed() -> Iterator[list]:
        return batches(names, first, last, wanted.interval)

    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        (home / "sqlite").mkdir()
        with SqliteSeries(home / "sqlite" / "series.db") as series:
            measure("SQLite", series, feed(), last, home / "sqlite")
        if shutil.which("influxd"):
            (home / "influx").mkdir()
            with Influxd(home / "influx") as server:
                influxql(server.url, "CREATE DATABASE air")
                settings = InfluxSettings(server.url, "air")
                with InfluxSeries(settings, registry, home / "influx.db") as series:
                    measure("InfluxDB 1.x", series, feed(), last, home / "influx")
        if shutil.which("victoria-metrics"):
            (home / "victoria").mkdir()
            with VictoriaMetrics(home / "victoria") as server, httpx.Client() as client:
                count, busy = 0, 0.0
                for batch in feed():
                    begun = time.perf_counter()
                    lines = encoder.encode(batch)
                    client.post(f"{server.url}/api/v2/write", content=lines).raise_for_status()
                    busy += time.perf_counter() - begun
                    count += len(batch)
            print(f"VictoriaMetrics: {count:,} readings, {count / busy:,.0f} readings/s")
    return int(ours > 5)


if __name__ == "__main__":
    sys.exit(main())
