"""Plumewatch's own format: one JSON object a reading, with time and sequence number.

``plumewatch/v1/<sensor>/reading`` at QoS 1, ``plumewatch/v1/<sensor>/status`` retained with a
will. The first reading after a start, and then one per hour, reports the firmware. The sequence
number continues over restarts, so that (sensor, seq) always identifies a reading.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from detection.quantities import QUANTITIES
from sensor_sim.wire.base import (
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    iso_utc,
    json_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_DECIMALS: Final = {
    key: 0 if q.resolution >= 1 else 2 if q.resolution >= 0.1 else 3
    for key, q in QUANTITIES.items()
}
_FIRMWARE: Final = "1.4.2"
_FIRMWARE_EVERY_S: Final = 3600.0
_RESOLUTION: Final = {key: 10.0**-d for key, d in _DECIMALS.items()}


class NativeEncoder(Encoder):
    """A device that speaks the native format."""

    RESOLUTION = _RESOLUTION

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
            decimals = _DECIMALS[key]
            body[key] = round(value, decimals) if decimals else round(value)
        if row.sent >= self._firmware_due:
            body["firmware"] = _FIRMWARE
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
