"""Plumewatch's own format.

``plumewatch/v1/<sensor>/reading`` carries one flat JSON object::

    {"time": "2026-09-07T10:05:00.250Z", "seq": 1234, "pm25": 7.1, "rh": 41.2, "events": ["tamper"]}

- ``time``: ISO 8601 *with* a zone, or Unix seconds, ms, µs or ns (the magnitude decides). If it is
  absent, the receive time is used, with the flag `no_time`. If it has no zone or no known form, or
  is a number before `Limits.earliest` (a count since boot), the receive time is used, with the flag
  `time_replaced`.
- ``seq``: optional, 0 to 2**63 - 1; anything else is ignored.
- Quantities of the table are at the top level. ``null`` means missing. Text, booleans, lists,
  objects, and numbers that are out of range, not finite, or mean "no value" are a fault of that
  quantity; the other quantities are still used.
- ``events``: optional list of device events; unknown ones are ignored. ``"fault:<quantity>"`` is a
  fault.
- ``sensor``: optional; must be the sensor of the topic.
- Other keys are ignored, so a device may send more than this version knows.

``plumewatch/v1/<sensor>/status`` carries ``online`` or ``offline``. It is retained, and it is the
topic of the last will.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import QUANTITIES
from ingest.decoding import Context, check_same_device, read_state
from ingest.errors import DecodeError, PayloadError, Reason
from ingest.names import USUAL_QUANTITIES, describe_unknown, find_conversion
from ingest.payloads import load_object
from ingest.validation import (
    Limits,
    Message,
    Readings,
    build_reading,
    make_sensor_id,
    parse_time,
)
from storage.reading import DEVICE_EVENTS, Reading

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingest.decoding import Decoder


PREFIX: Final = "plumewatch/v1/"
_OTHER_UNIT: Final = (
    "native values have fixed units (docs/devices.md): convert them, or use the generic format"
)
_MAX_SEQ: Final = 2**63 - 1
_KEYS: Final = frozenset({"time", "seq", "sensor", "events", *QUANTITIES})


@lru_cache(maxsize=8192)
def _parse_topic(topic: str) -> tuple[str, str]:
    """Return the sensor id and the kind (reading or status) of a topic, or two empty strings."""
    levels = topic.split("/")
    if len(levels) != 4 or levels[0] != "plumewatch" or levels[1] != "v1":
        return "", ""
    return make_sensor_id(levels[2]), levels[3]


def decode(message: Message, context: Context) -> Readings:
    """Decode one native message."""
    sensor, kind = _parse_topic(message.topic)
    if kind == "status":
        return read_state(sensor, message, context)
    if kind not in ("reading", ""):
        raise PayloadError(Reason.UNKNOWN_TOPIC, "a native topic ends in /reading or /status")
    return [_make_reading(sensor, message, context)]


def _make_reading(sensor: str, message: Message, context: Context) -> Reading:
    content = load_object(message.payload, context.limits)
    raw = {k: value for k, value in content.items() if k in QUANTITIES and value is not None}
    time, seq, stamp = content.get("time"), content.get("seq"), None
    if time is not None:
        stamp = parse_time(time, message.received)
        if stamp is None or (stamp < context.limits.earliest and type(time) is not str):
            stamp = math.nan
    if type(seq) is not int or not 0 <= seq <= _MAX_SEQ:
        seq = None
    _check_unit(content.get("unit"), raw)
    named = content.get("sensor")
    if named is not None:
        named = make_sensor_id(named)
        context.names.check_sender(named, message.topic)
        if sensor:
            check_same_device(named, sensor)
    events, more = _find_events(content.get("events"))
    if not (raw or events or more):
        unknown = [repr(key[:32]) for key in content if key not in _KEYS]
        misnamed = describe_unknown(content, "key")
        if unknown and not misnamed:
            use = ", ".join(USUAL_QUANTITIES)
            misnamed = f"none of the keys {', '.join(unknown[:6])} is known: use {use}, ..."
        if misnamed:
            raise PayloadError(Reason.NO_MEASUREMENT, misnamed)
    return build_reading(
        sensor or named or make_sensor_id(message.topic),
        stamp,
        message,
        context.limits,
        raw,
        events=events,
        faults=more + [key for key, value in raw.items() if type(value) is str],
        seq=seq,
    )


def _check_unit(unit: Any, values: Collection[str]) -> None:
    if unit and any(find_conversion(key, unit) not in (None, (1, 0)) for key in values):
        raise PayloadError(Reason.NO_MEASUREMENT, _OTHER_UNIT)


def describe_misnamed(message: Message, reader: Decoder) -> str:
    """Describe the keys of a message that this format ignores because their names are wrong.

    Return an empty string if there are none, or if `reader` is another decoder.
    """
    try:
        content = load_object(message.payload, Limits()) if reader.name == "native" else {}
    except DecodeError:
        return ""
    return describe_unknown(content, "key")


def _find_events(value: object) -> tuple[list[str], list[str]]:
    events: list[str] = []
    faults: list[str] = []
    if type(value) is list:
        for item in value:
            if type(item) is not str:
                continue
            if item in DEVICE_EVENTS:
                events.append(item)
            elif item.startswith("fault:") and item[6:] in QUANTITIES:
                faults.append(item[6:])
    return events, faults
