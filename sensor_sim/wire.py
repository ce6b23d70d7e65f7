"""Encode the simulated devices' readings and status in the native format.

Readings go to ``plumewatch/v1/<sensor>/reading`` at QoS 1, and ``online`` goes to
``plumewatch/v1/<sensor>/status``, retained. The sequence number continues across restarts, so
(sensor, seq) always identifies a reading.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import msgspec

from detection.quantities import COLUMNS, QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sensor_sim.trace import DeviceTrace

_DECIMALS: Final = {
    key: 0 if q.resolution >= 1 else 2 if q.resolution >= 0.1 else 3
    for key, q in QUANTITIES.items()
}


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One MQTT message as it leaves a device.

    `seq` is its number among its sensor's messages. `sent` is the true time of publication in Unix
    seconds.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    sent: float = 0.0
    sensor: str = ""
    seq: int = 0


class SimulatedDevice:
    """One device; it numbers its messages."""

    def __init__(self, sensor: str) -> None:
        self._sensor = sensor
        self._seq = 0

    def connect(self, at: float) -> WireMessage:
        """Return the retained message ``online``."""
        return self._make_message("status", b"online", at, retain=True)

    def make_reading(
        self, time: float, sent: float, values: Mapping[str, float], *events: str
    ) -> WireMessage:
        """Return a reading with the finite values or with device events, stamped in ms."""
        stamp = datetime.fromtimestamp(round(time, 3), UTC).replace(tzinfo=None)
        body: dict[str, object] = {"time": stamp.isoformat(timespec="milliseconds") + "Z"}
        body["seq"] = self._seq + 1
        for key, value in values.items():
            decimals = _DECIMALS[key]
            body[key] = round(value, decimals) if decimals else round(value)
        if events:
            body["events"] = events
        return self._make_message("reading", msgspec.json.encode(body), sent)

    def _make_message(
        self, topic: str, payload: bytes, sent: float, *, retain: bool = False
    ) -> WireMessage:
        self._seq += 1
        topic = f"plumewatch/v1/{self._sensor}/{topic}"
        return WireMessage(topic, payload, 1, retain, sent, self._sensor, self._seq)


class Fleet:
    """The devices of a school on the wire."""

    def __init__(self) -> None:
        self._devices: dict[str, SimulatedDevice] = {}

    def encode(self, traces: Iterable[DeviceTrace]) -> Iterator[WireMessage]:
        """Yield the messages of all devices in one stretch of time, in order of `sent`.

        Call this with stretches in order of time. A new device first publishes that it is online.
        """
        yield from heapq.merge(*map(self._encode_trace, traces), key=attrgetter("sent"))

    def _encode_trace(self, trace: DeviceTrace) -> Iterator[WireMessage]:
        events = sorted(trace.events, reverse=True)
        device = self._devices.get(trace.sensor)
        if device is None and (trace.sent.size or events):
            device = self._devices[trace.sensor] = SimulatedDevice(trace.sensor)
            yield device.connect(min([*trace.sent[:1].tolist(), *(at for at, _ in events[-1:])]))
        if device is None:
            return
        rows = zip(trace.time.tolist(), trace.sent.tolist(), trace.values.tolist(), strict=True)
        for time, sent, row in rows:
            while events and events[-1][0] <= sent:
                at, event = events.pop()
                yield device.make_reading(at, at, {}, event)
            values = {k: v for k, v in zip(COLUMNS, row, strict=True) if math.isfinite(v)}
            if values:
                yield device.make_reading(time, sent, values)
        for at, event in reversed(events):
            yield device.make_reading(at, at, {}, event)
