"""Make the readings of the golden replay cases, and update the expected results.

Usage: python tests/golden/make_cases.py [--readings] [--write]

Shows how the results of a replay differ from the expected results. ``--write`` stores the new
results; check the differences first, because each line is an alert that staff would or would not
have got. ``--readings`` also makes the recordings again.
"""

from __future__ import annotations

import argparse
import difflib
import math
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from alerts.policy import AlertPolicy
from ingest.recordings import read_recordings
from plumewatch.replay import replay, write_alerts, write_events

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = Path(__file__).parent / "replay"
OUTPUTS = ("alerts.csv", "events.csv")
_START = 1_790_000_000
_BEGIN_S = 240.0
_COLUMNS = ("pm1", "pm25", "pm10", "voc_index", "rh", "temp")


def rise_and_fall(since: float, rise_s: float, efold_s: float) -> float:
    """Return the shape of a plume with peak 1: linear rise, exponential decay."""
    if since < 0:
        return 0.0
    return since / rise_s if since < rise_s else math.exp(-(since - rise_s) / efold_s)


def one_puff(t: float) -> dict[str, float]:
    """Return one exhaled puff: fine, rises in 4 s, e-folding time 18 s, hardly any gas."""
    fine = 160 * rise_and_fall(t, 4, 18)
    return {"pm1": 0.9 * fine, "pm25": fine, "pm10": 1.02 * fine, "voc_index": 0.06 * fine}


def spray(t: float) -> dict[str, float]:
    """Return deodorant: coarse and fine droplets, and a gram of propellant that stays for
    minutes."""
    fine = 220 * rise_and_fall(t, 5, 50)
    return {
        "pm1": 0.5 * fine,
        "pm25": fine,
        "pm10": 1.9 * fine,
        "voc_index": 380 * rise_and_fall(t, 10, 240),
    }


def steam(t: float) -> dict[str, float]:
    """Return hot water: droplets that disappear along with the humidity."""
    fine = 60 * rise_and_fall(t, 60, 90)
    return {
        "pm1": 0.6 * fine,
        "pm25": fine,
        "pm10": 1.3 * fine,
        "rh": 26 * rise_and_fall(t, 60, 240),
    }


def smoke(t: float) -> dict[str, float]:
    """Return a cigarette: it builds up over a minute and stays."""
    fine = 240 * rise_and_fall(t, 70, 900)
    return {"pm1": 0.95 * fine, "pm25": fine, "pm10": fine, "voc_index": 0.4 * fine}


def dust(t: float) -> dict[str, float]:
    """Return dry sweeping: coarse, rises in half a minute, settles within a minute or two."""
    fine = 30 * rise_and_fall(t, 30, 70)
    return {"pm1": 0.3 * fine, "pm25": fine, "pm10": 6 * fine}


def nothing(_: float) -> dict[str, float]:
    """Return clean air."""
    return {}


MADE: dict[str, tuple[Callable[[float], dict[str, float]], str]] = {
    "one_puff": (one_puff, ""),
    "spray": (spray, ""),
    "steam": (steam, ""),
    "smoke": (smoke, ""),
    "dust": (dust, ""),
    "empty_air": (nothing, ""),
    "gaps": (one_puff, "gaps"),
    "fine_only": (one_puff, "fine"),
}


def make_readings(name: str) -> str:
    """Return a case's readings.csv as text: 15 minutes with a reading every 2 s."""
    plume, special = MADE[name]
    rng = random.Random(sum(name.encode()))
    columns = ("pm25",) if special == "fine" else _COLUMNS
    lines = [",".join(("time", "sensor", *columns))]
    for k in range(450):
        at = 2.0 * k
        if special == "gaps" and (100 <= at < 130 or 246 <= at < 252 or 400 <= at < 760):
            continue
        values = {
            "pm1": 2.6 + rng.gauss(0, 0.15),
            "pm25": 4.0 + rng.gauss(0, 0.2),
            "pm10": 4.6 + rng.gauss(0, 0.25),
            "voc_index": 100 + rng.gauss(0, 1),
            "rh": 41 + rng.gauss(0, 0.1),
            "temp": 21.5,
        }
        for key, more in plume(at - _BEGIN_S).items():
            values[key] += more
        if special == "gaps" and rng.random() < 0.1:
            del values[rng.choice(("pm1", "voc_index", "rh"))]
        cells = [f"{max(values[c], 0):.1f}" if c in values else "" for c in columns]
        lines.append(",".join((f"{_START + at:.0f}", "n2-boys-1", *cells)))
    return "\n".join(lines) + "\n"


def outputs_of(case: Path) -> dict[str, str]:
    """Replay a case's readings, and return the results by file name."""
    with tempfile.TemporaryDirectory() as scratch:
        result = replay(read_recordings([case / "readings.csv"]), policy=AlertPolicy())
        alerts, events = (Path(scratch) / name for name in OUTPUTS)
        write_alerts(alerts, result.alerts)
        write_events(events, result)
        return {path.name: path.read_text(encoding="utf-8") for path in (alerts, events)}


def difference(case: Path) -> list[str]:
    """Return the differences from the expected results as a unified diff."""
    lines: list[str] = []
    for name, now in outputs_of(case).items():
        path = case / name
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            expected.splitlines(),
            now.splitlines(),
            f"{case.name}/{name} (expected)",
            f"{case.name}/{name} (now)",
            lineterm="",
            n=0,
        )
    return lines


def main() -> int:
    """Show the differences; write them only on request."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readings", action="store_true", help="make the recordings anew")
    parser.add_argument("--write", action="store_true", help="write what is shown")
    options = parser.parse_args()
    if options.readings:
        for name in MADE:
            (CASES / name).mkdir(parents=True, exist_ok=True)
            (CASES / name / "readings.csv").write_text(make_readings(name), encoding="utf-8")
    changed = 0
    for case in sorted(path.parent for path in CASES.glob("*/readings.csv")):
        lines = difference(case)
        changed += bool(lines)
        sys.stdout.writelines(line + "\n" for line in lines)
        if options.write and lines:
            for name, text in outputs_of(case).items():
                (case / name).write_text(text, encoding="utf-8")
    done = "written" if options.write else "nothing written; `make golden WRITE=1` writes it"
    sys.stdout.write(f"{changed} cases differ{f' ({done})' if changed else ''}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
