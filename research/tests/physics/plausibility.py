"""Simulate one release in one room, and measure it as published experiments did.

The numbers in `research/worlds/README.md` are measured this way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from sensor_sim.devices.pm import PM_PARTS
from sensor_sim.physics.aerosol import N_BINS, Aerosol
from sensor_sim.physics.emission import Session
from sensor_sim.physics.gas import saturation_g_m3
from sensor_sim.physics.plume import PM25_WEIGHT, Plume, simulate_plume
from sensor_sim.physics.room import Place, RoomAir, SensorPlace, compute_zones
from sensor_sim.sources import SOURCES
from sensor_sim.streams import make_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Decay:
    """Decay of an excess after its peak.

    - `peak`: peak value, in the unit of the series.
    - `efold_s`, `tenth_s`: time after the peak until 1/e or 1/10 of it remains, s; NaN if it never
      falls that low.
    """

    peak: float
    efold_s: float
    tenth_s: float


def follow(
    source: str,
    seed: int,
    *,
    ach: float,
    near: float | None = None,
    rh: float = 45.0,
    temp_c: float = 22.0,
    single: bool = False,
    volume_m3: float | None = None,
) -> Plume | None:
    """Draw a session, a room and a sensor position, and simulate the air at the inlet.

    - `source`: key of `sensor_sim.sources.SOURCES`.
    - `ach`: constant air changes, 1/h.
    - `near`: probability that it happens directly under the sensor; by default, the source's.
    - `rh`, `temp_c`: the room's humidity, %, and temperature, °C.
    - `single`: whether to keep only one release of each emission, with its share of the amounts.
    - `volume_m3`: room volume; drawn by default.
    """
    rng = make_stream(seed, "plausibility", source)
    spec = SOURCES[source]
    emissions = tuple(spec.draw(rng))
    if single:
        emissions = tuple(
            replace(
                e,
                times_s=(0.0,),
                shares=(1.0,),
                particles_mg=e.particles_mg / len(e.times_s),
                gas_mg=tuple(g / len(e.times_s) for g in e.gas_mg),
                water_g=e.water_g / len(e.times_s),
            )
            for e in emissions
        )
    end = max(max(e.times_s) + e.duration_s for e in emissions)
    session = Session("one", "room", source, spec.kind, 0.0, end, emissions)
    air = RoomAir.draw(rng, volume_m3)
    sensor = SensorPlace.draw(rng)
    place = Place.draw(rng).spread(spec.spread, air.volume_m3)
    place = place.place_near(rng, spec.near_sensor if near is None else near)
    return simulate_plume(
        rng,
        session,
        air,
        sensor,
        place,
        first=0,
        ach_per_minute=np.full(240, ach),
        rh=rh,
        water_g_m3=float(rh / 100 * saturation_g_m3(temp_c)),
        temp_c=temp_c,
    )


def steady_puffing(seed: int, *, volume_m3: float, gap_s: float) -> tuple[float, float]:
    """Return the mean PM2.5 near a user of a disposable and farther away, after ten minutes.

    - `volume_m3`: room volume, m³.
    - `gap_s`: time between puffs, s.
    - Returns `near, far`: µg/m³ over the background.
    """
    rng = make_stream(seed, "steady puffing")
    air, sensor = RoomAir.draw(rng, volume_m3), SensorPlace.draw(rng)
    place = Place.draw(rng)
    (puffs,) = SOURCES["disposable"].draw(rng)
    age = np.arange(600.0)
    zones, _ = compute_zones(air, sensor, place, age, fan_on=True)
    aerosol = puffs.aerosol or Aerosol(())
    mass = PM25_WEIGHT @ aerosol.numbers_per_mg(age) * 1e-6
    mean = (zones * mass).sum(axis=1) * puffs.particles_mg / len(puffs.times_s) / gap_s
    return float(mean[0]), float(mean[1])


def read_by(part: str, plume: Plume, *, lag_s: float = 4.0) -> dict[str, NDArray[np.float64]]:
    """Return the noise-free excess that each channel of a particle sensor would report, by second.

    - `part`: key of `sensor_sim.devices.pm.PM_PARTS`.
    - `lag_s`: the sensor's e-folding time, s.
    """
    keep = np.exp(-1 / lag_s)
    rows = PM_PARTS[part].build_matrix() @ plume.rows[:N_BINS]
    lagged = lfilter([1 - keep], [1, -keep], rows, axis=1)
    return dict(zip(PM_PARTS[part].channels, lagged, strict=True))


def smoothed(x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return means of every `n` consecutive values; a remainder at the end is dropped."""
    whole = x.size // n * n
    return np.asarray(x[:whole].reshape(-1, n).mean(axis=1))


def decay(x: NDArray[np.float64], step_s: float) -> Decay:
    """Measure the decay of an excess after its peak, with linear interpolation.

    - `x` (n,): excess over the background; n >= 1.
    - `step_s`: time between samples, s.

    >>> decay(np.exp(-np.arange(100) / 20), 1.0).efold_s
    20.0
    """
    top = int(np.argmax(x))
    tail = x[top:]

    def until(share: float) -> float:
        below = np.flatnonzero(tail <= share * tail[0] * (1 + 1e-9))
        if not below.size or below[0] == 0:
            return float("nan")
        i = int(below[0])
        part = (tail[i - 1] - share * tail[0]) / (tail[i - 1] - tail[i])
        return round(float(step_s * (i - 1 + part)), 9)

    return Decay(float(tail[0]), until(float(np.exp(-1))), until(0.1))


def recordings():
    """Return the folder of real recordings; it may be missing."""
    beside = Path(__file__).resolve().parents[3].parent / "shared"
    return Path(os.environ.get("PLUMEWATCH_SHARED", beside)) / "data"
