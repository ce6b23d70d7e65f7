"""Measure a district's reports over a school year: seconds, CPU seconds and peak memory.

The first run creates a data folder in ``.bench/reports`` with 200 sensors and 300 days. It contains
incidents with notices, answers and feedback as the service stores them, and each sensor's health
every five minutes. The benchmark then runs ``plumewatch report`` as a user would. The goal for each
report is 30 s and 500 MB.
"""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING

import load_rig as rig

from storage.sqlite import connect
from storage.timeseries.sqlite import SqliteSeries
from tests.support.school_year import config_text, fill_state, moment

if TYPE_CHECKING:
    from pathlib import Path

FIRST = date(2025, 8, 25)
RUNS = (
    ("summary", "pdf"),
    ("incidents", "csv"),
    ("incidents", "xlsx"),
    ("incidents", "parquet"),
    ("response", "csv"),
    ("sensors", "xlsx"),
)


def make(root: Path, sensors: int, days: int) -> None:
    """Fill a data folder."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "plumewatch-data").mkdir(parents=True)
    started = time.monotonic()
    incidents = fill_state(root / "plumewatch-data/state.db", FIRST, days, sensors, a_day=1.5)
    print(f"made {incidents:,} incidents in {time.monotonic() - started:.0f} s", flush=True)
    with SqliteSeries(root / "plumewatch-data/series.db"):
        pass
    start = int(moment(FIRST))
    with closing(connect(root / "plumewatch-data/series.db")) as db:
        db.execute("PRAGMA synchronous=OFF")
        for k in range(sensors):
            rig.write_health(db, f"pw-{k}", days * 288, start)
            if k % 20 == 19:
                rows, took = (k + 1) * days * 288, time.monotonic() - started
                print(f"made {rows:,} sensor health records, {took:.0f} s", flush=True)
    (root / "plumewatch.toml").write_text(config_text(sensors), encoding="utf-8")


def main() -> None:
    """Create missing data and measure."""
    asked = rig.options(__doc__, sensors=200, days=300)
    root = rig.ROOT / ".bench" / f"reports-{asked.sensors}-{asked.days}"
    if not (root / "plumewatch.toml").exists():
        make(root, asked.sensors, asked.days)
    last = FIRST + timedelta(days=asked.days - 1)
    rig.print_machine()
    print(f"{asked.sensors} sensors, {asked.days} days")
    print(
        "| report | seconds | CPU seconds | peak MB | file, MB |\n|---|---|---|---|---|", flush=True
    )
    for name, kind in RUNS:
        took, cpu, peak, out = rig.time_report(root, name, kind, FIRST, last)
        size = out.stat().st_size / 1e6
        print(f"| {name} {kind} | {took:.1f} | {cpu:.1f} | {peak:.0f} | {size:.1f} |", flush=True)


if __name__ == "__main__":
    main()
