"""Measure how long it takes to lay out an evidence picture and to render it as SVG and as PNG.

The readings of one sensor cover half an hour before and after a puff, at 1 Hz and every 5 s. The
imports that a process's first PNG needs are measured separately.

Run: ``python benchmarks/evidence_picture.py [pictures] [--write FILE.svg]``; ``--write`` saves the
picture with a reading every 5 s.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alerts.notify.evidence_picture import EvidenceFacts, draw
from reports.drawing import render_png, render_svg

if TYPE_CHECKING:
    from collections.abc import Callable

ONSET = 1_788_789_900.0
FIRST = "import time; t = time.perf_counter(); from reports.drawing import warm_up; warm_up();"
FIRST += " print(time.perf_counter() - t)"


def timed(count: int, work: Callable[[], object]) -> str:
    """Return the median and 99th percentile of `count` calls."""
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - begun))
    return (
        f"p50 {statistics.median(took):.1f} ms, p99 {statistics.quantiles(took, n=100)[98]:.1f} ms"
    )


def main(count: int, write: Path | None) -> None:
    """Run the benchmark and print the results."""
    facts = EvidenceFacts(
        kind="vape",
        room="Boys' restroom",
        place="2nd floor, North",
        sensor="n2-boys-1",
        onset=ONSET,
        alerted=ONSET + 6,
        end=ONSET + 240,
        until=ONSET + 240,
        sentence="PM2.5 rose from 4 to 180 µg/m³ in 6 s",
        zone="America/New_York",
        baselines={"pm25": 4.0, "voc_index": 94.0, "rh": 41.0},
    )
    rng = np.random.default_rng(1)
    for step in (1.0, 5.0):
        at = np.arange(ONSET - 1800, ONSET + 1800, step)
        age = at - ONSET
        plume = np.where(age > 0, 176 * np.exp(-np.maximum(age, 0) / 60), 0.0)
        values = {
            "pm25": 4 + plume + rng.normal(0, 0.4, at.size),
            "voc_index": 94 + rng.normal(0, 1, at.size),
            "rh": 41 + rng.normal(0, 0.1, at.size),
        }
        drawing = draw(facts, at, values)
        print(f"a reading every {step:g} s, {at.size} readings")
        print(f"  laid out: {timed(count, lambda a=at, v=values: draw(facts, a, v))}")
        for name, render in (("SVG", render_svg), ("PNG", render_png)):
            took = timed(count, lambda d=drawing, render=render: render(d))
            print(f"  {name}, {len(render(drawing)):,} bytes: {took}")
    if write is not None:
        write.write_text(render_svg(drawing), encoding="utf-8")
    first = subprocess.run(
        [sys.executable, "-c", FIRST], check=True, capture_output=True, text=True
    )
    print(f"imports for the first PNG of a process: {1000 * float(first.stdout):.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=int, nargs="?", default=100)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    main(given.pictures, given.write)
