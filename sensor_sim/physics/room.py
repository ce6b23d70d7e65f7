"""Model the air of one restroom: zones, mixing, exhaust, the pocket around the sensor.

There are four zones: the near field around the source (1-4 m³, exchange 2-15 m³/min), the half of
the room with the source, the other half, and the pocket of air around the sensor under the ceiling.
Symmetric flows connect them, so without exhaust no mass is lost. Exhaust takes the same share of
every zone (a fan over the stalls with make-up air under the door). So its loss is a common factor
``exp(-∫ACH dt)``, and mixing stays a fixed set of exponentials.

Numbers: ASHRAE 62.1 (70 cfm per fixture, 4 fixtures in 50 m³ give 9.5 ACH; 6-15 ACH in practice,
0.5-2 with the fan off); the near field, a mixing time of 1-5 min and a ceiling delay of 5-60 s are
priors from the two-zone literature (Furtaw 1996 and later).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEAR, _HERE, _THERE, _POCKET = range(4)
_FANS = ("schedule", "occupancy", "always", "broken")
_FAN_SHARE = (0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True, slots=True)
class RoomAir:
    """Fixed properties of a room.

    - `ach_on`, `ach_off`: air changes per hour with the exhaust fan on and off.
    - `fan`: ``schedule`` (6-20 h), ``occupancy`` (with a 15 min overrun), ``always`` or ``broken``.
    - `mixing_s`: time constant of mixing between the halves with the fan on; with the fan off, it
      is 1.6 times as long.
    - `surface`: factor on particle deposition.
    """

    volume_m3: float
    ach_on: float
    ach_off: float
    fan: str
    mixing_s: float
    surface: float

    @classmethod
    def draw(cls, rng: np.random.Generator, volume_m3: float | None = None) -> RoomAir:
        """Draw a room; if given, use `volume_m3` (15-80)."""
        return cls(
            volume_m3=volume_m3 or draw_log(rng, 15, 80),
            ach_on=draw_log(rng, 4, 15),
            ach_off=draw_log(rng, 0.5, 2),
            fan=str(rng.choice(_FANS, p=_FAN_SHARE)),
            mixing_s=draw_log(rng, 60, 300),
            surface=rng.uniform(1.0, 2.6),
        )


@dataclass(frozen=True, slots=True)
class SensorPlace:
    """The place of a sensor.

    - `pocket_m3`: well-mixed air around the sensor, m³.
    - `delay_s`: time constant with which the pocket follows its half of the room, s.
    """

    pocket_m3: float
    delay_s: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> SensorPlace:
        """Draw a place under the ceiling."""
        return cls(rng.uniform(0.5, 1.5), draw_log(rng, 5, 60))


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a release, relative to the room and a sensor.

    - `near_m3`: near field, m³.
    - `exchange_m3_min`: air exchange between the near field and its half, m³/min.
    - `same_half`: whether the sensor is over the same half.
    - `jet`: share of that exchange that passes the sensor's pocket directly (rising plume, fan
      draft).
    - `carry_s`: delay before anything reaches the sensor, s.
    - `lumpiness`: log standard deviation of the concentration while unmixed.
    """

    near_m3: float
    exchange_m3_min: float
    same_half: bool
    jet: float
    carry_s: float
    lumpiness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Place:
        """Draw a place anywhere in the room."""
        return cls(
            near_m3=draw_log(rng, 1, 4),
            exchange_m3_min=draw_log(rng, 2, 15),
            same_half=bool(rng.random() < 0.6),
            jet=rng.beta(1.2, 3.5),
            carry_s=rng.uniform(1, 20),
            lumpiness=rng.uniform(0.15, 0.7),
        )

    def spread(self, factor: float, volume_m3: float) -> Place:
        """Return the place with its near field times `factor`, at most a third of the room."""
        return replace(self, near_m3=min(self.near_m3 * factor, volume_m3 / 3))

    def place_near(self, rng: np.random.Generator, near: float) -> Place:
        """Return this place relative to one of the room's sensors.

        - `near`: chance that the release is right under the sensor, 0-1.
        """
        other = Place.draw(rng)
        if rng.random() < near:
            return replace(
                self,
                same_half=True,
                near_m3=max(0.6 * self.near_m3, 1.0),
                exchange_m3_min=max(self.exchange_m3_min, 5.0),
                jet=rng.uniform(0.4, 0.9),
                carry_s=rng.uniform(0, 2),
                lumpiness=other.lumpiness,
            )
        return replace(
            self,
            same_half=other.same_half,
            jet=other.jet,
            carry_s=other.carry_s,
            lumpiness=other.lumpiness,
        )


def compute_zones(
    air: RoomAir, sensor: SensorPlace, place: Place, age_s: NDArray[np.float64], *, fan_on: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the concentration in each zone after a unit release into the near field.

    - `age_s` (n,): time since the release, s. Losses and the delay `place.carry_s` are not applied
      here.
    - `fan_on`: whether the fan runs; without it, mixing is 1.6 times slower.
    - Returns `concentration` (4, n): 1/m³, in the near field, the source's half, the other half and
      the sensor's pocket.
    - Returns `volume` (4,): m³; ``volume @ concentration`` is 1 at every age.
    """
    half = max((air.volume_m3 - place.near_m3 - sensor.pocket_m3) / 2, 1.0)
    volume = np.array([place.near_m3, half, half, sensor.pocket_m3])
    exchange = place.exchange_m3_min / 60
    flow = np.zeros((4, 4))

    def join(a: int, b: int, q: float) -> None:
        flow[a, b] += q
        flow[b, a] += q

    join(_NEAR, _HERE, exchange * (1 - place.jet))
    join(_NEAR, _POCKET, exchange * place.jet)
    join(_HERE, _THERE, half / (air.mixing_s * (1.0 if fan_on else 1.6)))
    join(_HERE if place.same_half else _THERE, _POCKET, sensor.pocket_m3 / sensor.delay_s)
    root = np.sqrt(volume)
    symmetric = (flow - np.diag(flow.sum(axis=1))) / np.outer(root, root)
    rates, vectors = np.linalg.eigh(symmetric)
    amplitude = vectors * vectors[_NEAR] / root[:, None] / root[_NEAR]
    decay = np.exp(np.minimum(rates, 0)[:, None] * age_s[None, :])
    return np.maximum(amplitude @ decay, 0.0), volume


def compute_arrival(
    air: RoomAir, sensor: SensorPlace, place: Place, age_s: NDArray[np.float64], *, fan_on: bool
) -> NDArray[np.float64]:
    """Return the concentration at the sensor after a unit release, without losses, 1/m³.

    This is the pocket's value from `compute_zones`, delayed by `place.carry_s`.
    """
    later = np.maximum(age_s - place.carry_s, 0.0)
    at_sensor = compute_zones(air, sensor, place, later, fan_on=fan_on)[0][_POCKET]
    return np.where(age_s >= place.carry_s, at_sensor, 0.0)
