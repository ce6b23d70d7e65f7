"""Size-resolved aerosol: lognormal sources in optical bins, evaporation, settling, growth.

All particles of one release have the same age. So their number in a size bin is a product of
transport (`physics.room`, the same for every size) and the effect of aging on sizes (here).
Evaporation follows the d-squared law down to a residue, which maps sizes monotonically. The number
below a bin edge is therefore the source's lognormal at the original size that has shrunk to that
edge: a closed form, without numerical diffusion between bins.

Coagulation is ignored: at 1e5 /cm³, its e-fold is about 3 h (K = 1e-9 cm³/s), and a plume is
diluted below that concentration seconds after leaving the mouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

BIN_EDGES_UM: Final = np.array(
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.5, 2.5, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0]
)
"""Edges of the optical bins, µm; no optical sensor sees particles below 0.1 µm."""

N_BINS: Final = BIN_EDGES_UM.size - 1

BIN_MID_UM: Final = np.sqrt(BIN_EDGES_UM[1:] * BIN_EDGES_UM[:-1])

# In sprays and background, number falls with about the square of the diameter across a bin.
_MEAN_CUBE: Final = (2 * np.diff(BIN_EDGES_UM)) / (
    BIN_EDGES_UM[:-1] ** -2.0 - BIN_EDGES_UM[1:] ** -2.0
)

BIN_MASS_UG: Final = np.pi / 6 * _MEAN_CUBE * 1e-6
"""Mean mass of a particle in each bin at 1 g/cm³, µg; times /cm³ times 1e6 gives µg/m³."""

PM_FRACTION: Final[dict[str, NDArray[np.float64]]] = {
    key: np.where(BIN_EDGES_UM[1:] <= cut, 1.0, 0.0)
    for key, cut in (("pm1", 1.0), ("pm25", 2.5), ("pm4", 4.0), ("pm10", 10.0))
}
"""Share of each bin's mass in each size class (bin edges coincide with the cuts)."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One lognormal mode of a source."""

    mmd_um: float
    gsd: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Aerosol:
    """A source's aerosol, per mg of airborne particles.

    - `volatile`: share of the mass that evaporates, 0-1.
    - `efold_s`: time in which the volatile mass falls to 1/e in dry still air, s.
    - `sticking_per_h`: loss to surfaces in addition to `deposition_per_h`, 1/h: spray droplets are
      charged and tacky, and hit walls (spray products lose 9-10 /h at every size, thaiscience
      10990293).
    """

    modes: tuple[Mode, ...]
    volatile: float = 0.0
    efold_s: float = np.inf
    density_g_cm3: float = 1.0
    sticking_per_h: float = 0.0

    def numbers_per_mg(
        self, age_s: NDArray[np.float64], *, evaporation_slowdown: float = 1.0
    ) -> NDArray[np.float64]:
        """Return the particles in each bin after aging, of 1 mg released at age zero.

        - `age_s` (n,): ages, s, >= 0.
        - `evaporation_slowdown`: factor on all lifetimes, >= 1; see `compute_evaporation_slowdown`.
        - Returns (N_BINS, n): number of particles in each bin, without deposition. Neither the sum
          over bins nor the mass ever grows.
        """
        out = np.zeros((N_BINS, age_s.size))
        residue = (1.0 - self.volatile) ** (1 / 3)
        for mode in self.modes:
            log_gsd = np.log(mode.gsd)
            nmd = mode.mmd_um * np.exp(-3 * log_gsd**2)
            mean_mass_g = np.pi / 6 * nmd**3 * np.exp(4.5 * log_gsd**2) * 1e-12 * self.density_g_cm3
            total = mode.share * 1e-3 / mean_mass_g
            edge = BIN_EDGES_UM[:, None]
            origin = np.broadcast_to(edge, (edge.size, age_s.size))
            if self.volatile > 0:
                rate_um2_s = mode.mmd_um**2 / (
                    self.efold_s * evaporation_slowdown / _find_relative_efold(round(mode.gsd, 2))
                )
                shrunk = np.sqrt(edge**2 + rate_um2_s * age_s[None, :])
                origin = np.minimum(shrunk, edge / max(residue, 1e-3))
            below = ndtr(np.log(origin / nmd) / log_gsd)
            out += total * np.diff(below, axis=0)
        return out


@lru_cache(maxsize=256)
def _find_relative_efold(gsd: float) -> float:
    """Return the e-fold of lognormal mass by the d² law, in lifetimes of an MMD-sized droplet."""
    z = np.linspace(-4, 4, 161)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    life = np.exp(2 * z * np.log(gsd))
    x = np.geomspace(0.02, 5, 150)
    left = (weight * np.clip(1 - x[:, None] / life, 0, None) ** 1.5).sum(axis=1)
    return float(np.interp(-np.exp(-1), -left, x))


def compute_evaporation_slowdown(rh_percent: float) -> float:
    """Return the factor by which glycol droplets live longer in humid air, 1-3.

    Glycerol takes up water, so its lifetime grows with humidity (tandf.figshare 3997434). The size
    of the effect is a prior: from 1 at 60% RH to 3 at 95% RH.

    >>> compute_evaporation_slowdown(40.0), compute_evaporation_slowdown(95.0)
    (1.0, 3.0)
    """
    return 1.0 + 2.0 * min(max((rh_percent - 60.0) / 35.0, 0.0), 1.0)


def deposition_per_h(diameter_um: NDArray[np.float64], surface: float = 1.0) -> NDArray[np.float64]:
    """Return the loss of particles to surfaces, 1/h.

    Howard-Reed and Wallace 2003: 0.3 /h at 0.3-0.5 µm to 5.2 /h at 10 µm, with log-log
    interpolation; for larger particles, gravitational settling over a height of 2.5 m. `surface` is
    a factor for furnishing and air speed (1.3-2.6, Thatcher 2002).
    """
    d = [0.1, 0.2, 0.4, 1.0, 2.5, 5.0, 10.0, 25.0]
    k = [0.35, 0.25, 0.30, 0.6, 1.6, 3.2, 5.2, 25.0]
    return surface * np.exp(np.interp(np.log(diameter_um), np.log(d), np.log(k)))


def growth_factor(
    rh_percent: NDArray[np.float64] | float, kappa: float
) -> NDArray[np.float64] | np.float64:
    """Return the diameter growth of background particles by water uptake.

    kappa-Köhler without the Kelvin term: ``g = (1 + kappa RH / (1 - RH))^(1/3)``; RH is capped
    at 98%. Jayaratne 2018 saw Plantower counts grow above 75% RH.

    - `kappa`: hygroscopicity, 0.1-0.4 for indoor background.
    - Returns: ratio to the dry diameter, >= 1.
    """
    a = np.clip(np.asarray(rh_percent) / 100, 0, 0.98)
    return np.cbrt(1 + kappa * a / (1 - a))
