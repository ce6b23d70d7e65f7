"""A restroom: its zones, its fixtures, and releases into its air."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from research.worlds.zone_network.layout import (
    DENSITY,
    DRIVERS,
    NODES,
    SPHERE,
    Driver,
    Mode,
    Species,
    Zone,
)
from research.worlds.zone_network.series import draw_log, pick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from research.worlds.zone_network.school import School

_OPTIONAL: Final = {
    Zone.STALL_B: 0.7,
    Zone.ENTRY: 0.5,
    Zone.CEILING: 0.8,
    Zone.EXHAUST: 0.65,
    Zone.NOOK: 0.5,
}
"""Zones that only some rooms have, and the share of rooms that have each."""
PLACES: Final = (Zone.MAIN, Zone.STALL_A, Zone.STALL_B, Zone.CORRIDOR)
"""Zones in which people are counted: the columns of `Room.people`."""


class Release(NamedTuple):
    """A constant source of one species in one zone, in the species' unit per second."""

    begin: int
    seconds: int
    zone: Zone
    species: int
    rate: float


class Act(NamedTuple):
    """One act that changes the room's air; times are in seconds of the simulation."""

    kind: str
    style: str
    onset: float
    end: float


class Room:
    """One room of a school.

    - `zone_of`: for each zone, the zone that this room uses for it.
    - `volumes`: volume of each zone, m³.
    - `rising_share`: share of a warm release that reaches the ceiling at once.
    - `mixing_s`: time in which a plume mixes with its zone.
    - `drivers` (seconds, DRIVERS), `people` (seconds, len(PLACES)): series in single precision.
    - `flows` (DRIVERS, NODES, NODES): exchange that a unit of each driver causes, m³/s.
    """

    def __init__(self, school: School, rng: np.random.Generator) -> None:
        self.school = school
        self.rng = rng
        self.volume = draw_log(rng, 15, 80)
        self.air_changes = draw_log(rng, 0.6, 15)
        self._draw_zones()
        self._draw_sensor_zone()
        self.rising_share = rng.uniform(0.1, 0.5) if Zone.CEILING in self.zones else 0.0
        self.mixing_s = draw_log(rng, 8, 45)
        self.vapor_saturation = draw_log(rng, 1, 10)
        self.lumpiness = draw_log(rng, 0.08, 1.3)
        self.lump_s = draw_log(rng, 1.2, 6)
        self.infiltration = rng.uniform(0.35, 1.0)
        self.voc_source = (
            draw_log(rng, 30, 1500) if rng.random() < 0.85 else draw_log(rng, 1500, 4500)
        )
        self.has_urinals = rng.random() < 0.5
        self.visits_a_day = draw_log(rng, 9, 42) if rng.random() < 0.5 else draw_log(rng, 48, 95)
        self.has_dryer = rng.random() < 0.55
        self.dryer_has_fines = rng.random() < 0.35
        self.dryer_watts = rng.uniform(300, 1800)
        self.fan_mode = pick(rng, range(5), school.fan_modes)
        self.has_shower = rng.random() < 0.18
        self.deposition = rng.uniform(1, 3.0)
        self.sorption = draw_log(rng, 0.3, 3)

        self.drivers = np.zeros((school.seconds, DRIVERS), np.float32)
        self.drivers[:, Driver.ALWAYS] = 1
        self.fan = np.zeros(school.seconds)
        self.people = np.zeros((school.seconds, len(PLACES)), np.float32)
        self.acts: list[Act] = []
        self.releases: list[Release] = []
        self.flows = np.zeros((DRIVERS, NODES, NODES))
        self.overturning = np.zeros((NODES, NODES))
        self.stratification = 0.0

    def _draw_zones(self) -> None:
        rng = self.rng
        zones = {Zone.MAIN, Zone.STALL_A, Zone.CORRIDOR}
        zones |= {zone for zone, share in _OPTIONAL.items() if rng.random() < share}
        if len(zones) < 4:
            zones.add(Zone.CEILING)
        neighbor = {
            Zone.STALL_B: Zone.STALL_A,
            Zone.ENTRY: Zone.MAIN,
            Zone.CEILING: Zone.MAIN,
            Zone.EXHAUST: Zone.CEILING if Zone.CEILING in zones else Zone.MAIN,
            Zone.NOOK: Zone.MAIN,
        }
        self.zones = zones
        self.zone_of = [
            zone if zone in zones else neighbor[zone] for zone in Zone if zone != Zone.OUTSIDE
        ]
        share = {
            Zone.STALL_A: rng.uniform(0.08, 0.17),
            Zone.STALL_B: rng.uniform(0.07, 0.16),
            Zone.ENTRY: rng.uniform(0.06, 0.12),
            Zone.CEILING: rng.uniform(0.08, 0.2),
            Zone.EXHAUST: rng.uniform(0.02, 0.06),
            Zone.NOOK: rng.uniform(0.07, 0.16),
        }
        self.volumes = np.ones(len(self.zone_of))
        parts = sorted(zones - {Zone.MAIN, Zone.CORRIDOR})
        for zone in parts:
            self.volumes[zone] = max(1.2, share[zone] * self.volume)
        self.volumes[Zone.MAIN] = max(4.0, self.volume - sum(self.volumes[z] for z in parts))
        self.volumes[Zone.CORRIDOR] = draw_log(rng, 70, 500)

    def _draw_sensor_zone(self) -> None:
        weight = {
            Zone.CEILING: 6,
            Zone.EXHAUST: 1.2,
            Zone.MAIN: 1.6 if Zone.CEILING in self.zones else 4,
            Zone.STALL_A: 1.2,
            Zone.ENTRY: 0.4,
            Zone.NOOK: 0.6,
        }
        zones = [zone for zone in weight if zone in self.zones]
        w = np.array([weight[zone] for zone in zones])
        self.sensor_zone = pick(self.rng, zones, (w / w.sum()).tolist())

    # Sources

    def release(self, zone: Zone, species: int, at: float, duration: float, amount: float) -> None:
        """Add `amount` of a species to a zone, evenly over `duration`."""
        seconds = np.ceil(max(1.0, duration))
        self.releases.append(
            Release(int(at), int(seconds), self.zone_of[zone], species, amount / seconds)
        )

    def release_gas(
        self, zone: Zone, species: Species, at: float, duration: float, mg: float
    ) -> None:
        """Release a gas; alcohol from a short act stays unevenly distributed until it has mixed."""
        amount = mg * 1e3 / self.volumes[self.zone_of[zone]]
        self.release(zone, species, at, duration, amount)
        if species == Species.ALCOHOL and duration < 200:
            self.release(zone, Species.UNMIXED_GAS, at, duration, amount)

    def release_water(self, zone: Zone, at: float, duration: float, grams: float) -> None:
        """Release water vapor."""
        volume = self.volumes[self.zone_of[zone]]
        self.release(zone, Species.WATER, at, duration, grams / volume)

    def release_heat(self, zone: Zone, at: float, duration: float, joules: float) -> None:
        """Warm the air of a zone; negative heat cools it."""
        volume = self.volumes[self.zone_of[zone]]
        self.release(zone, Species.HEAT, at, duration, joules / 1200 / volume)

    def release_aerosol(
        self,
        zone: Zone,
        at: float,
        duration: float,
        mode: Mode,
        mg: float,
        mmd_um: float,
        gsd: float,
        volatile: float,
        evaporation: float | None = None,
        fresh: float = 1.0,
    ) -> None:
        """Release lognormal particles.

        - `mmd_um`, `gsd`: mass median diameter and geometric standard deviation.
        - `volatile`: share of the mass that can evaporate.
        - `evaporation`: rate constant, µm²/s, for modes in which it depends on the source.
        - `fresh`: share that is still unevenly distributed.
        """
        mass = mg * 1e3 / self.volumes[self.zone_of[zone]]
        variance = np.log(gsd) ** 2
        log_diameter = np.log(mmd_um) - 3 * variance
        mean_volume = SPHERE * np.exp(3 * log_diameter + 4.5 * variance)
        number = mass / (DENSITY[mode] * mean_volume)
        vaped = mode in (Mode.VAPE, Mode.THC)
        amounts = {
            Species.NUMBER + mode: number,
            Species.LOG_DIAMETER + mode: number * log_diameter,
            Species.INVOLATILE + mode: mass * (1 - volatile),
            Species.VOLATILE + mode: mass * volatile,
            Species.UNMIXED_VAPE if vaped else Species.UNMIXED_OTHER: mass * fresh,
        }
        if evaporation is not None:
            rate = Species.VAPE_RATE if mode == Mode.VAPE else Species.SPRAY_RATE
            amounts[rate] = mass * volatile * evaporation
        for species, amount in amounts.items():
            self.release(zone, species, at, duration, amount)

    def divide(
        self, zone: Zone, rising: float, at_sensor: float = 0.0
    ) -> Iterator[tuple[Zone, float]]:
        """Divide a release: part of it rises to the ceiling, part is blown at the sensor.

        Yields each zone and its share; the rest stays where the person is.
        """
        top = Zone.CEILING
        if top not in self.zones or zone in (top, Zone.EXHAUST, Zone.CORRIDOR):
            rising = 0.0
        for part, share in (
            (zone, 1 - rising - at_sensor),
            (top, rising),
            (self.sensor_zone, at_sensor),
        ):
            if share > 0.003:
                yield part, share

    # People and doors

    def note(self, kind: str, style: str, onset: float, end: float) -> None:
        """Record an act."""
        self.acts.append(Act(kind, style, float(onset), float(end)))

    def drive(self, driver: Driver, at: float, duration: float, strength: float = 1) -> None:
        """Strengthen a driver for a while."""
        self.drivers[self._span(at, duration), driver] += strength

    def occupy(self, place: Zone, at: float, duration: float, people: int = 1) -> None:
        """Count people in one of `PLACES`."""
        self.people[self._span(at, duration), PLACES.index(place)] += people

    def open_door(self, at: float) -> None:
        """Open the room's door for a few seconds."""
        self.drive(Driver.DOOR, at, self.rng.uniform(2, 8), self.rng.uniform(0.4, 1))

    def _span(self, at: float, duration: float) -> slice:
        begin = max(0, int(at))
        return slice(begin, max(begin, min(self.school.seconds, int(at + duration) + 1)))
