"""Simulate the air in all rooms, one second at a time.

Each mode has four values in each zone: number, number times log diameter, involatile and volatile
mass. Vapors slow evaporation; tiles absorb and release them. Water condenses on cold walls. Slow
processes (settling, coagulation, walls, emissions from people) advance every four seconds.

For transport, species are the last axis, so that each room takes one matrix product. For reactions,
they are the first axis, so that inner loops over rooms and zones are long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.zone_network.layout import (
    DENSITY,
    DRIVERS,
    INDOORS,
    MODES,
    NODES,
    SPHERE,
    Mode,
    Species,
    Zone,
    saturation_g_m3,
)
from research.worlds.zone_network.room import PLACES
from research.worlds.zone_network.series import draw_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from research.worlds.zone_network.room import Room
    from research.worlds.zone_network.school import School

    Floats = NDArray[np.float64]

_SLOW_S: Final = 4
_N: Final = int(Species.COUNT)


def _by_mode(values: Floats) -> Floats:
    """Reshape one value per mode to broadcast over (modes, rooms, zones)."""
    return values[:, None, None]


_MASS: Final = _by_mode(DENSITY * SPHERE)
"""Mass of a 1 µm particle of each mode, pg."""

# modes that evaporate, and their indexes among those modes
_VOLATILE_MODES: Final = slice(Mode.SMOKE, Mode.FOG + 1)
_SMOKE, _VAPE, _THC, _SPRAY, _MIST, _FOG = range(6)
_RATE_UM2_S: Final = _by_mode(np.array([0.004, 0.0, 0.0004, 0.0, 250.0, 0.0016]))
"""Evaporation rate by mode; for vape and spray it depends on the source, for mist on humidity."""
_NUMBER_LOSS: Final = _by_mode(np.array([0.2, 0.35, 0.2, 0.15, 0, 0.2]))
"""Ratio of the share of particles that disappear to the share of mass that evaporates."""
_SHRINKAGE: Final = (1 - _NUMBER_LOSS) * _by_mode(np.array([1.05, 1.08, 1.05, 1.0, 1.0, 1.05])) / 3


def _lognormal(mass: Floats, mode: Mode, mmd_um: float, variance: float) -> tuple[Floats, Floats]:
    """Return the number, and number times log diameter, of a lognormal mass."""
    log_diameter = np.log(mmd_um) - 3 * variance
    number = mass / (DENSITY[mode] * SPHERE * np.exp(3 * log_diameter + 4.5 * variance))
    return number, number * log_diameter


def _species_first(air: Floats) -> Floats:
    """Return a view of indoor air (rooms, nodes, species) as (species, rooms, zones)."""
    return air[:, :INDOORS].transpose(2, 0, 1)


class Network:
    """All rooms of a school, advanced together."""

    def __init__(self, school: School, rooms: Sequence[Room], background_mmd_um: float) -> None:
        self._school, self._rooms = school, rooms
        self._background_mmd_um = background_mmd_um
        n = len(rooms)
        self._seconds, self._n = school.seconds, n

        def of_rooms(get: Callable[[Room], object]) -> Floats:
            return np.array([get(room) for room in rooms])

        def in_zones(get: Callable[[Room], float]) -> Floats:
            return np.repeat(of_rooms(get)[:, None], INDOORS, axis=1)

        self._row = np.arange(n)
        self._volumes = of_rooms(lambda room: room.volumes)
        self._flows = of_rooms(lambda room: room.flows.reshape(DRIVERS, NODES * NODES))
        self._overturning = of_rooms(lambda room: room.overturning)
        self._stratification = of_rooms(lambda room: room.stratification)
        self._ceiling = np.array([room.zone_of[Zone.CEILING] for room in rooms])
        self._main = np.array([room.zone_of[Zone.MAIN] for room in rooms])
        self._infiltration = of_rooms(lambda room: room.infiltration)
        self._unmixed_left = np.exp(-1 / in_zones(lambda room: room.mixing_s))
        self._vapor_saturation = in_zones(lambda room: room.vapor_saturation)
        self._settling = 1.6e-5 * in_zones(lambda room: room.deposition) * _by_mode(DENSITY)
        self._people_sources = self._draw_people_sources()
        self._wall_offset = in_zones(lambda room: room.rng.uniform(-1.4, 0.8))
        self._wall_rate = in_zones(lambda room: draw_log(room.rng, 0.002, 0.008))

        self._air = np.zeros((n, NODES, _N))
        self._set_boundary(0, slice(None))
        furnishings = of_rooms(lambda room: room.voc_source)
        self._air[:, :INDOORS, Species.ALCOHOL] += (furnishings * 1.88 * 0.6)[:, None]
        self._indoors = np.ascontiguousarray(_species_first(self._air))
        self._name_parts()
        self._rate = np.repeat(np.repeat(_RATE_UM2_S, n, axis=1), INDOORS, axis=2)
        sorption = in_zones(lambda room: room.sorption)
        self._adsorption = sorption * _by_mode(np.array([0.15, 3, 8, 3])) / 3600
        self._desorption = _by_mode(np.array([0.6, 0.5, 0.05, 0.35]) / 3600)
        self._on_tiles = self._gases * self._adsorption / self._desorption
        self._on_walls = np.zeros((n, INDOORS))

    def _name_parts(self) -> None:
        """Name the parts of the indoor air (species, rooms, zones)."""
        moments = self._indoors[: 4 * MODES].reshape(4, MODES, self._n, INDOORS)
        self._number, self._log_diameter, self._involatile, self._volatile = moments
        self._gases = self._indoors[Species.ALCOHOL : Species.TERPENE + 1]
        (
            self._alcohol,
            self._glycol,
            self._glycerol,
            self._terpene,
            self._water,
            _,
            self._temperature,
            self._unmixed_vape,
            self._unmixed_other,
            self._vape_rate,
            self._spray_rate,
            self._unmixed_gas,
        ) = self._indoors[Species.ALCOHOL :]

    def _draw_people_sources(self) -> Floats:
        """Draw one person's emissions per second, shape (rooms, places, zones x species)."""
        n, rooms = self._n, self._rooms
        source = np.zeros((n, len(PLACES), _N))
        body = np.array([draw_log(room.rng, 0.0005, 0.01) for room in rooms])[:, None]
        source[:, :, Species.CO2] = 5.0
        source[:, :, Species.WATER] = 0.014
        source[:, :, Species.HEAT] = 55 / 1200
        source[:, :, Species.ALCOHOL] = body * 1e3
        source[:, :, Species.TERPENE] = body * 40
        dust = np.array([draw_log(room.rng, 0.0005, 0.012) for room in rooms])[:, None] * 1e3
        mass = np.repeat(dust, len(PLACES), axis=1)
        mass[:, 1:3] *= 0.3  # people in stalls raise less dust
        source[:, :, Species.INVOLATILE + Mode.DUST] = mass
        number, log_diameter = _lognormal(mass, Mode.DUST, 6, 0.48)
        source[:, :, Species.NUMBER + Mode.DUST] = number
        source[:, :, Species.LOG_DIAMETER + Mode.DUST] = log_diameter
        by_zone = np.zeros((n, len(PLACES), NODES, _N))
        for i, room in enumerate(rooms):
            for j, place in enumerate(PLACES):
                zone = room.zone_of[place]
                by_zone[i, j, zone] += source[i, j] * (1 / room.volumes[zone])
        return by_zone.reshape(n, len(PLACES), NODES * _N)

    def _set_boundary(self, minute: int, nodes: slice) -> None:
        """Set the outside air from the surroundings."""
        outside, air = self._school.surroundings, self._air
        for mode, series, mmd_um, variance, share in (
            (Mode.BACKGROUND, outside.particles, self._background_mmd_um, 0.45, 1),
            (Mode.SMOKE, outside.smoke, 0.35, 0.3, 1),
            (Mode.DUST, outside.dust, 5.0, 0.5, 0.25),
        ):
            mass = series[minute] * self._infiltration * share
            number, log_diameter = _lognormal(mass, mode, mmd_um, variance)
            air[:, nodes, Species.NUMBER + mode] = number[:, None]
            air[:, nodes, Species.LOG_DIAMETER + mode] = log_diameter[:, None]
            air[:, nodes, Species.INVOLATILE + mode] = mass[:, None]
        voc, temperature = outside.voc_ppb[minute], outside.temperature[minute]
        air[:, nodes, Species.ALCOHOL] = voc * 1.88 * 0.7
        air[:, nodes, Species.TERPENE] = voc * 5.6 * 0.06
        air[:, nodes, Species.HEAT] = temperature
        air[:, nodes, Species.WATER] = outside.humidity[minute] / 100 * saturation_g_m3(temperature)
        air[:, nodes, Species.CO2] = outside.co2[minute]

    def _sort_releases(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]:
        """Order releases by second.

        Returns the first entry of each second, the entries' cells and amounts, and the permanent
        releases (rooms, zones, species).
        """
        steady = np.zeros((self._n, NODES, _N))
        begins, lengths, cells, rates = [], [], [], []
        for i, room in enumerate(self._rooms):
            for release in room.releases:
                begin = max(0, release.begin)
                end = min(self._seconds, release.begin + release.seconds)
                if end <= begin:
                    continue
                if release.seconds >= self._seconds - 1:
                    steady[i, release.zone, release.species] += release.rate
                    continue
                begins.append(begin)
                lengths.append(end - begin)
                cells.append((i * NODES + release.zone) * _N + release.species)
                rates.append(release.rate)
        length = np.array(lengths, np.intp)
        first = np.cumsum(length) - length
        second = np.arange(length.sum()) - np.repeat(first - np.array(begins, np.intp), length)
        order = np.argsort(second, kind="stable")
        starts = np.searchsorted(second[order], np.arange(self._seconds + 1))
        cell = np.repeat(np.array(cells, np.intp), length)[order]
        amount = np.repeat(np.array(rates, np.float64), length)[order]
        return starts, cell, amount, steady

    def run(self) -> NDArray[np.float32]:
        """Return the air at the sensors: (seconds, rooms, species)."""
        starts, cells, amounts, steady = self._sort_releases()
        start = starts.tolist()
        steady = np.ascontiguousarray(_SLOW_S * _species_first(steady))
        drivers = np.stack([room.drivers for room in self._rooms], axis=1)
        sensor = np.array([room.sensor_zone for room in self._rooms])
        out = np.zeros((self._seconds, self._n, _N), np.float32)
        air, row = self._air, self._row
        flowing, every_value = _species_first(air), air.reshape(-1)
        per_volume = (1 / self._volumes)[:, :, None]
        overturning = self._overturning
        for k in range(self._seconds):
            if k % 30 == 0:
                self._set_boundary(k // 60, slice(Zone.OUTSIDE, NODES))
                overturning = self._overturn()
            exchange = np.matmul(drivers[k][:, None, :], self._flows)
            exchange = exchange.reshape(self._n, NODES, NODES) + overturning
            air[:, :INDOORS] += np.matmul(exchange, air)[:, :INDOORS] * per_volume
            here = slice(start[k], start[k + 1])
            if here.stop > here.start:
                np.add.at(every_value, cells[here], amounts[here])
            self._indoors[:] = flowing
            humidity, stickiness = self._evaporate()
            if k % _SLOW_S == 0:
                self._indoors += steady
                self._add_people(k)
                self._lose_particles(stickiness)
                self._exchange_with_walls(self._school.surroundings.temperature[k // 60])
                self._condense(humidity)
                for moment in (self._number, self._involatile, self._volatile):
                    np.maximum(moment, 0, out=moment)
            flowing[:] = self._indoors
            out[k] = air[row, sensor]
        return out

    def _add_people(self, second: int) -> None:
        people = np.stack([room.people[second] for room in self._rooms])
        added = np.matmul(people[:, None, :], self._people_sources)
        self._indoors += _SLOW_S * _species_first(added.reshape(self._n, NODES, _N))

    def _overturn(self) -> Floats:
        """Return the exchange between room and ceiling; a warmer ceiling reduces it."""
        heat = self._air[:, :, Species.HEAT]
        warmer = np.maximum(heat[self._row, self._ceiling] - heat[self._row, self._main], -0.3)
        damped = 1 / (1 + self._stratification * np.maximum(warmer, 0)) ** 2
        overturning: Floats = (damped * (1 + np.maximum(-warmer, 0) * 2))[:, None, None]
        return overturning * self._overturning

    def _evaporate(self) -> tuple[Floats, Floats]:
        """Advance volatile modes by a second.

        Returns relative humidity, and how much faster fresh vape aerosol coagulates.
        """
        number, volatile = self._number[_VOLATILE_MODES], self._volatile[_VOLATILE_MODES]
        log_diameter = self._log_diameter[_VOLATILE_MODES]
        mass = self._involatile[_VOLATILE_MODES] + volatile
        mass_ = mass + 1e-9
        diameter_cubed = mass_ / ((number + 1e-6) * _MASS[_VOLATILE_MODES])
        diameter_squared = np.exp(np.log(diameter_cubed) * (2 / 3)) + 1e-4
        temperature = self._temperature
        humidity = self._water / saturation_g_m3(temperature)
        humid = np.minimum(humidity, 0.998)
        saturation = self._vapor_saturation
        vape_left = volatile[_VAPE] + 1e-9
        spray_left = volatile[_SPRAY] + 1e-9
        in_plume = saturation * np.minimum(1, self._unmixed_vape / mass_[_VAPE])
        warmth = np.exp((temperature - 22) * 0.09)
        glycerol = np.minimum(0.97, self._glycerol * (1 + in_plume) / (520 * warmth))
        alcohol = np.maximum(0.1, 1 - self._alcohol * (1 + saturation) / 4e6)
        rate = self._rate
        rate[_VAPE] = self._vape_rate / vape_left * (1 - glycerol) * (1 - 0.55 * humid) * warmth
        rate[_SPRAY] = self._spray_rate / spray_left * alcohol
        rate[_MIST] = 250 * (1 - humid)
        shrunk = np.maximum(0.02, 1 - 0.75 * rate * (volatile / mass_) / diameter_squared)
        lost = np.minimum(volatile, mass * (1 - shrunk * np.sqrt(shrunk)))
        share = lost / mass_
        self._vape_rate *= 1 - lost[_VAPE] / vape_left
        self._spray_rate *= 1 - lost[_SPRAY] / spray_left
        log_diameter += number * _SHRINKAGE * np.log1p(-np.minimum(share, 0.9995))
        left = 1 - _NUMBER_LOSS * share
        number *= left
        log_diameter *= left
        volatile -= lost
        self._glycerol += 0.9 * lost[_VAPE]
        self._alcohol += 0.8 * lost[_SPRAY]
        self._glycol += lost[_FOG] + 0.1 * lost[_VAPE]
        self._terpene += lost[_THC] + 0.3 * lost[_SMOKE]
        self._unmixed_vape *= self._unmixed_left * (
            1 - (lost[_VAPE] + lost[_THC]) / (mass_[_VAPE] + mass_[_THC])
        )
        others_lost = lost[_SMOKE] + lost[_SPRAY] + lost[_MIST] + lost[_FOG]
        others_mass = mass_[_SMOKE] + mass_[_SPRAY] + mass_[_MIST] + mass_[_FOG]
        self._unmixed_other *= self._unmixed_left * (1 - others_lost / others_mass)
        self._unmixed_gas *= self._unmixed_left
        return humidity, in_plume

    def _lose_particles(self, stickiness: Floats) -> None:
        """Remove particles of all modes by settling, walls and coagulation."""
        number = self._number
        mass = self._involatile + self._volatile + 1e-9
        number_ = number + 1e-6
        log_diameter = np.clip(self._log_diameter / number_, -5, 4)
        variance = (np.log(mass / (number_ * _MASS)) - 3 * log_diameter) / 4.5
        np.clip(variance, 0.04, 0.7, out=variance)
        settling = self._settling * np.exp(2 * log_diameter)
        of_number = np.minimum(0.1, _SLOW_S * (settling * np.exp(2 * variance) + 8e-5))
        by_mass = settling * np.exp(np.minimum(8 * variance, 4))
        of_mass = np.minimum(0.3, _SLOW_S * (by_mass + 8e-5))
        coagulated = np.minimum(0.2, _SLOW_S * 9e-10 * number * (1 + stickiness))
        self._log_diameter -= number_ * (
            of_number * (log_diameter + 2 * variance) + coagulated * log_diameter
        )
        number *= 1 - of_number - coagulated
        left = 1 - of_mass
        self._involatile *= left
        self._volatile *= left
        self._vape_rate *= left[Mode.VAPE]
        self._spray_rate *= left[Mode.SPRAY]

    def _exchange_with_walls(self, outside_c: float) -> None:
        """Exchange gases with tiles, and heat and condensed water with walls."""
        gases = self._gases
        stuck = _SLOW_S * (self._adsorption * gases - self._desorption * self._on_tiles)
        np.minimum(stuck, 0.3 * gases, out=stuck)
        gases -= stuck
        self._on_tiles += stuck
        wall_c = outside_c + self._wall_offset
        self._temperature += _SLOW_S * self._wall_rate * (wall_c - self._temperature)
        excess = self._water - saturation_g_m3(wall_c)
        condensed = np.where(
            excess > 0, excess * 0.008, np.maximum(excess * 0.004, -self._on_walls * 0.02)
        )
        condensed *= _SLOW_S * 0.5
        self._water -= condensed
        self._on_walls += condensed

    def _condense(self, humidity: Floats) -> None:
        """Turn water above saturation into mist."""
        over = np.maximum(0, humidity - 1.0) * saturation_g_m3(self._temperature) * 0.3
        self._water -= over
        mass = over * 4e3
        number = mass / (DENSITY[Mode.MIST] * SPHERE * 60)
        self._volatile[Mode.MIST] += mass
        self._number[Mode.MIST] += number
        self._log_diameter[Mode.MIST] += number * 1.1
