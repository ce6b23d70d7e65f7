"""Simulate the air in both zones of all rooms, in steps of one second."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import expit

from research.worlds.two_zones.emission import FAR, GAS, HEAT, NEAR, WATER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from research.worlds.two_zones.emission import Emission
    from research.worlds.two_zones.rooms import Room

    Floats = NDArray[np.float64]

CHUNK_S: Final = 3600
_DEPOSITION: Final = np.array([[8e-5, 1e-4, 4e-4, 3.5e-3]] * GAS + [[0.0] * 4])
"""Loss to surfaces by pool and bin, 1/s."""


def _saturation_g_m3(temperature: Floats) -> Floats:
    """Return the water content of saturated air (Magnus formula)."""
    pressure_hpa = 6.112 * np.exp(17.62 * temperature / (243.12 + temperature))
    return np.asarray(216.7 * pressure_hpa / (273.15 + temperature))


@dataclass(slots=True)
class Track:
    """A chunk of all rooms' air by second: the far zone, and the near zone's particles."""

    far: Floats
    near_particles: Floats
    temperature: Floats
    humidity: Floats


class Air:
    """Both zones of all rooms."""

    def __init__(self, rooms: Sequence[Room]) -> None:
        near = np.array([r.near_volume for r in rooms])
        total = np.array([r.volume for r in rooms])
        self._volume = np.stack([near, total - near])[:, :, None, None]
        self._exchange = np.array([r.exchange for r in rooms])[:, None, None]
        flow = np.array([r.air_changes_h for r in rooms]) * total / 3600
        self._ventilation = (flow / (total - near))[:, None, None]
        self._temperature = np.array([r.temperature for r in rooms])
        humidity = np.array([r.humidity for r in rooms])
        self._water = humidity / 100 * _saturation_g_m3(self._temperature)
        self._state = np.zeros((2, len(rooms), 6, 4))
        self._evaporation = np.zeros((len(rooms), 6))
        self._evaporation_weight = np.full((len(rooms), 6), 1e-9)
        self._emissions: dict[int, list[tuple[int, Emission]]] = defaultdict(list)
        for number, room in enumerate(rooms):
            for emission in room.emissions:
                first = int(emission.onset) // CHUNK_S
                last = int(emission.onset + emission.duration_s) // CHUNK_S
                for chunk in range(first, last + 1):
                    self._emissions[chunk].append((number, emission))

    def advance(self, begin: int, seconds: int) -> Track:
        """Advance by one chunk that starts at `begin`, a multiple of `CHUNK_S`."""
        rooms = self._evaporation.shape[0]
        released, mass, evaporating = self._releases(begin, seconds)
        is_released = mass.sum(axis=(1, 2)) > 0
        track = Track(
            np.empty((seconds, rooms, 6, 4)), *(np.empty((seconds, rooms)) for _ in range(3))
        )
        state, volume = self._state, self._volume
        for second in range(seconds):
            state += released[second]
            if is_released[second]:
                self._mix_evaporation(mass[second], evaporating[second])
            self._evaporation_weight *= 0.999
            temperature = self._temperature + state[:, :, GAS, HEAT]
            saturation = _saturation_g_m3(temperature)
            humidity = np.clip(100 * (self._water + state[:, :, GAS, WATER]) / saturation, 1, 130)
            drying = np.clip((100 - np.minimum(humidity, 99.5)) / 60, 0.02, 1.4)[:, :, None]
            loss = np.minimum(self._evaporation * drying, 0.8)[:, :, :, None] + _DEPOSITION
            loss[FAR] += self._ventilation
            flow = self._exchange * (state[NEAR] - state[FAR])
            state *= 1 - loss
            state[NEAR] -= flow / volume[NEAR]
            state[FAR] += flow / volume[FAR]
            # the near zone already includes this second's heat, the far zone does not
            saturation[NEAR] = _saturation_g_m3(self._temperature + state[NEAR, :, GAS, HEAT])
            water = state[:, :, GAS, WATER]
            water -= np.maximum(self._water + water - saturation, 0) * 0.3
            state[:, :, GAS, HEAT] *= 1 - 1 / 1500
            track.far[second] = state[FAR]
            track.near_particles[second] = state[NEAR, :, :GAS].sum(axis=(1, 2))
            track.temperature[second] = temperature[FAR]
            track.humidity[second] = humidity[FAR]
        return track

    def _releases(self, begin: int, seconds: int) -> tuple[Floats, Floats, Floats]:
        """Return releases into both zones by second: mass by pool, and mass times evaporation."""
        rooms = self._evaporation.shape[0]
        released = np.zeros((seconds, 2, rooms, 6, 4))
        mass, evaporating = (np.zeros((seconds, rooms, 6)) for _ in range(2))
        for number, emission in self._emissions.pop(begin // CHUNK_S, ()):
            onset, end = emission.onset - begin, emission.onset + emission.duration_s - begin
            at = np.arange(max(int(np.floor(onset)), 0), min(int(np.ceil(end)), seconds))
            share = np.minimum(at + 1, end) - np.maximum(at, onset)
            for zone, part in ((NEAR, 1 - emission.direct), (FAR, emission.direct)):
                rates = part * emission.rates / self._volume[zone, number]
                released[at, zone, number] += share[:, None, None] * rates
            released_ug = share * emission.rates[emission.pool].sum()
            mass[at, number, emission.pool] += released_ug
            evaporating[at, number, emission.pool] += released_ug * emission.evaporation
        return released, mass, evaporating

    def _mix_evaporation(self, mass: Floats, evaporating: Floats) -> None:
        """Average each pool's evaporation rate, weighted by mass."""
        weight = self._evaporation_weight
        mixed = (self._evaporation * weight + evaporating) / np.maximum(weight + mass, 1e-300)
        self._evaporation = np.where(mass > 0, mixed, self._evaporation)
        weight += mass


class Background:
    """The drifting background of each room, and an outdoor episode that affects all rooms."""

    def __init__(self, rng: np.random.Generator, rooms: Sequence[Room], hours: float) -> None:
        seconds = int(hours * 3600)
        self._has_episode = hours >= 3
        if self._has_episode:
            self._middle = rng.uniform(0.2, 0.8) * seconds
            self._length_s = rng.uniform(900, 3600)
            self._height = rng.uniform(1.5, 8)
        steps = rng.normal(0, 1, (seconds // 60 + 2, len(rooms)))
        self._drift = np.exp(np.cumsum(steps, axis=0) * 0.004)
        self._pm = np.stack([r.background_pm for r in rooms])
        self._voc = np.array([r.background_voc for r in rooms])

    def at(self, second: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return PM by second, room and bin, and VOC by second and room."""
        drift = self._drift[second // 60]
        outdoors = np.ones(second.size)
        if self._has_episode:
            past = second - self._middle
            decay = np.exp(-np.maximum(past, 0) / (2 * self._length_s))
            outdoors += self._height * expit(past / (self._length_s / 6)) * decay
        return self._pm * (outdoors[:, None] * drift)[:, :, None], self._voc * drift
