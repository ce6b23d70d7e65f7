"""Combine lessons into one training table in which every source has the same weight.

Otherwise, a world with many nuisances or long decays would dominate training. Because vaping has
the same share in every world, one log-odds threshold fits all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.training.lessons import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from research.training.lessons import Lesson

    Sources = Mapping[str, Sequence[Path]]
    """Files of lessons, by name of their source."""

WEIGHTS: Final = np.array([1.0, 0.3, 0.6, 1.0], np.float32)
"""Weight of a moment without vaping, and in a weak, faint or visible session."""
VAPE_SHARE: Final = 0.08
"""Share of each source's weight that vaping gets."""
KEPT: Final = 0.4
"""Share of episodes without vaping that the trees are trained on."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Training examples; `features` has the shape (n, len(FEATURES)).

    `label` is a boolean (vaping, or THC) or an index in `KINDS`. `starts` has the first row of each
    episode; an episode's rows are in time order.
    """

    features: NDArray[np.float32]
    label: NDArray[np.bool_] | NDArray[np.int8]
    weight: NDArray[np.float32]
    starts: NDArray[np.int64]


def pulses(sources: Sources, kept: float = 1.0) -> Examples:
    """Return the moments at which pulses are scored, labeled as vaping or not.

    A moment's weight is the square root of the time since the previous one. `kept` is the share of
    episodes without vaping that are used; their weight is increased accordingly.
    """
    features, labels, weights, starts = [], [], [], []
    at = 0
    for paths in sources.values():
        mine = []
        for number, path in enumerate(paths):
            taught = load(path)
            rows, begin = _episodes(taught, kept, np.random.default_rng(number))
            vape = taught.vape[rows]
            features.append(taught.features[rows])
            labels.append(vape > 0)
            mine.append(np.sqrt(taught.gap_s[rows]) * WEIGHTS[vape])
            starts.append(at + begin)
            at += rows.size
        weights.append(_balanced(np.concatenate(labels[-len(paths) :]), np.concatenate(mine)))
    weight = np.concatenate(weights)
    weight /= weight.mean()
    return Examples(
        np.concatenate(features), np.concatenate(labels), weight, np.concatenate(starts)
    )


def _episodes(
    taught: Lesson, share: float, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Select all episodes with vaping and some without.

    Return their pulse rows, and where each episode starts in them.
    """
    rows = np.flatnonzero(taught.is_pulse)
    sensor, onset = taught.sensor[rows], taught.episode[rows]
    new = np.ones(rows.size, np.bool_)
    new[1:] = (sensor[1:] != sensor[:-1]) | (onset[1:] != onset[:-1])
    number = np.cumsum(new) - 1
    kept = np.bincount(number, taught.vape[rows] > 0) > 0
    kept |= draw.random(kept.size) < share
    used = kept[number]
    return rows[used], np.flatnonzero(new[used])


def known(sources: Sources, name: str) -> Examples:
    """Return the moments for which the label `name`, ``kind`` or ``thc``, is known.

    Raises ValueError if there are none.
    """
    features, label, weight = [], [], []
    for path in (path for paths in sources.values() for path in paths):
        taught = load(path)
        rows = np.flatnonzero(getattr(taught, name) >= 0)
        if rows.size:
            features.append(taught.features[rows])
            label.append(getattr(taught, name)[rows])
            weight.append(np.full(rows.size, 1.0 / rows.size, np.float32))
    if not weight:
        raise ValueError(f"no {name} is known in {', '.join(sources)}: simulate more")
    weights = np.concatenate(weight)
    weights /= weights.mean()
    return Examples(
        np.concatenate(features), np.concatenate(label), weights, np.arange(weights.size)
    )


def _balanced(label: NDArray[np.bool_], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale one source's weights to a sum of 1, of which vaping gets `VAPE_SHARE`."""
    share = np.where(label, VAPE_SHARE, 1.0 - VAPE_SHARE).astype(np.float32)
    total = np.bincount(label, weight, 2).astype(np.float32)
    balanced: NDArray[np.float32] = share * weight / total[label.astype(np.int8)]
    return balanced
