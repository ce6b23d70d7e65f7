"""The recurrent network: a GRU that reads the facts of an episode one after the other.

Trees judge one moment; the network remembers the moments before it. Its numbers are multiples of a
power of two, small enough that sums of products are exact in double precision. So a row's result
does not depend on the rows beside it, on the order of summation or on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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
