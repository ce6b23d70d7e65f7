"""Lessons as one table, in which every source weighs the same.

A world with many nuisances or long decays would otherwise decide alone what is learned. And with
the same share of vaping in every world, log-odds mean the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.episodes import FACTS
from research.training.lessons import load, pulses_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from research.training.lessons import Lesson

    Sources = Mapping[str, Sequence[Path]]
    """Files of lessons by the name of their source."""

WEIGHTS: Final = (1.0, 0.3, 0.6, 1.0)
"""Of moments without vaping, in weak, in faint, in visible sessions."""
VAPE_SHARE: Final = 0.1
"""Of the weight of each source."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows to learn from, facts of shape (n, len(FACTS)).

    `label`: whether it is vaping, or THC; or a position in `KINDS`. `starts`: first row of each
    episode; its rows follow each other in time.
    """

    facts: NDArray[np.float32]
    label: NDArray[np.bool_] | NDArray[np.int8]
    weight: NDArray[np.float32]
    starts: NDArray[np.int64]


def pulses(sources: Sources, *, is_balanced: bool = True) -> Examples:
    """Return all judged moments of pulses, labeled vaping or not.

    A moment weighs one over the root of the number of moments of its pulse: long ones weigh no more
    than short ones. Unless balanced, sources and vaping have the weight that they happen to have.
    """
    total = sum(pulses_in(path) for paths in sources.values() for path in paths)
    facts = np.empty((total, len(FACTS)), np.float32)
    label = np.zeros(total, np.bool_)
    weight = np.zeros(total, np.float32)
    starts = []
    at = 0
    for paths in sources.values():
        first = at
        for path in paths:
            taught = load(path)
            rows = taught.is_pulse.nonzero()[0]
            part = slice(at, at + rows.size)
            facts[part] = taught.facts[rows]
            label[part] = taught.vape[rows] > 0
            weight[part] = _pulse_weights(taught, rows) * np.take(WEIGHTS, taught.vape[rows])
            starts.append(at + _changes(taught.sensor[rows], taught.episode[rows]))
            at += rows.size
        if is_balanced:
            _balance(label[first:at], weight[first:at])
    weight /= weight.mean()
    return Examples(facts, label, weight, np.concatenate(starts))


def kinds(sources: Sources) -> Examples:
    """Return the moments at which it is known what an episode is, labeled by kind.

    Raises ValueError if there are none.
    """
    return _known(sources, "kind")


def thc(sources: Sources) -> Examples:
    """Return the late moments of pulses of vaping, labeled THC or not.

    Raises ValueError if there are none.
    """
    return _known(sources, "thc")


def _known(sources: Sources, name: str) -> Examples:
    facts, label, weight = [], [], []
    for paths in sources.values():
        mine = []
        for path in paths:
            taught = load(path)
            rows = np.flatnonzero(getattr(taught, name) >= 0)
            facts.append(taught.facts[rows])
            label.append(getattr(taught, name)[rows])
            mine.append(_pulse_weights(taught, rows) if name == "thc" else np.ones(rows.size))
        total = np.concatenate(mine)
        if total.size:
            weight.append(total / total.sum())
    if not weight:
        raise ValueError(f"no {name} is known in {', '.join(sources)}: simulate more")
    weights = np.concatenate(weight)
    return Examples(
        np.concatenate(facts),
        np.concatenate(label),
        (weights / weights.mean()).astype(np.float32),
        np.arange(weights.size),
    )


def _pulse_weights(taught: Lesson, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    starts = _changes(taught.sensor[rows], taught.pulse[rows])
    n = np.diff(starts, append=rows.size)
    weights: NDArray[np.float64] = np.repeat(1.0 / np.sqrt(n), n)
    return weights


def _changes(sensor: NDArray[np.int32], onset: NDArray[np.float64]) -> NDArray[np.int64]:
    again = (sensor[1:] == sensor[:-1]) & (onset[1:] == onset[:-1])
    starts: NDArray[np.int64] = np.flatnonzero(np.r_[np.ones(min(sensor.size, 1), bool), ~again])
    return starts


def _balance(label: NDArray[np.bool_], weight: NDArray[np.float32]) -> None:
    """Scale the weights of one source to a sum of 1, vaping to its share of it.

    A source without vaping weighs half as much as the negatives of others.
    """
    if label.any():
        weight[label] *= VAPE_SHARE / weight[label].sum()
        weight[~label] *= (1.0 - VAPE_SHARE) / weight[~label].sum()
    elif label.size:
        weight *= 0.5 * (1.0 - VAPE_SHARE) / weight.sum()
