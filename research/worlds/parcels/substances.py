"""Contents of parcels: particle mass in 13 size bins, five families of gas, and water vapor.

Evaporating droplets are simulated in 52 finer size slices, four per bin.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from research.worlds.parcels.draws import Floats

EDGES: Final = np.array([0.06, 0.12, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 40.0])
"""Bounds of the bins, µm."""
BINS: Final = len(EDGES) - 1
DIAMETER: Final = np.sqrt(EDGES[:-1] * EDGES[1:])
"""Middle of each bin, µm."""
PM1: Final = 7
"""Number of bins below 1 µm."""
PM25: Final = 9
"""Number of bins below 2.5 µm."""
ALCOHOL, GLYCEROL, TERPENE, PROPELLANT, SMOKE, WATER = range(BINS, BINS + 6)
SUBSTANCES: Final = BINS + 6
GAS_PPB: Final = {
    ALCOHOL: 531.0,
    GLYCEROL: 322.0,
    TERPENE: 180.0,
    PROPELLANT: 440.0,
    SMOKE: 600.0,
}
"""Parts per billion in 1 mg/m³."""

_SLICES_A_BIN: Final = 4
_SLICE_EDGES: Final = np.exp(
    np.concatenate(
        [
            np.linspace(np.log(low), np.log(high), _SLICES_A_BIN + 1)[:-1]
            for low, high in pairwise(EDGES)
        ]
        + [[np.log(EDGES[-1])]]
    )
)
SLICE_DIAMETER: Final = np.sqrt(_SLICE_EDGES[:-1] * _SLICE_EDGES[1:])
"""Middle of each slice, µm."""
_BIN_OF_SLICE: Final = np.repeat(np.arange(BINS), _SLICES_A_BIN)


def mode(mass: float, diameter: float, gsd: float) -> Floats:
    """Return the mass of a lognormal size distribution by slice.

    - `diameter`: mass median diameter, µm.
    - `gsd`: geometric standard deviation.
    """
    below: Floats = ndtr(np.log(_SLICE_EDGES / diameter) / np.log(gsd))
    return mass * np.diff(below)


def to_bins(by_slice: Floats) -> Floats:
    """Sum slices to bins."""
    return np.bincount(_BIN_OF_SLICE, by_slice, BINS).astype(float)
