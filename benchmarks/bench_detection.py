"""Run the detector in every world, by models trained with and without it, and on recordings.

Usage: python benchmarks/bench_detection.py [--quick] [--real FOLDER] [--recordings FOLDER]

The package `benchmarks.detection_bench` says what is measured and how. Full mode writes
docs/detection-benchmark.md; --quick takes few rooms and writes below build/.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.detection_bench.cli import main  # noqa: E402 - threads are set before numpy loads

if __name__ == "__main__":
    sys.exit(main())
