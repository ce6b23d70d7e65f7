"""Convert the air-cleaner recording to the format of `plumewatch replay`.

Each run begins in dense aerosol, so ten minutes of clean air are added before it. Each run gets its
own sensor.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

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
    """Write the air-cleaner runs in the format of `plumewatch replay`; return their number."""
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
