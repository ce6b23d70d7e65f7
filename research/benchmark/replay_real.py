"""Replay the real recordings and print the alerts.

Usage: python -m research.benchmark.replay_real FOLDER

FOLDER contains `gym_pms5003_61s.csv.gz` (an occupied gym) and `cadr_runs_1s.csv.gz` (salt fog,
incense and smoke near an air cleaner). Neither contains vaping, so the exit code is 1 if either
causes a vape alert. Each air-cleaner run begins in dense aerosol, so ten minutes of clean air are
added before it. Each run gets its own sensor.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from alerts.policy import AlertPolicy
from ingest.recordings import read_recordings
from plumewatch.replay import Replayed, replay
from research.air_cleaner import convert_cadr


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
    print(f"  vape alerts: {len(vape)}")


def main(folder: Path) -> int:
    """Replay both recordings; return 1 if either causes a vape alert."""
    gym, cadr = folder / "gym_pms5003_61s.csv.gz", folder / "cadr_runs_1s.csv.gz"
    missing = [str(p) for p in (gym, cadr) if not p.is_file()]
    if missing:
        print("not found: " + ", ".join(missing), file=sys.stderr)
        return 2
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    began = time.perf_counter()
    quiet = replay(read_recordings([gym]), policy=AlertPolicy())
    _report("gym, 14 days of a PMS5003 at one reading a minute", quiet, time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "cadr.csv.gz"
        runs = convert_cadr(cadr, target)
        began = time.perf_counter()
        fog = replay(read_recordings([target]), policy=AlertPolicy())
        _report(f"{runs} runs of salt fog, incense and smoke", fog, time.perf_counter() - began)
    broken = [a for a in (*quiet.alerts, *fog.alerts) if a.kind == "vape"]
    print("promise kept" if not broken else f"PROMISE BROKEN: {broken[:5]}")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data"))
    sys.exit(main(parser.parse_args().folder))
