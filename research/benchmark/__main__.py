"""Run the detection benchmark in every world and on recordings.

Usage: python -m research.benchmark [--quick] [--real FOLDER] [--recordings FOLDER]

The docstring of `research.benchmark` describes the measurements. By default, the results go to
research/benchmark/results.md; --quick uses few rooms and writes to build/.
"""

from __future__ import annotations

import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from research.benchmark.cli import main  # noqa: E402 - threads are set before numpy loads

if __name__ == "__main__":
    sys.exit(main())
