"""Carry, spread and mix every release as a buoyant puff in a room's eddies.

The mean concentration at the sensor is a Gaussian around a moving center, reflected by walls, floor
and ceiling (image sources). This conserves mass and ends in a well-mixed room, from which air
changes remove it. The excess over the mixed room is intermittent: it is multiplied by a Gamma
process of mean 1 with the eddies' time scale. A longer release is the moving average of its puffs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.mixing_jets.droplets import AGES_S, Aerosol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GASES: Final = ("mox", "water", "heat", "co2")
"""Rows after the particle rows: MOX response in ppm of ethanol, water g/m³, heat K, CO2 ppm."""
_FLOOR: Final = {"particles": 0.03, "mox": 0.002, "water": 0.01, "heat": 0.01, "co2": 0.5}
"""The tail of a release is cut off when its room mean falls below these values."""
_NEAR_S: Final = 600
_IMAGES: Final = np.arange(-2, 3)[:, None]

_SECONDS: Final = np.arange(28_800)
_LOW: Final = np.clip(np.searchsorted(AGES_S, _SECONDS, side="right") - 1, 0, AGES_S.size - 2)
_PART: Final = (_SECONDS - AGES_S[_LOW]) / (AGES_S[_LOW + 1] - AGES_S[_LOW])


@dataclass(frozen=True, slots=True)
class Family:
    """Gases to which MOX sensors, walls and clothes respond alike.

    Attributes
    ----------
    ppm : float
        Ppm per mg/m³.
    response : tuple of float
        Range of MOX responses between units, relative to ethanol.
    sorbed, sorbed_s : float
        Share that surfaces absorb, and the e-folding time of the absorption.
    """

    ppm: float
    response: tuple[float, float]
    sorbed: float = 0.0
    sorbed_s: float = 600.0


FAMILIES: Final[Mapping[str, Family]] = {
    "alcohol": Family(0.53, (0.9, 1.1)),
    "propellant": Family(0.45, (0.1, 0.5)),
    "glycol": Family(0.33, (0.15, 1.0), 0.6, 240.0),
    "terpene": Family(0.18, (0.5, 4.0), 0.4, 900.0),
    "smoke": Family(0.4, (0.4, 2.0), 0.4, 1200.0),
    "body": Family(0.4, (0.3, 1.0), 0.2, 1800.0),
}


@dataclass(frozen=True, slots=True)
class Room:
    """Box-shaped room with a sensor; x runs along the stalls, y from basins to stalls, z up.

    Attributes
    ----------
    size, sensor : tuple of float
        Meters.
    mixing_s : float
        Time in which eddies mix the air along the longer wall.
    draft_m_s, eddy_s : float
        Speed at which the draft carries a puff, and how long the draft keeps its direction.
    drift_m_s : float
        Speed of the room's circulation.
    gamma_shape : float
        Shape of the concentration fluctuations: 0.5 is intermittent, 5 nearly smooth.
    deposition : float
        Particle loss, relative to a still room.
    """

    size: tuple[float, float, float]
    sensor: tuple[float, float, float]
    mixing_s: float
    draft_m_s: float
    eddy_s: float
    drift_m_s: float
    gamma_shape: float
    deposition: float

    @property
    def volume_m3(self) -> float:
        """Volume of the box."""
        return float(np.prod(self.size))


@dataclass(frozen=True, slots=True)
class Release:
    """A release at one place over `length` seconds.

    Attributes
    ----------
    spread_m : float
        Initial standard deviation of the puff.
    gases : mapping of str to float
        Milligrams by family.
    water_g, heat_k_m3, co2_l : float
        Water vapor; warming times volume; liters of CO2.
    """

    start: float
    length: float
    place: tuple[float, float, float]
    spread_m: float = 0.25
    aerosols: tuple[tuple[Aerosol, float], ...] = ()
    gases: Mapping[str, float] | None = None
    water_g: float = 0.0
    heat_k_m3: float = 0.0
    co2_l: float = 0.0


def kernel(
    room: Room,
    place: tuple[float, float, float],
    shift: Floats,
    drift_m_s: Floats,
    spread_m: float,
) -> Floats:
    """Return the mean concentration at the sensor of 1 unit released, at `AGES_S`, 1/m³.

    Parameters
    ----------
    shift : ndarray, shape (3,)
        Distance that the jet and the draft carry the center within a few `eddy_s`, meters.
    drift_m_s : ndarray, shape (3,)
        Speed of the room circulation that carries it afterward.
    """
    eddy = max(room.size[:2]) ** 2 / (np.pi**2 * room.mixing_s)
    carried = 1 - (1 + AGES_S / room.eddy_s) * np.exp(-AGES_S / room.eddy_s)
    # A young puff spreads more slowly than by diffusion (Taylor).
    variance = spread_m**2 + 2 * eddy * (AGES_S - room.eddy_s * -np.expm1(-AGES_S / room.eddy_s))
    variance += (0.2 * np.hypot(*shift[:2]) * carried) ** 2
    out = np.ones(AGES_S.size)
    path = np.outer(shift, carried) + np.outer(drift_m_s, AGES_S)
    for length, sensor, start, way in zip(room.size, room.sensor, place, path, strict=True):
        # walls reflect the path
        center = length - np.abs((start + way) % (2 * length) - length)
        two_variance = 2 * np.minimum(variance, length**2)
        images = np.exp(-((sensor - center - 2 * _IMAGES * length) ** 2) / two_variance)
        images += np.exp(-((sensor + center - 2 * _IMAGES * length) ** 2) / two_variance)
        out *= images.sum(axis=0) / np.sqrt(np.pi * two_variance)
    return out


class Inlet:
    """Sum of all releases at a sensor's inlet, one column per second.

    Parameters
    ----------
    rows : ndarray
        Responses of the instrument's channels; see `Aerosol.response`.
    mox : mapping of str to float
        Response of the unit's MOX sensor by family.
    air_changes_h : ndarray, shape (seconds,)
    """

    def __init__(
        self,
        room: Room,
        rows: Floats,
        mox: Mapping[str, float],
        air_changes_h: Floats,
        rng: np.random.Generator,
    ) -> None:
        self.seconds = air_changes_h.size
        self.values = np.zeros((len(rows) + len(GASES), self.seconds))
        self._room = room
        self._rows = rows
        self._mox = mox
        self._air_changes = air_changes_h
        self._changed = np.concatenate([[0.0], np.cumsum(air_changes_h) / 3600])
        self._rng = rng
        self._noise = correlated(rng, 40_000, 0.4 * room.eddy_s)
        self._responses: dict[Aerosol, Floats] = {}

    def add(self, release: Release) -> tuple[int, Floats]:
        """Add a release.

        Returns
        -------
        start : int
            First column that the release changes, in seconds.
        pm25 : ndarray
            PM2.5 from this release alone, µg/m³.
        """
        room, start = self._room, int(release.start)
        length = max(1, round(release.length))
        loss_h = self._air_changes[start]
        factors, mean = self._factors(release)
        tail = np.log(max(mean, 1.5)) / (loss_h + 0.2) * 3600
        seconds = int(np.clip(tail + 3 * room.mixing_s, 200, _SECONDS.size))
        seconds = min(seconds, self.seconds - start)

        speed = room.draft_m_s * self._rng.lognormal(0, 0.4)
        turn = self._rng.uniform(0, 2 * np.pi)
        rise = abs(self._rng.normal(0.8, 0.5))
        shift = speed * room.eddy_s * np.array([np.cos(turn), np.sin(turn), 0.0])
        shift[2] = rise
        drift = room.drift_m_s * self._rng.normal(0, 1, 3) * (1, 1, 0.3)
        spread = kernel(room, release.place, shift, drift, release.spread_m)
        mixed = np.minimum(spread, 1 / room.volume_m3)
        lost = np.exp(-loss_h * AGES_S / 3600)
        column = _uniform(factors * (mixed * lost), seconds, length)
        near = _uniform(factors * ((spread - mixed) * lost), min(_NEAR_S, seconds), length)
        column[:, : near.shape[1]] += near * self._fluctuation(near.shape[1])

        column = column[:, : self.seconds - start]
        stop = start + column.shape[1]
        changed = self._changed[start:stop] - self._changed[start]
        column *= np.exp(np.minimum(loss_h * np.arange(column.shape[1]) / 3600 - changed, 2.0))
        self.values[:, start:stop] += column
        return start, column[0]

    def _factors(self, release: Release) -> tuple[Floats, float]:
        """Return each row's strength by age, and the room's mean in multiples of the floors."""
        n = len(self._rows)
        factors = np.zeros((len(self.values), AGES_S.size))
        mean = 0.0
        for aerosol, micrograms in release.aerosols:
            if aerosol not in self._responses:
                self._responses[aerosol] = aerosol.response(self._rows, self._room.deposition)
            factors[:n] += micrograms * self._responses[aerosol]
            mean = max(mean, micrograms / _FLOOR["particles"])
        for name, milligrams in (release.gases or {}).items():
            family = FAMILIES[name]
            amount = milligrams * family.ppm * self._mox[name]
            airborne = 1 - family.sorbed * (1 - np.exp(-AGES_S / family.sorbed_s))
            factors[n] += amount * airborne
            mean = max(mean, amount / _FLOOR["mox"])
        for row, name, amount in (
            (n + 1, "water", release.water_g),
            (n + 2, "heat", release.heat_k_m3),
            (n + 3, "co2", 1000 * release.co2_l),
        ):
            factors[row] = amount
            mean = max(mean, abs(amount) / _FLOOR[name])
        # Walls absorb most of the heat within minutes.
        factors[n + 2] *= np.exp(-AGES_S / 400)
        return factors, mean / self._room.volume_m3

    def _fluctuation(self, seconds: int) -> Floats:
        """Return a Gamma process of mean 1, by the approximation of Wilson and Hilferty."""
        begin = self._rng.integers(self._noise.size - min(seconds, 30_000))
        z = np.resize(self._noise[begin : begin + seconds], seconds)
        k = self._room.gamma_shape
        gamma: Floats = np.maximum(0, 1 - 1 / (9 * k) + z / (3 * np.sqrt(k))) ** 3
        return gamma


def _uniform(rows: Floats, seconds: int, length: int) -> Floats:
    """Interpolate rows at `AGES_S` to whole seconds, averaged over a release of `length` s."""
    low, part = _LOW[:seconds], _PART[:seconds]
    out: Floats = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    if length == 1:
        return out
    total = np.zeros((len(rows), seconds + length))
    np.cumsum(out, axis=1, out=total[:, :seconds])
    total[:, seconds:] = total[:, seconds - 1 : seconds]
    total[:, length:] -= total[:, :-length].copy()
    return total / length


def correlated(rng: np.random.Generator, n: int, seconds: float) -> Floats:
    """Return a stationary Gaussian series of variance 1 with correlation time `seconds`."""
    a = np.exp(-1 / max(seconds, 0.2))
    white = rng.standard_normal(n)
    white[0] /= np.sqrt(1 - a * a)
    return np.asarray(lfilter([np.sqrt(1 - a * a)], [1, -a], white))


def draw_log(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
