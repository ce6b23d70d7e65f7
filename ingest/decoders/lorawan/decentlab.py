"""Codecs for frames of Decentlab DL-PM and DL-IAM (protocol version 2).

A frame has a version (1 byte), a device id (2 bytes) and a bit map (2 bytes) of the parts present.
The big-endian words of these parts follow:

- **DL-PM**: battery | PM1, 2.5, 4, 10 in 0.1 µg/m³, typical size, number concentrations up to
  0.5, 1, 2.5, 4, 10 µm in 0.1/cm³ | temperature, humidity | pressure in 2 Pa.
- **DL-IAM**: battery | temperature, humidity | pressure in 2 Pa | two light channels | CO2 with
  status and raw | activity | total VOC in ppb.

A count includes all particles from 0.3 µm up to a diameter. As for every SPS30, it is therefore
subtracted from the largest count, which gives the number of larger particles. If the length of a
frame fits both devices (no PM, no light), it is read as a frame of a DL-PM, unless the registered
model is ``dl-iam``.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from ingest.decoders.lorawan.frames import Codec, Frame, Models, make_decoder, refuse
from ingest.validation import count_all_above


def _split_words(data: bytes, layout: tuple[int, ...]) -> list[tuple[int, ...] | None]:
    """Return the words of each part in a device's layout, or None for an absent part."""
    if len(data) < 7 or data[0] != 2:
        raise refuse("not a Decentlab frame of version 2")
    present = int.from_bytes(data[3:5], "big")
    if present >> len(layout):
        raise refuse("unknown parts in the bit map")
    parts: list[tuple[int, ...] | None] = []
    at = 5
    for bit, count in enumerate(layout):
        if not present >> bit & 1:
            parts.append(None)
            continue
        if at + 2 * count > len(data):
            raise refuse(f"cut off at byte {len(data)}")
        parts.append(struct.unpack_from(f">{count}H", data, at))
        at += 2 * count
    if at != len(data):
        raise refuse(f"{len(data) - at} bytes too many")
    return parts


def read_pm(data: bytes) -> Frame:
    """Read a frame of a DL-PM."""
    _, particles, climate, pressure = _split_words(data, (1, 10, 2, 1))
    frame = Frame()
    if particles:
        masses, counts = particles[:4], [n / 10 for n in particles[5:]]
        frame.raw.update(zip(("pm1", "pm25", "pm4", "pm10"), (m / 10 for m in masses), strict=True))
        below = dict(zip(("n05", "n10", "n25"), counts, strict=False))
        frame.raw.update(count_all_above(counts[4], below))
    if climate:
        frame.raw["temp"] = round(175.72 * climate[0] / 65536 - 46.85, 4)
        frame.raw["rh"] = round(125 * climate[1] / 65536 - 6, 4)
    if pressure:
        frame.raw["pressure"] = pressure[0] * 2 / 100
    return frame


def read_iam(data: bytes) -> Frame:
    """Read a frame of a DL-IAM."""
    _, climate, pressure, light, co2, _, voc = _split_words(data, (1, 2, 1, 2, 3, 1, 1))
    frame = Frame()
    if climate:
        frame.raw["temp"] = round(175 * climate[0] / 65535 - 45, 4)
        frame.raw["rh"] = round(100 * climate[1] / 65535, 4)
    if pressure:
        frame.raw["pressure"] = pressure[0] * 2 / 100
    if light:
        visible, infrared = light
        lux = max(1.0 * visible - 1.64 * infrared, 0.59 * visible - 0.86 * infrared, 0.0) * 1.5504
        frame.raw["light"] = round(lux, 3)
    if co2:
        frame.raw["co2"] = co2[0] - 32768
    if voc:
        frame.raw["tvoc_ppb"] = voc[0]
    return frame


CODECS: Final[tuple[Codec, ...]] = (read_pm, read_iam)
MODELS: Final[Models] = ((re.compile("dl-?pm"), read_pm), (re.compile("dl-?iam"), read_iam))

decode: Final = make_decoder(CODECS, MODELS)
