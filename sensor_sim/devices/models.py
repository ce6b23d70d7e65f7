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
    """One product; parts are keys of their tables, `keep` the channels it reports of them."""

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
    """One device on a restroom's ceiling; `wire` is a key of `sensor_sim.wire.ENCODERS`."""

    id: str
    room: str
    model: str
    wire: str
    interval_s: int

    @property
    def channels(self) -> tuple[str, ...]:
        """Quantities it reports, in column order."""
        return MODELS[self.model].channels
