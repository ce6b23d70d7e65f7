"""Ruuvi Air and RuuviTag behind a Ruuvi gateway.

The gateway sends the raw Bluetooth advertisement, decoded values, or both; the advertisement has
priority. This module reads the formats 5, 6 and E1. VOC and NOx are Sensirion's indices. Topics are
``<prefix><MAC>``, by default with the prefix ``ruuvi/<gateway MAC>/``. The topic identifies the
sensor, because format 6 contains only the end of the MAC. ``ts`` is the time. Without NTP it is a
counter, and the receive time is used instead. ``gw_status`` carries the gateway's birth and last
will. If the gateway is offline, so are all sensors seen behind it.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ingest.decoders.lorawan.frames import refuse
from ingest.decoding import Context, check_same_device, make_gateway_states, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantities
from ingest.payloads import as_text, load_object, parse_state
from ingest.validation import Message, Readings, fold_id, make_sensor_id

_UNITS: Final = {"VOC": "index", "luminosity": "lx", "pressure": "Pa"}
_COMPANY: Final = b"\x99\x04"
_SUFFIX: Final = 6


def decode(message: Message, context: Context) -> Readings:
    """Decode one message of a gateway."""
    content = load_object(message.payload, context.limits)
    levels = message.topic.split("/")
    if levels[-1] == "gw_status" or set(content) == {"state"}:
        word = parse_state(as_text(content.get("state")))
        gateway = "/".join(levels[:-1]) if levels[-1] == "gw_status" else message.topic
        return make_gateway_states(
            f"ruuvi {gateway}", make_sensor_id(gateway or "ruuvi"), word, message, context
        )
    sensor = _find_sensor(levels, content)
    context.names.check_sender(sensor, message.topic.partition("/")[2])
    raw = _read_values(content)
    if raw and type(content.get("rssi")) in (int, float):
        raw["rssi"] = content["rssi"]
    context.states.remember_child(f"ruuvi {'/'.join(levels[:-1])}", sensor)
    stamp = parse_stamp(content.get("ts", content.get("gwts")), message)
    return [context.validate(sensor, message, raw, stamp)]


def _find_sensor(levels: list[str], content: dict[str, Any]) -> str:
    named = content.get("id")
    place = levels[-1]
    from_topic = len(fold_id(place)) == 12
    if type(named) is str and named:
        full = make_sensor_id(named)
        if not from_topic:
            return full if len(fold_id(full)) == 12 else make_sensor_id(place)
        if len(fold_id(full)) == _SUFFIX:
            if not fold_id(place).endswith(fold_id(full)):
                check_same_device(full, place)
        else:
            check_same_device(full, place)
    return make_sensor_id(place)


def _read_values(content: dict[str, Any]) -> dict[str, object]:
    text = content.get("data")
    if type(text) is str:
        try:
            data = bytes.fromhex(text)
        except ValueError as error:
            raise PayloadError(Reason.MALFORMED, "data is not hex") from error
        raw = read_advertisement(data)
        if raw is not None:
            return raw
    raw = find_quantities({k: v for k, v in content.items() if k != "rssi"}, _UNITS)
    if not raw and type(text) is str:
        raise refuse("not an advertisement from a Ruuvi sensor")
    return raw


def read_advertisement(data: bytes) -> dict[str, object] | None:
    """Return the values of a Bluetooth advertisement; None if its format is unknown."""
    at = 0
    while at + 1 < len(data):
        length = data[at]
        part = data[at + 1 : at + 1 + length]
        if len(part) < length or length == 0:
            return None
        if part[0] == 0xFF and part[1:3] == _COMPANY and len(part) > 3:
            return _read_format(part[3:])
        at += 1 + length
    return None


def _read_format(body: bytes) -> dict[str, object] | None:
    if body[0] == 0x05 and len(body) >= 24:
        return _read_climate(body)
    if body[0] == 0x06 and len(body) >= 20:
        raw = _read_climate(body)
        pm25, co2, voc, nox = struct.unpack_from(">HHBB", body, 7)
        raw["pm25"] = _divide_by_ten(pm25)
        _read_gases(raw, co2, voc, nox, body[16])
        return raw
    if body[0] == 0xE1 and len(body) >= 40:
        raw = _read_climate(body)
        masses = struct.unpack_from(">4H", body, 7)
        raw.update(zip(("pm1", "pm25", "pm4", "pm10"), map(_divide_by_ten, masses), strict=True))
        co2, voc, nox = struct.unpack_from(">HBB", body, 15)
        _read_gases(raw, co2, voc, nox, body[28])
        light = int.from_bytes(body[19:22], "big")
        raw["light"] = None if light == 0xFFFFFF else light / 100
        return raw
    return None


def _read_climate(body: bytes) -> dict[str, object]:
    temp, rh, pressure = struct.unpack_from(">hHH", body, 1)
    return {
        "temp": None if temp == -0x8000 else round(temp * 0.005, 3),
        "rh": None if rh == 0xFFFF else round(rh * 0.0025, 4),
        "pressure": None if pressure == 0xFFFF else (pressure + 50_000) / 100,
    }


def _read_gases(raw: dict[str, object], co2: int, voc: int, nox: int, flags: int) -> None:
    raw["co2"] = None if co2 == 0xFFFF else co2
    for quantity, high, bit in (("voc_index", voc, 6), ("nox_index", nox, 7)):
        value = high << 1 | flags >> bit & 1
        raw[quantity] = None if value == 0x1FF else value


def _divide_by_ten(word: int) -> float | None:
    return None if word == 0xFFFF else word / 10
