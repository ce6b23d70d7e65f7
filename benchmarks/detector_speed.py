"""Print how fast the detector steps, over the number of sensors.

Usage: python benchmarks/detector_speed.py

Two hours of a simulated school (ordinary days, 1 Hz, mixed models) are prepared as arrays and
repeated over as many sensors as asked for, each shifted in time of day so that they are not busy
together. One call of `step` takes one reading of every sensor, in order of sensors or, where the
table says so, in another order at each call; the first line is one call a reading, over all rooms.
The share of readings that fell into an episode, which are judged and so cost more, is shown beside
the rate. Time is that of this process on its core.
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
from detection.tracking import QuietColumn, Tracker
from sensor_sim.simulate import random_school, simulate

ROOMS = 16
SECONDS = 7200
WIDTHS = (10, 100, 1_000, 10_000, 100_000)
WARM_S = 90
BUDGET_S = 15.0


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


class Stream:
    """The prepared readings on the sensors of a detector, a batch a second."""

    def __init__(self, table: np.ndarray, width: int) -> None:
        self.table = table
        self.detector = Detector()
        names = (f"s{k}" for k in range(width))
        self.sensor = np.array([self.detector.sensor_row(name) for name in names], np.int32)
        self.room = np.arange(width) % ROOMS
        self.shift = (np.arange(width) * 977) % SECONDS

    def batch(self, second: int, rows: np.ndarray) -> ReadingBatch:
        """Take the readings of some sensors."""
        values = self.table[(second + self.shift[rows]) % SECONDS, self.room[rows]]
        return ReadingBatch(self.sensor[rows], np.full(rows.size, 1e9 + second), values)

    def busy(self) -> float:
        """Share of the sensors that are in an episode."""
        tracker, _ = Tracker.restore(self.detector.snapshot())
        return float((tracker.episode[:, EpisodeColumn.PHASE] != 0).mean())


def rate(table: np.ndarray, width: int, *, shuffled: bool = False) -> tuple[float, float]:
    """Return microseconds a reading in batches of `width`, and the share of busy sensors."""
    stream, rows, spent, done, busy = Stream(table, width), np.arange(width), 0.0, 0, []
    rng = np.random.default_rng(1)
    for second in range(SECONDS):
        batch = stream.batch(second, rng.permutation(rows) if shuffled else rows)
        before = time.process_time()
        stream.detector.step(batch)
        if second >= WARM_S:
            spent += time.process_time() - before
            done += width
            if second % 60 == 0:
                busy.append(stream.busy())
            if spent > BUDGET_S:
                break
    return spent / done * 1e6, float(np.mean(busy or [stream.busy()]))


def rate_of_one(table: np.ndarray) -> tuple[float, float]:
    """Return microseconds a reading in batches of one, and the share of busy sensors."""
    stream, spent, busy = Stream(table, ROOMS), [], []
    for second in range(SECONDS):
        for row in range(ROOMS):
            batch = stream.batch(second, np.array([row]))
            before = time.process_time()
            stream.detector.step(batch)
            spent.append(time.process_time() - before)
        if second % 60 == 0:
            busy.append(stream.busy())
    measured = spent[WARM_S * ROOMS :]
    return float(np.mean(measured)) * 1e6, float(np.mean(busy))


def main() -> int:
    """Print the table."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" numpy {np.__version__}, one core used"
    )
    state = 8 * (QuietColumn.WIDTH + EpisodeColumn.WIDTH)
    print(f"state of a sensor: {state} bytes")
    table = prepared()
    print(f"{'readings a call':>22} {'readings/s':>12} {'µs a reading':>13} {'in an episode':>14}")
    show("1", *rate_of_one(table))
    for width in WIDTHS:
        show(f"{width:,}", *rate(table, width))
    show("1,000 in any order", *rate(table, 1_000, shuffled=True))
    return 0


def show(label: str, micros: float, busy: float) -> None:
    """Print a line of the table."""
    print(f"{label:>22} {1e6 / micros:>12,.0f} {micros:>13.2f} {busy:>14.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
