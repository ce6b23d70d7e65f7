"""A GS601 behind a LoRaWAN network server: ChirpStack v4 or The Things Stack v3.

The device sends bytes without a time; the network server wraps them in JSON with the time of
reception, the radio's figures and the frame counter. No will, no retained state: an offline
device is silent. Neither server has a codec installed here, so only the bytes are sent.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import uuid
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sensor_sim.wire.base import (
    BODIES,
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    filled,
    hardware_id,
    iso_utc,
    json_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FPORT: Final = 85
_VAPE_THRESHOLD: Final = 5
_COLLECTION, _LOWER, _OVER = 0x00, 0x01, 0x02
_RELEASE, _TRIGGER = 0x10, 0x11
_SPECIAL_RELEASE, _SPECIAL_TRIGGER = 0x20, 0x21
_TAMPER_ALARM: Final = 0x10

_CHANNELS: Final = {
    "vape_index": (1, 2, "<B", 1, 0, 100),
    "pm1": (3, 4, "<H", 1, 0, 1000),
    "pm25": (5, 6, "<H", 1, 0, 1000),
    "pm10": (7, 8, "<H", 1, 0, 1000),
    "temp": (9, 10, "<h", 10, -20, 60),
    "rh": (11, 12, "<H", 10, 0, 100),
    "tvoc_ugm3": (13, 14, "<H", 1, 0, 2000),
}
"""Id, id of its alarm, struct, scale, low, high."""
_ALARM_ID: Final = {key: alarm for key, (_, alarm, *_) in _CHANNELS.items()}


class Gs601:
    """Firmware of one Milesight GS601: command id and little-endian value, no type byte.

    Written from the vendor's published protocol tables. A periodic frame has every channel; where a
    channel has no value or leaves its range, the alarm id with an error type replaces the value.
    Alarms have frames of their own, sent when they happen, and one more for the release, sent
    before the next report without the cause.
    """

    RESOLUTION: Final[Mapping[str, float]] = {
        **{key: 1 / scale for key, (_, _, _, scale, *_) in _CHANNELS.items()},
        "battery": 1,
    }

    def __init__(self, serial: str) -> None:
        self._serial = bytes.fromhex(serial)
        self._vape = False
        self._interference = False
        self._burning = False
        self._tampered = False

    def join(self) -> bytes:
        """Return the frame after a join: protocol, serial number, versions, status, class."""
        return (
            bytes.fromhex("df0100eedb")
            + self._serial
            + bytes.fromhex("da0100010100000000d90000c801cf0002")
        )

    def report(self, values: Mapping[str, float]) -> list[bytes]:
        """Return the periodic frame, and before it the releases of alarms that are over."""
        frames = self._releases(values)
        out = bytearray()
        if "battery" in values:
            out += bytes((0x00, round(values["battery"])))
        for key, (ident, alarm, form, scale, low, high) in _CHANNELS.items():
            value = values.get(key)
            if value is None:
                out += bytes((alarm, _COLLECTION))
            elif value < low:
                out += bytes((alarm, _LOWER))
            elif value > high:
                out += bytes((alarm, _OVER))
            else:
                out += bytes((ident,)) + struct.pack(form, round(value * scale))
        out += bytes((0x0F, self._tampered, 0x11, self._vape))
        self._tampered = False
        return [*frames, bytes(out)]

    def event(self, event: str, values: Mapping[str, float]) -> bytes | None:
        """Return the alarm frame of a device event, None if the detector has no such alarm."""
        if event == "vendor_vape":
            self._vape = True
            index = max(_VAPE_THRESHOLD, min(100, round(values.get("vape_index", 0))))
            return bytes((0x02, _TRIGGER, index))
        if event == "vendor_interference":
            self._interference = True
            return bytes((0x02, _SPECIAL_TRIGGER))
        if event == "vendor_burning":
            self._burning = True
            return bytes((0x0A, _SPECIAL_TRIGGER))
        if event == "tamper":
            self._tampered = True
            return bytes((_TAMPER_ALARM, _SPECIAL_TRIGGER))
        alarm = _ALARM_ID.get(event.removeprefix("fault:"))
        return bytes((alarm, _COLLECTION)) if alarm and event.startswith("fault:") else None

    def _releases(self, values: Mapping[str, float]) -> list[bytes]:
        frames = []
        index = values.get("vape_index", _VAPE_THRESHOLD)
        if self._vape and index < _VAPE_THRESHOLD:
            self._vape = False
            frames.append(bytes((0x02, _RELEASE, round(index))))
        if self._interference:
            self._interference = False
            frames.append(bytes((0x02, _SPECIAL_RELEASE)))
        if self._burning:
            self._burning = False
            frames.append(bytes((0x0A, _SPECIAL_RELEASE)))
        return frames


_NAMESPACE: Final = uuid.UUID("5b2c7f6e-43d0-5a0e-9a6e-2d5c8f0e1b77")


class _LorawanEncoder(Encoder):
    RESOLUTION = Gs601.RESOLUTION
    SERVER: ClassVar[Mapping[str, Any]]
    """Messages of the network server."""

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._eui = hardware_id(device.sensor, 16)
        self._frames = Gs601(self._eui)
        self._counter = 0
        self._joins = 0
        self._rssi = -60 - int(self._eui[-2:], 16) % 50

    def connect(self, at: float) -> list[WireMessage]:
        """Return the join and the frame with the device's versions; the counter starts anew."""
        self._counter = 0
        self._joins += 1
        return [self._join(at), self._uplink(self._frames.join(), at)]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return the uplink of a periodic report, and before it those of released alarms."""
        self._rssi = round(row.values.get("rssi", self._rssi))
        return [self._uplink(frame, row.sent) for frame in self._frames.report(row.values)]

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return the alarm's uplink, or a join for a start; nothing for offline."""
        frame = self._frames.event(event, values or {})
        return super().event(at, event) if frame is None else [self._uplink(frame, at)]

    @property
    def _address(self) -> str:
        text = f"{self._eui}{self._joins}".encode()
        return "26" + hashlib.blake2b(text, digest_size=3).hexdigest()

    def _unique(self, what: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self._eui}/{self._seq}/{what}"))

    def _snr(self) -> float:
        return round(max(-18.0, min(13.0, 13.0 - (-60 - self._rssi) / 6)), 1)

    @abstractmethod
    def _values(self, what: str, at: float) -> dict[str, object]:
        """Return what differs between messages of the network server."""

    @abstractmethod
    def _topic(self, event: str) -> str:
        """Return the topic of an event."""

    def _join(self, at: float) -> WireMessage:
        return self._served("join", self._values("join", at), at)

    def _uplink(self, frame: bytes, at: float) -> WireMessage:
        values = {
            "port": FPORT,
            "data": base64.b64encode(frame).decode(),
            "gateway": self.network.gateway,
            "rssi": self._rssi,
            "snr": self._snr(),
        }
        message = self._served("up", values | self._values("up", at), at)
        self._counter += 1
        return message

    def _served(self, event: str, values: Mapping[str, object], at: float) -> WireMessage:
        body = filled(self.SERVER[event], values)
        return self._message(self._topic(event), json_bytes(body), at)


class ChirpStackEncoder(_LorawanEncoder):
    """A GS601 behind ChirpStack v4: ``application/<id>/device/<devEui>/event/up``."""

    SERVER = BODIES["chirpstack"]

    def _values(self, what: str, at: float) -> dict[str, object]:
        channel = self._counter % 8
        info = {
            "tenant": self.network.tenant,
            "application": self.network.application,
            "sensor": self.device.sensor,
            "eui": self._eui,
        }
        return {
            "unique": self._unique(what),
            "time": self._time(at),
            "served": self._time(at + 0.04),
            "info": filled(self.SERVER["info"], info),
            "address": self._address,
            "count": self._counter,
            "number": int(self._unique("id")[:8], 16),
            "channel": channel,
            "frequency": 902_300_000 + 200_000 * channel,
        }

    def _topic(self, event: str) -> str:
        return f"application/{self.network.application}/device/{self._eui}/event/{event}"

    @staticmethod
    def _time(at: float) -> str:
        return iso_utc(at, "microseconds").replace("Z", "+00:00")


class ThingsStackEncoder(_LorawanEncoder):
    """A GS601 behind The Things Stack v3: ``v3/<app>@<tenant>/devices/<id>/up``.

    The server leaves out fields that are zero or empty, the frame counter included.
    """

    SERVER = BODIES["tts"]

    def _values(self, what: str, at: float) -> dict[str, object]:
        ids = {"eui": self._eui, "upper": self._eui.upper(), "address": self._address.upper()}
        session = bytes.fromhex(f"01{self._eui}{self._joins:06x}")
        return {
            "ids": filled(self.SERVER["ids"], ids),
            "ulid": "01" + self._unique(what).replace("-", "").upper()[:24],
            "session": base64.b64encode(session).decode(),
            "time": self._time(at),
            "heard": self._time(at + 0.03),
            "served": self._time(at + 0.04),
            "received": self._time(at + 0.2),
            "count": self._counter or None,
            "gateway_eui": self.network.gateway.upper(),
            "ticks": int(at * 1e6) % 2**32,
            "frequency": str(902_300_000 + 200_000 * (self._counter % 8)),
        }

    def _topic(self, event: str) -> str:
        return f"v3/school-air@ttn/devices/eui-{self._eui}/{event}"

    @staticmethod
    def _time(at: float) -> str:
        return iso_utc(at, "microseconds").replace("Z", "000Z")
