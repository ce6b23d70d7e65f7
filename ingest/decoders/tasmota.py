"""Tasmota (``tele/<topic>/SENSOR``, ``STATUS8``, ``STATUS10``, ``LWT``, ``STATE``, ``INFO1``).

Each driver has its own nested object, and the meaning of keys depends on the driver. ``TVOC`` is in
ppb for SGP30, CCS811, iAQ-Core and ENS16x, and the VOC index for SGP4X; for other drivers, its unit
is unknown and it is ignored. ``eCO2`` (an estimate from VOC) and ``Gas`` of a BME680 (a resistance)
are also ignored. ``PB...`` counts particles above a diameter per 0.1 L; ``NCPM...`` of an SPS30
counts particles up to a diameter.

- The part of the topic between the prefix and ``SENSOR`` names the device. An object with a suffix
  (``-1``, ``-0x44``) is a separate device, ``<topic>:<object>``; all others are one device.
- A time without an offset is in the site's time zone. If there is an ``Epoch``, it is used instead.
- The firmware sends ``null`` for NaN, so it is a fault.
- ``ON`` for ``Switch1`` or ``Tamper`` is a tamper event.
- ``STATE``, and a report without known quantities, mean `online`. A fan-cleaning notice (``CFAN``)
  and readings within 10 s after it get the flag `maintenance`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Context, make_state_reading, parse_stamp, read_state
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantities
from ingest.payloads import as_text, load_object, parse_availability
from ingest.validation import Message, Readings, count_all_above, make_sensor_id, parse_number

if TYPE_CHECKING:
    from storage.reading import Reading

_CHILD: Final = re.compile(r"(.+)[-_](?:\d{1,2}|(?:0x)?[0-9A-F]{2}|[0-9A-Fa-f]{6,12})")
_VOC_UNITS: Final = {
    "ppb": ("SGP30", "CCS811", "IAQ", "ENS160", "ENS16X", "ENS161"),
    "index": ("SGP4X", "SGP40", "SGP41", "SEN5X"),
}
"""Drivers by the unit of their VOC; for other drivers, it is unknown."""
_WITH_NOX: Final = ("SEN5X", "SGP4X", "SGP41")
"""Drivers that report Sensirion's NOx index."""
_COUNTS: Final = {
    "PB0.3": "n03",
    "PB0.5": "n05",
    "PB1": "n10",
    "PB2.5": "n25",
    "PB5": "n50",
    "PB10": "n100",
}
"""Keys of particle counts per deciliter."""
_UP_TO: Final = {"NCPM0_5": "n05", "NCPM1_0": "n10", "NCPM2_5": "n25"}
_NOT_ROOM_AIR: Final = frozenset({"ESP32", "ANALOG", "ENERGY", "COUNTER"})
_CLEANING_S: Final = 10.0
_AGAIN_S: Final = 3600.0
_MAX_CHILDREN: Final = 64
_REPORTS: Final = frozenset({"SENSOR", "STATUS8", "STATUS10"})
_SILENT: Final = frozenset({"INFO1", "STATUS2"})


def decode(message: Message, context: Context) -> Readings:
    """Decode one message of a Tasmota device."""
    levels = message.topic.split("/")
    kind = levels[-1]
    sensor = _find_sensor(levels)
    if kind == "LWT":
        return read_state(sensor, message, context)
    text = message.payload[:16].strip()
    word = parse_availability(text.decode("ascii", "replace"))
    if word and kind not in _REPORTS and text[:1] not in (b"{", b"["):
        return [make_state_reading(sensor, word, message, context)]
    content = load_object(message.payload, context.limits)
    inner = content.get("StatusSNS")
    if type(inner) is dict:
        content = inner
    if kind in _SILENT:
        return []
    if kind == "STATE":
        return [_read_state(sensor, content, message, context)]
    return _read_report(sensor, content, message, context)


def _find_sensor(levels: list[str]) -> str:
    known = _REPORTS | _SILENT | {"LWT", "STATE"}
    if len(levels) >= 3 and levels[-1] in known:
        inner = levels[1:-1] if levels[0] in ("tele", "stat") else levels[:-1]
        inner = [level for level in inner if level not in ("tele", "stat")] or inner
        return make_sensor_id("/".join(inner))
    return make_sensor_id("/".join(levels))


def _read_state(
    sensor: str, content: dict[str, Any], message: Message, context: Context
) -> Reading:
    wifi = content.get("Wifi")
    signal = wifi.get("Signal") if type(wifi) is dict else None
    raw = {"rssi": signal} if type(signal) in (int, float) else {}
    return context.validate(sensor, message, raw, events=("online",))


def _read_report(
    sensor: str, content: dict[str, Any], message: Message, context: Context
) -> Readings:
    own, children = _read_values(content)
    stamp = parse_stamp(
        content.get("Epoch", content.get("Time")), message, context.find_zone(sensor)
    )
    if not content:
        raise PayloadError(Reason.NO_MEASUREMENT, "an empty report")
    events = ["tamper"] if "ON" in (content.get("Switch1"), content.get("Tamper")) else []
    cleaning = any(type(part) is dict and "CFAN" in part for part in content.values())
    if not own and not events and not children:
        events = ["online"]
    readings: Readings = []
    if own or events:
        flags = ("maintenance",) if _is_cleaning(sensor, message, context, now=cleaning) else ()
        readings.append(context.validate(sensor, message, own, stamp, events=events, flags=flags))
    for name, raw in children.items():
        child_id = make_sensor_id(f"{sensor}:{name}")
        readings.append(context.validate(child_id, message, raw, stamp))
    return readings


def _is_cleaning(sensor: str, message: Message, context: Context, *, now: bool) -> bool:
    key = f"tasmota {sensor}"
    last = context.states.last
    cleaned = last.get(key)
    since = math.inf if cleaned is None else message.received - cleaned["cleaned"]
    if now and not 0 <= since < _AGAIN_S:
        last[key] = {"cleaned": message.received}
    return now or 0 <= since <= _CLEANING_S


def _read_values(content: dict[str, Any]) -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    units = {"Temperature": "TempUnit", "Pressure": "PressureUnit"}
    units = {key: unit for key, name in units.items() if (unit := as_text(content.get(name)))}
    own: dict[str, object] = {}
    children: dict[str, dict[str, object]] = {}
    for name, part in content.items():
        if type(part) is not dict:
            continue
        child = _CHILD.fullmatch(name)
        driver = (child.group(1) if child else name).upper()
        if driver in _NOT_ROOM_AIR:
            continue
        raw = _read_driver(driver, part, units)
        if not child:
            own = {**raw, **own}
        elif raw:
            children[name] = raw
            if len(children) > _MAX_CHILDREN:
                raise PayloadError(Reason.TOO_MANY_KEYS, f"more than {_MAX_CHILDREN} sensors")
    return own, children


def _read_driver(driver: str, part: dict[str, Any], units: dict[str, str]) -> dict[str, object]:
    unit = next((unit for unit, drivers in _VOC_UNITS.items() if driver in drivers), "")
    units = {**units, "TVOC": unit, "VOC": unit}
    known = {key: value for key, value in part.items() if key[:1].isupper()}  # not eCO2, aHumidity
    if driver not in _WITH_NOX:
        known.pop("NOx", None)
    raw = find_quantities(known, units)
    for key, quantity in _COUNTS.items():
        if key in part:
            count = parse_number(part[key])
            raw[quantity] = None if count is None else count * 0.01
    if "VOC_Raw" in part:
        raw["voc_raw"] = parse_number(part["VOC_Raw"])
    below = {quantity: parse_number(part.get(key)) for key, quantity in _UP_TO.items()}
    raw.update(count_all_above(parse_number(part.get("NCPM10")), below))
    return raw
