"""ESPHome: one bare value a topic, all of them retained, no time and no unit in the value.

``<node>/sensor/<object_id>/state`` at QoS 0, ``<node>/status`` retained with a will, and Home
Assistant discovery with the units, retained. A channel that has lost its value prints ``nan``.
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
    channels_of,
    hardware_id,
    json_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_OBJECTS: Final = QUANTITIES_OF["esphome"]
_FIRMWARE: Final = "2025.10.0 (Oct 15 2025, 09:12:44)"
_RESOLUTION: Final = {k: 10.0**-d / scale for k, (*_, scale, d) in _OBJECTS.items()}


class EspHomeEncoder(Encoder):
    """An ESP board that runs ESPHome with MQTT instead of its native API."""

    RESOLUTION = _RESOLUTION

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._mac = hardware_id(device.sensor, 12)
        self._known: list[str] = []

    def connect(self, at: float) -> list[WireMessage]:
        """Return status and discovery, all retained, and the tamper switch at rest."""
        announced = [key for key in channels_of(self.device.model) if key in _OBJECTS]
        return [
            self._status(b"online", at),
            *(self._discovery(key, at) for key in announced),
            self._tamper_discovery(at),
            self._state("binary_sensor", "tamper", b"OFF", at),
        ]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one retained value a topic."""
        messages = []
        self._known += [k for k in row.values if k in _OBJECTS and k not in self._known]
        for key in self._known:
            object_id, *_, scale, decimals = _OBJECTS[key]
            value = row.values.get(key)
            text = "nan" if value is None else f"{value * scale:.{decimals}f}"
            messages.append(self._state("sensor", object_id, text.encode(), row.sent))
        return messages

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return status for coming and going, a pulse of the switch for tampering."""
        del values
        if event == "tamper":
            return [self._state("binary_sensor", "tamper", state, at) for state in (b"ON", b"OFF")]
        if event == "offline":
            return [self._status(b"offline", at)]
        return super().event(at, event)

    def _state(self, component: str, object_id: str, payload: bytes, at: float) -> WireMessage:
        topic = f"{self.device.sensor}/{component}/{object_id}/state"
        return self._message(topic, payload, at, retain=True)

    def _status(self, payload: bytes, at: float) -> WireMessage:
        return self._message(f"{self.device.sensor}/status", payload, at, retain=True)

    def _discovery(self, key: str, at: float) -> WireMessage:
        object_id, name, unit, device_class, *_ = _OBJECTS[key]
        node = self.device.sensor
        body: dict[str, object] = {}
        if device_class:
            body["dev_cla"] = device_class
        if unit:
            body["unit_of_meas"] = unit
        body |= {
            "stat_cla": "measurement",
            "name": name,
            "stat_t": f"{node}/sensor/{object_id}/state",
            **self._shared(object_id),
        }
        topic = f"homeassistant/sensor/{node}/{object_id}/config"
        return self._message(topic, json_bytes(body), at, retain=True)

    def _tamper_discovery(self, at: float) -> WireMessage:
        node = self.device.sensor
        body = {
            "dev_cla": "tamper",
            "name": "Tamper",
            "stat_t": f"{node}/binary_sensor/tamper/state",
            **self._shared("tamper"),
        }
        topic = f"homeassistant/binary_sensor/{node}/tamper/config"
        return self._message(topic, json_bytes(body), at, retain=True)

    def _shared(self, object_id: str) -> dict[str, object]:
        node = self.device.sensor
        return {
            "avty_t": f"{node}/status",
            "uniq_id": f"{self._mac}-{object_id}",
            "dev": {"ids": self._mac, "name": node, "sw": _FIRMWARE, "mf": "Espressif"},
        }
