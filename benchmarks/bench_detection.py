"""Run our detector beside every published rule and two learned references.

Usage: python benchmarks/bench_detection.py [--quick] [--real FOLDER] [--explain N]

The package `benchmarks.detection_bench` says what is measured and how. Full mode writes
docs/detection-benchmark.md and its figures; --quick takes two small worlds and writes below build/.
"""

from __future__ import annotations

import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from benchmarks.detection_bench.cli import main  # noqa: E402 - threads are set before numpy loads

if __name__ == "__main__":
    sys.exit(main())
