"""Measure the speed of `Detector.step` for different numbers of sensors.

Two hours of a simulated school at 1 Hz are copied to as many sensors as needed, each shifted in
time. Each call of `step` gets one reading from every sensor, except in the table's first line,
where each call gets a single reading. Other work slows the machine, so the table shows the fastest
tenth of the calls as well as the mean. It also shows the share of sensors in an episode, because
their readings cost more.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import load_rig as rig
import numpy as np

from detection.alert_rules import AlertThresholds
from detection.channels import WIDTH, ReadingBatch
from detection.detector import Detector
from detection.episodes import EPISODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOMS = 16
SECONDS = 7200
WIDTHS = (10, 100, 1_000, 10_000, 100_000)
WARM_S = 90
BUDGET_S = 15.0


class Stream:
    """Prepared readings for a detector's sensors, one batch per second."""

    def __init__(self, table: np.ndarray, width: int) -> None:
        self.table = table
        self.detector = Detector()
        names = (f"s{k}" for k in range(width))
        self.sensor = np.array([self.detector.assign_row(name) for name in names], np.int32)
        self.room = np.arange(width) % ROOMS
        self.shift = (np.arange(width) * 977) % SECONDS

    def batch(self, second: int, rows: np.ndarray) -> ReadingBatch:
        """Return the readings of some sensors."""
        values = self.table[(second + self.shift[rows]) % SECONDS, self.room[rows]]
        return ReadingBatch(self.sensor[rows], np.full(rows.size, 1e9 + second), values)

    def busy(self) -> float:
        """Return the share of sensors that are in an episode."""
        return self.detector.episodes_running / len(self.detector.names)


def show(label: str, stream: Stream, calls: Callable[[int], Iterable[np.ndarray]]) -> None:
    """Evaluate the rows that `calls` returns for each second, and print a line of the table."""
    micros, busy, spent_s = [], [], 0.0
    for second in range(SECONDS):
        for rows in calls(second):
            batch = stream.batch(second, rows)
            before = time.process_time()
            stream.detector.step(batch)
            spent = time.process_time() - before
            if second >= WARM_S:
                micros.append(1e6 * spent / rows.size)
                spent_s += spent
        if second % 60 == 0:
            busy.append(stream.busy())
        if spent_s > BUDGET_S:
            break
    mean, fast = np.mean(micros), np.percentile(micros, 10)
    share = np.mean(busy[2:] or busy[-1:])
    print(
        f"{label:>18} {1e6 / mean:>12,.0f} {mean:>13.2f} {fast:>14.2f} {share:>14.1%}", flush=True
    )


def main() -> int:
    """Print the table."""
    rig.print_machine()
    print(f"numpy {np.__version__}, one core used")
    levels = AlertThresholds(0.0)
    levels.add()
    state = 8 * WIDTH + EPISODE.itemsize
    state += levels.to_array().nbytes
    print(f"state per sensor: {state} bytes")
    table = rig.simulated_rooms(ROOMS, SECONDS)
    rng = np.random.default_rng(1)
    print(
        f"{'readings per call':>18} {'readings/s':>12} {'µs/reading':>13}"
        f" {'fastest tenth':>14} {'in an episode':>14}"
    )
    single = [np.array([room]) for room in range(ROOMS)]
    show("1", Stream(table, ROOMS), lambda _: single)
    for width in WIDTHS:
        show(f"{width:,}", Stream(table, width), lambda _, n=width: [np.arange(n)])
    show("1,000 in any order", Stream(table, 1_000), lambda _: [rng.permutation(1_000)])
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
