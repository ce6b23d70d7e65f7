"""Measure the throughput of the detectors on Spark.

Usage: python benchmarks/scale_out.py [--sensors 50000] [--seconds 120]

An hour of simulated rooms at 1 Hz is copied to all sensors and written as a history. This process
and the stream evaluate the same readings and must raise the same alerts. If Kafka's jars are
installed (`tests.support.kafka`), the stream also reads the readings from Kafka, as native
messages. The bytes that each trigger writes determine the size of a cluster (docs/scale.md).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import load_rig as rig
import msgspec
import numpy as np
import polars as pl
import psutil

from detection.alert_rules import AlertBudgets
from detection.events import EventPhase
from detection.quantities import COLUMNS
from ingest.decoding import Context
from ingest.intake import IntakeConfig
from scale.history import HistoryWriter, find_parts
from scale.messages import RECORD_ORDER, RECORDS, MessageSource
from scale.shard import Shard, pack, unpack
from scale.sinks import write_events
from scale.spark.kafka import pack_records
from scale.spark.session import open_session
from scale.spark.stream import (
    ShardProcessor,
    detect,
    pack_readings,
    read_history,
    start_events,
)
from storage.registry import Registry, Room, Sensor
from tests.support.kafka import CONNECTOR, Kafka

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pyspark.sql import DataFrame, SparkSession

ROOMS, HOUR, PART_S = 64, 3600, 30
SENSORS_PER_BUCKET = 1000
START = 1_757_203_200.0 + 10 * 3600


def buckets(sensors: int) -> int:
    """Return the number of buckets, which is also the number of shards."""
    return max(1, sensors // SENSORS_PER_BUCKET)


def generate(folder: Path, sensors: int, seconds: int) -> list[Path]:
    """Write the readings of many sensors; return the files."""
    values = rig.simulated_rooms(ROOMS, HOUR)
    room, shift = np.arange(sensors) % ROOMS, (np.arange(sensors) * 977) % HOUR
    names = pl.Series([f"s{k:06d}" for k in range(sensors)])
    buildings = pl.Series([f"b{k // 20}" for k in range(sensors)])
    empty = pl.lit("", pl.String())
    with HistoryWriter(folder, buckets(sensors)) as writer:
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
                        evaluated=pl.lit(value=True),
                        **{key: key for key in COLUMNS},
                        events=pl.lit(None, pl.String()),
                        faults=pl.lit(None, pl.String()),
                        flags=pl.lit(None, pl.String()),
                    )
                )
            writer.commit(pl.concat(parts), b"")
    return [path for paths in find_parts(folder).values() for path in paths]


def measure_child_cpu_s() -> float:
    """Return the CPU seconds used so far by child processes: a JVM and its Python workers."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            spent += used.user + used.system
    return spent


def print_rate(
    label: str, readings: int, seconds: float, cpu_s: float = 0.0, more: str = ""
) -> None:
    """Print a line of the table."""
    own = f"{readings / cpu_s:>14,.0f}" if cpu_s else f"{'':>14}"
    print(f"{label:>30} {readings / seconds:>12,.0f} {own} {seconds:>7.1f}  {more}", flush=True)


def intake_config(sensors: int) -> IntakeConfig:
    """Return the intake's configuration for the sensors of `generate`."""
    names = [f"s{k:06d}" for k in range(sensors)]
    rooms = (Room(name, name, "", f"b{k // 20}", "district") for k, name in enumerate(names))
    registry = Registry.build(rooms, (Sensor(name, name) for name in names))
    return IntakeConfig(Context(registry=registry), dedupe_window=128)


def messages(parts: list[Path]) -> Iterator[tuple[bytes, bytes, float]]:
    """Yield the readings as native messages with receive times, in time order."""
    for name in sorted({path.name for path in parts}):
        frames = [pl.read_parquet(path) for path in parts if path.name == name]
        values = pl.concat(frames).sort("time", "position").select("sensor", "time", *COLUMNS)
        for sensor, moment, *row in values.iter_rows():
            body = {k: v for k, v in zip(COLUMNS, row, strict=True) if v is not None}
            payload = msgspec.json.encode({"time": moment, **body})
            yield f"plumewatch/v1/{sensor}/reading".encode(), payload, moment


def measure_stages(records: list[tuple[bytes, bytes, float]], source: MessageSource) -> None:
    """Print what a message costs in the shard and in the stages before it, on one core."""
    rows = [(*record, 0, k) for k, record in enumerate(records)]
    table = pl.DataFrame(rows, schema=RECORDS, orient="row")
    [*source.router.divide(table.head(1))]
    count, costs = table.height, {}

    def timed(label: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = work()
        costs[label] = 1e6 * (time.process_time() - began) / count
        return found

    divided = timed("divide by shard", lambda: [*source.router.divide(table)])
    blocks = timed("pack", lambda: [pack(part) for _, part in divided])
    parts = timed("unpack", lambda: [unpack([b], RECORDS, RECORD_ORDER) for b in blocks])
    decoders = [source.make_decoder(shard) for shard, _ in divided]
    timed("decode", lambda: [d.decode(p) for d, p in zip(decoders, parts, strict=True)])
    print(
        f"per message: {sum(map(len, blocks)) / count:.0f} bytes in a block; µs: "
        + ", ".join(f"{label} {cost:.2f}" for label, cost in costs.items())
    )


def measure_stream(
    label: str, folder: Path, packed: DataFrame, processor: ShardProcessor
) -> tuple[Counter[str], float]:
    """Evaluate the readings with the stream and print its triggers.

    Return the count of each alert id, and readings per second.
    """
    events = detect(packed, processor)
    write = partial(write_events, folder / "events")
    began, used = time.monotonic(), measure_child_cpu_s()
    query = start_events(events, write, str(folder / "state"), {"availableNow": True})
    query.awaitTermination()
    readings = sum(progress["numInputRows"] for progress in query.recentProgress)
    took = time.monotonic() - began
    print_rate(label, readings, took, measure_child_cpu_s() - used)
    for progress in query.recentProgress:
        if progress["numInputRows"]:
            state = progress["stateOperators"][0]["customMetrics"]
            spent = progress["durationMs"]["triggerExecution"] / 1e3
            written = state.get("rocksdbBytesCopied", state.get("rocksdbTotalBytesWritten", 0))
            print_rate(
                f"trigger {progress['batchId']}",
                progress["numInputRows"],
                spent,
                more=f"{written / 1e6:,.1f} MB of state written",
            )
    frames = [pl.read_parquet(path) for path in (folder / "events").glob("*.parquet")]
    ids = [i for f in frames for i in f.filter(pl.col("phase") == "alerted")["id"].to_list()]
    return Counter(ids), readings / took


def measure_kafka(
    spark: SparkSession, folder: Path, parts: list[Path], asked: argparse.Namespace, parquet: float
) -> Counter[str]:
    """Evaluate the same readings from Kafka; print its speed relative to Parquet."""
    records = [*messages(parts)]
    shards = buckets(asked.sensors)
    source = MessageSource("bench", partial(intake_config, asked.sensors), shards)
    measure_stages([r for r in records if r[2] < START + PART_S], source)
    folder.mkdir()
    broker = Kafka(folder)
    broker.start()
    try:
        broker.make_topic("bench", 2)
        broker.send("bench", records)
        each = str(-(-len(records) * PART_S // asked.seconds))
        options = {"maxOffsetsPerTrigger": each}
        packed = pack_records(spark, broker.address, source, options)
        processor = ShardProcessor(AlertBudgets(), source=source)
        found, reached = measure_stream("stream over Kafka", folder, packed, processor)
    finally:
        broker.stop()
    print(f"Kafka / Parquet: {reached / parquet:.2f}")
    return found


def main() -> int:
    """Print the table; return 1 if the alerts differ."""
    asked = rig.options(__doc__, sensors=50_000, seconds=120)
    rig.print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history, shards = folder / "history", buckets(asked.sensors)
        parts = generate(history, asked.sensors, asked.seconds)
        began, used, readings = time.monotonic(), time.process_time(), 0
        for part in parts:
            readings += pl.read_parquet(part).height
        size = sum(part.stat().st_size for part in parts) / readings
        print(
            f"{asked.sensors:,} sensors, {readings:,} readings, {shards} buckets,"
            f" {size:.0f} bytes per reading on disk"
        )
        print(f"{'':>30} {'readings/s':>12} {'per CPU s':>14} {'seconds':>7}")
        print_rate(
            "Parquet read alone", readings, time.monotonic() - began, time.process_time() - used
        )
        found = {"one process": Counter[str]()}
        began, used = time.monotonic(), time.process_time()
        detectors: defaultdict[Path, Shard] = defaultdict(Shard)
        for part in parts:
            shard = detectors[part.parents[1]]
            events = shard.step(shard.streams.build(pl.read_parquet(part)))
            alerted = (e.id for e in events if e.phase is EventPhase.ALERTED)
            found["one process"].update(alerted)
        took, used = time.monotonic() - began, time.process_time() - used
        print_rate("one process", readings, took, used)
        sample = pl.read_parquet(parts[0])
        shard = Shard()
        shard.step(shard.streams.build(sample))
        began = time.process_time()
        body = shard.snapshot()
        Shard.restore(body)
        spent = time.process_time() - began
        width = len(shard.streams.names)
        print(
            f"a block: {len(pack(sample)) / sample.height:.0f} bytes per reading; a snapshot:"
            f" {len(body) / width:,.0f} bytes per sensor, {1e6 * spent / width:.0f} µs per sensor"
            " to write and read"
        )
        settings = {"spark.sql.shuffle.partitions": "2", "spark.driver.memory": "2g"}
        settings |= {"spark.jars": CONNECTOR} if CONNECTOR else {}
        spark = open_session("local[2]", "bench", settings)
        spark.sparkContext.setLogLevel("ERROR")
        packed = pack_readings(read_history(spark, str(history), shards), shards)
        found["stream"], parquet = measure_stream(
            "stream, Spark local[2]", folder / "s", packed, ShardProcessor(AlertBudgets())
        )
        if CONNECTOR:
            found["Kafka"] = measure_kafka(spark, folder / "k", parts, asked, parquet)
        spark.stop()
        print(f"alerts: {', '.join(f'{k} {v.total()}' for k, v in found.items())}")
        return int(len(set(map(frozenset, (c.items() for c in found.values())))) > 1)


if __name__ == "__main__":
    sys.exit(main())
