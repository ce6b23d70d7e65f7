"""Codecs for frames of Milesight sensors: GS601 vape detector, AM100 and AM300 series, GS301.

They are based on the field tables in the user guides (`frames.toml`). All numbers are
little-endian.

**GS601** (port 85): each object starts with a one-byte identifier. If the device cannot measure a
value, it sends an alarm of type 0, 1 or 2 instead, which is a fault. A frame may consist of an
alarm alone:

====  =========================  ====================================================
02    10 / 11 + index            released / `vendor_vape`, the index is kept
02    20 / 21                    masking ended / `vendor_interference`
04..  10 / 11 + value            particle and TVOC thresholds: the value is kept
0A    10 / 11 + value; 20 / 21   temperature threshold; burning ended / `vendor_burning`
10    20 / 21                    normal / `tamper`
====  =========================  ====================================================

**AM100, AM300, GS301**: each object starts with a channel and a type. TVOC (08 7D) is in ppb for an
AM107, which is recognized by its model, or by an activity or light channel in the same frame. For
an AM300 it is a rating, which is ignored. History records (20 CE, 21 CE) become readings with the
flag `history`. The number of bytes after their time depends on the model: 3 (AM102), 5 (AM103), 12
(AM307), 16 (AM308), 18 (AM319).
"""

from __future__ import annotations

import re
from typing import Final

from ingest.decoders.lorawan.frames import Codec, Frame, Models, load_tables, make_decoder, refuse

_VALUES, _SKIPPED = load_tables("gs601")


class _Bytes:
    """Reads a frame byte by byte; raises `PayloadError` at its end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, length: int) -> bytes:
        part = self.data[self.at : self.at + length]
        if len(part) < length:
            raise refuse(f"cut off at byte {len(self.data)}")
        self.at += length
        return part

    def read_number(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(length), "little", signed=signed)


def read_gs601(data: bytes) -> Frame:
    """Read a frame of a GS601."""
    frame = Frame()
    raw = frame.raw
    size = len(data)
    at = 0
    while at < size:
        ident = data[at]
        at += 1
        entry = _VALUES.get(ident)
        if entry is not None:
            quantity, length, divisor, low, high, signed = entry
            part = data[at : at + length]
            at += length
            value = int.from_bytes(part, "little", signed=signed) / divisor
            raw[quantity] = value if low <= value <= high else None
        elif ident in _SKIPPED:
            at += _SKIPPED[ident]
        else:
            at = _read_gs601_state(frame, ident, data, at)
    if at > size:
        raise refuse(f"cut off at byte {size}")
    return frame


def _read_gs601_state(frame: Frame, ident: int, data: bytes, at: int) -> int:
    """Read an alarm or tamper object; return where the next object begins."""
    kind = data[at] if at < len(data) else -1
    at += 1
    if ident in (0x0F, 0x10):
        if kind not in ((0, 1) if ident == 0x0F else (0x20, 0x21)):
            raise refuse(f"unknown tamper state {kind:#04x}")
        if kind & 1:
            frame.events.append("tamper")
        return at
    if ident - 1 not in _VALUES:
        raise refuse(f"unknown identifier {ident:#04x}")
    quantity, length, divisor, low, high, signed = _VALUES[ident - 1]
    if 0 <= kind <= 0x02:
        frame.faults.append(quantity)
    elif kind in (0x10, 0x11) and ident != 0x0C:
        value = int.from_bytes(data[at : at + length], "little", signed=signed) / divisor
        frame.raw[quantity] = value if low <= value <= high else None
        at += length
        if ident == 0x02 and kind == 0x11:
            frame.events.append("vendor_vape")
    elif kind in (0x20, 0x21) and ident in (0x02, 0x0A):
        if kind == 0x21:
            frame.events.append("vendor_interference" if ident == 0x02 else "vendor_burning")
    else:
        raise refuse(f"unknown alarm type {kind:#04x} of {ident:#04x}")
    return at


_CHANNELS, _CHANNELS_SKIPPED = load_tables("am")
_POWER_ON: Final = 0xFF0B
_PRESENCE: Final = (b"\x05\x00\x00", b"\x05\x00\x01")
_HISTORY: Final = (3, 5, 12, 16, 18)
"""Possible numbers of bytes after the time in a history record."""


def read_am(data: bytes, *, is_am100: bool = False) -> Frame:
    """Read a frame of an AM100, AM300 or GS301."""
    frame = Frame()
    rest = _Bytes(data)
    tvoc: int | None = None
    while rest:
        channel = int.from_bytes(rest.take(2), "big")
        if channel in _CHANNELS:
            quantity, length, divisor, signed = _CHANNELS[channel]
            frame.raw[quantity] = rest.read_number(length, signed=signed) / divisor
        elif channel == 0x087D:
            tvoc = rest.read_number(2)
        elif channel == 0x056A:
            rest.take(2)
            is_am100 = True
        elif channel == 0x0665:
            frame.raw["light"] = rest.read_number(2)
            rest.take(4)
            is_am100 = True
        elif channel == _POWER_ON:
            rest.take(1)
            frame.events.append("restart")
        elif channel in (0x20CE, 0x21CE):
            _read_am_history(frame, rest, ugm3=channel == 0x21CE)
        elif channel in _CHANNELS_SKIPPED:
            rest.take(_CHANNELS_SKIPPED[channel])
        else:
            raise refuse(f"unknown channel {channel >> 8:#04x} {channel & 0xFF:#04x}")
    if tvoc is not None and is_am100:
        frame.raw["tvoc_ppb"] = tvoc
    return frame


def _read_am_history(frame: Frame, rest: _Bytes, *, ugm3: bool) -> None:
    body = rest.data[rest.at + 4 :]
    size = next((n for n in _HISTORY if _fits(body, n)), None)
    if size is None:
        raise refuse("a history record has an unknown length")
    when = rest.read_number(4)
    record = _Bytes(rest.take(size))
    raw: dict[str, object] = {
        "temp": record.read_number(2, signed=True) / 10,
        "rh": record.read_number(1 if size < 12 else 2) / 2,
    }
    if size == 5:
        raw["co2"] = record.read_number(2)
    elif size >= 12:
        record.take(2)
        raw["co2"], tvoc = record.read_number(2), record.read_number(2)
        raw["pressure"] = record.read_number(2) / 10
        if ugm3:
            raw["tvoc_ugm3"] = tvoc
    if size >= 16:
        raw["pm25"], raw["pm10"] = record.read_number(2), record.read_number(2)
    frame.history.append((float(when), raw))


def _fits(body: bytes, size: int) -> bool:
    """Return whether the frame ends, or another history record begins, after `size` bytes."""
    return len(body) == size or body[size : size + 2] in (b"\x20\xce", b"\x21\xce")


def read_guessed(data: bytes) -> Frame:
    """Read a frame of a device that may not be a GS601."""
    if data in _PRESENCE:
        raise refuse("the frame may be from another device")
    return read_gs601(data)


def _read_am100(data: bytes) -> Frame:
    return read_am(data, is_am100=True)


CODECS: Final[tuple[Codec, ...]] = (read_guessed, read_am)
MODELS: Final[Models] = (
    (re.compile("gs601"), read_gs601),
    (re.compile("am10[2-7]"), _read_am100),
    (re.compile("gs301|am30[0-9]|am319"), read_am),
)

decode: Final = make_decoder(CODECS, MODELS)
