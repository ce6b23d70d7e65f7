"""Evaporation of droplets: the d² law, slowed by the vapor of their own plume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.day import FOLLOWED_S, Liquid, Release
from research.worlds.parcels.substances import BINS, EDGES, SLICE_DIAMETER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from research.worlds.parcels.draws import Floats

_TOGETHER: Final = 32
"""Number of releases computed together: few enough for the processor's cache."""
_SPHERE_OF_SIGMA: Final = 15.75
"""Volume of a Gaussian cloud, in units of its standard deviation cubed."""


def evaporate(releases: Sequence[Release], radius: Floats, room_volume: float) -> dict[int, Floats]:
    """Return each evaporating release's mass (mg) by age (s) and bin, keyed by release number.

    - `radius` (releases, FOLLOWED_S): mean spread of each release's parcels, m.
    """
    wet = [number for number, release in enumerate(releases) if release.liquid is not None]
    wet.sort(key=lambda number: releases[number].follow_s)
    found = {}
    for first in range(0, len(wet), _TOGETHER):
        chosen = wet[first : first + _TOGETHER]
        batch = [releases[number] for number in chosen]
        mass, diameter = _shrink(batch, radius[chosen], room_volume)
        for row, (number, release) in enumerate(zip(chosen, batch, strict=True)):
            age = slice(release.follow_s)
            found[number] = _by_bin(mass[age, row], diameter[age, row])
    return found


def _shrink(
    batch: Sequence[Release], radius: Floats, room_volume: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mass (mg) and diameter (µm) by age, release and slice."""
    liquids = [release.liquid for release in batch if release.liquid is not None]
    volatile, shrinking, saturation = np.array([Liquid(*liquid) for liquid in liquids]).T
    follow_s = max(release.follow_s for release in batch)
    initial = np.array([release.droplets for release in batch])
    total = initial.sum(1)
    strung_out = np.array([max(1.0, release.delays[-1] / 12) for release in batch])
    fresh = SLICE_DIAMETER**2
    squared = np.repeat(fresh[None], len(batch), 0)
    residue = (SLICE_DIAMETER * np.cbrt(1 - volatile[:, None])) ** 2
    mass = np.empty((follow_s, *initial.shape), np.float32)
    diameter = np.empty_like(mass)
    for age in range(follow_s):
        mass[age] = initial * (squared / fresh) ** 1.5
        diameter[age] = np.sqrt(squared)
        evaporated = total - mass[age].sum(1)
        wide = 1.35 * radius[:, min(age, FOLLOWED_S - 1)] + 0.002 * max(0, age - FOLLOWED_S)
        plume = np.minimum(_SPHERE_OF_SIGMA * wide**3 * strung_out, room_volume)
        unsaturated = np.clip(1 - evaporated / plume / saturation, 0.05, 1)
        shrunk = np.maximum(squared - (shrinking * unsaturated)[:, None], residue)
        if np.array_equal(shrunk, squared):  # only residues remain
            mass[age + 1 :], diameter[age + 1 :] = mass[age], diameter[age]
            break
        squared = shrunk
    return mass, diameter


def _by_bin(mass: NDArray[np.float32], diameter: NDArray[np.float32]) -> Floats:
    ages = len(mass)
    of_bin = np.clip(np.searchsorted(EDGES, diameter) - 1, 0, BINS - 1)
    flat = (np.arange(ages)[:, None] * BINS + of_bin).ravel()
    by_bin = np.bincount(flat, mass.ravel(), ages * BINS).astype(float)
    return by_bin.reshape(ages, BINS)
