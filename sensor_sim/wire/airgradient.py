"""AirGradient ONE, firmware 3.6: ``airgradient/readings/<serial>``, QoS 0, no time, no will.

Counts are per decilitre. What the device has no valid value for is left out of the object, and
right after boot that is everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import (
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    hardware_id,
    json_bytes,
    number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS: Final[tuple[tuple[str, str, float, int], ...]] = (
    # wire key, quantity, wire units in one unit of the quantity, decimals
    ("pm01", "pm1", 1, 2),
    ("pm02", "pm25", 1, 2),
    ("pm10", "pm10", 1, 2),
    ("pm003Count", "n03", 100, 2),
    ("pm005Count", "n05", 100, 2),
    ("pm01Count", "n10", 100, 2),
    ("pm02Count", "n25", 100, 2),
    ("pm50Count", "n50", 100, 2),
    ("pm10Count", "n100", 100, 2),
    ("rco2", "co2", 1, 2),
    ("atmp", "temp", 1, 2),
    ("atmpCompensated", "temp", 1, 2),
    ("rhum", "rh", 1, 2),
    ("rhumCompensated", "rh", 1, 2),
    ("tvocIndex", "voc_index", 1, 0),
    ("tvocRaw", "voc_raw", 1, 2),
    ("noxIndex", "nox_index", 1, 0),
)
_FIRMWARE: Final = "3.6.0"
_RESOLUTION: Final = {q: 10.0**-d / scale for _, q, scale, d in _FIELDS} | {"rssi": 1.0}


class AirGradientEncoder(Encoder):
    """An AirGradient ONE with an MQTT server configured."""

    RESOLUTION = _RESOLUTION

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._serial = hardware_id(device.sensor, 12)
        self._boot_count = 0
        self._rssi = -45 - int(self._serial[-2:], 16) % 30

    def connect(self, at: float) -> list[WireMessage]:
        """Return the first message after boot, which has no measurement yet."""
        self._boot_count = 0
        return [self._readings({}, at)]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one JSON object without a time."""
        self._rssi = round(row.values.get("rssi", self._rssi))
        body = {
            wire: number(row.values[key] * scale, decimals)
            for wire, key, scale, decimals in _FIELDS
            if key in row.values
        }
        return [self._readings(body, row.sent)]

    def _readings(self, body: Mapping[str, float], sent: float) -> WireMessage:
        count = self._boot_count
        self._boot_count += 1
        whole = {
            "wifi": self._rssi,
            "serialno": self._serial,
            **body,
            "boot": count,
            "bootCount": count,
            "ledMode": "off",
            "firmware": _FIRMWARE,
            "model": "I-9PSL",
        }
        return self._message(f"airgradient/readings/{self._serial}", json_bytes(whole), sent)
