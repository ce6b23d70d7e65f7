"""Measure how fast the simulator runs offline, on one core.

Usage: python benchmarks/simulate.py [ROOMS]

Prints simulated sensor-days per second for a school day at 1 Hz with every device model, for the
hard detection benchmark, and for a whole district at its usual intervals. Exits 1 if the first
figure is below the promised ten.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from typing import TYPE_CHECKING  # noqa: E402 - threads are set before numpy loads

from sensor_sim.school import School, draw_school  # noqa: E402
from sensor_sim.simulate import simulate  # noqa: E402

if TYPE_CHECKING:
    from sensor_sim.schedule import Activity

MONDAY = 20_703 * 86_400.0
PROMISED = 10.0


def measure(label: str, school: School, activity: Activity) -> float:
    """Simulate one school day, print the cost, and return sensor-days per second."""
    begun, cpu = time.perf_counter(), time.process_time()
    readings = truths = 0
    for chunk in simulate(school, seed=1, start=MONDAY, duration_s=86_400, activity=activity):
        readings += sum(len(t.time) for t in chunk.traces)
        truths += len(chunk.truths)
    elapsed, busy = time.perf_counter() - begun, time.process_time() - cpu
    days = len(school.devices) / busy
    print(
        f"{label:<34} {len(school.devices):4d} sensors {readings:>10,} readings "
        f"{truths:>6,} truths {elapsed:6.1f} s wall {busy:6.1f} s CPU {days:6.1f} sensor-days/s"
    )
    return days


def main() -> int:
    """Run the three measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="?", type=int, default=42)
    rooms = parser.parse_args().rooms
    print(f"Python {platform.python_version()}, {platform.machine()}, one core")
    measure("warm-up (1 Hz)", draw_school(9, 2, intervals=[1]), "ordinary")
    ordinary = measure(
        "school day, 1 Hz, all models", draw_school(1, rooms, intervals=[1]), "ordinary"
    )
    hard = draw_school(1, max(rooms // 4, 1), models=["sen55", "sps30+sgp40"], intervals=[1])
    measure("hard restroom, 1 Hz", hard, "hard_restroom")
    measure("district, usual intervals", draw_school(7, 210), "ordinary")
    if ordinary < PROMISED:
        print(f"below the promised {PROMISED:g} sensor-days/s")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
