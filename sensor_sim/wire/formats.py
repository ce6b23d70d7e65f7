"""Formats of devices that print their values one by one.

- AirGradient ONE, firmware 3.6: ``airgradient/readings/<serial>``, QoS 0, no time, no will. Counts
  are per decilitre. What has no valid value is left out: after boot, that is everything.
- ESPHome: ``<node>/sensor/<object_id>/state``, one bare value a topic, retained, no time and no
  unit; ``<node>/status`` with a will; Home Assistant discovery with the units. A channel that has
  lost its value prints ``nan``.
- Plumewatch's own: ``plumewatch/v1/<sensor>/reading`` at QoS 1, ``/status`` retained with a will.
  The first reading after a start, and then one per hour, reports the firmware. The sequence number
  continues over restarts, so that (sensor, seq) always identifies a reading.
- Zigbee2MQTT: ``zigbee2mqtt/<friendly name>``, one flat object without a time. A device reports one
  attribute at a time, and only when it changed; the bridge answers each report with the whole
  object as it knows it. It also publishes who is there, with units, and whether a device answers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Final

from detection.quantities import QUANTITIES
from sensor_sim.wire.base import (
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    channels_of,
    hardware_id,
    iso_utc,
    json_bytes,
    number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_AIRGRADIENT: Final[Mapping[str, tuple[str, int, int]]] = {
    "pm01": ("pm1", 1, 2),
    "pm02": ("pm25", 1, 2),
    "pm10": ("pm10", 1, 2),
    "pm003Count": ("n03", 100, 2),
    "pm005Count": ("n05", 100, 2),
    "pm01Count": ("n10", 100, 2),
    "pm02Count": ("n25", 100, 2),
    "pm50Count": ("n50", 100, 2),
    "pm10Count": ("n100", 100, 2),
    "rco2": ("co2", 1, 2),
    "atmp": ("temp", 1, 2),
    "atmpCompensated": ("temp", 1, 2),
    "rhum": ("rh", 1, 2),
    "rhumCompensated": ("rh", 1, 2),
    "tvocIndex": ("voc_index", 1, 0),
    "tvocRaw": ("voc_raw", 1, 2),
    "noxIndex": ("nox_index", 1, 0),
}
"""Quantity, wire units in one unit of the quantity, decimals, by key."""
_ESPHOME: Final[Mapping[str, tuple[str, str, str, str, int, int]]] = {
    "pm1": ("pm_1_0", "PM 1.0", "µg/m³", "pm1", 1, 1),
    "pm25": ("pm_2_5", "PM 2.5", "µg/m³", "pm25", 1, 1),
    "pm4": ("pm_4_0", "PM 4.0", "µg/m³", "", 1, 1),
    "pm10": ("pm_10_0", "PM 10.0", "µg/m³", "pm10", 1, 1),
    "n03": ("pm_0_3um", "PM > 0.3um", "/dL", "", 100, 0),
    "n05": ("pm_0_5um", "PM > 0.5um", "/dL", "", 100, 0),
    "n10": ("pm_1_0um", "PM > 1.0um", "/dL", "", 100, 0),
    "n25": ("pm_2_5um", "PM > 2.5um", "/dL", "", 100, 0),
    "n50": ("pm_5_0um", "PM > 5.0um", "/dL", "", 100, 0),
    "n100": ("pm_10_0um", "PM > 10.0um", "/dL", "", 100, 0),
    "tvoc_ppb": ("tvoc", "TVOC", "ppb", "volatile_organic_compounds_parts", 1, 0),
    "voc_index": ("voc", "VOC", "", "", 1, 0),
    "nox_index": ("nox", "NOx", "", "", 1, 0),
    "rh": ("humidity", "Humidity", "%", "humidity", 1, 2),
    "temp": ("temperature", "Temperature", "°C", "temperature", 1, 2),
    "co2": ("co2", "CO2", "ppm", "carbon_dioxide", 1, 0),
    "pressure": ("pressure", "Pressure", "hPa", "atmospheric_pressure", 1, 1),
    "light": ("illuminance", "Illuminance", "lx", "illuminance", 1, 1),
    "rssi": ("wifi_signal", "WiFi Signal", "dBm", "signal_strength", 1, 0),
}
"""Object id, name, unit, device class, wire units in one unit of the quantity, decimals."""
_ZIGBEE: Final[Mapping[str, tuple[str, str, int]]] = {
    "temp": ("temperature", "°C", 2),
    "rh": ("humidity", "%", 2),
    "pressure": ("pressure", "hPa", 1),
    "co2": ("co2", "ppm", 0),
    "pm1": ("pm1", "µg/m³", 1),
    "pm25": ("pm25", "µg/m³", 1),
    "pm4": ("pm4", "µg/m³", 1),
    "pm10": ("pm10", "µg/m³", 1),
    "voc_index": ("voc_index", "", 0),
    "nox_index": ("nox_index", "", 0),
    "tvoc_ppb": ("voc", "ppb", 0),
    "tvoc_ugm3": ("voc", "µg/m³", 0),
    "battery": ("battery", "%", 0),
}
"""Property, unit, decimals."""
_NATIVE: Final = {
    key: 0 if q.resolution >= 1 else 2 if q.resolution >= 0.1 else 3
    for key, q in QUANTITIES.items()
}
"""Decimals of each quantity."""
_FIRMWARE_EVERY_S: Final = 3600.0


class AirGradientEncoder(Encoder):
    """An AirGradient ONE with an MQTT server configured."""

    RESOLUTION: ClassVar[Mapping[str, float]] = {
        q: 10.0**-d / scale for q, scale, d in _AIRGRADIENT.values()
    } | {"rssi": 1.0}

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
            for wire, (key, scale, decimals) in _AIRGRADIENT.items()
            if key in row.values
        }
        return [self._readings(body, row.sent)]

    def _readings(self, body: Mapping[str, float], sent: float) -> WireMessage:
        count = self._boot_count
        self._boot_count += 1
        whole = {"wifi": self._rssi, "serialno": self._serial, **body, "boot": count}
        whole |= {"bootCount": count, "ledMode": "off", "firmware": "3.6.0", "model": "I-9PSL"}
        return self._message(f"airgradient/readings/{self._serial}", json_bytes(whole), sent)


class EspHomeEncoder(Encoder):
    """An ESP board that runs ESPHome with MQTT instead of its native API."""

    RESOLUTION: ClassVar[Mapping[str, float]] = {
        k: 10.0**-d / scale for k, (*_, scale, d) in _ESPHOME.items()
    }

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._mac = hardware_id(device.sensor, 12)
        self._known: list[str] = []

    def connect(self, at: float) -> list[WireMessage]:
        """Return status and discovery, all retained, and the tamper switch at rest."""
        announced = [key for key in channels_of(self.device.model) if key in _ESPHOME]
        return [
            self._status(b"online", at),
            *(self._discovery(key, at) for key in announced),
            self._described("binary_sensor", "tamper", "Tamper", {"dev_cla": "tamper"}, at),
            self._state("binary_sensor", "tamper", b"OFF", at),
        ]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one retained value a topic."""
        messages = []
        self._known += [k for k in row.values if k in _ESPHOME and k not in self._known]
        for key in self._known:
            object_id, *_, scale, decimals = _ESPHOME[key]
            value = row.values.get(key)
            text = "nan" if value is None else f"{value * scale:.{decimals}f}"
            messages.append(self._state("sensor", object_id, text.encode(), row.sent))
        return messages

    def tamper(self, at: float) -> list[WireMessage]:
        """Return a pulse of the switch."""
        return [self._state("binary_sensor", "tamper", state, at) for state in (b"ON", b"OFF")]

    def offline(self, at: float) -> list[WireMessage]:
        """Return the will."""
        return [self._status(b"offline", at)]

    def _state(self, component: str, object_id: str, payload: bytes, at: float) -> WireMessage:
        topic = f"{self.device.sensor}/{component}/{object_id}/state"
        return self._message(topic, payload, at, retain=True)

    def _status(self, payload: bytes, at: float) -> WireMessage:
        return self._message(f"{self.device.sensor}/status", payload, at, retain=True)

    def _discovery(self, key: str, at: float) -> WireMessage:
        object_id, name, unit, device_class, *_ = _ESPHOME[key]
        head = {"dev_cla": device_class, "unit_of_meas": unit, "stat_cla": "measurement"}
        head = {key: value for key, value in head.items() if value}
        return self._described("sensor", object_id, name, head, at)

    def _described(
        self, component: str, object_id: str, name: str, head: Mapping[str, str], at: float
    ) -> WireMessage:
        node = self.device.sensor
        body = {
            **head,
            "name": name,
            "stat_t": f"{node}/{component}/{object_id}/state",
            "avty_t": f"{node}/status",
            "uniq_id": f"{self._mac}-{object_id}",
            "dev": {
                "ids": self._mac,
                "name": node,
                "sw": "2025.10.0 (Oct 15 2025, 09:12:44)",
                "mf": "Espressif",
            },
        }
        topic = f"homeassistant/{component}/{node}/{object_id}/config"
        return self._message(topic, json_bytes(body), at, retain=True)


class NativeEncoder(Encoder):
    """A device that speaks the native format."""

    RESOLUTION: ClassVar[Mapping[str, float]] = {key: 10.0**-d for key, d in _NATIVE.items()}

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._firmware_due = -math.inf

    def connect(self, at: float) -> list[WireMessage]:
        """Return the retained ``online``."""
        self._firmware_due = at
        return [self._status(b"online", at)]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one JSON reading, event time to the millisecond; none while there is no value."""
        if not row.values:
            return []
        body: dict[str, object] = {"time": iso_utc(row.time), "seq": self._seq + 1}
        for key, value in row.values.items():
            decimals = _NATIVE[key]
            body[key] = round(value, decimals) if decimals else round(value)
        if row.sent >= self._firmware_due:
            body["firmware"] = "1.4.2"
            self._firmware_due = row.sent + _FIRMWARE_EVERY_S
        return [self._reading(body, row.sent)]

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return the status for `online` and `offline`, an event reading for the others."""
        del values
        if event in {"online", "offline"}:
            return [self._status(event.encode(), at)]
        body = {"time": iso_utc(at), "seq": self._seq + 1, "events": [event]}
        return [self._reading(body, at)]

    def _reading(self, body: Mapping[str, object], sent: float) -> WireMessage:
        topic = f"plumewatch/v1/{self.device.sensor}/reading"
        return self._message(topic, json_bytes(body), sent, qos=1)

    def _status(self, payload: bytes, sent: float) -> WireMessage:
        topic = f"plumewatch/v1/{self.device.sensor}/status"
        return self._message(topic, payload, sent, qos=1, retain=True)


class Zigbee2MqttEncoder(Encoder):
    """A Zigbee air sensor behind the bridge."""

    RESOLUTION: ClassVar[Mapping[str, float]] = {
        key: 10.0**-d for key, (_, _, d) in _ZIGBEE.items()
    }

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._address = "0x" + hardware_id(device.sensor, 16)
        self._link = 80 + int(self._address[-2:], 16) % 120
        self._cache: dict[str, float | bool] = {}
        network.zigbee.append(self._description())

    def connect(self, at: float) -> list[WireMessage]:
        """Return the bridge's state and devices and the device's availability, all retained."""
        devices = json_bytes(self.network.zigbee)
        return [
            self._message("zigbee2mqtt/bridge/state", b'{"state":"online"}', at, retain=True),
            self._message("zigbee2mqtt/bridge/devices", devices, at, retain=True),
            self._availability("online", at),
        ]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one message for each attribute that changed, the others from the cache."""
        messages = []
        for key, (prop, _, decimals) in _ZIGBEE.items():
            if key in row.values:
                value = number(row.values[key], decimals)
                if self._cache.get(prop) != value:
                    self._cache[prop] = value
                    messages.append(self._publish(row.sent))
        return messages

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return availability for coming and going, the cache on a restart."""
        if event == "online":
            return [self._availability(event, at)]
        if event == "restart":
            return [self._publish(at)] if self._cache else []
        return super().event(at, event, values)

    def tamper(self, at: float) -> list[WireMessage]:
        """Return the tamper attribute, set and released."""
        self._cache["tamper"] = True
        first = self._publish(at)
        self._cache["tamper"] = False
        return [first, self._publish(at)]

    def offline(self, at: float) -> list[WireMessage]:
        """Return the availability."""
        return [self._availability("offline", at)]

    def _publish(self, at: float) -> WireMessage:
        body = {**self._cache, "linkquality": self._link}
        payload = json_bytes(dict(sorted(body.items())))
        return self._message(f"zigbee2mqtt/{self.device.sensor}", payload, at)

    def _availability(self, state: str, at: float) -> WireMessage:
        topic = f"zigbee2mqtt/{self.device.sensor}/availability"
        return self._message(topic, json_bytes({"state": state}), at, qos=1, retain=True)

    def _description(self) -> dict[str, object]:
        exposes: dict[str, object] = {}
        for key in channels_of(self.device.model):
            name, unit, _ = _ZIGBEE.get(key, ("", "", 0))
            if name and name not in exposes:
                exposes[name] = {
                    "access": 1,
                    "label": name.replace("_", " ").capitalize(),
                    "name": name,
                    "property": name,
                    "type": "numeric",
                    **({"unit": unit} if unit else {}),
                }
        return {
            "ieee_address": self._address,
            "friendly_name": self.device.sensor,
            "type": "Router",
            "network_address": int(self._address[-4:], 16),
            "supported": True,
            "disabled": False,
            "interview_completed": True,
            "power_source": "Mains (single phase)",
            "software_build_id": "1.0.11",
            "model_id": self.device.model,
            "definition": {
                "model": self.device.model,
                "vendor": "Generic",
                "description": "Air quality sensor",
                "exposes": [*exposes.values()],
            },
        }
