"""Homie 5: bare values on ``homie/5/<device>/<node>/<property>``, described by the device.

A window joins the properties of a node into a reading. ``$description`` gives their units and
ranges (``"-20:120"``). Without it, only names that need no unit are recognized. NaN, Infinity and
values outside the range are faults. An empty payload deletes a property. The ``$state`` ``ready``
means online; ``disconnected`` and ``lost`` (the last will) mean offline. All messages are retained,
so messages that the broker sends on subscription get the flag `retained` and never alert. Each node
is a sensor with the name ``<device>:<node>``. If a device has a single node, the sensor has the
device's name. A description is a tamper event if it changes an earlier one, or what values that
were read without one mean.
"""

from __future__ import annotations

import math
from typing import Any, Final

from ingest.decoding import Context, make_state_reading
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantity
from ingest.payloads import allow_descriptions, as_dict, as_text, decode_text, load_object
from ingest.validation import Message, Readings, make_sensor_id, parse_number

_OPEN: Final = (-1e300, 1e300)
_STATES: Final = {"ready": "online", "disconnected": "offline", "lost": "offline"}


def decode(message: Message, context: Context) -> Readings:
    """Decode one topic of a Homie device."""
    levels = message.topic.split("/")
    if len(levels) < 4 or levels[0] != "homie" or levels[1] != "5":
        raise PayloadError(Reason.UNKNOWN_TOPIC, "a Homie 5 topic begins with homie/5/")
    device, rest = make_sensor_id(levels[2]), levels[3:]
    if rest == ["$state"]:
        word = _STATES.get(decode_text(message.payload))
        return [make_state_reading(device, word, message, context)] if word else []
    if rest == ["$description"]:
        return _read_description(device, message, context)
    if len(rest) != 2 or rest[1].startswith("$") or not message.payload:
        return []
    return _read_property(device, rest, message, context)


def _read_property(device: str, rest: list[str], message: Message, context: Context) -> Readings:
    units = context.states.units.get(f"homie {device}", {})
    text = decode_text(message.payload)
    sensor = device if units.get("nodes", 1) == 1 else make_sensor_id(f"{device}:{rest[0]}")
    if "tamper" in rest[1] and text in ("true", "false"):
        if text == "false":
            return []
        return context.join(sensor, message, {}, events=("tamper",))
    meaning = find_quantity(rest[1], units.get("/".join(rest)))
    if meaning is None:
        return []
    plain = parse_number(text)
    low, high = units.get(f"{'/'.join(rest)} range", _OPEN)
    valid = plain is not None and math.isfinite(plain) and low <= plain <= high
    value = meaning.convert(plain) if valid and plain is not None else None
    raw: dict[str, object] = {meaning.quantity: value}
    return context.join(sensor, message, raw)


def _read_description(device: str, message: Message, context: Context) -> Readings:
    key, units = f"homie {device}", _parse_units(message, context) if message.payload else {}
    before = context.states.units.get(key)
    context.states.units[key] = units
    if before is None:  # values may have been read by their names alone
        was_read = device in context.states.joiner.topics and any(map(_redefines, units.items()))
        before = {} if was_read else units
    if units == before:
        return []
    nodes = {name.partition("/")[0] for name in before if name != "nodes"}
    sensors = [device] if before.get("nodes", 1) == 1 else [f"{device}:{node}" for node in nodes]
    return [context.validate(name, message, {}, events=("tamper",)) for name in sorted(sensors)]


def _redefines(described: tuple[str, Any]) -> bool:
    """Return whether a property's unit changes what its values mean by its name alone."""
    name, unit = described[0].rpartition("/")[2], described[1]
    if (known := find_quantity(name)) is None or type(unit) is not str:
        return False
    new = find_quantity(name, unit)
    return new is None or new[:3] != known[:3]


def _parse_units(message: Message, context: Context) -> dict[str, Any]:
    nodes = as_dict(load_object(message.payload, allow_descriptions(context.limits)).get("nodes"))
    units: dict[str, Any] = {"nodes": len(nodes)}
    for node, described in list(nodes.items())[:64]:
        properties = as_dict(as_dict(described).get("properties"))
        for name, about in list(properties.items())[:64]:
            unit = as_text(as_dict(about).get("unit"))
            key = f"{node}/{name}"[:128]
            if unit:
                units[key] = unit[:32]
            limits = _parse_range(as_dict(about).get("format"))
            if limits is not None:
                units[f"{key} range"] = limits
    return units


def _parse_range(text: object) -> tuple[float, float] | None:
    parts = text.split(":") if type(text) is str and len(text) <= 64 else []
    if len(parts) not in (2, 3):
        return None
    low, high = (parse_number(part) if part else math.nan for part in parts[:2])
    if low is None or high is None:
        return None
    return (low if math.isfinite(low) else _OPEN[0], high if math.isfinite(high) else _OPEN[1])
