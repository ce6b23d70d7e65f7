"""Codec for frames of Elsys ERS2, EMS and similar sensors.

Each value is a type byte followed by big-endian bytes; the type determines how many. Frames from
many other devices happen to be readable this way too. So unless the model or port belongs to
Elsys, a frame must contain temperature and humidity (`read_guessed`).
"""

from __future__ import annotations

import re
from typing import Final

from ingest.decoders.lorawan.frames import Codec, Frame, Models, load_tables, make_decoder, refuse
from ingest.validation import check_values

_VALUES, _SKIPPED = load_tables("elsys")


def read_elsys(data: bytes) -> Frame:
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


def read_guessed(data: bytes) -> Frame:
    """Read a frame of a device that may not be from Elsys."""
    frame = read_elsys(data)
    values, faults = check_values(frame.raw)
    if faults or not values.keys() >= {"temp", "rh"}:
        raise refuse("the frame may be from another device")
    return frame


CODECS: Final[tuple[Codec, ...]] = (read_elsys,)
MODELS: Final[Models] = ((re.compile(r"(?<![a-z])e[rm]s|elsys"), read_elsys),)

decode: Final = make_decoder(CODECS, MODELS)
