"""Qingping air monitors (``qingping/<MAC>/up``): lists of samples.

Type 12 is live data, 17 is stored data (flag `history`), and 13 is a heartbeat (`online`); other
types are replies and are ignored. A sample's own time takes precedence over the message's. Each
value is an object with a ``status``: 0 is normal, 1 is abnormal (a fault), and 2 means that the
sensor is still initializing (the value is ignored). For the battery, ``status`` shows whether it is
charging. ``tvoc`` is used only with a unit.
"""

from __future__ import annotations

from typing import Any, Final

from ingest.decoding import Context, check_same_device, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantity
from ingest.payloads import as_dict, as_list, as_text, load_object
from ingest.validation import Message, Readings, make_sensor_id, parse_number

_MAX_SAMPLES: Final = 512
_ABNORMAL, _STARTING = 1, 2


def decode(message: Message, context: Context) -> Readings:
    """Decode one message."""
    content = load_object(message.payload, context.limits)
    sensor = _find_sensor(message.topic, content)
    context.names.check_sender(sensor, message.topic)
    kind = str(content.get("type"))[:8]
    if kind == "13":
        return [context.validate(sensor, message, {}, events=("online",))]
    if kind not in ("12", "17"):
        return []
    samples = as_list(content.get("sensorData"))
    if len(samples) > _MAX_SAMPLES:
        raise PayloadError(Reason.TOO_MANY_KEYS, f"{len(samples)} samples in one message")
    flags = ("history",) if kind == "17" else ()
    readings: Readings = []
    for sample in map(as_dict, samples):
        raw = _read_sample(sample)
        if raw:
            when = _unwrap(sample.get("timestamp", content.get("timestamp")))
            stamp = parse_stamp(when, message)
            readings.append(context.validate(sensor, message, raw, stamp, flags=flags))
    if not readings:
        raise PayloadError(Reason.NO_MEASUREMENT, "no sample in the message")
    return readings


def _read_sample(sample: dict[str, Any]) -> dict[str, object]:
    raw: dict[str, object] = {}
    for key, wrapped in sample.items():
        part = as_dict(wrapped)
        meaning = find_quantity(key, as_text(part.get("unit")) or None)
        status = 0 if key == "battery" else part.get("status", 0)
        if meaning is not None and status != _STARTING:
            plain = None if status == _ABNORMAL else parse_number(_unwrap(wrapped))
            raw[meaning.quantity] = None if plain is None else meaning.convert(plain)
    return raw


def _unwrap(wrapped: object) -> object:
    return wrapped.get("value") if type(wrapped) is dict else wrapped


def _find_sensor(topic: str, content: dict[str, Any]) -> str:
    levels = topic.split("/")
    named = content.get("mac", content.get("wifi_mac"))
    if len(levels) == 3 and levels[0] == "qingping":
        if content.get("mac") is not None:
            check_same_device(make_sensor_id(content["mac"]), make_sensor_id(levels[1]))
        return make_sensor_id(levels[1])
    return make_sensor_id(named if named is not None else topic)
