"""LoRaWAN application frames: what a codec returns, and which codec reads a frame.

A codec is strict: an identifier it does not know or a tail that is too short refuses the frame,
so a frame of another device is told by its being refused. The registered model of the sensor (or
the model the network server names) selects the codec; without it every codec that suits the port
is tried, and the first that reads the frame to its last byte and finds something in it is
believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ingest.errors import PayloadError, Reason
from ingest.validation import build_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.decoders.base import Context
    from ingest.message import Message
    from storage.reading import Reading

__all__ = ["Frame", "readings_of", "refuse"]

MAX_FRAME: Final = 256


@dataclass(slots=True)
class Frame:
    """What one frame says.

    Attributes
    ----------
    raw : dict
        Quantity key to value; None or out of range is a fault.
    events, faults : list of str
        As in a reading.
    history : list of (float, dict)
        Unix seconds and values of records the device kept from before.
    """

    raw: dict[str, object] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    history: list[tuple[float, dict[str, object]]] = field(default_factory=list)

    @property
    def says_nothing(self) -> bool:
        """Whether there is neither value nor event nor fault: a sign of life at most."""
        return not (self.raw or self.events or self.faults)


def refuse(what: str) -> PayloadError:
    """Return the error of a frame that cannot be read."""
    return PayloadError(Reason.BAD_FRAME, what)


def read_frame(
    data: bytes,
    model: str,
    codecs: Mapping[str, Callable[[bytes], Frame]],
    models: tuple[tuple[str, str], ...],
) -> Frame:
    """Read a frame by the codec of a model, or by the first codec that accepts it.

    Raises
    ------
    PayloadError
        `bad_frame`.
    """
    if not 0 < len(data) <= MAX_FRAME:
        raise refuse(f"a frame of {len(data)} bytes")
    wanted = model.lower()
    for part, codec in models:
        if part in wanted:
            return codecs[codec](data)
    silent: Frame | None = None
    for codec_of in codecs.values():
        try:
            frame = codec_of(data)
        except PayloadError:
            continue
        if not frame.says_nothing:
            return frame
        silent = silent or frame
    if silent is not None:
        return silent
    raise refuse(f"no codec reads this frame of {len(data)} bytes")


def readings_of(
    frame: Frame,
    sensor: str,
    stamp: float | None,
    message: Message,
    context: Context,
    *,
    flags: tuple[str, ...] = (),
    seq: int | None = None,
) -> list[Reading]:
    """Return a frame's readings: its history, oldest first, then the present.

    A record of history is left out if its time is not plausible; it has no value without it.
    """
    limits = context.limits
    readings: list[Reading] = []
    for when, raw in sorted(frame.history, key=lambda item: item[0]):
        if limits.earliest <= when <= message.received + limits.max_skew_s:
            try:
                reading = build_reading(
                    sensor, when, message, limits, raw, flags=(*flags, "history")
                )
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
        build_reading(
            sensor,
            stamp,
            message,
            limits,
            frame.raw,
            events=events,
            faults=frame.faults,
            flags=flags,
            seq=seq,
        )
    )
    return readings
