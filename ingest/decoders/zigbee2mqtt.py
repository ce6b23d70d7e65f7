"""Zigbee2MQTT: flat JSON a device (``zigbee2mqtt/<friendly name>``), with repeated old values.

By default the bridge repeats all cached values with every new one, and at its start. A message is
flagged `cached` and never alerted on if it is the first one of a device after the bridge came up,
if its ``last_seen`` did not move, or if no quantity differs from the device's last message.

``voc`` is ppb or µg/m³ by device and version: it is taken only with the unit in ``bridge/devices``.
When the bridge is gone, so is every device behind it. In attribute mode values are joined.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import (
    Context,
    availability,
    decode_text,
    dict_of,
    for_descriptions,
    gateway_states,
    list_of,
    load_json,
    load_object,
    plain_bytes,
    stamp_of,
    state_reading,
    state_word,
    text_of,
)
from ingest.errors import PayloadError, Reason
from ingest.names import measured
from ingest.validation import Message, Readings, sensor_id

if TYPE_CHECKING:
    from storage.reading import Reading

_BRIDGE: Final = "zigbee2mqtt:bridge"


def decode(message: Message, context: Context) -> Readings:
    """Decode one message of the bridge or of a device behind it."""
    levels = message.topic.split("/")
    name = levels[1:] if levels[0] == "zigbee2mqtt" else levels
    if not name:
        raise PayloadError(Reason.UNKNOWN_TOPIC, "the topic names no device")
    if name[0] == "bridge" or name[-2:-1] == ["bridge"]:
        return _bridge(name[name.index("bridge") + 1 :], message, context)
    if name[-1:] == ["availability"] and len(name) > 1:
        return [state_reading(_id(name[:-1]), _word(message), message, context)]
    if not message.payload or name[-1] in ("set", "get"):
        return []
    if plain_bytes(message.payload)[:1] == b"{":
        return [_device(_id(name), message, context)]
    if message.payload.strip() in (b"online", b"offline"):
        return [state_reading(_id(name), _word(message), message, context)]
    return _attribute(name, message, context)


def _id(levels: list[str]) -> str:
    return sensor_id("/".join(levels))


def _word(message: Message) -> str:
    return state_word(decode_text(message.payload))


def _bridge(rest: list[str], message: Message, context: Context) -> Readings:
    if rest == ["state"]:
        word = _word(message)
        for last in context.states.last.values():
            if word == "online":
                last["fresh"] = False
        return gateway_states(_BRIDGE, _BRIDGE, word, message, context)
    if rest == ["devices"]:
        for device in list_of(load_json(message.payload, for_descriptions(context.limits))):
            _learn(dict_of(device), context)
    return []


def _learn(device: dict[str, Any], context: Context) -> None:
    name = device.get("friendly_name")
    if type(name) is not str or not name:
        return
    units: dict[str, Any] = {}
    exposes = list_of(dict_of(device.get("definition")).get("exposes"))
    for item in exposes:
        for part in [dict_of(item), *map(dict_of, list_of(dict_of(item).get("features")))]:
            unit = part.get("unit")
            key = part.get("property")
            if type(key) is str and type(unit) is str and len(units) < 64:
                units[key[:64]] = unit[:32]
    sensor = sensor_id(name)
    context.states.units[f"zigbee2mqtt {sensor}"] = units
    context.states.describe(sensor, device.get("software_build_id"))


def _device(sensor: str, message: Message, context: Context) -> Reading:
    content = load_object(message.payload, context.limits)
    if set(content) <= {"state"} and availability(text_of(content.get("state"))):
        return state_reading(sensor, _word(message), message, context)
    raw = measured(content, context.states.units.get(f"zigbee2mqtt {sensor}"))
    context.states.child(_BRIDGE, sensor)
    key = f"zigbee2mqtt {sensor}"
    seen = content.get("last_seen")
    before = context.states.last.get(key)
    cached = before is not None and (
        not before.get("fresh", True)
        or (seen is not None and before.get("seen") == seen)
        or (bool(raw) and all(before["raw"].get(k) == v for k, v in raw.items()))
    )
    kept = {k: v for k, v in raw.items() if type(v) is not float or math.isfinite(v)}
    known = {**before["raw"], **kept} if before else kept
    context.states.last[key] = {
        "raw": known,
        "seen": seen if type(seen) in (int, float) else text_of(seen)[:64] or None,
        "fresh": True,
    }
    stamp, events = stamp_of(seen, message), ("tamper",) if content.get("tamper") is True else ()
    flags = ("cached",) if cached else ()
    return context.reading(sensor, message, raw, stamp, events=events, flags=flags)


def _attribute(name: list[str], message: Message, context: Context) -> Readings:
    if len(name) < 2:
        raise PayloadError(Reason.WRONG_TYPE, "neither a JSON object nor an attribute")
    sensor, text = _id(name[:-1]), decode_text(message.payload)
    events = ("tamper",) if name[-1] == "tamper" and text == "true" else ()
    raw = measured({name[-1]: text}, context.states.units.get(f"zigbee2mqtt {sensor}"))
    if not raw and not events:
        return []
    context.states.child(_BRIDGE, sensor)
    return context.join(sensor, message, raw, events=events)
