"""Print how fast the detector steps, over the number of sensors.

Usage: python benchmarks/detector_speed.py

Two hours of a simulated school (ordinary days, 1 Hz, mixed models) are prepared as arrays and
repeated over as many sensors as asked for, each shifted in time of day so that they are not busy
together. One call of `step` takes one reading of every sensor.
"""

from __future__ import annotations

import os
import platform
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from detection.batch import ReadingBatch
from detection.detector import Detector
from detection.episodes import EpisodeColumn
from detection.tracking import QuietColumn
from sensor_sim.simulate import random_school, simulate

ROOMS = 16
SECONDS = 7200
WIDTHS = (1, 10, 100, 1_000, 10_000, 100_000)
BUDGET_S = 12.0


def prepared() -> np.ndarray:
    """Values of every room each second, shape (SECONDS, ROOMS, columns)."""
    school = random_school(80_001, ROOMS, intervals=(1,))
    start = 1_757_203_200.0 + 10 * 3600
    rows = {device.id: k for k, device in enumerate(school.devices)}
    table: np.ndarray | None = None
    for chunk in simulate(school, seed=80_001, start=start, duration_s=float(SECONDS)):
        for trace in chunk.traces:
            if table is None:
                table = np.full((SECONDS, ROOMS, trace.values.shape[1]), np.nan)
            second = np.floor(trace.sent - start).astype(int)
            kept = (second >= 0) & (second < SECONDS)
            table[second[kept], rows[trace.sensor]] = trace.values[kept]
    assert table is not None
    return table


def rate(table: np.ndarray, width: int) -> tuple[float, float]:
    """Return readings a second and microseconds a reading with `width` sensors."""
    detector = Detector()
    sensor = np.array([detector.sensor_row(f"s{k}") for k in range(width)], np.int32)
    room = np.arange(width) % ROOMS
    shift = (np.arange(width) * 977) % SECONDS
    done, began, second = 0, 0.0, 0
    while second < SECONDS:
        batch = ReadingBatch(
            sensor, np.full(width, 1e9 + second), table[(second + shift) % SECONDS, room]
        )
        if second == 90:  # warm
            began, done = time.perf_counter(), 0
            spent = 0.0
        before = time.perf_counter()
        detector.step(batch)
        if second >= 90:
            spent += time.perf_counter() - before
            done += width
            if time.perf_counter() - began > BUDGET_S:
                break
        second += 1
    return done / spent, spent / done * 1e6


def main() -> int:
    """Print the table."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" numpy {np.__version__}, one core used"
    )
    state = 8 * (QuietColumn.WIDTH + EpisodeColumn.WIDTH)
    print(f"state of a sensor: {state} bytes")
    table = prepared()
    print(f"{'sensors a call':>15} {'readings/s':>12} {'µs a reading':>13}")
    for width in WIDTHS:
        per_s, micros = rate(table, width)
        print(f"{width:>15,} {per_s:>12,.0f} {micros:>13.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
