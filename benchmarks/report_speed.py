"""A school year of a district as reports: seconds, CPU seconds, peak memory.

Makes a data folder of 200 sensors and 300 days once, in ``.bench/reports``: incidents with notices,
answers and feedback as a service stores them, and how each sensor was every five minutes. Then
runs ``plumewatch report`` as a user would. The goal is 30 s and 500 MB for each.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

from storage.sqlite import connect
from storage.timeseries.sqlite import SqliteSeries
from tests.support.school_year import config_text, fill_state, moment

ROOT = Path(__file__).resolve().parents[1]
FIRST = date(2025, 8, 25)
RUNS = (
    ("summary", "pdf"),
    ("summary", "html"),
    ("incidents", "csv"),
    ("incidents", "xlsx"),
    ("incidents", "parquet"),
    ("incidents", "json"),
    ("response", "csv"),
    ("sensors", "xlsx"),
)
_HEALTH = """
INSERT INTO sensor_health (sensor, time, period_s, online, online_s, interval_s, expected, received,
    missing, duplicates, late, clock_faults, faulty, unjudged, last_seen, faults, tamper, state)
WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < ?)
SELECT ?, (? + 300 * i) * 1000000000, 300.0, 1.0, 300.0, 5.0, 60.0, 60.0 - (i % 50 = 0),
    i % 50 = 0, 0.0, 0.0, 0.0, 0.0, 0.0, ? + 300.0 * i, 0.0, 0.0, 'alive' FROM k
"""


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
            db.execute(_HEALTH, (days * 288, f"pw-{k}", start, start))
            if k % 20 == 19:
                rows, took = (k + 1) * days * 288, time.monotonic() - started
                print(f"made {rows:,} records of sensors, {took:.0f} s", flush=True)
    (root / "plumewatch.toml").write_text(config_text(sensors), encoding="utf-8")


def measure(root: Path, name: str, kind: str, last: date) -> tuple[float, float, float, float]:
    """Run a report: seconds, CPU seconds, peak MB, MB of the file."""
    out = root / f"{name}.{kind}"
    command = [sys.executable, "-m", "plumewatch", "report", name, "--from", str(FIRST)]
    command += ["--to", str(last), "--format", kind, "--out", str(out), "--force"]
    started = time.monotonic()
    child = subprocess.Popen(
        [*command, "--config", str(root / "plumewatch.toml")], cwd=ROOT, stderr=subprocess.PIPE
    )
    said = child.stderr.read().decode() if child.stderr else ""
    _, status, usage = os.wait4(child.pid, 0)
    took = time.monotonic() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, said
    cpu = usage.ru_utime + usage.ru_stime
    return took, cpu, usage.ru_maxrss / 1024, out.stat().st_size / 1e6


def main() -> None:
    """Make what is missing, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--days", type=int, default=300)
    asked = parser.parse_args()
    root = ROOT / ".bench" / f"reports-{asked.sensors}-{asked.days}"
    if not (root / "plumewatch.toml").exists():
        make(root, asked.sensors, asked.days)
    last = FIRST + timedelta(days=asked.days - 1)
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python", end=" ")
    print(f"{platform.python_version()}; {asked.sensors} sensors, {asked.days} days")
    print(
        "| report | seconds | CPU seconds | peak MB | file, MB |\n|---|---|---|---|---|", flush=True
    )
    for name, kind in RUNS:
        took, cpu, peak, size = measure(root, name, kind, last)
        print(f"| {name} {kind} | {took:.1f} | {cpu:.1f} | {peak:.0f} | {size:.1f} |", flush=True)


if __name__ == "__main__":
    main()
