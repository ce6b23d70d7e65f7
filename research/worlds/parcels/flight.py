"""Simulate the flight of parcels, and their contribution at the sensor.

A parcel is a Gaussian cloud. Its center moves with the room's flow and reflects off the walls. The
flow consists of two overturning cells, a drift, the jet and warmth of the breath, and eddies: one
series per release, and one per parcel. A parcel grows by turbulent diffusion, and loses mass to the
exhaust grille in proportion to its kernel there. The sensor measures the sum of the kernels at its
inlet. After `FOLLOWED_S`, the rest is mixed into the room.

One day of one room needs about 50 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.day import FOLLOWED_S, Release
from research.worlds.parcels.droplets import evaporate
from research.worlds.parcels.schedule import WARM_UP_S
from research.worlds.parcels.substances import BINS, PM25, SUBSTANCES, WATER, to_bins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from research.worlds.parcels.draws import Floats
    from research.worlds.parcels.rooms import Room

_AXIS_EDDIES: Final = np.array([[1.0], [1.0], [0.6]])
"""Relative turbulence along each axis."""
_EXTRA_SENSOR: Final = 0.003
_EXTRA_GRILLE: Final = 0.06
"""Addition to a parcel's variance, for the size of the inlet and of the grille, m²."""
_WIDE: Final = 0.14
"""Variance, relative to the room's squared length, above which the cosine series is accurate."""


@dataclass(frozen=True, slots=True)
class Flight:
    """Paths of all parcels of a room over `FOLLOWED_S`.

    - `bounds` (releases + 1,): index of each release's first parcel.
    - `first` (parcels,): first step of each parcel.
    - `share` (parcels,): share of the release's mass.
    - `kernel` (FOLLOWED_S, parcels): concentration at the sensor per parcel mass, by age, 1/m³.
    - `left` (parcels,): share that has not left through the grille.
    - `radius` (releases, FOLLOWED_S): mean spread, m.
    """

    bounds: NDArray[np.intp]
    first: NDArray[np.intp]
    share: Floats
    kernel: NDArray[np.float32]
    left: Floats
    radius: Floats


def fly(room: Room, releases: Sequence[Release]) -> Flight:
    """Simulate the paths of all parcels."""
    rng, box = room.rng, room.box[:, None]
    counts = np.array([len(release.delays) for release in releases])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    group = np.repeat(np.arange(len(releases)), counts)
    start = np.concatenate([release.start + release.delays for release in releases]) + WARM_UP_S
    first = np.ceil(start).astype(int)
    parcels = len(start)
    scatter, rise, rise_time, radius = np.array(
        [(each.scatter, each.rise, each.rise_time, each.radius) for each in releases], float
    ).T[:, group]
    place = np.array([release.place for release in releases])[group]
    place = (place + rng.standard_normal((parcels, 3)) * scatter[:, None]).T.copy()
    jet = np.array([release.jet for release in releases], float)[group]
    jet = jet * rng.uniform(0.7, 1.3, (parcels, 1)) + rng.standard_normal((parcels, 3)) * 0.05
    jet = jet.T.copy()
    in_stall = np.array([release.in_stall for release in releases])[group]
    variance = radius**2
    common_eddy = rng.standard_normal((len(releases), 3)) * room.eddy_speed
    own_eddy = rng.standard_normal((parcels, 3)) * room.eddy_speed * 0.6
    keep = np.exp(-1 / room.eddy_time)
    kick = room.eddy_speed * np.sqrt(1 - keep * keep)
    kernel = np.empty((FOLLOWED_S, parcels), np.float32)
    log_left = np.zeros(parcels)
    mean_radius = np.zeros((len(releases), FOLLOWED_S))
    step: Floats | float = np.minimum(1.0, first - start + 0.05)
    for age in range(FOLLOWED_S):
        time = np.minimum(first + age, room.all_s - 1)
        diffusivity = room.diffusivity[time]
        common_eddy = common_eddy * keep + rng.standard_normal(common_eddy.shape) * kick
        own_eddy = own_eddy * keep + rng.standard_normal(own_eddy.shape) * (kick * 0.6)
        velocity = (common_eddy[group] + own_eddy).T.copy()
        velocity *= _AXIS_EDDIES
        velocity *= np.minimum(np.sqrt(diffusivity / room.still_diffusivity), 2.2)
        _add_flow(velocity, room, place, time)
        velocity[:2, in_stall & (place[2] < 1.9)] *= room.stall_damping
        radius = np.sqrt(variance)
        velocity[2] += rise * np.exp(-age / rise_time) * np.minimum(1, 0.25 / radius)
        velocity += jet * np.exp(-age / 1.3)
        place = np.abs(place + velocity * step)
        place = np.clip(box - np.abs(box - place), 0.01, box - 0.01)
        variance = variance + 2 * diffusivity * np.clip(radius / 0.4, 0.5, 1.0) * step
        variance = np.minimum(variance, 9.0)
        mean_radius[:, age] = np.add.reduceat(np.sqrt(variance), bounds[:-1]) / counts
        at_grille = _kernel(room.grille, place, variance + _EXTRA_GRILLE, room.box)
        log_left -= np.minimum(room.exhaust[time] * at_grille, 0.25) * step
        at_sensor = _kernel(room.sensor, place, variance + _EXTRA_SENSOR, room.box)
        kernel[age] = at_sensor * np.exp(log_left)
        step = 1.0
    share = np.concatenate([release.shares for release in releases])
    return Flight(bounds, first, share, kernel, np.exp(log_left), mean_radius)


def _add_flow(velocity: Floats, room: Room, place: Floats, time: NDArray[np.intp]) -> None:
    """Add drift and overturning cells."""
    length, width, height = room.box
    x, y, z = place[0] / length * np.pi, place[1] / width * np.pi, place[2] / height * np.pi
    sin_x, sin_y, cos_z = np.sin(x), np.sin(y), np.cos(z)
    cell_x, cell_y = room.cell_x[time], room.cell_y[time]
    velocity[0] += room.drift_x[time] * sin_x + cell_x * sin_x * cos_z
    velocity[1] += room.drift_y[time] * sin_y + cell_y * sin_y * cos_z
    up = cell_x * height / length * np.cos(x) + cell_y * height / width * np.cos(y)
    velocity[2] -= up * np.sin(z)


def _kernel(at: Floats, place: Floats, variance: Floats, box: Floats) -> Floats:
    """Return the density of each parcel at a point, with reflecting walls, 1/m³."""
    density = np.ones(len(variance))
    for axis in range(3):
        density *= _axis_kernel(at[axis], place[axis], variance, box[axis])
    return density


def _axis_kernel(at: float, place: Floats, variance: Floats, length: float) -> Floats:
    """Return the density along one axis: mirror images while narrow, a cosine series when wide."""
    is_wide = variance / (length * length) > _WIDE
    density = np.empty(len(place))
    x, s2 = place[~is_wide], variance[~is_wide]
    half = -0.5 / s2
    images = np.exp(half * (at - x) ** 2) + np.exp(half * (at + x) ** 2)
    images += np.exp(half * (2 * length - at - x) ** 2)
    density[~is_wide] = images / np.sqrt(2 * np.pi * s2)
    k, x, mixed = np.pi / length, place[is_wide], variance[is_wide] / (length * length)
    first = 2 * np.cos(k * at) * np.cos(k * x) * np.exp(-4.9348 * mixed)
    second = 2 * np.cos(2 * k * at) * np.cos(2 * k * x) * np.exp(-19.739 * mixed)
    density[is_wide] = (1 + first + second) / length
    return np.maximum(density, 0)


@dataclass(frozen=True, slots=True)
class Excess:
    """PM2.5 at the inlet from one vaping session alone, µg/m³ by step, starting at `first`."""

    first: int
    pm25: Floats

    def add(self, step: int, pm25: Floats) -> None:
        """Add a cloud that begins at `step`, up to the end of the session's record."""
        seen = self.pm25[step - self.first :][: len(pm25)]
        seen += pm25[: len(seen)]


@dataclass(frozen=True, slots=True)
class Breath:
    """Substances at the inlet.

    - `inhaled` (steps, SUBSTANCES): concentration at the inlet, mg/m³.
    - `mixed_in`: mass that joins the mixed remainder, mg.
    """

    inhaled: NDArray[np.float32]
    mixed_in: Floats


def breathe(room: Room, releases: Sequence[Release], sessions: Sequence[Excess]) -> Breath:
    """Simulate all releases at the sensor; add the PM2.5 from vaping to `sessions`."""
    steps = room.all_s
    inhaled = np.zeros((steps, SUBSTANCES), np.float32)
    mixed_in = np.zeros((steps + 1, SUBSTANCES))
    if not releases:
        return Breath(inhaled, mixed_in)
    flight = fly(room, releases)
    evaporated = evaporate(releases, flight.radius, room.volume)
    ages = np.arange(max(release.follow_s for release in releases))
    settling = np.exp(-(room.deposition / 3600)[None, :] * ages[:, None])
    air_changed = np.cumsum(room.air_changes) / 3600
    for number, release in enumerate(releases):
        follow_s = release.follow_s
        mass = np.zeros((follow_s, SUBSTANCES))
        mass[:, :BINS] = evaporated.get(number, to_bins(release.droplets))
        mass[:, :BINS] *= settling[:follow_s]
        for gas, released in release.gases.items():
            mass[:, gas] = released * np.exp(-room.sorption[gas - BINS] / 3600 * ages[:follow_s])
        mass[:, WATER] = release.water
        carried = np.flatnonzero(mass.any(0))
        mass = mass[:, carried]
        for first, weight, left in _passages(room, flight, number, follow_s, air_changed):
            end = min(first + follow_s, steps)
            passing = weight[: end - first, None] * mass[: end - first]
            inhaled[first:end, carried] += passing
            if release.session >= 0:
                sessions[release.session].add(first, 1000 * passing[:, carried < PM25].sum(1))
            if end == first + follow_s:
                mixed_in[end, carried] += left * mass[-1]
    return Breath(inhaled, mixed_in)


def _passages(
    room: Room, flight: Flight, number: int, follow_s: int, air_changed: Floats
) -> Iterator[tuple[int, Floats, float]]:
    """Yield the groups of a release's parcels that start together.

    Each group is a tuple: first step, concentration at the sensor per mass by age (1/m³), and the
    share that remains at the end.
    """
    low, high = flight.bounds[number : number + 2]
    starts, share = flight.first[low:high], flight.share[low:high]
    kernel, left = flight.kernel[:, low:high], flight.left[low:high]
    last = room.all_s - 1
    for first in np.unique(starts).tolist():
        together = np.flatnonzero(starts == first)
        weight = share[together] @ np.ascontiguousarray(kernel[:, together].T)
        remaining = float(share[together] @ left[together])
        if follow_s > FOLLOWED_S:
            later = np.minimum(np.arange(first + FOLLOWED_S, first + follow_s), last)
            changed = air_changed[later] - air_changed[min(first + FOLLOWED_S, last)]
            diluted = np.exp(-changed)
            weight = np.concatenate([weight, remaining / room.volume * diluted])
            remaining *= diluted[-1]
        yield first, weight[:follow_s], remaining
