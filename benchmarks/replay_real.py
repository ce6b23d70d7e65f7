"""Replay the real recordings and print what would have alerted.

Usage: python benchmarks/replay_real.py FOLDER

FOLDER holds `gym_pms5003_61s.csv.gz` (an occupied gym) and `cadr_runs_1s.csv.gz` (salt fog, incense
and smoke). Neither holds vaping: exits 1 if the first alerts, or an alert of the second is not
withdrawn. Its runs start at a high level, so each gets ten minutes of clean air and its own sensor.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import platform
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from alerts.policy import AlertPolicy
from plumewatch.replay import Replayed, replay

_COUNTS = {
    "cnt03": "n03",
    "cnt05": "n05",
    "cnt10": "n10",
    "cnt25": "n25",
    "cnt50": "n50",
    "cnt100": "n100",
}
_MASS = ("pm1", "pm25", "pm4", "pm10")
_LEAD_S = 600
_GAP_S = 86_400.0


def convert_cadr(source: Path, target: Path) -> int:
    """Write the air-cleaner runs in the form `plumewatch replay` takes; return the run count."""
    runs: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    with gzip.open(source, "rt", newline="") as file:
        for row in csv.DictReader(file):
            runs[row["sensor"], row["source"], row["run"]].append(row)
    columns = [*_MASS, *_COUNTS.values(), "temp", "rh"]
    start = 1_700_000_000.0
    clean = random.Random(7)
    with gzip.open(target, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "sensor", *columns])
        for (sensor, aerosol, run), rows in runs.items():
            name = f"{sensor}.{aerosol}.{run}"[:64]
            present = [c for c in _MASS if any(r[c] for r in rows)]
            first = float(rows[0]["t_s"])
            for k in range(_LEAD_S):
                lead = {c: f"{2 + clean.gauss(0, 0.3):.1f}" for c in present}
                lead |= {c: rows[0][c] for c in ("temp", "rh")}
                writer.writerow([start - _LEAD_S + k, name, *(lead.get(c, "") for c in columns)])
            for row in rows:
                values = {c: row[c] for c in (*_MASS, "temp", "rh")}
                for ours, theirs in ((v, k) for k, v in _COUNTS.items()):
                    values[ours] = str(float(row[theirs]) / 100) if row[theirs] else ""
                stamp = f"{start + float(row['t_s']) - first + 1:.2f}"
                writer.writerow([stamp, name, *(values[c] for c in columns)])
            start += _GAP_S
    return len(runs)


def _report(name: str, result: Replayed, seconds: float) -> None:
    kinds: dict[str, int] = defaultdict(int)
    for event in result.events.values():
        kinds[event.kind.value] += 1
    vape = [a for a in result.alerts if a.kind == "vape"]
    said = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"
    print(
        f"{name}: {result.readings:,} readings in {seconds:.1f} s"
        f" ({result.readings / seconds:,.0f}/s)"
    )
    print(f"  events: {said}")
    print(
        f"  vape alerts: {len(vape)}, not withdrawn at the end: {len(result.not_withdrawn('vape'))}"
    )


def main(folder: Path) -> int:
    """Run both recordings; 1 if a promise is broken."""
    gym, cadr = folder / "gym_pms5003_61s.csv.gz", folder / "cadr_runs_1s.csv.gz"
    missing = [str(p) for p in (gym, cadr) if not p.is_file()]
    if missing:
        print("not found: " + ", ".join(missing), file=sys.stderr)
        return 2
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    began = time.perf_counter()
    quiet = replay([gym], policy=AlertPolicy())
    _report("gym, 14 days of a PMS5003 at one reading a minute", quiet, time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "cadr.csv.gz"
        runs = convert_cadr(cadr, target)
        began = time.perf_counter()
        fog = replay([target], policy=AlertPolicy())
        _report(f"{runs} runs of salt fog, incense and smoke", fog, time.perf_counter() - began)
    broken = [a for a in quiet.alerts if a.kind == "vape"] + fog.not_withdrawn("vape")
    print("promise kept" if not broken else f"PROMISE BROKEN: {broken[:5]}")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data"))
    sys.exit(main(parser.parse_args().folder))
