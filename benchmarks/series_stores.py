"""Measure encoding, writes and queries of the series stores.

Usage: python benchmarks/series_stores.py [--sensors 200] [--days 30] [--interval 60]

Encodes readings of ten quantities, writes them to SQLite and to a real InfluxDB 1.x in batches of
2,000, and then queries one-minute averages of a sensor's day. Exits 1 if encoding takes more than 5
µs of CPU time per reading, or if a store's median query time is over 100 ms. Skips InfluxDB if it
is not installed.
"""

from __future__ import annotations

import os
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import load_rig as rig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.line_protocol import LineEncoder
from storage.timeseries.sqlite import SqliteSeries
from tests.support.influx import Influxd, influxql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

KEYS = ("pm1", "pm25", "pm4", "pm10", "n05", "n10", "rh", "temp", "voc_index", "nox_index")
BATCH = 2_000
DAY = 86_400.0
ENOUGH_MS, ENOUGH_US = 100.0, 5.0


def generate_batches(
    sensors: Sequence[str], start: float, end: float, every: float
) -> Iterator[list]:
    """Yield batches of readings in time order."""
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


def measure_cpu_us(work: Callable[[], object], count: int) -> float:
    """Return the CPU time per reading in the fastest of five runs, µs."""
    taken = []
    for _ in range(5):
        begun = time.process_time()
        work()
        taken.append((time.process_time() - begun) / count * 1e6)
    return min(taken)


def measure_size(folder: Path) -> int:
    """Return the total size of a folder in bytes."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def write_batches(feed: Iterable[list], write: Callable[[list, int], object]) -> tuple[int, float]:
    """Write batches; return the number of readings, and how many were written per second."""
    count, busy = 0, 0.0
    for batch in feed:
        begun = time.perf_counter()
        write(batch, count + len(batch))
        busy += time.perf_counter() - begun
        count += len(batch)
    return count, count / busy


def time_query(query: Callable[[], int]) -> tuple[int, float, float]:
    """Query eleven times; return the number of rows, and the median and longest time in ms."""
    taken, rows = [], 0
    for _ in range(11):
        begun = time.perf_counter()
        rows = query()
        taken.append((time.perf_counter() - begun) * 1e3)
    return rows, statistics.median(taken), max(taken)


def print_store(
    name: str, count: int, rate: float, found: tuple[int, float, float], sizes: str
) -> float:
    """Print a store's line; return its median response time."""
    rows, median, longest = found
    print(
        f"{name}: {count:,} readings, {rate:,.0f} readings/s; a day of a sensor by the minute"
        f" ({rows} rows) in {median:.0f} ms, at most {longest:.0f} ms; {sizes} bytes per reading",
        flush=True,
    )
    return median


def measure_sqlite(home: Path, feed: Iterable[list], last: float) -> float:
    """Measure the embedded store."""
    with SqliteSeries(home / "series.db") as series:
        count, rate = write_batches(feed, series.write)
        found = time_query(lambda: len(series.aggregate_readings("s0", last - DAY, last, 60)[0]))
        sizes = f"{measure_size(home) / count:.0f}"
    return print_store("SQLite", count, rate, found, sizes)


def measure_influx(
    home: Path, feed: Callable[[], Iterable[list]], registry: Registry, last: float
) -> float:
    """Measure a real InfluxDB 1.x."""
    with Influxd(home) as server, tempfile.TemporaryDirectory() as beside:
        influxql(server.url, "CREATE DATABASE air")
        settings = InfluxSettings(server.url, "air")
        with InfluxSeries(settings, registry, Path(beside) / "influx.db") as series:
            count, rate = write_batches(feed(), series.write)
            found = time_query(
                lambda: len(series.aggregate_readings("s0", last - DAY, last, 60)[0])
            )
        before = measure_size(home) / count
        server.end(signal.SIGTERM)
        sizes = f"{before:.0f}, after an orderly shutdown {measure_size(home) / count:.0f}"
        server.start()
    return print_store("InfluxDB 1.x", count, rate, found, sizes)


def main() -> int:
    """Run the benchmark; return 1 if the encoder or a store is too slow."""
    wanted = rig.options(__doc__, sensors=200, days=30.0, interval=60.0)
    names = [f"s{i}" for i in range(wanted.sensors)]
    room = Room("r", "R", "2", "North", "S")
    registry = Registry.build([room], [Sensor(n, "r", "sen55") for n in names])
    last = time.time() // 60 * 60
    first = last - wanted.days * DAY

    load = os.getloadavg()[0]
    print(f"{platform.machine()}, Python {platform.python_version()}, load {load:.1f} at the start")
    sample = [r for b in generate_batches(names[:20], last - 3600, last, 5) for r in b][:20_000]
    encoder = LineEncoder(registry)
    ours = measure_cpu_us(lambda: encoder.encode(sample), len(sample))
    print(f"encoding ten quantities: {ours:.1f} µs of CPU time")
    print(f"{wanted.sensors} sensors, {wanted.days:g} days, a reading every {wanted.interval:g} s")

    def feed() -> Iterator[list]:
        return generate_batches(names, first, last, wanted.interval)

    medians = []
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for name in ("sqlite", "influx"):
            (home / name).mkdir()
        medians.append(measure_sqlite(home / "sqlite", feed(), last))
        shutil.rmtree(home / "sqlite")
        if shutil.which("influxd"):
            medians.append(measure_influx(home / "influx", feed, registry, last))
            shutil.rmtree(home / "influx", ignore_errors=True)
    return int(ours > ENOUGH_US or max(medians) > ENOUGH_MS)


if __name__ == "__main__":
    sys.exit(main())
