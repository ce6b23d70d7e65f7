"""Complete devices: their parts, and how they sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from detection.quantities import COLUMNS
from sensor_sim.devices.climate import CLIMATE_PARTS
from sensor_sim.devices.pm import PM_PARTS
from sensor_sim.devices.voc import VOC_PARTS


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """One product, described by the names of its parts.

    `keep` lists the channels that it reports; all if empty.
    `firmwares` is the number of firmware versions. `sensor_sim.school.draw_school` draws one for
    each device; nothing uses it, but the draws after it depend on it.
    """

    pm: str = ""
    voc: str = ""
    climate: str = ""
    co2: bool = False
    interval_s: int = 10
    averages: bool = True
    firmwares: int = 3
    keep: tuple[str, ...] = ()
    vape_index: bool = False

    @property
    def channels(self) -> tuple[str, ...]:
        """The quantities in a reading, in column order."""
        have: set[str] = set()
        if self.pm:
            have.update(PM_PARTS[self.pm].channels)
        if self.voc:
            have.update(VOC_PARTS[self.voc].channels)
        if self.climate:
            have.update(CLIMATE_PARTS[self.climate].channels)
        if self.co2:
            have.add("co2")
        if self.vape_index:
            have.add("vape_index")
        if self.keep:
            have &= set(self.keep)
        return tuple(c for c in COLUMNS if c in have)


MODELS: Final = {
    "sen55": DeviceModel(
        "sen55",
        "sgp41",
        "sht_case",
        interval_s=1,
        averages=False,
        keep=("pm1", "pm25", "pm4", "pm10", "voc_index", "nox_index", "rh", "temp"),
    ),
    "sps30": DeviceModel("sps30", interval_s=1, averages=False),
    "sps30+sgp40": DeviceModel("sps30", "sgp40", "sht_open"),
    "pms5003": DeviceModel("pms5003", interval_s=1, averages=False),
    "pms5003+bme680": DeviceModel("pms5003", "bme680", "bme_case", interval_s=2, averages=False),
    "pms7003": DeviceModel("pms7003"),
    "pms7003+ens160": DeviceModel("pms7003", "ens160", "sht_open"),
    "opcn3": DeviceModel("opcn3"),
    "opcn3+sgp30": DeviceModel("opcn3", "sgp30", "sht_case", interval_s=5),
    "sds011+bme688": DeviceModel("sds011", "bme688", "bme_case", interval_s=30, averages=False),
    "airgradient": DeviceModel("pms5003", "sgp41", "sht_open", co2=True, firmwares=1),
    "gs601": DeviceModel(
        "gs601",
        "gs601",
        "sht_case",
        interval_s=600,
        averages=False,
        firmwares=2,
        vape_index=True,
    ),
    "merakimt": DeviceModel("merakimt", "merakimt", "sht_case", interval_s=60, firmwares=1),
    "zigbee_e2112": DeviceModel(
        "sen55",
        "sgp41",
        "sht_case",
        interval_s=30,
        averages=False,
        firmwares=1,
        keep=("pm25", "voc_index", "rh", "temp"),
    ),
    "awair": DeviceModel(
        "one_size",
        "sgp30",
        "sht_case",
        co2=True,
        interval_s=60,
        firmwares=1,
        keep=("pm25", "pm10", "tvoc_ppb", "rh", "temp", "co2"),
    ),
}


@dataclass(frozen=True, slots=True)
class Device:
    """One device on a restroom's ceiling."""

    id: str
    room: str
    model: str
    interval_s: int

    @property
    def channels(self) -> tuple[str, ...]:
        """The quantities that it reports, in column order."""
        return MODELS[self.model].channels
