"""Elsys ERS2, EMS and relatives by their bytes: type byte, big-endian value of known length.

Frames of many other devices, cut off or whole, can be read this way by chance. Where neither model
nor port says Elsys, a frame therefore needs a temperature and a humidity (`guessed_frame`).
"""

from __future__ import annotations

import re
from typing import Final

from ingest.decoders.lorawan.frames import Codec, Frame, Models, bare_frames, refuse, table
from ingest.validation import check_values

_VALUES: Final = table("elsys", "values")
_SKIPPED: Final = table("elsys", "skipped")


def elsys_frame(data: bytes) -> Frame:
    """Read a frame of an Elsys sensor."""
    frame = Frame()
    at = 0
    while at < len(data):
        kind = data[at]
        at += 1
        entry = _VALUES.get(kind)
        length = entry[1] if entry else _SKIPPED.get(kind)
        if length is None:
            raise refuse(f"unknown type {kind:#04x}")
        part = data[at : at + length]
        if len(part) < length:
            raise refuse(f"cut off at byte {len(data)}")
        at += length
        if entry:
            frame.raw[entry[0]] = int.from_bytes(part, "big", signed=entry[3]) / entry[2]
    return frame


def guessed_frame(data: bytes) -> Frame:
    """Read a frame of a device that is not known to be of Elsys."""
    frame = elsys_frame(data)
    values, faults = check_values(frame.raw)
    if faults or not values.keys() >= {"temp", "rh"}:
        raise refuse("a frame that may be of another device")
    return frame


CODECS: Final[tuple[Codec, ...]] = (elsys_frame,)
MODELS: Final[Models] = ((re.compile(r"(?<![a-z])e[rm]s|elsys"), elsys_frame),)

decode: Final = bare_frames(CODECS, MODELS)
