"""The model: boosted trees and a network that score pulses, and the alert threshold.

``make train`` trains it on simulated seeds and writes a small file. Every plume event includes the
file's version. The forests are gradient-boosted trees over features that describe the physics of
plumes (`detection.episodes`).

Trees score each reading alone. The network, a GRU, gets the features of all scored readings of an
episode in order, and remembers the earlier ones. Its numbers are multiples of a power of two, small
enough that sums of products are exact in double precision. A row's result therefore doesn't depend
on other rows, on the order of summation or on the machine.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np
from scipy.special import expit, softmax

from detection.episodes import FEATURES
from detection.errors import ModelError
from detection.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ROWS: Final = 16
"""Rows scored together, so that intermediate results stay in a core's cache."""
KINDS: Final = (
    EventKind.VAPE,
    EventKind.SMOKE,
    EventKind.SPRAY,
    EventKind.STEAM,
    EventKind.VOC,
    EventKind.DUST,
)
"""Kinds of episode, in the order of their codes."""

_FORESTS: Final = ("vape", "kinds", "thc")


@dataclass(frozen=True, slots=True)
class Forest:
    """Additive ensembles of binary trees, equal in number and depth, that are evaluated together.

    Attributes
    ----------
    column : ndarray of int64, shape (n_trees, 2**depth - 1)
        Index of the feature compared at each node. If an unknown value goes right at a node, the
        number of features is added to that node's index.
    threshold : ndarray of float64, shape (n_trees, 2**depth - 1)
        A feature above the threshold goes right.
    value : ndarray of float64, shape (n_trees, 2**depth)
        Score that each leaf adds.
    offset : ndarray of float64, shape (n_scores,)
        Scores before any tree is added. The trees of the first score come first.
    """

    column: NDArray[np.int64]
    threshold: Floats
    value: Floats
    offset: Floats
    _levels: tuple[tuple[NDArray[np.intp], Floats], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Lay out the nodes of each depth one after the other."""
        levels, width = [], 1
        while width < self.value.shape[1]:
            nodes = slice(width - 1, 2 * width - 1)
            column, threshold = self.column[:, nodes].ravel(), self.threshold[:, nodes].ravel()
            levels.append((column.astype(np.intp), threshold))
            width *= 2
        object.__setattr__(self, "_levels", tuple(levels))

    def score(self, features: Floats) -> Floats:
        """Return the log-odds of each row, shape (n_scores, n).

        Parameters
        ----------
        features : ndarray of float64, shape (n, n_features)
            NaN where not known.
        """
        scores = np.empty((self.offset.size, features.shape[0]))
        for start in range(0, features.shape[0], _ROWS):
            rows = slice(start, start + _ROWS)
            leaves = self.value.ravel().take(self._find_leaves(features[rows]))
            scores[:, rows] = _sum_trees(leaves, self.offset.size)
        scores += self.offset[:, None]
        return scores

    def _find_leaves(self, features: Floats) -> NDArray[np.intp]:
        """Return the leaf that each row reaches in each tree, shape (n_trees, n).

        Leaves are numbered consecutively, beginning with the first tree's.
        """
        n, n_features = features.shape
        unknown = np.isnan(features)
        both = np.concatenate(
            [np.where(unknown, -np.inf, features), np.where(unknown, np.inf, features)], axis=1
        ).ravel()
        column, threshold = self._levels[0]
        # Repeat the offsets for each tree, because numpy adds arrays of equal shape in one loop.
        row = np.repeat(np.arange(0, both.size, 2 * n_features)[None], column.size, axis=0)
        # Every tree starts at its root, so there is no need to look it up for each row.
        right = both.reshape(n, -1).T.take(column, axis=0) > threshold[:, None]
        node = np.add(right, np.arange(0, 2 * column.size, 2)[:, None], dtype=np.intp)
        for column, threshold in self._levels[1:]:
            feature = column.take(node)
            feature += row
            right = both.take(feature) > threshold.take(node)
            node += node
            node += right
        return node

    @classmethod
    def from_arrays(cls, name: str, stored: Mapping[str, NDArray[Any]]) -> Forest:
        """Return the forest stored in a model file under `name`."""
        column, *others = (
            stored[f"{name}_{part}"] for part in ("column", "threshold", "value", "offset")
        )
        return cls(column.astype(np.int64), *others)


def _sum_trees(added: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    """Sum the trees of each of `parts` scores, always in the same order; overwrite `added`."""
    n_trees, n = added.shape
    added = added.reshape(parts, -1, n)
    left = n_trees // parts
    while left > 1:
        half = (left + 1) // 2
        added[:, : left - half] += added[:, half:left]
        left = half
    total: NDArray[np.float64] = added[:, 0]
    return total


STEP: Final = 2.0**-12
"""Inputs, states and weights are multiples of this."""


@dataclass(frozen=True, slots=True)
class Network:
    """A gated recurrent unit with one output.

    Attributes
    ----------
    compressed : ndarray of bool, shape (n_features,)
        Features used as their signed logarithm.
    low, high, mean, scale : ndarray of float64, shape (n_features,)
        Range to which a feature is clipped, then the mean to subtract and the scale to divide by.
        An unknown feature counts as the mean.
    groups : ndarray of int64, shape (n_groups,)
        Features for which the network has an extra input: whether the feature is unknown.
    inputs : ndarray of float64, shape (n_features + n_groups, 3 * n_units)
        Weights of the reset gate, the update gate and the candidate.
    recurrent : ndarray of float64, shape (n_units, 3 * n_units)
    bias, recurrent_bias : ndarray of float64, shape (3 * n_units,)
    output : ndarray of float64, shape (n_units,)
    offset : float
        Log-odds when the state is all zeros.
    """

    compressed: NDArray[np.bool_]
    low: Floats
    high: Floats
    mean: Floats
    scale: Floats
    groups: NDArray[np.int64]
    inputs: Floats
    recurrent: Floats
    bias: Floats
    recurrent_bias: Floats
    output: Floats
    offset: float

    @property
    def units(self) -> int:
        """Number of values in a state; a sensor's state is all zeros when an episode opens."""
        return self.output.size

    def step(self, features: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Return log-odds of vaping and the next state for each row.

        Parameters
        ----------
        features : ndarray of float64, shape (n, n_features)
            NaN where not known.
        state : ndarray of float64, shape (n, units)
        """
        ours = self.normalize(features) @ self.inputs + self.bias
        past = state @ self.recurrent + self.recurrent_bias
        n = self.units
        gates = expit(ours[:, : 2 * n] + past[:, : 2 * n])
        reset, update = gates[:, :n], gates[:, n:]
        candidate = np.tanh(ours[:, 2 * n :] + reset * past[:, 2 * n :])
        state = round_to_step(candidate + update * (state - candidate))
        return state @ self.output + self.offset, state

    def normalize(self, features: Floats) -> Floats:
        """Scale the features, round them to `STEP`, and add flags for unknown `groups`."""
        logarithm = np.copysign(np.log1p(np.abs(features)), features)
        x = np.where(self.compressed, logarithm, features)
        np.minimum(np.maximum(x, self.low, out=x), self.high, out=x)
        x -= self.mean
        x /= self.scale
        unknown = np.isnan(x)
        np.putmask(x, unknown, 0.0)
        return np.concatenate([round_to_step(x), unknown[:, self.groups]], axis=1)

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Network:
        """Return the network stored in a model file."""
        values: dict[str, Any] = {name: stored[f"network_{name}"] for name in _FIELDS}
        return cls(**{**values, "offset": float(values["offset"])})


_FIELDS: Final = tuple(Network.__dataclass_fields__)


def round_to_step(x: Floats) -> Floats:
    """Return the nearest multiples of `STEP`."""
    nearest: Floats = np.rint(x / STEP) * STEP
    return nearest


@dataclass(frozen=True, slots=True)
class Model:
    """Parameters of the detector.

    Attributes
    ----------
    level : float
        Log-odds at which vaping alerts.
    vape : Forest or None
        Scores vaping, as log-odds, from the features of one reading. Without it, nothing is vaping.
    network : Network or None
        Adjusts these log-odds based on all readings of the episode scored so far.
    kinds : Forest or None
        Gives each of `KINDS` a score. The softmax of the scores gives the probabilities. Without
        it, all kinds are equally probable.
    thc : Forest or None
        Scores, as log-odds, whether vaping came from a THC cartridge. Without it, THC is never
        reported.
    """

    version: str
    level: float = 0.0
    vape: Forest | None = None
    network: Network | None = None
    kinds: Forest | None = None
    thc: Forest | None = None

    @property
    def units(self) -> int:
        """Number of values that the network stores for an episode."""
        return 0 if self.network is None else self.network.units

    def score_vaping(
        self, features: NDArray[np.float64], state: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the log-odds of vaping for each row of features, and the network's next states.

        Parameters
        ----------
        features : ndarray of float64, shape (n, len(FEATURES))
        state : ndarray of float64, shape (n, units)
            State of the network after the episode's previous scored reading; zeros at first.
        """
        if self.vape is None:
            return np.full(features.shape[0], -20.0), state
        score = self.vape.score(features)[0]
        if self.network is not None:
            added, state = self.network.step(features, state)
            score += added
        return score, state

    def score_thc(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each row's log-odds of a THC cartridge, given that it is vaping."""
        if self.thc is None:
            return np.full(features.shape[0], -20.0)
        score: NDArray[np.float64] = self.thc.score(features)[0]
        return score

    def predict_kinds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each of `KINDS` for each row, shape (n, len(KINDS))."""
        if self.kinds is None:
            return np.full((features.shape[0], len(KINDS)), 1.0 / len(KINDS))
        result: NDArray[np.float64] = softmax(self.kinds.score(features).T, axis=1)
        return result

    @classmethod
    def from_bytes(cls, body: bytes) -> Model:
        """Read a model from the bytes of its file.

        Raises
        ------
        ModelError
            If the bytes are not a model, or the model was trained on other features.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise ModelError(f"not a model file: {error}") from error
        if tuple(arrays.get("features", ())) != FEATURES:
            raise ModelError("the model was trained on other features; run `make train`")
        forests = {
            name: Forest.from_arrays(name, arrays)
            for name in _FORESTS
            if f"{name}_offset" in arrays
        }
        network = Network.from_arrays(arrays) if "network_offset" in arrays else None
        try:
            version, level = str(arrays["version"]), float(arrays["level"])
        except (KeyError, ValueError) as error:
            raise ModelError(f"the model has another format: {error}") from error
        return cls(version, level, network=network, **forests)

    @classmethod
    @cache
    def load_shipped(cls) -> Model:
        """Return the model shipped with the program."""
        return cls.from_bytes((resources.files("detection") / "model.npz").read_bytes())
