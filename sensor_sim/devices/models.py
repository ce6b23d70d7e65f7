"""Complete devices: which parts each has, how it samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from detection.quantities import COLUMNS
from sensor_sim.devices.climate import CLIMATE_PARTS, CO2_CHANNELS
from sensor_sim.devices.parts import parts_of
from sensor_sim.devices.pm import PM_PARTS
from sensor_sim.devices.voc import VOC_PARTS


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """One product.

    - `pm`, `voc`, `climate`: part names in `PM_PARTS`, `VOC_PARTS`, `CLIMATE_PARTS`; empty where it
      has none.
    - `co2`: whether it has an NDIR CO2 cell.
    - `interval_s`: usual reporting interval.
    - `averages`: whether a reading is the mean over the interval (else its last second).
    - `wires`: wire formats it is met with.
    - `keep`: channels it reports, where it hides some its parts have; empty for all.
    - `vape_index`: whether it rates vaping itself and sends event frames.
    """

    pm: str = ""
    voc: str = ""
    climate: str = ""
    co2: bool = False
    interval_s: int = 10
    averages: bool = True
    wires: tuple[str, ...] = ("native", "tasmota", "esphome")
    keep: tuple[str, ...] = ()
    vape_index: bool = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Quantities of a reading, in column order."""
        have: set[str] = set()
        if self.pm:
            have.update(PM_PARTS[self.pm].channels)
        if self.voc:
            have.update(VOC_PARTS[self.voc].channels)
        if self.climate:
            have.update(CLIMATE_PARTS[self.climate].channels)
        if self.co2:
            have.update(CO2_CHANNELS)
        if self.vape_index:
            have.add("vape_index")
        if self.keep:
            have &= set(self.keep)
        return tuple(c for c in COLUMNS if c in have)


MODELS: Final = parts_of("model", DeviceModel)
"""All device models."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device on a restroom's ceiling.

    - `id`, `room`: sensor id and room id.
    - `model`: key of `MODELS`.
    - `wire`: wire format, key of `sensor_sim.wire.ENCODERS`.
    - `interval_s`: seconds between readings, 1-3600.
    """

    id: str
    room: str
    model: str
    wire: str
    interval_s: int

    def __post_init__(self) -> None:
        """Check model and interval."""
        if self.model not in MODELS:
            raise ValueError(f"{self.id}: unknown model {self.model!r}; known: {', '.join(MODELS)}")
        if not 1 <= self.interval_s <= 3600:
            raise ValueError(f"{self.id}: interval_s must be 1-3600, got {self.interval_s}")

    @property
    def channels(self) -> tuple[str, ...]:
        """Quantities it reports, in column order."""
        return MODELS[self.model].channels
