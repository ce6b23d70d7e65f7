"""Measure how much CPU time an InfluxDB server needs to average 15 minutes of readings.

Usage: python benchmarks/influx_averages.py [--sensors 250 500 1000] [--interval 10]

Starts a real InfluxDB 1.x, writes 15 minutes of readings with ten quantities as the service does,
and lets the service compute its averages over 1 and 15 minutes, as it does every 15 minutes. Exits
1 if the server needs more than 2% of a core for the largest number of sensors.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import load_rig as rig
import psutil

from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import QUARTER_HOUR, Retention
from tests.support.influx import Influxd

_MAX_SHARE = 0.02
_BATCH = 2_000
_VALUES = {
    "pm1": 2.6, "pm25": 4.0, "pm4": 4.3, "pm10": 4.6, "n05": 18.2,
    "n10": 19.9, "voc_index": 95.0, "rh": 41.2, "temp": 21.4, "co2": 640.0,
}  # fmt: skip


def share_of_a_core(sensors: int, interval_s: float) -> float:
    """Return the server's CPU time for averages, as a share of the 15 minutes averaged."""
    registry = Registry.build(
        [Room("r", "Room", "", "North", "Site")], [Sensor(f"s{k}", "r") for k in range(sensors)]
    )
    now = time.time() // QUARTER_HOUR.step_s * QUARTER_HOUR.step_s + 100.0
    start = now - 100.0 - QUARTER_HOUR.step_s
    with tempfile.TemporaryDirectory() as folder, Influxd(Path(folder)) as server:
        settings = InfluxSettings(server.url, "air")
        list(set_up(InfluxHttp(settings), Retention()))
        with InfluxSeries(settings, registry, Path(folder) / "influx.db") as series:
            for k in range(int(QUARTER_HOUR.step_s / interval_s)):
                at = start + k * interval_s
                readings = [Reading(name, at, at, _VALUES) for name in registry.sensors]
                for first in range(0, len(readings), _BATCH):
                    series.write(readings[first : first + _BATCH], k + 1)
            time.sleep(2.0)  # wait for work left over from writing
            (process,) = (p for p in psutil.Process().children() if p.name() == "influxd")
            before, began = process.cpu_times(), time.monotonic()
            while series.tidy(now):
                pass
            took, after = time.monotonic() - began, process.cpu_times()
            assert series.fetch_rows("SELECT * FROM stale") == []
    used = after.user + after.system - before.user - before.system
    share = used / QUARTER_HOUR.step_s
    print(f"{sensors:,} sensors: {used:.1f} s of CPU time in {took:.1f} s, {share:.2%} of a core")
    return share


def main() -> int:
    """Run the benchmark; return 1 if averages cost too much."""
    interval = (10.0, "seconds between readings")
    options = rig.options(__doc__, sensors=[250, 500, 1000], interval=interval)
    print(f"readings every {options.interval:.0f} s, load {os.getloadavg()[0]:.1f}")
    shares = [share_of_a_core(sensors, options.interval) for sensors in options.sensors]
    return int(max(shares) > _MAX_SHARE)


if __name__ == "__main__":
    sys.exit(main())
