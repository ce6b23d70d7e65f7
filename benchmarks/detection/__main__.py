"""Entry point of ``python -m benchmarks.detection``."""

from __future__ import annotations

import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from benchmarks.detection.cli import main  # noqa: E402 - threads are set before numpy loads

if __name__ == "__main__":
    sys.exit(main())
