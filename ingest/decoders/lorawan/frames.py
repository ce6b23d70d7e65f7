"""LoRaWAN application frames: what a codec returns, and which codec reads a frame.

A codec is strict: an identifier it does not know or a tail that is too short refuses the frame,
so a frame of another device is recognized by being refused. The registered model of the sensor (or
the model the network server names) selects the codec. Without it every codec that suits the port
is tried, and of those that read the frame to its last byte the first is believed that finds
something in it and whose values are all possible; if there is none, the one with the fewest that
are not.
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
from ingest.validation import Message, Readings, check_values, sensor_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.decoding import Context

MAX_FRAME: Final = 256
_TABLES: Final[dict[str, dict[str, dict[str, Any]]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def load_table(device: str, kind: str) -> dict[int, Any]:
    """Return a table of ``frames.toml`` by identifier."""
    return {int(ident, 16): entry for ident, entry in _TABLES[device][kind].items()}


@dataclass(slots=True)
class Frame:
    """What one frame says, before checks: None or out of range is a fault."""

    raw: dict[str, object] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    history: list[tuple[float, dict[str, object]]] = field(default_factory=list)
    firmware: object = None

    @property
    def says_nothing(self) -> bool:
        """Whether there is neither value nor event nor fault: a sign of life at most."""
        return not (self.raw or self.events or self.faults)


Codec = Callable[[bytes], Frame]
"""Reads a frame; raises `PayloadError` with `bad_frame`."""

Models = tuple[tuple[re.Pattern[str], Codec], ...]
"""What the name of a model contains, in lower case, and the codec that this selects."""


def refuse(what: str) -> PayloadError:
    """Return the error of a frame that cannot be read."""
    return PayloadError(Reason.BAD_FRAME, what)


@lru_cache(maxsize=4_096)
def find_codec(model: str, models: Models) -> Codec | None:
    """Return the codec of a model's name; None if it names none of the models."""
    name = model.lower()[:256]
    return next((codec for pattern, codec in models if pattern.search(name)), None)


def _count_impossible(frame: Frame) -> int:
    return len(check_values(frame.raw)[1])


def read_frame(data: bytes, model: str, codecs: Iterable[Codec], models: Models) -> Frame:
    """Read a frame by the codec of its model, else by the codec that it fits best."""
    if not 0 < len(data) <= MAX_FRAME:
        raise refuse(f"a frame of {len(data)} bytes")
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
        doubt = (_count_impossible(frame), frame.says_nothing and not frame.history)
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
    """Return a frame's readings: its plausible history, oldest first, then the present."""
    limits = context.limits
    readings: Readings = []
    for when, raw in sorted(frame.history, key=lambda item: item[0]):
        if limits.earliest <= when <= message.received + limits.max_skew_s:
            try:
                reading = context.reading(sensor, message, raw, when, flags=(*flags, "history"))
            except PayloadError:
                continue
            readings.append(reading)
    if frame.says_nothing:
        if frame.history:
            return readings
        events = ["online"]
    else:
        events = frame.events
    readings.append(
        context.reading(
            sensor,
            message,
            frame.raw,
            stamp,
            events=events,
            faults=frame.faults,
            flags=flags,
            seq=seq,
            firmware=frame.firmware,
        )
    )
    return readings


def make_decoder(
    codecs: tuple[Codec, ...], models: Models
) -> Callable[[Message, Context], Readings]:
    """Make the decoder of frames that come without an envelope; the topic names the sensor."""

    def decode(message: Message, context: Context) -> Readings:
        sensor = sensor_id(message.topic)
        known = context.registry.sensors.get(sensor)
        frame = read_frame(message.payload, known.model if known else "", codecs, models)
        return make_readings(frame, sensor, None, message, context)

    return decode
