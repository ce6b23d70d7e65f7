"""Expected false alarms above a threshold, by the peaks-over-threshold method.

False alarms are rare, so the threshold at which one a week is expected lies where there is little
or no data. Extreme-value theory gives the tail of almost any distribution there:
excesses over a high threshold tend to a generalized Pareto distribution (Pickands 1975; Coles 2001,
ch. 4, "An Introduction to Statistical Modeling of Extreme Values"). It is fitted here by
probability-weighted moments (Hosking and Wallis 1987, Technometrics 29(3), eq. 6), which are in
closed form, take weights and beat maximum likelihood on the few dozen excesses there are.

Where we differ: excesses are counts in bins of `STEP`, taken at the middle of their bin; the shape
is held within `SHAPE`, as a score made by a finite number of trees has neither a heavy tail nor an
end just above its largest value.

The survival function is that of ``scipy.stats.genpareto``, and a test holds them equal; it is
written out because importing scipy.stats takes most of a second, in the thread that alerts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP: Final = 0.125
"""Width of a bin, log-odds."""
SHAPE: Final = (-0.5, 0.5)
"""Bounds of the shape of the tail."""
TAIL: Final = 25.0
"""Excesses the threshold leaves above it, where there are so many."""
LEAST: Final = 10.0
"""With fewer excesses no tail is fitted: what was counted is what is expected."""


def fit_excesses(
    weight: NDArray[np.float64], excess: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shape and scale of generalized Pareto distributions, by probability-weighted moments.

    Parameters
    ----------
    weight : ndarray of float64, shape (n, k)
        How many excesses of each size, not negative; each row has some.
    excess : ndarray of float64, shape (n, k)
        Their sizes, ascending and positive wherever there is weight.

    Returns
    -------
    shape, scale : ndarray of float64, shape (n,)
        In the convention of scipy: positive shapes are heavy tails.
    """
    total = weight.sum(axis=1)
    larger = total[:, None] - np.cumsum(weight, axis=1) + 0.5 * weight
    mean = (weight * excess).sum(axis=1) / total
    moment = (weight * excess * larger).sum(axis=1) / (total * total)
    spread = np.maximum(mean - 2.0 * moment, 1e-9)
    shape = np.clip(2.0 - mean / spread, *SHAPE)
    return shape, mean * (1.0 - shape)


def survival(
    excess: NDArray[np.float64], shape: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability that an excess is larger, as ``scipy.stats.genpareto.sf``; arrays broadcast."""
    x = np.maximum(excess, 0.0) / scale
    thin = np.abs(shape) < 1e-6
    safe = np.where(thin, 1.0, shape)
    inside = np.maximum(1.0 + safe * x, 0.0)
    with np.errstate(divide="ignore"):
        heavy = np.where(inside > 0.0, np.exp(-np.log(inside) / safe), 0.0)
    result: NDArray[np.float64] = np.where(thin, np.exp(-x), heavy)
    return result


def expected_above(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count the scores to be expected at or above the lower edge of each bin.

    Up to a threshold it is what was counted, above it the fitted tail; it never rises.

    Parameters
    ----------
    counts : ndarray of float64, shape (n, n_bins)
        Weight of the scores in each bin, bins ascending, `STEP` wide.

    Examples
    --------
    >>> expected_above(np.array([[4.0, 2.0, 1.0, 0.0]]))
    array([[7., 3., 1., 0.]])
    """
    above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1].astype(np.float64)
    rows = np.flatnonzero(above[:, 0] >= LEAST)
    if not rows.size:
        return above
    enough = above[rows] >= TAIL
    at = np.where(enough[:, 0], counts.shape[1] - 1 - np.argmax(enough[:, ::-1], axis=1), 0)
    bins = np.arange(counts.shape[1])
    beyond = bins >= at[:, None]
    over = (bins - at[:, None]).astype(np.float64) * STEP
    excess = over + 0.5 * STEP
    shape, scale = fit_excesses(np.where(beyond, counts[rows], 0.0), np.where(beyond, excess, 1.0))
    tail = survival(over, shape[:, None], scale[:, None])
    total = above[rows, at][:, None]
    above[rows] = np.where(beyond, total * tail, above[rows])
    return above
