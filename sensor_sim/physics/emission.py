"""The releases of a source, and a session of releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensor_sim.physics.aerosol import Aerosol

NO_GAS = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Emission:
    """Successive releases of the same composition.

    - `duration_s`: length of each release, s; up to 5 s, it is treated as a pulse.
    - `times_s`: start of each release, s after the session's start; by default, one release.
    - `shares`: each release's share of the amounts below; they sum to one.
    - `particles_mg`: total mass of airborne particles, mg.
    - `gas_mg`: total mass of each group of `sensor_sim.physics.gas`, mg.
    - `heat_kj`: sensible heat, kJ; negative if the source cools the air.
    - `fog`: whether the particles are water, which lasts only in air close to saturation.
    """

    duration_s: float
    times_s: tuple[float, ...] = (0.0,)
    shares: tuple[float, ...] = (1.0,)
    particles_mg: float = 0.0
    aerosol: Aerosol | None = None
    gas_mg: tuple[float, ...] = NO_GAS
    water_g: float = 0.0
    heat_kj: float = 0.0
    co2_g: float = 0.0
    co_mg: float = 0.0
    fog: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """One session of releases in one room."""

    id: str
    room: str
    source: str
    kind: str
    start: float
    end: float
    emissions: tuple[Emission, ...]
