"""The model: boosted trees and a network that score the facts of a pulse, and levels for alerts.

A small versioned file made by ``make train`` from simulated training seeds. Every event names the
version. The forests are gradient-boosted trees; what makes them work is in the facts
(`detection.episodes`), which are the physics of plumes.

Trees judge one moment; the network, a GRU that reads the facts of an episode one after the other,
remembers the moments before it. Its numbers are multiples of a power of two, small enough that sums
of products are exact in double precision. So a row's result does not depend on the rows beside it,
on the order of summation or on the machine.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np
from scipy.special import expit, softmax

from detection.episodes import FACTS
from detection.errors import ModelError
from detection.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ROWS: Final = 16
"""Rows scored together, so that what is gathered stays in a core's cache."""
KINDS: Final = (
    EventKind.VAPE,
    EventKind.SMOKE,
    EventKind.SPRAY,
    EventKind.STEAM,
    EventKind.VOC,
    EventKind.DUST,
)
"""Kinds of episode, in the order of their codes."""

_FILE: Final = "model.npz"
_INTERVAL, _SIZES = FACTS.index("interval_s"), FACTS.index("pm1_highest")
_SINCE_PEAK = FACTS.index("since_peak_s")
SETTLED_S: Final = 20.0
"""After the peak of a pulse; until then little of its fall is known."""


@dataclass(frozen=True, slots=True)
class Forest:
    """An additive ensemble of binary trees.

    Attributes
    ----------
    column : ndarray of int64, shape (n_trees, 2**depth - 1)
        Fact compared at each node; plus the number of facts where an unknown one goes right.
    threshold : ndarray of float64, shape (n_trees, 2**depth - 1)
        A fact above it goes right.
    value : ndarray of float64, shape (n_trees, 2**depth)
        What each leaf adds.
    offset : float
        Score of no trees.
    """

    column: NDArray[np.int64]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    offset: float

    @property
    def depth(self) -> int:
        """Comparisons from the root of a tree to a leaf."""
        return int(self.column.shape[1]).bit_length()

    def score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of each row.

        Parameters
        ----------
        facts : ndarray of float64, shape (n, n_facts)
            NaN where not known.
        """
        score: NDArray[np.float64] = Trees([self]).score(facts)[0]
        return score

    @classmethod
    def joined(cls, forests: Sequence[Forest]) -> Forest:
        """Return a forest of the trees of all, which have the same depth."""
        column, threshold, value = (
            np.concatenate([getattr(one, name) for one in forests])
            for name in ("column", "threshold", "value")
        )
        return cls(column, threshold, value, sum(one.offset for one in forests))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays under which a file keeps this forest."""
        return {
            f"{name}_column": self.column.astype(np.int16),
            f"{name}_threshold": self.threshold,
            f"{name}_value": self.value,
            f"{name}_offset": np.array(self.offset),
        }

    @classmethod
    def from_arrays(cls, name: str, stored: Mapping[str, NDArray[Any]]) -> Forest:
        """Forest kept by `arrays`."""
        return cls(
            column=stored[f"{name}_column"].astype(np.int64),
            threshold=stored[f"{name}_threshold"].astype(np.float64),
            value=stored[f"{name}_value"].astype(np.float64),
            offset=float(stored[f"{name}_offset"]),
        )


class Trees:
    """The trees of some forests, walked down together.

    Few rows are judged at a time, so that a step down takes about as long for all forests as for
    one.
    """

    def __init__(self, forests: Sequence[Forest]) -> None:
        self.forests = forests
        # The deepest first, so that those which go on are always the first trees.
        order = sorted(range(len(forests)), key=lambda k: forests[k].depth, reverse=True)
        ordered = [forests[k] for k in order]
        self._levels = []
        for depth in range(ordered[0].depth):
            nodes = slice(2**depth - 1, 2 ** (depth + 1) - 1)
            deeper = [one for one in ordered if one.depth > depth]
            column = np.concatenate([one.column[:, nodes].ravel() for one in deeper])
            threshold = np.concatenate([one.threshold[:, nodes].ravel() for one in deeper])
            n_trees = sum(one.column.shape[0] for one in deeper)
            self._levels.append((column.astype(np.intp), threshold, n_trees))
        ends = np.cumsum([one.column.shape[0] for one in ordered]).tolist()
        places = dict(zip(order, pairwise([0, *ends]), strict=True))
        self._places = [places[k] for k in range(len(forests))]

    def score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of each forest for each row, shape (n_forests, n)."""
        totals = zip(self.forests, self.add(facts, [1] * len(self.forests)), strict=True)
        scores: NDArray[np.float64] = np.array([sums[0] + one.offset for one, sums in totals])
        return scores

    def add(self, facts: NDArray[np.float64], parts: Sequence[int]) -> list[NDArray[np.float64]]:
        """Return what each of so many equal parts of each forest adds, shape (parts, n)."""
        totals = [np.empty((n_parts, facts.shape[0])) for n_parts in parts]
        for start in range(0, facts.shape[0], _ROWS):
            rows = slice(start, start + _ROWS)
            node = self._walked(facts[rows])
            for total, forest, (a, b) in zip(totals, self.forests, self._places, strict=True):
                leaf = node[a:b] - (a << forest.depth)
                total[:, rows] = _sums(forest.value.ravel().take(leaf), total.shape[0])
        return totals

    def _walked(self, facts: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the leaf that each row comes to in each tree, shape (n_trees, n).

        Leaves are counted from the first tree's on, as if all trees were as deep as their own.
        """
        n, n_facts = facts.shape
        unknown = np.isnan(facts)
        both = np.concatenate(
            [np.where(unknown, -np.inf, facts), np.where(unknown, np.inf, facts)], axis=1
        ).ravel()
        column, threshold, n_trees = self._levels[0]
        # Written out for each tree, as numpy adds equal shapes in one loop.
        row = np.repeat(np.arange(0, both.size, 2 * n_facts)[None], n_trees, axis=0)
        # Of every tree the same node is the first: no need to look it up for each row.
        right = both.reshape(n, -1).T.take(column, axis=0) > threshold[:, None]
        walked = np.add(right, np.arange(0, 2 * n_trees, 2)[:, None], dtype=np.intp)
        for column, threshold, n_trees in self._levels[1:]:
            node = walked[:n_trees]
            fact = column.take(node)
            fact += row[:n_trees]
            right = both.take(fact) > threshold.take(node)
            node += node
            node += right
        return walked


def _sums(added: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    """Sum as many equal parts of the trees, always in the same order; overwrite `added`."""
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
"""Inputs, states and weights are multiples of it."""


@dataclass(frozen=True, slots=True)
class Network:
    """A gated recurrent unit with one output.

    Attributes
    ----------
    compressed : ndarray of bool, shape (n_facts,)
        Facts taken by their signed logarithm.
    low, high, mean, scale : ndarray of float64, shape (n_facts,)
        Range to which a fact is cut, and what is subtracted and divided by then. An unknown fact
        counts as 0.
    groups : ndarray of int64, shape (n_groups,)
        Facts of which the network is also told whether they are known.
    inputs : ndarray of float64, shape (n_facts + n_groups, 3 * n_units)
        Weights of the reset gate, the update gate and the candidate.
    recurrent : ndarray of float64, shape (n_units, 3 * n_units)
    bias, recurrent_bias : ndarray of float64, shape (3 * n_units,)
    output : ndarray of float64, shape (n_units,)
    offset : float
        Log-odds of a state of zeros.
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
        """Numbers in a state; a sensor's state is zeros when an episode opens."""
        return self.output.size

    def step(self, facts: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Return log-odds of vaping and the next state for each row.

        Parameters
        ----------
        facts : ndarray of float64, shape (n, n_facts)
            NaN where not known.
        state : ndarray of float64, shape (n, units)
        """
        ours = self.normalized(facts) @ self.inputs + self.bias
        past = state @ self.recurrent + self.recurrent_bias
        n = self.units
        gates = expit(ours[:, : 2 * n] + past[:, : 2 * n])
        reset, update = gates[:, :n], gates[:, n:]
        candidate = np.tanh(ours[:, 2 * n :] + reset * past[:, 2 * n :])
        state = rounded(candidate + update * (state - candidate))
        return state @ self.output + self.offset, state

    def normalized(self, facts: Floats) -> Floats:
        """Return facts in range, then for each group whether it is unknown; multiples of `STEP`."""
        logarithm = np.copysign(np.log1p(np.abs(facts)), facts)
        x = np.where(self.compressed, logarithm, facts)
        np.minimum(np.maximum(x, self.low, out=x), self.high, out=x)
        x -= self.mean
        x /= self.scale
        unknown = np.isnan(x)
        np.putmask(x, unknown, 0.0)
        return np.concatenate([rounded(x), unknown[:, self.groups]], axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays under which a model file keeps the network."""
        return {f"network_{name}": np.asarray(getattr(self, name)) for name in _FIELDS}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Network:
        """Return the network kept by `arrays`."""
        values: dict[str, Any] = {name: stored[f"network_{name}"] for name in _FIELDS}
        return cls(**{**values, "offset": float(values["offset"])})


_FIELDS: Final = tuple(Network.__dataclass_fields__)


def rounded(x: Floats) -> Floats:
    """Return the nearest multiples of `STEP`."""
    nearest: Floats = np.rint(x / STEP) * STEP
    return nearest


@dataclass(frozen=True, slots=True)
class Model:
    """Parameters of the detector.

    Attributes
    ----------
    level : float
        Log-odds from which vaping is alerted.
    network : Network or None
        Log-odds of vaping by what the episode was before. None leaves all to `vape`.
    plain : Forest or None
        A small forest whose log-odds are taken where they are below `plain_level`: most readings
        are plainly of something else. None leaves all to the others.
    vape : tuple of Forest
        Log-odds of vaping by the facts of one moment, which add up with those of the network. The
        forests of different worlds know different air, and what one of them alone believes counts
        little. Empty says nothing, ever.
    kinds : tuple of Forest
        One score for each of `KINDS`; their softmax are the kinds' probabilities. Empty for none.
    thc : Forest or None
        Log-odds that vaping was of a THC cartridge; None never says so.
    by_interval : ndarray of float64, shape (n, 4)
        Reporting interval, s, ascending, and what is added to the log-odds of vaping there: where
        the sensor tells PM1 from PM2.5, where it does not, and, to either, until `SETTLED_S` after
        the peak of a pulse. In between by the logarithm of the interval. Empty adds nothing.
    """

    version: str
    level: float = 0.0
    vape: tuple[Forest, ...] = ()
    kinds: tuple[Forest, ...] = ()
    thc: Forest | None = None
    by_interval: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    network: Network | None = None
    plain: Forest | None = None
    plain_level: float = -np.inf
    _vape_trees: Trees | None = field(init=False, repr=False, compare=False)
    _kind_trees: Trees | None = field(init=False, repr=False, compare=False)
    _thc_trees: Trees | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Gather the trees that are asked together."""
        for name, forests in (
            ("_vape_trees", (*self.vape, self.plain) if self.vape else ()),
            ("_kind_trees", (Forest.joined(self.kinds),) if self.kinds else ()),
            ("_thc_trees", (self.thc,)),
        ):
            known = [forest for forest in forests if forest is not None]
            object.__setattr__(self, name, Trees(known) if known else None)

    @property
    def units(self) -> int:
        """Numbers that the network keeps of an episode."""
        return 0 if self.network is None else self.network.units

    def vape_score(
        self, facts: NDArray[np.float64], state: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log-odds of vaping for each row of facts, and the next states of the network.

        Parameters
        ----------
        facts : ndarray of float64, shape (n, len(FACTS))
        state : ndarray of float64, shape (n, units)
            Of the network, from the moment before in the same episode; zeros at its first.
        """
        if self._vape_trees is None:
            return np.full(facts.shape[0], -20.0), state
        if self.network is None:
            score = np.zeros(facts.shape[0])
        else:
            score, state = self.network.step(facts, state)
        opinions = self._vape_trees.score(facts)
        score += sum(opinions[: len(self.vape)])
        score += self._correction(facts)
        if self.plain is not None:
            plain = opinions[-1]
            score = np.where(plain < self.plain_level, plain, score)
        return score, state

    def _correction(self, facts: NDArray[np.float64]) -> NDArray[np.float64] | float:
        """Return what `by_interval` adds.

        What passes a level is the highest of all answers about a plume. A sensor of 1 s asks more
        often than one of 10 s, and answers move more where there are sizes to judge by. And while a
        plume rises it looks more like a puff than when it has been seen to fall.
        """
        if not self.by_interval.size:
            return 0.0
        interval, sized, unsized, early = self.by_interval.T
        # An unknown interval counts as a short one.
        at, known = np.log(np.fmax(facts[:, _INTERVAL], 1.0)), np.log(interval)
        bare = np.isnan(facts[:, _SIZES])
        settled = facts[:, _SINCE_PEAK] >= SETTLED_S
        correction: NDArray[np.float64] = np.where(
            bare, np.interp(at, known, unsized), np.interp(at, known, sized)
        ) + np.where(settled, 0.0, np.interp(at, known, early))
        return correction

    def thc_score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of a THC cartridge, where it is vaping, for each row of facts."""
        if self._thc_trees is None:
            return np.full(facts.shape[0], -20.0)
        score: NDArray[np.float64] = self._thc_trees.score(facts)[0]
        return score

    def kind_probabilities(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each of `KINDS` for each row of facts, shape (n, len(KINDS))."""
        if self._kind_trees is None:
            return np.full((facts.shape[0], len(KINDS)), 1.0 / len(KINDS))
        added = self._kind_trees.add(facts, (len(self.kinds),))[0].T
        result: NDArray[np.float64] = softmax(added + [one.offset for one in self.kinds], axis=1)
        return result

    def to_bytes(self) -> bytes:
        """Bytes of the model file; the same for the same parameters."""
        out = io.BytesIO()
        arrays: dict[str, Any] = {}
        for k, forest in enumerate(self.vape):
            arrays |= forest.arrays(f"vape{k}")
        if self.network is not None:
            arrays |= self.network.arrays()
        if self.plain is not None:
            arrays |= self.plain.arrays("plain")
        if self.thc is not None:
            arrays |= self.thc.arrays("thc")
        for kind, forest in zip(KINDS, self.kinds, strict=False):
            arrays |= forest.arrays(kind.value + "_kind")
        np.savez_compressed(
            out,
            version=np.array(self.version),
            facts=np.array(FACTS),
            levels=np.array([self.level, self.plain_level]),
            by_interval=self.by_interval,
            **arrays,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Model:
        """Model of a file.

        Raises
        ------
        ModelError
            If it is none, or was trained on other facts.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise ModelError(f"no model file: {error}") from error
        if tuple(arrays.get("facts", ())) != FACTS:
            raise ModelError("the model was trained on other facts; run `make train`")
        vape = tuple(
            Forest.from_arrays(name.removesuffix("_offset"), arrays)
            for name in sorted(arrays)
            if name.startswith("vape") and name.endswith("_offset") and name[4].isdigit()
        )
        kinds = tuple(
            Forest.from_arrays(kind.value + "_kind", arrays)
            for kind in KINDS
            if f"{kind.value}_kind_offset" in arrays
        )
        thc = Forest.from_arrays("thc", arrays) if "thc_offset" in arrays else None
        try:
            level, plain_level = map(float, arrays["levels"])
            by_interval = arrays["by_interval"]
            version = str(arrays["version"])
        except (KeyError, ValueError) as error:
            raise ModelError(f"the model is of another format: {error}") from error
        network = Network.from_arrays(arrays) if "network_offset" in arrays else None
        plain = Forest.from_arrays("plain", arrays) if "plain_offset" in arrays else None
        return cls(version, level, vape, kinds, thc, by_interval, network, plain, plain_level)

    @classmethod
    def shipped(cls) -> Model:
        """Model that comes with the program."""
        return _shipped()


@lru_cache(maxsize=1)
def _shipped() -> Model:
    return Model.from_bytes((resources.files("detection") / _FILE).read_bytes())
