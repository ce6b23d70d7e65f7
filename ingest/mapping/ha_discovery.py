"""Home Assistant discovery, as a hint: what a topic holds, in which unit, where its will is.

``homeassistant/<component>/[<node>/]<object>/config``, retained JSON with long or abbreviated
keys; an empty payload deletes. Nothing is ever executed: of a template only a plain path
(``{{ value_json.a.b }}``, ``{{ value_json['a']['b'] }}``) is read, anything else is ignored.

`decode` remembers the message, the unit for the state topic (used by `esphome`) and the firmware of
the device behind it (``device.sw_version``, without ESPHome's date of compilation), and stores
nothing. A sensor's account may write ``homeassistant/+/<its name>/+/config`` with any payload, so
unit and firmware are used only for the one state topic that ESPHome gives this discovery topic
(``<node>/<component>/<object>/state``), and an empty payload there withdraws them.

`suggest` returns what a person may approve as a mapping.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import dict_of, list_of, load_object, text_of
from ingest.errors import PayloadError, Reason
from ingest.names import quantity_of, unit_of

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.message import Message
    from ingest.validation import Limits
    from storage.reading import Reading

_LONG: Final = {
    "stat_t": "state_topic",
    "avty_t": "availability_topic",
    "avty": "availability",
    "t": "topic",
    "val_tpl": "value_template",
    "unit_of_meas": "unit_of_measurement",
    "dev_cla": "device_class",
    "exp_aft": "expire_after",
}
"""Abbreviations of discovery."""
_CLASSES: Final = {
    "pm1": "pm1",
    "pm25": "pm25",
    "pm4": "pm4",
    "pm10": "pm10",
    "volatile_organic_compounds": "tvoc_ugm3",
    "volatile_organic_compounds_parts": "tvoc_ppb",
    "carbon_dioxide": "co2",
    "carbon_monoxide": "co",
    "humidity": "rh",
    "temperature": "temp",
    "pressure": "pressure",
    "atmospheric_pressure": "pressure",
    "illuminance": "light",
    "battery": "battery",
    "signal_strength": "rssi",
}
"""Quantity of each device class."""
_MAX_TOPIC: Final = 256
_COMPILED: Final = re.compile(r"\s*\([^()]*\d\d:\d\d:\d\d[^()]*\)$")
"""The date of compilation behind a version: two boards with the same version differ in it."""
_PATH: Final = re.compile(
    r"\{\{\s*value_json((?:\.[A-Za-z_]\w{0,63}|\[\s*(?:'[^'\\]{1,64}'|\"[^\"\\]{1,64}\"|\d{1,3})"
    r"\s*\]){1,8})\s*\}\}"
)
_STEP: Final = re.compile(r"\.(\w+)|\[\s*(?:'([^']*)'|\"([^\"]*)\"|(\d+))\s*\]")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a discovery message says of a topic; `path` is None if it is more than a path."""

    state_topic: str
    path: tuple[str, ...] | None
    availability: tuple[str, ...]
    quantity: str
    unit: str
    firmware: str = ""


def suggest(payload: bytes, limits: Limits) -> Suggestion:
    """Return what a discovery message says."""
    content = _expanded(load_object(payload, limits))
    topic = text_of(content.get("state_topic"))
    if not topic:
        raise PayloadError(Reason.NO_MEASUREMENT, "discovery without a state topic")
    unit = text_of(content.get("unit_of_measurement")).strip()
    wills = [text_of(content.get("availability_topic"))]
    wills += [
        text_of(_expanded({"~": content.get("~"), **dict_of(item)}).get("topic"))
        for item in list_of(content.get("availability"))
    ]
    path = _path(content.get("value_template"))
    quantity = _CLASSES.get(text_of(content.get("device_class")), "")
    if not quantity:
        name = path[-1] if path else topic.rpartition("/state")[0].rpartition("/")[2]
        meaning = quantity_of(name, unit or None)
        quantity = meaning.quantity if meaning else ""
    device = dict_of(content.get("device", content.get("dev")))
    firmware = _COMPILED.sub("", text_of(device.get("sw_version", device.get("sw")))[:256])
    return Suggestion(topic, path, tuple(w for w in wills if w), quantity, unit, firmware)


def _expanded(content: dict[str, Any]) -> dict[str, Any]:
    """Members under their long names, with the base topic put in for `~`."""
    base = text_of(content.get("~"))
    full: dict[str, Any] = {}
    for key, value in content.items():
        name = _LONG.get(key, key)
        if base and type(value) is str and name.endswith("topic"):
            if value.startswith("~"):
                value = base + value[1:]  # noqa: PLW2901 - the same value, spelt out
            elif value.endswith("~"):
                value = value[:-1] + base  # noqa: PLW2901 - the same
        full[name] = value
    return full


def _path(template: object) -> tuple[str, ...] | None:
    if template is None:
        return ()
    text = text_of(template).strip()
    if len(text) > 512:
        return None
    if re.fullmatch(r"\{\{\s*value\s*\}\}", text):
        return ()
    match = _PATH.fullmatch(text)
    if match is None:
        return None
    return tuple(next(g for g in s.groups() if g is not None) for s in _STEP.finditer(match[1]))


def _state_topic(topic: str) -> str:
    """Return the ESPHome state topic that a discovery topic describes; empty without a node."""
    levels = topic.split("/")
    return f"{levels[2]}/{levels[1]}/{levels[3]}/state" if len(levels) == 5 else ""


def decode(message: Message, context: Context) -> list[Reading]:
    """Remember the unit of a state topic and the message itself; no reading."""
    states, own = context.states, _state_topic(message.topic)
    if not message.payload:
        states.withdraw_discovery(own)
        return []
    found = suggest(message.payload, context.limits)
    if len(found.state_topic) <= _MAX_TOPIC:
        states.remember_discovery(found.state_topic, message.payload)
    if found.state_topic != own:
        states.withdraw_discovery(own)
        return []
    states.describe(own, found.firmware)
    if not found.unit or unit_of(found.unit) is None:
        states.hints.pop(own, None)
    else:
        states.hints[own] = found.unit
    return []
