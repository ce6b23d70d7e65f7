"""Measure the detectors beyond one process: back-tests over cores, and the stream on Spark.

Usage: python benchmarks/scale_out.py [--sensors 50000] [--seconds 120] [--cores 1,2]

An hour of some simulated rooms at 1 Hz is laid over all sensors, each shifted in time of day,
twenty sensors to a building, and landed as a history with a thousand sensors a bucket and half a
minute a part. Then the same readings are judged by processes, by Spark as a batch, and by the
stream, which is given one part of every bucket a trigger; all must find the same alerts. What a
trigger writes and moves is what a cluster is sized by (docs/scale.md).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
import psutil

from detection.alert_thresholds import AlertBudgets
from detection.quantities import COLUMNS
from scale.backtest import Variant, on_processes, tasks_of
from scale.history import History, HistoryWriter
from scale.shard import Shard, pack
from scale.sinks import EventFiles
from scale.spark.batch import on_spark
from scale.spark.session import session
from scale.spark.stream import detect, readings_of_history, start_events
from sensor_sim.school import random_school
from sensor_sim.simulate import simulate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOMS, HOUR, PART_S = 64, 3600, 30
A_BUCKET = 1000
START = 1_757_203_200.0 + 10 * 3600


def table() -> np.ndarray:
    """Values of every simulated room each second, shape (HOUR, ROOMS, columns)."""
    school = random_school(80_001, ROOMS, intervals=(1,))
    rows = {device.id: k for k, device in enumerate(school.devices)}
    found = np.full((HOUR, ROOMS, len(COLUMNS)), np.nan)
    for chunk in simulate(school, seed=80_001, start=START, duration_s=float(HOUR)):
        for trace in chunk.traces:
            second = np.floor(trace.sent - START).astype(int)
            kept = (second >= 0) & (second < HOUR)
            found[second[kept], rows[trace.sensor]] = trace.values[kept]
    return found


def generate(folder: Path, sensors: int, seconds: int) -> History:
    """Land the readings of many sensors."""
    values = table()
    room, shift = np.arange(sensors) % ROOMS, (np.arange(sensors) * 977) % HOUR
    names = pl.Series([f"s{k:06d}" for k in range(sensors)])
    buildings = pl.Series([f"b{k // 20}" for k in range(sensors)])
    empty = pl.lit("", pl.String())
    with HistoryWriter(folder, max(1, sensors // A_BUCKET)) as writer:
        for begin in range(0, seconds, PART_S):
            parts = []
            for second in range(begin, min(begin + PART_S, seconds)):
                now = values[(second + shift) % HOUR, room]
                some = ~np.isnan(now).all(axis=1)
                columns = {
                    key: pl.Series(now[some, k]).fill_nan(None) for k, key in enumerate(COLUMNS)
                }
                frame = pl.DataFrame({"sensor": names.filter(some), **columns})
                parts.append(
                    frame.select(
                        time=pl.lit(START + second),
                        received=pl.lit(START + second),
                        sensor="sensor",
                        site=pl.lit("district"),
                        building=buildings.filter(some),
                        floor=empty,
                        room="sensor",
                        model=empty,
                        judged=pl.lit(value=True),
                        **{key: key for key in COLUMNS},
                        events=pl.lit(None, pl.String()),
                        faults=pl.lit(None, pl.String()),
                        flags=pl.lit(None, pl.String()),
                    )
                )
            writer.commit(pl.concat(parts), b"")
    return History(folder)


def of_children() -> float:
    """CPU seconds of the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_family() -> float:
    """CPU seconds of the processes below this one that run: a JVM and its Python workers."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            spent += used.user + used.system
    return spent


def rate(label: str, readings: int, seconds: float, cpu_s: float = 0.0, more: str = "") -> None:
    """Print a line of the table."""
    own = f"{readings / cpu_s:>14,.0f}" if cpu_s else f"{'':>14}"
    print(f"{label:>30} {readings / seconds:>12,.0f} {own} {seconds:>7.1f}  {more}", flush=True)


def of_stream(spark: SparkSession, folder: Path, history: History, buckets: int) -> Counter[str]:
    """Judge by the stream, print what its triggers did, and return the alerts."""
    said = detect(
        readings_of_history(spark, str(history.folder), buckets), buckets, AlertBudgets(), b""
    )
    files = EventFiles(folder / "events")
    began, used = time.monotonic(), of_family()
    query = start_events(said, files.write, str(folder / "state"), {"availableNow": True})
    query.awaitTermination()
    readings = sum(progress["numInputRows"] for progress in query.recentProgress)
    rate("stream, Spark local[2]", readings, time.monotonic() - began, of_family() - used)
    for progress in query.recentProgress:
        if progress["numInputRows"]:
            state = progress["stateOperators"][0]["customMetrics"]
            took = progress["durationMs"]["triggerExecution"] / 1e3
            written = state.get("rocksdbBytesCopied", state.get("rocksdbTotalBytesWritten", 0))
            rate(
                f"trigger {progress['batchId']}",
                progress["numInputRows"],
                took,
                more=f"{written / 1e6:,.1f} MB of state written",
            )
    frames = [pl.read_parquet(path) for path in (folder / "events").glob("*.parquet")]
    if not frames:
        return Counter()
    alerted = pl.concat(frames).filter(pl.col("phase") == "alerted")
    return Counter(alerted["id"].to_list())


def main() -> int:
    """Print the table; 1 if any way found other alerts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sensors", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--cores", default="1,2", help="processes of back-tests")
    asked = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = generate(folder / "history", asked.sensors, asked.seconds)
        tasks = tasks_of([history], [Variant("shipped", 1.0)])
        parts = [Path(part) for task in tasks for part in task.parts]
        began, used, readings = time.monotonic(), time.process_time(), 0
        for part in parts:
            readings += History.read(part).height
        size = sum(part.stat().st_size for part in parts) / readings
        print(
            f"{asked.sensors:,} sensors, {readings:,} readings, {len(tasks)} buckets,"
            f" {size:.0f} bytes a reading on disk"
        )
        print(f"{'':>30} {'readings/s':>12} {'a CPU second':>14} {'seconds':>7}")
        rate("Parquet read alone", readings, time.monotonic() - began, time.process_time() - used)
        found = {}
        for cores in map(int, asked.cores.split(",")):
            began, used = time.monotonic(), of_children()
            judged = on_processes(tasks, cores)
            took = time.monotonic() - began
            rate(f"back-test, {cores} processes", readings, took, of_children() - used)
            found[f"{cores} processes"] = Counter(a.id for j in judged for a in j.alerts)
        sample = History.read(parts[0])
        shard = Shard()
        shard.step(shard.streams.of(sample))
        began = time.process_time()
        body = shard.snapshot()
        Shard.restore(body)
        spent = time.process_time() - began
        width = len(shard.streams.names)
        print(
            f"a block: {len(pack(sample)) / sample.height:.0f} bytes a reading; a snapshot:"
            f" {len(body) / width:,.0f} bytes a sensor, {1e6 * spent / width:.0f} µs a sensor to"
            " write and read"
        )
        settings = {"spark.sql.shuffle.partitions": "2", "spark.driver.memory": "2g"}
        spark = session("local[2]", "bench", settings)
        spark.sparkContext.setLogLevel("ERROR")
        began, used = time.monotonic(), of_family()
        judged = on_spark(tasks, "local[2]", spark=spark)
        took = time.monotonic() - began
        rate("back-test, Spark local[2]", readings, took, of_family() - used)
        found["Spark"] = Counter(a.id for j in judged for a in j.alerts)
        found["stream"] = of_stream(spark, folder, history, len(tasks))
        spark.stop()
        print(f"alerts: {', '.join(f'{k} {v.total()}' for k, v in found.items())}")
        return int(len(set(map(frozenset, (c.items() for c in found.values())))) > 1)


if __name__ == "__main__":
    sys.exit(main())
