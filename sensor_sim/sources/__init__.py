"""Sources of particles and gases in a restroom; each session is drawn at random.

Every entry of `SOURCES` is simulated and tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sensor_sim.sources import nuisances, vaping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np

    from sensor_sim.physics.emission import Emission


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of source.

    - `kind`: the `detection.events.EventKind` that a perfect detector would report.
    - `per_day`: mean number in a student restroom on a school day.
    - `when`: key of `sensor_sim.schedule.build_profiles`, for the time of day.
    - `hard_weight`: relative share of the nuisances in the hard benchmark and the demo (0 for
      vaping).
    - `near_sensor`: probability that it happens right under the sensor.
    - `spread`: factor on the near field's volume, for sources that aren't at one point, such as a
      crowd.
    """

    kind: str
    draw: Callable[[np.random.Generator], Iterable[Emission]]
    per_day: float
    when: str
    hard_weight: float
    near_sensor: float = 0.15
    spread: float = 1.0


SOURCES: Final = {
    "nicotine_pod": Source("vape", vaping.nicotine_pod, 0.6, "students", 0.0, near_sensor=0.25),
    "disposable": Source("vape", vaping.disposable, 0.6, "students", 0.0, near_sensor=0.25),
    "stealth": Source("vape", vaping.stealth, 0.3, "students", 0.0),
    "box_mod": Source("vape", vaping.box_mod, 0.1, "students", 0.0, near_sensor=0.25),
    "thc_cartridge": Source("vape", vaping.thc_cartridge, 0.15, "students", 0.0, near_sensor=0.25),
    "cigarette": Source("smoke", vaping.cigarette, 0.02, "students", 0.3),
    "deodorant": Source("spray", nuisances.deodorant, 1.0, "students", 14.0),
    "hair_spray": Source("spray", nuisances.hair_spray, 0.4, "students", 8.0),
    "air_freshener": Source("spray", nuisances.air_freshener, 0.8, "open", 12.0),
    "perfume": Source("voc", nuisances.perfume, 0.6, "students", 10.0),
    "trigger_cleaner": Source("voc", nuisances.trigger_cleaner, 0.8, "custodian", 10.0),
    "floor_cleaning": Source("voc", nuisances.floor_cleaning, 0.9, "custodian", 1.5, spread=6.0),
    "hand_sanitizer": Source("voc", nuisances.hand_sanitizer, 5.0, "visits", 30.0),
    "reed_diffuser": Source("voc", nuisances.reed_diffuser, 0.05, "open", 0.2),
    "hot_tap": Source("steam", nuisances.hot_tap, 4.0, "visits", 26.0),
    "shower": Source("steam", nuisances.shower, 0.0, "sports", 5.0, spread=2.0),
    "hand_dryer": Source(
        "dust", nuisances.hand_dryer, 12.0, "visits", 30.0, near_sensor=0.05, spread=6.0
    ),
    "flush": Source("steam", nuisances.flush, 14.0, "visits", 20.0),
    "humidifier": Source("steam", nuisances.humidifier, 0.03, "open", 1.0),
    "nebulizer": Source("steam", nuisances.nebulizer, 0.03, "open", 1.5),
    "fog_machine": Source("smoke", nuisances.fog_machine, 0.01, "sports", 0.6, spread=3.0),
    "class_change": Source("dust", nuisances.class_change, 6.0, "passing", 12.0, spread=6.0),
    "paper_dust": Source("dust", nuisances.paper_dust, 4.0, "visits", 18.0),
    "incense": Source("smoke", nuisances.incense, 0.03, "open", 0.8, spread=3.0),
    "breath": Source("steam", nuisances.breath, 0.5, "students", 6.0, near_sensor=1.0),
}
"""All sources inside a room, in the order in which they are drawn."""

BUILDING_WIDE: Final[dict[str, float]] = {"wildfire": 0.01, "mowing": 0.04}
"""Outdoor sources that reach every room, with their mean number per day; kind `ambient`."""
