"""Zigbee2MQTT: one flat JSON object per message (``zigbee2mqtt/<friendly name>``).

By default, the bridge repeats all cached values when it starts and with every new value. A message
gets the flag `cached`, and never alerts, in these cases:

- It is the device's first message since the bridge started. Only one start in `_RESTART_S` counts,
  and only if the bridge was not online, or if the broker had kept its state. Otherwise, messages
  that claim a start before each reading would silence all devices.
- ``last_seen`` has not changed.
- There is no ``last_seen``, and all values equal the last ones, less than `_REPEAT_S` after the
  last message. After a longer time, equal values count as new.

The unit of ``voc`` (ppb or µg/m³) depends on device and version, so ``voc`` is used only if
``bridge/devices`` gives the unit. A description that changes a known device's units is a tamper
event. If the bridge goes offline, so do all devices behind it. Messages
under ``<base topic>/bridge`` affect only devices under the same base topic. In attribute mode, a
window joins the values into readings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Context, make_state_reading, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantities
from ingest.payloads import (
    allow_descriptions,
    as_dict,
    as_list,
    as_text,
    decode_text,
    load_json,
    load_object,
    parse_availability,
    parse_state,
    strip_bytes,
)
from ingest.validation import Message, Readings, make_sensor_id

if TYPE_CHECKING:
    from storage.reading import Reading

_BRIDGE: Final = "zigbee2mqtt:bridge"
_REPEAT_S: Final = 2.0
_RESTART_S: Final = 600.0


def decode(message: Message, context: Context) -> Readings:
    """Decode one message of the bridge or of a device behind it."""
    levels = message.topic.split("/")
    name = levels[1:] if levels[0] == "zigbee2mqtt" else levels
    if not name:
        raise PayloadError(Reason.UNKNOWN_TOPIC, "the topic names no device")
    if name[0] == "bridge" or name[-2:-1] == ["bridge"]:
        base = [] if name[0] == "bridge" else name[:-2]
        return _read_bridge(base, name[len(base) + 1 :], message, context)
    if name[-1:] == ["availability"] and len(name) > 1:
        return [make_state_reading(_make_id(name[:-1]), _read_state(message), message, context)]
    if not message.payload or name[-1] in ("set", "get"):
        return []
    if strip_bytes(message.payload)[:1] == b"{":
        return [_read_device(_make_id(name), message, context)]
    if message.payload.strip() in (b"online", b"offline"):
        return [make_state_reading(_make_id(name), _read_state(message), message, context)]
    return _read_attribute(name, message, context)


def _make_id(levels: list[str]) -> str:
    return make_sensor_id("/".join(levels))


def _read_state(message: Message) -> str:
    return parse_state(decode_text(message.payload))


def _read_bridge(base: list[str], rest: list[str], message: Message, context: Context) -> Readings:
    prefix = f"{_make_id(base)}:" if base else ""
    if rest == ["state"]:
        names, word = [_make_id([*(base or ["zigbee2mqtt"]), "bridge"])], _read_state(message)
        if _has_started(f"{_BRIDGE} {prefix}", word, message, context):
            for key, last in context.states.last.items():
                if key.startswith(f"zigbee2mqtt {prefix}"):
                    last["fresh"] = False
        if word == "offline":
            behind = context.states.children.get(_BRIDGE, [])
            names += [sensor for sensor in behind if sensor.startswith(prefix)]
        return [make_state_reading(name, word, message, context) for name in names]
    if rest == ["devices"]:
        devices = as_list(load_json(message.payload, allow_descriptions(context.limits)))
        tampered = {_learn_device(prefix, as_dict(device), context) for device in devices}
        sensors = sorted(tampered - {""})
        return [context.validate(name, message, {}, events=("tamper",)) for name in sensors]
    return []


def _has_started(key: str, word: str, message: Message, context: Context) -> bool:
    before = context.states.last.get(key, {"word": "", "at": -math.inf})
    has_started = (
        word == "online"
        and (before["word"] != "online" or message.retained)
        and message.received - before["at"] >= _RESTART_S
    )
    at = message.received if has_started else before["at"]
    context.states.last[key] = {"word": word, "at": at}
    return has_started


def _learn_device(prefix: str, device: dict[str, Any], context: Context) -> str:
    """Remember the units of a device; return its id if known ones change, otherwise ""."""
    name, definition = device.get("friendly_name"), device.get("definition", {})
    if type(name) is not str or not name or definition is None:
        return ""
    units: dict[str, str | None] = {}
    for item in as_list(as_dict(definition).get("exposes")):
        for part in [as_dict(item), *map(as_dict, as_list(as_dict(item).get("features")))]:
            unit = part.get("unit")
            key = part.get("property")
            if type(key) is str and len(units) < 64:
                units[key[:64]] = unit[:32] if type(unit) is str else None
    sensor = make_sensor_id(f"{prefix}{name}")
    before = context.states.units.get(f"zigbee2mqtt {sensor}", units)
    context.states.units[f"zigbee2mqtt {sensor}"] = units
    return sensor if any(units.get(key, "") != unit for key, unit in before.items()) else ""


def _read_device(sensor: str, message: Message, context: Context) -> Reading:
    content = load_object(message.payload, context.limits)
    if set(content) <= {"state"} and parse_availability(as_text(content.get("state"))):
        return make_state_reading(sensor, _read_state(message), message, context)
    raw = find_quantities(content, context.states.units.get(f"zigbee2mqtt {sensor}"))
    context.states.remember_child(_BRIDGE, sensor)
    key = f"zigbee2mqtt {sensor}"
    seen = content.get("last_seen")
    before = context.states.last.get(key)
    cached = before is not None and (
        not before.get("fresh", True)
        or (seen is not None and before["seen"] == seen)
        or (
            seen is None
            and bool(raw)
            and message.received - before["at"] < _REPEAT_S
            and all(before["raw"].get(k) == v for k, v in raw.items())
        )
    )
    kept = {k: v for k, v in raw.items() if type(v) is not float or math.isfinite(v)}
    known = {**before["raw"], **kept} if before else kept
    context.states.last[key] = {
        "raw": known,
        "at": message.received,
        "seen": seen if type(seen) in (int, float) else as_text(seen)[:64] or None,
        "fresh": True,
    }
    stamp, events = parse_stamp(seen, message), ("tamper",) if content.get("tamper") is True else ()
    flags = ("cached",) if cached else ()
    return context.validate(sensor, message, raw, stamp, events=events, flags=flags)


def _read_attribute(name: list[str], message: Message, context: Context) -> Readings:
    if len(name) < 2:
        raise PayloadError(Reason.WRONG_TYPE, "neither a JSON object nor an attribute")
    sensor, text = _make_id(name[:-1]), decode_text(message.payload)
    events = ("tamper",) if name[-1] == "tamper" and text == "true" else ()
    raw = find_quantities({name[-1]: text}, context.states.units.get(f"zigbee2mqtt {sensor}"))
    if not raw and not events:
        return []
    context.states.remember_child(_BRIDGE, sensor)
    return context.join(sensor, message, raw, events=events)
