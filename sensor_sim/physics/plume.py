"""Compute a session's plume at one sensor's inlet, second by second.

Rows of a plume: particles in each size bin (/cm³), the five gas groups (ppb), CO2 and CO (ppm),
water vapor (g/m³), heat (K). Transport is a fixed set of exponentials (`physics.room`) times
``exp(-∫ACH dt)``; aging multiplies each row by its own curve. A long release is a sum of short
constant releases. Each of these is a difference of running sums of the response to a pulse, so the
cost does not depend on its length.

An unmixed plume is lumpy: a lognormal fluctuation, correlated over a few seconds and common to all
rows, fades as the plume mixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from sensor_sim.physics.aerosol import (
    BIN_MASS_UG,
    BIN_MID_UM,
    N_BINS,
    PM_FRACTION,
    compute_evaporation_slowdown,
    deposition_per_h,
)
from sensor_sim.physics.gas import MOLAR_VOLUME_L, PPB_PER_MG_M3, WALL_LOSS_PER_H, saturation_g_m3
from sensor_sim.physics.room import compute_arrival

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensor_sim.physics.emission import Emission, Session
    from sensor_sim.physics.room import Place, RoomAir, SensorPlace

GAS: Final = N_BINS
CO2: Final = GAS + 5
CO: Final = CO2 + 1
WATER: Final = CO + 1
HEAT: Final = WATER + 1
N_ROWS: Final = HEAT + 1

LONGEST_S: Final = 10_800
"""A plume is simulated for at most this long after its last release, s."""

PM25_WEIGHT: Final[NDArray[np.float32]] = (BIN_MASS_UG * 1e6 * PM_FRACTION["pm25"]).astype(
    np.float32
)
"""True PM2.5 of one particle/cm³ in each bin, µg/m³."""

_PM_WEIGHT: Final = BIN_MASS_UG * 1e6
_AGES: Final = np.concatenate([np.arange(0.0, 40.0), np.geomspace(40, LONGEST_S, 70)])
# Too little for any sensor to detect: PM 0.1 µg/m³, gas 2 ppb, CO2 3 ppm, CO 0.05 ppm, water 0.03
# g/m³, heat 0.03 K.
_NEGLIGIBLE: Final = np.array([2.0] * 5 + [3.0, 0.05, 0.03, 0.03])
_PULSE_S: Final = 5.0
_HEAT_LOSS_PER_H: Final = 10.0
_WATER_LOSS_PER_H: Final = 2.0
_FOG_LOSS_PER_H: Final = 40.0
_FOG_RH: Final = (92.0, 2.5)


@dataclass(frozen=True, slots=True)
class Plume:
    """A session's contribution at one inlet.

    - `first`: second of the first column, s after the simulation's start.
    - `rows` (N_ROWS, n): see the module; each row is added to everything else in the air.
    - `active`: rows that are not all zero.
    """

    first: int
    rows: NDArray[np.float32]
    active: NDArray[np.intp]

    @property
    def pm25(self) -> NDArray[np.float32]:
        """The noise-free PM2.5 excess, µg/m³."""
        return np.asarray(PM25_WEIGHT @ self.rows[:N_BINS])


def _compute_pulse_response(
    e: Emission, transport: NDArray[np.float64], surface: float, slowdown: float
) -> NDArray[np.float64]:
    """Return the rows at `_AGES` if everything is released at age zero, without air exchange."""
    hours = _AGES / 3600
    out = np.zeros((N_ROWS, _AGES.size))
    if e.particles_mg > 0 and e.aerosol is not None:
        sizes = e.aerosol.numbers_per_mg(_AGES, evaporation_slowdown=slowdown)
        loss = deposition_per_h(BIN_MID_UM, surface) + e.aerosol.sticking_per_h
        if e.fog:
            loss = loss + _FOG_LOSS_PER_H
        out[:N_BINS] = e.particles_mg * 1e-6 * sizes * np.exp(-loss[:, None] * hours)
    gas = np.asarray(e.gas_mg)
    if gas.any():
        ppb = gas * PPB_PER_MG_M3
        out[GAS:CO2] = ppb[:, None] * np.exp(-WALL_LOSS_PER_H[:, None] * hours)
    out[CO2] = e.co2_g * 1000 * MOLAR_VOLUME_L / 44
    out[CO] = e.co_mg * MOLAR_VOLUME_L / 28
    if e.water_g:
        out[WATER] = e.water_g * np.exp(-_WATER_LOSS_PER_H * hours)
    if e.heat_kj:
        out[HEAT] = e.heat_kj / 1.21 * np.exp(-_HEAT_LOSS_PER_H * hours)
    out *= transport
    return out


def _find_horizon(response: NDArray[np.float64], ach: float) -> int:
    """Return the age from which the response is negligible, s."""
    fading = response * np.exp(-ach * _AGES / 3600)
    seen = _PM_WEIGHT @ fading[:N_BINS] > 0.1
    seen |= (np.abs(fading[GAS:]) > _NEGLIGIBLE[:, None]).any(axis=0)
    if not seen.any():
        return 0
    last = int(np.flatnonzero(seen)[-1])
    return int(_AGES[min(last + 1, _AGES.size - 1)])


def _interpolate_response(response: NDArray[np.float64], n: int) -> NDArray[np.float32]:
    seconds = np.arange(n)
    right = np.clip(np.searchsorted(_AGES, seconds, side="right"), 1, _AGES.size - 1)
    left = right - 1
    weight = ((seconds - _AGES[left]) / (_AGES[right] - _AGES[left])).astype(np.float32)
    r = response.astype(np.float32)
    low = np.take(r, left, axis=1)
    low += (np.take(r, right, axis=1) - low) * weight
    return np.asarray(low)


def simulate_plume(
    rng: np.random.Generator,
    session: Session,
    air: RoomAir,
    sensor: SensorPlace,
    place: Place,
    *,
    first: int,
    ach_per_minute: NDArray[np.float64],
    rh: float,
    water_g_m3: float,
    temp_c: float,
) -> Plume | None:
    """Return a session's plume at a sensor's inlet.

    - `first`: second of the session's start, s after the simulation's start.
    - `ach_per_minute` (minutes,): air changes from the session's start on, 1/h; after its end, the
      last value applies.
    - `rh`, `water_g_m3`, `temp_c`: air of the room at the start.
    - Returns: None if nothing ever reaches the sensor.
    """
    fan_on = bool(ach_per_minute[0] > air.ach_off * 1.5)
    transport = compute_arrival(air, sensor, place, _AGES, fan_on=fan_on)
    slowdown = compute_evaporation_slowdown(rh)
    ach_mean = float(ach_per_minute[:60].mean())
    parts: list[tuple[Emission, NDArray[np.float64], int]] = []
    length = 0
    for e in session.emissions:
        response = _compute_pulse_response(e, transport, air.surface, slowdown)
        horizon = _find_horizon(response, ach_mean)
        if horizon:
            parts.append((e, response, horizon))
            length = max(length, horizon + int(max(e.times_s) + e.duration_s) + 1)
    if not parts:
        return None
    exchange = np.interp(
        np.arange(length),
        np.arange(ach_per_minute.size + 1) * 60.0,
        np.concatenate([[0.0], np.cumsum(ach_per_minute / 60)]),
    )
    late = length - ach_per_minute.size * 60
    if late > 0:
        exchange[-late:] += np.arange(1, late + 1) * ach_per_minute[-1] / 3600
    rows = np.zeros((N_ROWS, length), np.float32)
    fog = np.zeros((N_BINS, length), np.float32)
    for e, response, horizon in parts:
        active = np.flatnonzero(np.abs(response).max(axis=1) > 0)
        target = fog if e.fog else rows
        _release(rng, target, active, e, response[active], horizon, exchange)
    fresh = _compute_fresh_share(rng, parts, transport, air.volume_m3, exchange)
    lumps = _draw_lumps(rng, place.lumpiness * fresh)
    rows[:HEAT] *= lumps
    if rows[WATER].max() > 0:
        # Vapor above saturation condenses on walls and droplets.
        room_left = saturation_g_m3(temp_c + rows[HEAT]) - water_g_m3
        np.minimum(rows[WATER], np.maximum(room_left, 0).astype(np.float32), out=rows[WATER])
    if fog.any():
        local = 100 * (water_g_m3 + rows[WATER]) / saturation_g_m3(temp_c + rows[HEAT])
        alive = 1 / (1 + np.exp(-(local - _FOG_RH[0]) / _FOG_RH[1]))
        rows[:N_BINS] += fog * (lumps * alive).astype(np.float32)
    active = np.flatnonzero(np.abs(rows).max(axis=1) > 0)
    return Plume(first, rows, active)


def _release(
    rng: np.random.Generator,
    target: NDArray[np.float32],
    active: NDArray[np.intp],
    e: Emission,
    response: NDArray[np.float64],
    horizon: int,
    exchange: NDArray[np.float64],
) -> None:
    n = target.shape[1]
    kernel = _interpolate_response(response, horizon)
    tail = max(horizon // 10, 1)
    kernel[:, -tail:] *= np.linspace(1, 0, tail, dtype=np.float32)
    shots = [(at + e.duration_s / 2, share) for at, share in zip(e.times_s, e.shares, strict=True)]
    if e.duration_s > _PULSE_S:
        # A long release: blocks of equal length, each with its own constant strength.
        blocks = int(np.clip(e.duration_s / 30, 1, 24))
        width = max(round(e.duration_s / blocks), 1)
        kernel = _spread_release(kernel, width)
        uneven = rng.lognormal(0, 0.3, blocks)
        uneven /= uneven.sum()
        shots = [
            (at + i * width, share * float(part))
            for at, share in zip(e.times_s, e.shares, strict=True)
            for i, part in enumerate(uneven)
        ]
    total = np.zeros((active.size, n), np.float32)
    for at, share in shots:
        i = min(round(at), n - 1)
        stop = min(i + kernel.shape[1], n)
        fading = share * np.exp(exchange[i] - exchange[i:stop])
        total[:, i:stop] += kernel[:, : stop - i] * fading.astype(np.float32)
    if active.size == target.shape[0]:
        target += total
    else:
        target[active] += total


def _spread_release(kernel: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the response to a constant release over `width` seconds with the same total."""
    rows, n = kernel.shape
    running = np.empty((rows, n + width))
    np.cumsum(kernel, axis=1, dtype=np.float64, out=running[:, :n])
    running[:, n:] = running[:, n - 1 : n]
    running[:, width:] -= running[:, :n].copy()
    running /= width
    return running.astype(np.float32)


def _compute_fresh_share(
    rng: np.random.Generator,
    parts: list[tuple[Emission, NDArray[np.float64], int]],
    transport: NDArray[np.float64],
    volume_m3: float,
    exchange: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the share of arriving air that has not mixed with the room yet, 0-1, each second.

    Only concentration above the level of perfect mixing is lumpy. A puff is lumpy until it has
    spread; in a long release, only the newest part is.
    """
    n = exchange.size
    tracer = np.zeros((2, n), np.float32)
    both = np.stack([transport, np.minimum(transport, 1 / volume_m3)])
    rows = np.arange(2)
    for e, _, horizon in parts[:2]:
        _release(rng, tracer, rows, e, both, horizon, exchange)
    total = np.maximum(tracer[0], np.float32(1e-12))
    return np.asarray(np.clip(1 - tracer[1] / total, 0.05, 1))


def _draw_lumps(rng: np.random.Generator, width: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a lognormal fluctuation with mean one and log standard deviation `width`."""
    keep = float(np.exp(-1 / rng.uniform(3, 10)))
    white = rng.standard_normal(width.size, dtype=np.float32)
    b, a = np.array([np.sqrt(1 - keep**2)], np.float32), np.array([1, -keep], np.float32)
    wander = lfilter(b, a, white)
    return np.asarray(np.exp(width * wander - width**2 / 2), dtype=np.float32)
