"""Define releases into a room, and the layout of a zone's state."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, log, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# A zone's state has five rows of particle pools by bin (µg/m³) and one row of other quantities.
VAPE_VOLATILE, VAPE_LASTING, FAST, MEDIUM, LASTING, GAS = range(6)
VOC, WATER, HEAT, CO2 = range(4)
NEAR, FAR = range(2)

_BIN_EDGES_UM: Final = (0.3, 0.5, 1.0, 2.5, 10.0)
_AIR_J_M3_K: Final = 1210.0


@dataclass(frozen=True, slots=True)
class Emission:
    """A release into one room from `onset` for `duration_s`.

    - `rates`: release into the six rows of a zone's state, in their units times m³/s.
    - `evaporation`: additional loss of the pool, 1/s.
    - `direct`: share released directly into the far zone.
    """

    onset: float
    duration_s: float
    pool: int
    rates: Floats
    evaporation: float
    direct: float


@dataclass(frozen=True, slots=True)
class Act:
    """One activity; times are in seconds since the world's start."""

    kind: str
    style: str
    onset: float
    end: float


Source = tuple[list[Emission], Act]


def bin_shares(median_um: float, spread: float) -> Floats:
    """Return a lognormal aerosol's mass share in each optical bin; the rest is not detected."""
    z = [log(edge / median_um) / log(spread) for edge in _BIN_EDGES_UM]
    return np.diff([0.5 * (1 + erf(x / sqrt(2))) for x in z])


def emit(
    onset: float,
    duration_s: float,
    particles_ug_s: Floats,
    evaporation: float = 0.0,
    *,
    voc: float = 0.0,
    water_g_s: float = 0.0,
    heat_w: float = 0.0,
    co2: float = 0.0,
    direct: float = 0.15,
    vape: bool = False,
) -> Emission:
    """Return a release; VOC is in ppb m³/s, CO2 in ppm m³/s."""
    if vape:
        pool = VAPE_VOLATILE if evaporation > 0 else VAPE_LASTING
    elif evaporation > 0:
        pool = FAST if evaporation > 1 / 20 else MEDIUM
    else:
        pool = LASTING
    rates = np.zeros((6, 4))
    rates[pool] = particles_ug_s
    rates[GAS] = voc, water_g_s, heat_w / _AIR_J_M3_K, co2
    return Emission(onset, duration_s, pool, rates, evaporation, direct)


def aerosol(
    onset: float,
    duration_s: float,
    mg: float,
    median_um: float,
    spread: float,
    volatile: float,
    efold_s: float,
    voc: float,
    direct: float,
    *,
    water_g_s: float = 0.0,
    heat_w: float = 0.0,
    co2: float = 0.0,
    vape: bool = False,
) -> list[Emission]:
    """Return the volatile and the lasting part; `voc` is the release's total, ppb m³."""
    particles = bin_shares(median_um, spread) * mg * 1000 / duration_s
    return [
        emit(
            onset,
            duration_s,
            particles * volatile,
            1 / efold_s,
            voc=voc / duration_s,
            water_g_s=water_g_s,
            heat_w=heat_w,
            co2=co2,
            direct=direct,
            vape=vape,
        ),
        emit(onset, duration_s, particles * (1 - volatile), direct=direct, vape=vape),
    ]
