"""Parts of every wire format: the message, the row it is made from, the device that sends it.

An encoder is the firmware of one device: it keeps what the device keeps between messages (frame
counters, cached attributes, boot counts). It never sees the room, the truth or another device.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from detection.quantities import COLUMNS
from sensor_sim.devices.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sensor_sim.trace import DeviceTrace

_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One MQTT message as it leaves a device.

    Not on the wire: `sent`, the true time of publication in Unix seconds, `sensor`, and `seq`, its
    number among the messages of its sensor (unless the format has one).
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    sent: float = 0.0
    sensor: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class WireRow:
    """One reading: time by the device's clock, true time of publication, and finite values."""

    time: float
    sent: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class WireDevice:
    """A sensor and its hardware model (key of `MODELS`, or parts joined by ``+``)."""

    sensor: str
    model: str


@dataclass(slots=True)
class WireNetwork:
    """Properties of a school's devices on the wire: their zone, and joined Zigbee devices."""

    zone: tzinfo = UTC
    zigbee: list[dict[str, object]] = field(default_factory=list)


class Encoder(ABC):
    """Firmware of one device: what it publishes, with its numbering and addressing."""

    RESOLUTION: ClassVar[Mapping[str, float]]
    """Quantities that the device can put on the wire, each with its step."""

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        self.device = device
        self.network = network
        self._seq = 0

    def connect(self, at: float) -> list[WireMessage]:
        """Return what the device publishes when it comes up at true time `at`; nothing here."""
        del at
        return []

    @abstractmethod
    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return the messages of one reading, in order."""

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return the messages of a device event at true time `at`, if the device has it."""
        del values
        made = {"online": self.connect, "restart": self.connect}
        made |= {"tamper": self.tamper, "offline": self.offline}
        return made[event](at) if event in made else []

    def tamper(self, at: float) -> list[WireMessage]:
        """Return what the tamper contact sends; nothing here."""
        del at
        return []

    def offline(self, at: float) -> list[WireMessage]:
        """Return the will; none here."""
        del at
        return []

    def resolution(self) -> Mapping[str, float]:
        """Return the quantities of this device, each with the step it prints."""
        return self.RESOLUTION

    def _message(
        self, topic: str, payload: bytes, sent: float, *, qos: int = 0, retain: bool = False
    ) -> WireMessage:
        self._seq += 1
        return WireMessage(topic, payload, qos, retain, sent, self.device.sensor, self._seq)


def trace_rows(trace: DeviceTrace) -> Iterator[WireRow]:
    """Yield the readings of `trace` as rows, absent quantities left out."""
    present = [
        (i, key)
        for i, key in enumerate(COLUMNS)
        if i < trace.values.shape[1] and bool((trace.values[:, i] == trace.values[:, i]).any())
    ]
    columns = trace.values[:, [i for i, _ in present]].tolist()
    keys = [key for _, key in present]
    for time, sent, row in zip(trace.time.tolist(), trace.sent.tolist(), columns, strict=True):
        yield WireRow(time, sent, {k: v for k, v in zip(keys, row, strict=True) if v - v == 0.0})


def channels_of(model: str) -> tuple[str, ...]:
    """Quantities a device announces; all of them for a model that is not in the table.

    >>> channels_of("zigbee_e2112")
    ('pm25', 'voc_index', 'rh', 'temp')
    """
    known = MODELS.get(model)
    return COLUMNS if known is None else known.channels


def hardware_id(sensor: str, digits: int) -> str:
    """Hardware id (MAC, EUI, serial) of a sensor: `digits` lower-case hexadecimal digits.

    A sensor id that already is one is kept, so that a configuration can name devices by their
    own ids; any other gets a stable one derived from its name.

    >>> hardware_id("84FCE612F5B8", 12)
    '84fce612f5b8'
    >>> len(hardware_id("north-1-girls", 16))
    16
    """
    plain = sensor.replace(":", "").replace("-", "").lower()
    if len(plain) == digits and _HEX.fullmatch(plain):
        return plain
    return hashlib.blake2b(sensor.encode(), digest_size=(digits + 1) // 2).hexdigest()[:digits]


def iso_utc(time: float, timespec: str = "milliseconds") -> str:
    """ISO 8601 in UTC with ``Z``.

    >>> iso_utc(1_757_239_500.25)
    '2025-09-07T10:05:00.250Z'
    """
    digits = {"seconds": 0, "milliseconds": 3}.get(timespec, 6)
    stamp = datetime.fromtimestamp(round(time, digits), UTC)
    return stamp.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def number(value: float, decimals: int) -> float:
    """Round to `decimals`; a whole number becomes an integer, as JSON printers of devices do."""
    rounded = round(value, decimals)
    return int(rounded) if rounded == int(rounded) else rounded


def json_bytes(value: object) -> bytes:
    """Compact JSON."""
    return msgspec.json.encode(value)
