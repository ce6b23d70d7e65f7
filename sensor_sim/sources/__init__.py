"""Releases of people and things in a restroom; each session is drawn anew.

`SOURCES` is ``sources.toml``; every entry is simulated and tested.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor_sim.sources import nuisances, vaping

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from sensor_sim.physics.emission import Emission


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of source.

    - `kind`: `detection.events.EventKind` that a perfect detector would report.
    - `per_day`: mean number in a student restroom on a school day.
    - `when`: key of `sensor_sim.schedule.PROFILES`: when in the day it happens.
    - `hard_weight`: relative share among the nuisances of the hard benchmark (0 for vaping).
    - `near_sensor`: chance that it happens right under the sensor.
    - `spread`: factor on the near field's volume: a crowd or a mop is not at one point.
    """

    kind: str
    draw: Callable[[np.random.Generator], tuple[Emission, ...]]
    per_day: float
    when: str
    hard_weight: float
    near_sensor: float = 0.15
    spread: float = 1.0


SOURCES: Final[dict[str, Source]] = {
    name: Source(draw=getattr(vaping, name, None) or getattr(nuisances, name), **row)
    for name, row in tomllib.loads(
        Path(__file__).with_name("sources.toml").read_text(encoding="utf-8")
    ).items()
}
"""All sources that belong to one room."""

BUILDING_WIDE: Final[dict[str, float]] = {"wildfire": 0.01, "mowing": 0.04}
"""Sources outdoors that every room sees, with their mean number a day; kind `ambient`."""
