"""Random draws, and series with one value per second."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.signal import lfilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

T = TypeVar("T")


def draw_log(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def pick(rng: np.random.Generator, options: Sequence[T], p: Sequence[float] | None = None) -> T:
    """Draw one of `options`; all are equally likely unless `p` is given."""
    return options[int(rng.choice(len(options), p=p))]


def fluctuation(rng: np.random.Generator, n: int, tau: float) -> Floats:
    """Draw an Ornstein-Uhlenbeck series of unit variance; `tau` is in steps."""
    a = np.exp(-1.0 / tau)
    steps = rng.standard_normal(n) * np.sqrt(1 - a * a)
    series: Floats = lfilter([1], [1, -a], steps, zi=[a * rng.standard_normal()])[0]
    return series


def lag(x: Floats, tau: float) -> Floats:
    """Apply a first-order lag, starting settled at the first value; `tau` is in steps."""
    a = np.exp(-1.0 / tau)
    delayed: Floats = lfilter([1 - a], [1, -a], x, zi=[a * x[0]])[0]
    return delayed
