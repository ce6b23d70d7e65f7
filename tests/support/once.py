"""Build expensive test data only once for all pytest workers."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    import pytest


def made_once(
    paths: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]
) -> tuple[Path, Any]:
    """Return a copy of a folder that `make` filled, and `make`'s return value.

    The first worker that calls this fills the folder; the others wait and copy it.
    """
    root = paths.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has its own folder below the common one
        root = root.parent
    shared, result = root / f"once-{name}", root / f"once-{name}.pickle"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shared.mkdir()
            result.write_bytes(pickle.dumps(make(shared)))
    copy = paths.mktemp(name) / "copy"
    shutil.copytree(shared, copy)
    return copy, pickle.loads(result.read_bytes())  # noqa: S301 - written above
