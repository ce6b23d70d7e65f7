"""Random numbers and slowly varying series."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.random import Generator

Floats: TypeAlias = NDArray[np.float64]


def draw_log(rng: Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_normal(
    rng: Generator, median: float, sigma: float, low: float = -inf, high: float = inf
) -> float:
    """Draw a lognormal number, clipped to a range."""
    return min(max(float(median * np.exp(sigma * rng.standard_normal())), low), high)


def wander(rng: Generator, seconds: int, tau: float, sd: float, step: int = 1) -> Floats:
    """Return a mean-reverting series (Ornstein-Uhlenbeck) with one value per second.

    It is drawn every `step` seconds and interpolated.
    """
    count = seconds // step + 3
    keep = np.exp(-step / tau)
    noise = rng.standard_normal(count) * sd * np.sqrt(1 - keep * keep)
    noise[0] = rng.standard_normal() * sd
    series: Floats = np.asarray(lfilter([1.0], [1.0, -keep], noise))
    if step == 1:
        return series[:seconds]
    return np.interp(np.arange(seconds), np.arange(count) * step, series)


def lagged(series: Floats, tau: float) -> Floats:
    """Apply a first-order lag of `tau` seconds, starting settled at the first value."""
    keep = np.exp(-1.0 / max(tau, 1e-3))
    out, _ = lfilter([1 - keep], [1.0, -keep], series, axis=0, zi=np.atleast_1d(series[0] * keep))
    return np.asarray(out)
