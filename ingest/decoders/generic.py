"""Any JSON, ``key=value`` text or form whose names identify the quantities.

This decoder is for DIY devices. It is used only for topics and HTTP sources that the configuration
assigns to it.

Values: names are looked up in `ingest.names`; an ambiguous name is not used. Nested objects are
searched to a depth of four. ``{"value": 7, "unit": "ug/m3"}`` is one value, and so is each item in
a list of names and values (SenML). ``pm25_unit`` is the unit of ``pm25``, and ``unit`` is the unit
of every value that can have it. Each item of any other list, and each line with an object, is a
reading. If a number's name and unit match no quantity (``"voc": 103``), it is ignored and the
reading gets the flag `unread`.

Identity: the first key of `_IDENTITY` with text names the device. If there is none, the topic level
that names a registered sensor is used, or else the whole topic.

Time: a number that is not a plausible Unix time is a count since boot, so the receive time is used
instead. After some weeks, such a count looks like a plausible time. So once a device has sent a
count, its time is used again only when it is close to the receive time.

State: ``status`` or ``state`` with ``online`` or ``offline`` is a birth or last will.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Context, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import (
    UNIT_KEYS,
    VALUE_KEYS,
    find_quantities,
    find_quantity,
    find_units,
    is_of_room,
)
from ingest.payloads import (
    as_list,
    as_text,
    load_json,
    load_object,
    load_pairs,
    split_objects,
    strip_bytes,
)
from ingest.validation import UNREAD, Message, Readings, make_sensor_id, parse_number

if TYPE_CHECKING:
    from storage.reading import Reading

_IDENTITY: Final = (
    *("sensor_id", "device_id", "device", "sensor", "mac", "serial", "serialno", "id"),
    *("node", "node_id"),
)
_TIME: Final = ("time", "timestamp", "ts", "datetime", "unix", "epoch")
_STATUS: Final = ("status", "state")
_WILLS: Final = ("online", "offline")
_OF_THE_BOARD: Final = frozenset(
    {"uptime", "uptime_s", "millis", "seq", "sequence", "counter", "count", "heap", "free_heap"}
    | {"boot", "boots", "boot_count", "reset", "version", "channel", "port", "interval", "id"}
    | {"firmware", "firmware_version", "fw_version", "sw_version"}
    | {"lat", "lon", "latitude", "longitude", "altitude", "vcc", "battery_v", "voltage"}
)
"""Keys of numbers that are not about the air."""
_DEPTH: Final = 4
_MAX_OBJECTS: Final = 128
_NAME: Final = ("name", "n", "type", "key", "quantity", "sensor")


def decode(message: Message, context: Context) -> Readings:
    """Decode one message."""
    objects = _split_objects(strip_bytes(message.payload), context)
    if len(objects) > _MAX_OBJECTS:
        raise PayloadError(Reason.TOO_MANY_KEYS, f"{len(objects)} objects in one message")
    readings: Readings = []
    for content in objects:
        try:
            readings.append(_read_object(content, message, context))
        except PayloadError:
            if len(objects) == 1:
                raise
    if not readings:
        raise PayloadError(Reason.NO_MEASUREMENT, "no object contains a known quantity")
    return readings


def _split_objects(payload: bytes, context: Context) -> list[dict[str, Any]]:
    """Return one object for each reading, from a list, lines, or a list in an object."""
    if payload[:1] not in (b"{", b"[", b'"'):
        return [load_pairs(payload, form=b"&" in payload and b" " not in payload)]
    lines = split_objects(payload)
    if len(lines) > 1:
        return [load_object(line, context.limits) for line in lines[: _MAX_OBJECTS + 1]]
    if payload[:1] == b"[":
        items = as_list(load_json(payload, context.limits))
        parts = [item for item in items if type(item) is dict]
        if parts and all(map(_find_named_value, parts)):  # SenML: the first item names the device
            return [{"id": parts[0].get("bn"), "time": parts[0].get("bt"), "values": parts}]
        return parts
    content = load_object(payload, context.limits)
    for key, value in content.items():
        items = value if type(value) is list else []
        if items and not any(type(item) is not dict or _find_named_value(item) for item in items):
            rest = {name: other for name, other in content.items() if name != key}
            return [{**rest, **item} for item in items]
    return [content]


def _find_named_value(item: dict[str, Any]) -> tuple[str, Any] | None:
    """Return the name, and the value with its unit, of an object that has both; otherwise None."""
    name = next((item[k] for k in _NAME if type(item.get(k)) is str), None)
    found = _find_value(item)
    return None if name is None or found is None else (name.rpartition(":")[2], found[0])


def _find_value(item: dict[str, Any]) -> tuple[Any] | None:
    """Return the value of an object, as text if it has a unit; None if there is no value."""
    key = next((k for k in item if k.lower() in VALUE_KEYS), None)
    if key is None or type(item[key]) in (dict, list):
        return None
    unit = next((as_text(item[k]) for k in item if k.lower() in UNIT_KEYS), "")
    return (f"{item[key]} {unit}" if unit and item[key] is not None else item[key],)


def _read_object(content: dict[str, Any], message: Message, context: Context) -> Reading:
    flat: dict[str, Any] = {}
    flatten(content, flat, _DEPTH)
    lower = {key.lower(): value for key, value in reversed(flat.items())}
    named = next((lower[k] for k in _IDENTITY if type(lower.get(k)) is str and lower[k]), None)
    when = next((lower[k] for k in _TIME if lower.get(k) is not None), None)
    sensor = make_sensor_id(_find_name(message.topic, context) if named is None else named)
    context.names.check_sender(sensor, message.topic)
    units = find_units(flat)
    raw = find_quantities(flat, units)
    tampered = lower.get("tamper") is True
    word = next((w for k in _STATUS if (w := as_text(lower.get(k)).lower()) in _WILLS), "")
    if not (raw or tampered or word):
        names = ", ".join(repr(key[:32]) for key in list(flat)[:6]) or "none"
        raise PayloadError(
            Reason.NO_MEASUREMENT, f"no name and unit match a known quantity: {names}"
        )
    return context.validate(
        sensor,
        message,
        raw,
        _find_time(sensor, when, message, context),
        events=filter(None, ("tamper" if tampered else "", word)),
        flags=[UNREAD] if _has_unread(flat, units) else [],
        state=bool(word) and not raw and not tampered,
    )


def _find_name(topic: str, context: Context) -> str:
    """Return the level of a topic that is a registered sensor, or else the whole topic."""
    known = context.registry.sensors
    levels = [topic.replace("/", ":"), *reversed(topic.split("/"))]
    return next((level for level in levels if level in known), topic)


def _has_unread(flat: dict[str, Any], units: dict[str, str]) -> bool:
    """Return whether a number was ignored because its name and unit match no quantity."""
    known = _OF_THE_BOARD.union(_IDENTITY, _TIME)
    return any(
        parse_number(value) is not None
        and not math.isnan(parse_number(value) or 0.0)
        and key.lower() not in known
        and not find_quantities({key: value}, units)
        for key, value in flat.items()
    )


def _find_time(sensor: str, when: object, message: Message, context: Context) -> float | None:
    """Return a device's time, or NaN if it counts since boot."""
    stamp = parse_stamp(when, message, context.find_zone(sensor))
    if stamp is None or not math.isfinite(stamp) or parse_number(when) is None:
        return stamp
    limits, last = context.limits, context.states.last
    key = f"generic {sensor}"
    if stamp < limits.earliest:
        last[key] = {"counts": True}
    elif key in last and -limits.max_skew_s <= message.received - stamp <= limits.late_after_s:
        del last[key]
    return math.nan if key in last else stamp


def flatten(content: dict[str, Any], flat: dict[str, Any], depth: int, parent: str = "") -> None:
    """Collect nested values by name in `flat`.

    If a name means a quantity only in combination with its parent's name, the combination is used.
    """
    for key, value in content.items():
        if type(value) is list:
            for item in value:
                if type(item) is dict and (found := _find_named_value(item)):
                    flat.setdefault(*found)
            continue
        if type(value) is dict and key.lower() not in UNIT_KEYS:
            held = _find_value(value)
            if held is None:
                if depth > 1 and is_of_room(key):
                    flatten(value, flat, depth - 1, key)
                continue
            value = held[0]  # noqa: PLW2901 - unwraps the value
        both = f"{parent}_{key}"
        is_known = not parent or find_quantity(key) or not find_quantity(both)
        flat.setdefault(key if is_known else both, value)
