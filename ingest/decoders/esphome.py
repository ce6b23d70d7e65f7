"""ESPHome firmware: one bare value a topic, joined into readings by a window.

``<node>/sensor/<object>/state`` carries a number as text, ``nan`` or ``None`` for a fault;
``<node>/binary_sensor/<object>/state`` carries ``ON`` or ``OFF``; ``<node>/status`` is birth and
last will. The quantity follows from an object's id and the unit in its discovery message. ``voc``
is Sensirion's VOC index and ``tvoc`` is ppb; ``pm_0_3um`` to ``pm_10_0um`` are larger particles in
0.1 L, unless discovery names another unit. ``pmc_0_5`` and the like are left out, because the id
does not say whether they count up to or above a diameter.

The devices of ``hardware/`` begin each interval with ``text_sensor/device_time`` (Unix
seconds, or ISO 8601 with zone) and ``sensor/sequence``; they apply to the values of the next
second. ``sensor/voc_raw`` are Sensirion's ticks, and
``binary_sensor/fan_cleaning`` with ``ON`` flags the next 25 s as `maintenance`.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from ingest.decoding import Context, decode_text, make_state_reading, parse_stamp, parse_state
from ingest.errors import PayloadError, Reason
from ingest.names import Meaning, find_conversion, find_quantity
from ingest.validation import Message, Readings, parse_number, sensor_id

_NO_NODES: Final = frozenset({"homeassistant", "zigbee2mqtt", "frigate", "octoprint"})
"""Programs that announce themselves like devices."""
_PER_DL: Final = "/dL"
_COUNT: Final = re.compile(r"(?:^|_)pm_(0_3|0_5|1_0|2_5|5_0|10_0)um$")
_OWN_UNIT: Final = {"voc": "index", "tvoc": "ppb"}
_CLEANING_S: Final = 25.0
"""Ten seconds of cleaning, and the time until room air is inside again."""


def decode(message: Message, context: Context) -> Readings:
    """Decode one ESPHome topic."""
    levels = message.topic.split("/")
    text = decode_text(message.payload)
    if levels[-1] == "status":
        return _read_status(levels[:-1], text, message, context)
    if len(levels) < 4 or levels[-1] != "state":
        raise PayloadError(Reason.UNKNOWN_TOPIC, "an ESPHome topic ends in /state or /status")
    component, name = levels[-3], levels[-2]
    sensor = _make_id(levels[:-3])
    if component == "binary_sensor":
        if text not in ("ON", "OFF"):
            raise PayloadError(Reason.WRONG_TYPE, "a binary sensor is ON or OFF")
        return _read_binary(sensor, name, message, context) if text == "ON" else []
    if component == "text_sensor":
        _read_text(sensor, name, text, message, context)
        return []
    return _read_value(sensor, name, text, message, context) if component == "sensor" else []


def _read_binary(sensor: str, name: str, message: Message, context: Context) -> Readings:
    if name == "fan_cleaning" and not message.retained:
        context.states.last[f"esphome cleaning {sensor}"] = {"since": message.received}
    if "tamper" not in name.lower():
        return []
    return _add(sensor, message, context, {}, events=("tamper",))


def _read_text(sensor: str, name: str, text: str, message: Message, context: Context) -> None:
    if name == "device_time" and not message.retained:
        moment = {"at": message.received, "time": parse_stamp(text, message)}
        context.states.last[f"esphome {sensor}"] = moment


def _add(
    sensor: str,
    message: Message,
    context: Context,
    raw: dict[str, object],
    events: tuple[str, ...] = (),
) -> Readings:
    """Add to the sensor's open reading, with the time and number the device announced."""
    states, now = context.states, message.received
    moment = {} if message.retained else _find_moment(sensor, message, context)
    cleaning = states.last.get(f"esphome cleaning {sensor}")
    is_cleaning = cleaning is not None and 0 <= now - cleaning["since"] <= _CLEANING_S
    return states.joiner.add(
        sensor,
        moment.get("time"),
        message,
        context.limits,
        raw,
        events=events,
        flags=("maintenance",) if is_cleaning else (),
        seq=moment.get("seq"),
    )


def _find_moment(sensor: str, message: Message, context: Context) -> dict[str, Any]:
    moment = context.states.last.get(f"esphome {sensor}", {})
    age = message.received - moment.get("at", -math.inf)
    return moment if 0 <= age <= context.states.joiner.window_s else {}


def _read_status(levels: list[str], text: str, message: Message, context: Context) -> Readings:
    if levels and levels[0] in _NO_NODES:
        return []
    return [make_state_reading(_make_id(levels), parse_state(text), message, context)]


def _read_value(sensor: str, name: str, text: str, message: Message, context: Context) -> Readings:
    if name == "sequence":
        if text.isascii() and text.isdecimal() and not message.retained:
            moment = _find_moment(sensor, message, context)
            own = {"at": message.received, "seq": int(text)}
            context.states.last[f"esphome {sensor}"] = {**moment, **own}
        return []
    meaning = _find_meaning(name, context.states.hints.get(message.topic))
    if meaning is None:
        return []
    plain = parse_number(text)
    if plain is None:
        raise PayloadError(Reason.WRONG_TYPE, "a sensor's state is not a number")
    value = meaning.convert(plain) if math.isfinite(plain) else None
    return _add(sensor, message, context, {meaning.quantity: value})


def _find_meaning(name: str, hint: str | None) -> Meaning | None:
    if name == "voc_raw" and hint in (None, "ticks"):
        return Meaning("voc_raw", 1, 0)
    count = _COUNT.search(name.lower())
    if count is None:
        unit = hint or _OWN_UNIT.get(name.rpartition("_")[2])
        return find_quantity(name, unit) or (find_quantity(name) if unit else None)
    quantity = "n" + count.group(1).replace("_", "")
    factors = find_conversion(quantity, hint or _PER_DL)
    return Meaning(quantity, *factors) if factors else find_quantity(f"pm_{count.group(1)}", hint)


def _make_id(levels: list[str]) -> str:
    return sensor_id("/".join(levels))
