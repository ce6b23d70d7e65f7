"""Zigbee2MQTT: ``zigbee2mqtt/<friendly name>``, one flat object, cached.

A Zigbee device reports one attribute at a time, and only when it changed; the bridge answers each
report with the whole object as it knows it, so the other attributes are old. No time. The bridge
publishes who is there (``bridge/devices``, with units) and whether each device answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import (
    BODIES,
    QUANTITIES_OF,
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    channels_of,
    filled,
    hardware_id,
    json_bytes,
    number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROPERTIES: Final = QUANTITIES_OF["zigbee2mqtt"]
_RESOLUTION: Final = {key: 10.0**-d for key, (_, _, d) in _PROPERTIES.items()}


class Zigbee2MqttEncoder(Encoder):
    """A Zigbee air sensor behind the bridge."""

    RESOLUTION = _RESOLUTION

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._address = "0x" + hardware_id(device.sensor, 16)
        self._link = 80 + int(self._address[-2:], 16) % 120
        self._cache: dict[str, float | bool] = {}
        network.zigbee.append(self._description())

    def connect(self, at: float) -> list[WireMessage]:
        """Return the bridge's state and devices and the device's availability, all retained."""
        return [
            self._message("zigbee2mqtt/bridge/state", b'{"state":"online"}', at, retain=True),
            self._message(
                "zigbee2mqtt/bridge/devices", json_bytes(self.network.zigbee), at, retain=True
            ),
            self._availability("online", at),
        ]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one message for each attribute that changed, the others from the cache."""
        messages = []
        for key, (prop, _, decimals) in _PROPERTIES.items():
            if key not in row.values:
                continue
            value = number(row.values[key], decimals)
            if self._cache.get(prop) != value:
                self._cache[prop] = value
                messages.append(self._publish(row.sent))
        return messages

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return availability for coming and going, the tamper attribute, the cache on restart."""
        del values
        if event == "tamper":
            self._cache["tamper"] = True
            first = self._publish(at)
            self._cache["tamper"] = False
            return [first, self._publish(at)]
        if event in {"online", "offline"}:
            return [self._availability(event, at)]
        if event == "restart" and self._cache:
            return [self._publish(at)]
        return []

    def _publish(self, at: float) -> WireMessage:
        body = {**self._cache, "linkquality": self._link}
        return self._message(
            f"zigbee2mqtt/{self.device.sensor}", json_bytes(dict(sorted(body.items()))), at
        )

    def _availability(self, state: str, at: float) -> WireMessage:
        topic = f"zigbee2mqtt/{self.device.sensor}/availability"
        return self._message(topic, json_bytes({"state": state}), at, qos=1, retain=True)

    def _description(self) -> dict[str, object]:
        exposes: dict[str, object] = {}
        for key in channels_of(self.device.model):
            name, unit, _ = _PROPERTIES.get(key, ("", "", 0))
            if name and name not in exposes:
                label = name.replace("_", " ").capitalize()
                values = {"label": label, "name": name, "unit": unit or None}
                exposes[name] = filled(BODIES["zigbee2mqtt"]["expose"], values)
        described: dict[str, object] = filled(
            BODIES["zigbee2mqtt"]["device"],
            {
                "address": self._address,
                "name": self.device.sensor,
                "number": int(self._address[-4:], 16),
                "model": self.device.model,
                "exposes": [*exposes.values()],
            },
        )
        return described
