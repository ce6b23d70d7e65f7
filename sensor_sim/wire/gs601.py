"""Frames of the Milesight GS601 vape detector: command id and little-endian value, no type byte.

Written from the vendor's published protocol tables. A periodic frame has every channel; where a
channel has no value or leaves its range, the alarm id with an error type replaces the
value. Alarms have frames of their own, sent when they happen, and one more for the release, sent
before the next report without the cause.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import QUANTITIES_OF

if TYPE_CHECKING:
    from collections.abc import Mapping

FPORT: Final = 85
_VAPE_THRESHOLD: Final = 5
_COLLECTION, _LOWER, _OVER = 0x00, 0x01, 0x02
_RELEASE, _TRIGGER = 0x10, 0x11
_SPECIAL_RELEASE, _SPECIAL_TRIGGER = 0x20, 0x21
_TAMPER_ALARM: Final = 0x10

_CHANNELS: Final = QUANTITIES_OF["gs601"]
_ALARM_ID: Final = {key: alarm for key, (_, alarm, *_) in _CHANNELS.items()}


class Gs601:
    """Firmware of one detector, down to its frames."""

    RESOLUTION: Final[Mapping[str, float]] = {
        "vape_index": 1,
        "pm1": 1,
        "pm25": 1,
        "pm10": 1,
        "temp": 0.1,
        "rh": 0.1,
        "tvoc_ugm3": 1,
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
