"""LoRaWAN application frames: choose the codec, and make readings from its result.

Codecs are strict: they reject a frame that has an unknown identifier or is cut off, so they reject
most frames of other devices. The model, from the registry or the network server, selects the codec.
If the model is unknown, the codecs for the port are tried in order. The first one that reads the
whole frame, finds something, and returns only possible values is used. If there is none, the codec
that returns the fewest impossible values is used.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import PayloadError, Reason
from ingest.validation import Message, Readings, check_values, make_sensor_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.decoding import Context

MAX_FRAME: Final = 256
_TABLES: Final[dict[str, dict[str, dict[str, Any]]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def load_tables(device: str) -> tuple[dict[int, Any], dict[int, int]]:
    """Return a device's tables by identifier: its values, and the lengths of parts to skip."""
    values, skipped = _TABLES[device]["values"], _TABLES[device]["skipped"]
    lengths = {ident: int(length) for length, idents in skipped.items() for ident in idents}
    return {int(ident, 16): entry for ident, entry in values.items()}, lengths


@dataclass(slots=True)
class Frame:
    """Content of one frame before validation; a value that is None or out of range is a fault."""

    raw: dict[str, object] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    history: list[tuple[float, dict[str, object]]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the frame has no value, event or fault: it only shows that the device runs."""
        return not (self.raw or self.events or self.faults)


Codec = Callable[[bytes], Frame]
"""Reads a frame; raises `PayloadError` (`bad_frame`)."""

Models = tuple[tuple[re.Pattern[str], Codec], ...]
"""Patterns for lowercase model names, and their codecs."""


def refuse(what: str) -> PayloadError:
    """Return the error for a frame that cannot be read."""
    return PayloadError(Reason.BAD_FRAME, what)


@lru_cache(maxsize=4_096)
def find_codec(model: str, models: Models) -> Codec | None:
    """Return the codec for a model name, or None."""
    name = model.lower()[:256]
    return next((codec for pattern, codec in models if pattern.search(name)), None)


def _count_impossible(frame: Frame) -> int:
    return len(check_values(frame.raw)[1])


def read_frame(data: bytes, model: str, codecs: Iterable[Codec], models: Models) -> Frame:
    """Read a frame with its model's codec or, if the model is unknown, with the best codec."""
    if not 0 < len(data) <= MAX_FRAME:
        raise refuse(f"a frame has 1 to {MAX_FRAME} bytes, not {len(data)}")
    known = find_codec(model, models) if model else None
    if known is not None:
        return known(data)
    best: Frame | None = None
    least = (0, False)
    for codec in codecs:
        try:
            frame = codec(data)
        except PayloadError:
            continue
        doubt = (_count_impossible(frame), frame.is_empty and not frame.history)
        if doubt == (0, False):
            return frame
        if best is None or doubt < least:
            best, least = frame, doubt
    if best is None:
        raise refuse(f"no codec reads this frame of {len(data)} bytes")
    return best


def make_readings(
    frame: Frame,
    sensor: str,
    stamp: float | None,
    message: Message,
    context: Context,
    *,
    flags: tuple[str, ...] = (),
    seq: int | None = None,
) -> Readings:
    """Return the readings in a frame: first those from its history, then the current one."""
    limits = context.limits
    readings: Readings = []
    for when, raw in sorted(frame.history, key=lambda item: item[0]):
        if limits.earliest <= when <= message.received + limits.max_skew_s:
            try:
                reading = context.validate(sensor, message, raw, when, flags=(*flags, "history"))
            except PayloadError:
                continue
            readings.append(reading)
    if frame.is_empty:
        if frame.history:
            return readings
        events = ["online"]
    else:
        events = frame.events
    readings.append(
        context.validate(
            sensor,
            message,
            frame.raw,
            stamp,
            events=events,
            faults=frame.faults,
            flags=flags,
            seq=seq,
        )
    )
    return readings


def make_decoder(
    codecs: tuple[Codec, ...], models: Models
) -> Callable[[Message, Context], Readings]:
    """Return a decoder for frames without an envelope; the topic names the sensor."""

    def decode(message: Message, context: Context) -> Readings:
        sensor = make_sensor_id(message.topic)
        known = context.registry.sensors.get(sensor)
        frame = read_frame(message.payload, known.model if known else "", codecs, models)
        return make_readings(frame, sensor, None, message, context)

    return decode
