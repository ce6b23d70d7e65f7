"""Simulate the motion of room air: rolls, turbulence, and each release's filaments.

Rolls are derived from stream functions of the box, so they have no divergence and no flow through
walls. Eddy diffusivity follows Cheng et al. 2011 (Environ. Sci. Technol. 45:4016): K = V^(2/3)
(0.52 ACH + 0.31) per hour, multiplied by the intermittent agitation from people and the door.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.filaments.rooms import wander

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.filaments.people import Releases
    from research.worlds.filaments.rooms import Room

AGES: Final = 240
"""Time for which a release is simulated as filaments, in seconds."""
_FILAMENTS: Final = 10
_MIXED_FROM_S: Final = 70.0
"""Age at which a well-mixed room starts to replace the filaments, gradually until `AGES`."""
_ROLLS: Final = ((0, 2, 1, 1), (1, 2, 1, 1), (0, 1, 1, 1), (0, 2, 2, 1), (1, 2, 1, 2), (0, 1, 2, 1))
"""Each roll's plane (two axes) and number of half waves along each axis."""
_INNER: Final = 0.6
"""Share of the diffusivity that widens each filament; the rest moves filaments apart."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Air motion by second: rolls (m/s, one row each), diffusivity (m²/s), outflow (m³/s)."""

    rolls: NDArray[np.float32]
    diffusivity: NDArray[np.float64]
    outflow: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Paths:
    """Contribution of each release at the sensor by age in seconds, shape (releases, AGES).

    - `kernel`: concentration per mass released, 1/m³.
    - `left`: share that is still in the room.
    - `cloud`: volume of the cloud, m³.
    """

    kernel: NDArray[np.float64]
    left: NDArray[np.float64]
    cloud: NDArray[np.float64]


def move_air(
    rng: np.random.Generator,
    room: Room,
    air_changes_h: NDArray[np.float64],
    stirs: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Motion:
    """Return the motion by second; `stirs` has times and strengths of disturbances."""
    n = air_changes_h.size
    pulses = np.bincount(np.clip(stirs[0].astype(int), 0, n - 1), stirs[1], minlength=n)
    stirred = np.asarray(lfilter([1.0], [1.0, -np.exp(-1 / 25)], pulses))
    calm = np.exp(0.5 * wander(rng, n, 240.0) - 0.3)
    agitation = np.minimum(calm + stirred, 6.0)
    speed = room.swirl * np.sqrt(agitation) * (1 + 0.06 * air_changes_h)
    eddies = [wander(rng, n, tau) for tau in rng.uniform(15, 70, len(_ROLLS))]
    rolls = np.array([speed * eddy for eddy in eddies], np.float32)
    per_s = room.volume ** (2 / 3) * (0.52 * air_changes_h + 0.31) / 3600
    return Motion(rolls, 0.5 * per_s * agitation + 3e-4, air_changes_h * room.volume / 3600)


def follow(rng: np.random.Generator, room: Room, motion: Motion, releases: Releases) -> Paths:
    """Move the filaments of `releases` for `AGES` seconds."""
    n = releases.time.size
    start = releases.time.astype(int)
    scatter = 0.6 * releases.width[:, None]
    at = [releases.place[:, [i]] + scatter * rng.standard_normal((n, _FILAMENTS)) for i in range(3)]
    square = np.repeat(releases.width[:, None] ** 2, _FILAMENTS, axis=1)
    left = np.ones((n, _FILAMENTS))
    out = Paths(*(np.empty((n, AGES)) for _ in range(3)))
    for age in range(AGES):
        now = np.minimum(start + age, motion.outflow.size - 1)
        spread = np.cbrt(np.prod([np.var(axis, axis=1) + square.mean(axis=1) for axis in at], 0))
        out.cloud[:, age] = np.minimum(44.5 * spread**1.5, room.volume)  # (4 pi)^1.5
        out.left[:, age] = left.mean(axis=1)
        mixed = np.clip((age - _MIXED_FROM_S) / (AGES - 1 - _MIXED_FROM_S), 0, 1)
        mixed = mixed * mixed * (3 - 2 * mixed)
        near = (left * _density(at, square, room.sensor, room.size)).mean(axis=1)
        out.kernel[:, age] = (1 - mixed) * near + mixed * out.left[:, age] / room.volume
        drawn = motion.outflow[now, None] * _density(at, square, room.exhaust, room.size)
        left *= np.exp(-np.minimum(drawn, 0.3))
        pushes = _rolls(at, motion.rolls[:, now], room.size)
        slow = np.exp(-age / 1.5)
        warm = releases.lift[:, None] * np.exp(-age / 9.0)
        k = motion.diffusivity[now, None]
        for i in range(3):
            drift = pushes[i] + releases.jet[:, [i]] * slow + (warm if i == 2 else 0.0)
            eddy = np.sqrt(2 * (1 - _INNER) * k) * rng.standard_normal((n, _FILAMENTS))
            at[i] = _reflected(at[i] + drift + eddy, room.size[i])
        square += 2 * _INNER * k
    return out


def _rolls(
    at: list[NDArray[np.float64]], strength: NDArray[np.float32], size: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return the velocity of the rolls at positions."""
    speed = [np.zeros_like(axis) for axis in at]
    waves: dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for axis in range(3):
        angle = np.pi / size[axis] * at[axis]
        sine, cosine = np.sin(angle), np.cos(angle)
        waves[axis, 1] = sine, cosine
        waves[axis, 2] = 2 * sine * cosine, 1 - 2 * sine * sine
    for (a, b, m, k), amount in zip(_ROLLS, strength, strict=True):
        (sin_a, cos_a), (sin_b, cos_b) = waves[a, m], waves[b, k]
        ratio = m * size[b] / (k * size[a])
        speed[a] += amount[:, None] * sin_a * cos_b
        speed[b] -= ratio * amount[:, None] * cos_a * sin_b
    return speed


def _reflected(position: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    folded = np.abs(size - np.abs(size - np.abs(position)))
    return np.asarray(np.minimum(folded, size))


def _density(
    at: list[NDArray[np.float64]],
    square: NDArray[np.float64],
    point: NDArray[np.float64],
    size: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the density of unit Gaussians at `point`, 1/m³, with the nearest mirror images."""
    density = np.ones_like(square)
    for axis, p, length in zip(at, point.tolist(), size.tolist(), strict=True):
        wide = np.minimum(square, (0.5 * length) ** 2)
        scale = -0.5 / wide
        total = np.exp((axis - p) ** 2 * scale) + np.exp((axis + p) ** 2 * scale)
        total += np.exp((2 * length - axis - p) ** 2 * scale)
        density *= total / np.sqrt(2 * np.pi * wide)
    return density
