"""AirGradient ONE, firmware 3.6: ``airgradient/readings/<serial>``, QoS 0, no time, no will.

Counts are per decilitre. What the device has no valid value for is left out of the object, and
right after boot that is everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import (
    QUANTITIES_OF,
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

_FIELDS: Final = QUANTITIES_OF["airgradient"]
_FIRMWARE: Final = "3.6.0"
_RESOLUTION: Final = {q: 10.0**-d / scale for q, scale, d in _FIELDS.values()} | {"rssi": 1.0}


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
            for wire, (key, scale, decimals) in _FIELDS.items()
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
