"""Seeded random streams: one per name, so that the order of draws doesn't matter."""

from __future__ import annotations

import zlib

import numpy as np


def make_stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random generator that belongs to `names` under `seed`.

    - `*names`: purpose of the stream, such as ``("room", "b1-f1-boys", 3)``.

    >>> bool(make_stream(1, "a").random() == make_stream(1, "a").random())
    True
    >>> bool(make_stream(1, "a").random() == make_stream(1, "b").random())
    False
    """
    words = [n if isinstance(n, int) else zlib.crc32(n.encode()) for n in names]
    return np.random.Generator(np.random.SFC64([seed, *words]))


def draw_log(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from `low` to `high`, uniform in the logarithm.

    >>> 1 <= draw_log(make_stream(1, "x"), 1.0, 10.0) <= 10
    True
    """
    return float(low * (high / low) ** rng.random())
