"""Shelly Gen2 and later: climate values only, no particles.

- ``<id>/events/rpc`` carries NotifyStatus and NotifyFullStatus with some of the components
  (``temperature:0``).
- ``<id>/status/<component>`` carries one component; a window joins these into readings.
- ``<id>/online`` carries birth and last will.
"""

from __future__ import annotations

from typing import Any

from ingest.decoding import Context, check_same_device, parse_stamp, read_state
from ingest.payloads import as_dict, as_text, load_object
from ingest.validation import Message, Readings, make_sensor_id


def decode(message: Message, context: Context) -> Readings:
    """Decode one message."""
    levels = message.topic.split("/")
    if levels[-1] == "online":
        return read_state(_make_id("/".join(levels[:-1])), message, context)
    content = load_object(message.payload, context.limits)
    if len(levels) > 2 and levels[-2] == "status":
        raw = _read_component(levels[-1], content)
        if not raw:
            return []
        sensor = _make_id("/".join(levels[:-2]))
        return context.join(sensor, message, raw)
    if as_text(content.get("method")) not in ("NotifyStatus", "NotifyFullStatus"):
        return []
    params = as_dict(content.get("params"))
    raw = {}
    for name, part in params.items():
        raw.update(_read_component(name, as_dict(part)))
    if not raw:
        return []
    place = "/".join(levels[:-2])
    sensor = _make_id(as_text(content.get("src")) or place or message.topic)
    if _has_mac(place):
        check_same_device(sensor, _make_id(place))
    context.names.check_sender(sensor, message.topic)
    stamp = parse_stamp(params.get("ts"), message)
    return [context.validate(sensor, message, raw, stamp)]


def _has_mac(name: str) -> bool:
    tail = name.rpartition("-")[2]
    return len(tail) == 12 and all(c in "0123456789abcdefABCDEF" for c in tail)


def _make_id(name: str) -> str:
    return name.rpartition("-")[2].upper() if _has_mac(name) else make_sensor_id(name)


def _read_component(name: str, part: dict[str, Any]) -> dict[str, object]:
    if name.startswith("temperature:") and "tC" in part:
        return {"temp": part["tC"]}
    if name.startswith("humidity:") and "rh" in part:
        return {"rh": part["rh"]}
    if name.startswith("illuminance:") and "lux" in part:
        return {"light": part["lux"]}
    if name == "wifi" and part.get("rssi") is not None:
        return {"rssi": part["rssi"]}
    battery = as_dict(part.get("battery"))
    if name.startswith("devicepower:") and battery.get("percent") is not None:
        return {"battery": battery["percent"]}
    return {}
