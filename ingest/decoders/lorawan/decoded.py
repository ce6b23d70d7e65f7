"""The decoded object of a LoRaWAN envelope: what a network server's own codec made of a frame.

Members are taken by their names only (`names.measured`), with these conventions on top:

- ``{"value": x, "unit": u}`` is a value with its unit (Decentlab);
- alarms of a GS601 come as numbers (``{"type": 17, "alarm_trigger": {...}}``), words, members alone
  or in camel case. A fault type makes the quantity a fault, and never an alarm; values inside the
  alarm count where the object has none itself;
- Decentlab's number concentrations go up to a diameter, so differences are taken.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ingest.decoders.lorawan.frames import Frame
from ingest.decoding import text_of
from ingest.names import measured
from ingest.validation import counts_above, number

_FAULT: Final = frozenset({0, 1, 2, "collection error", "lower range error", "over range error"})
_ALARM_OF: Final[dict[str, tuple[str, str, frozenset[object]]]] = {
    "vaping_index_alarm": ("vape_index", "vendor_vape", frozenset({17, "alarm trigger"})),
    "pm1_0_alarm": ("pm1", "", frozenset()),
    "pm2_5_alarm": ("pm25", "", frozenset()),
    "pm10_alarm": ("pm10", "", frozenset()),
    "temperature_alarm": ("temp", "vendor_burning", frozenset({33, "burning alarm trigger"})),
    "humidity_alarm": ("rh", "", frozenset()),
    "tvoc_alarm": ("tvoc_ugm3", "", frozenset()),
    **dict.fromkeys(
        ("tamper_alarm", "tamper_status_alarm"),
        ("", "tamper", frozenset({33, "trigger", "alarm trigger", "triggered"})),
    ),
}
"""Alarm to quantity, event, and the types that are the event."""
_MASKED: Final = frozenset({33, "interference alarm trigger"})
_TAMPERED: Final = frozenset({1, "triggered", "trigger"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UP_TO: Final = {"pm0_5": "n05", "pm1_0": "n10", "pm2_5": "n25"}
_MAX_NAME: Final = 64


def decoded_frame(decoded: dict[str, Any], units: dict[str, str] | None = None) -> Frame:
    """Read a decoded object."""
    members = {_CAMEL.sub("_", k).lower(): v for k, v in decoded.items() if len(k) <= _MAX_NAME}
    if "vaping_index" in members or "vaping_index_alarm" in members:
        units = {"tvoc": "ug/m3"}
    frame = Frame(measured(_flat(decoded), units))
    frame.firmware = members.get("firmware_version")
    _counts(frame, members)
    if _word(members.get("tamper_status")) in _TAMPERED:
        frame.events.append("tamper")
    for name, value in members.items():
        if name in _ALARM_OF:
            _alarm(frame, name, value, units)
    return frame


def _alarm(frame: Frame, name: str, value: object, units: dict[str, str] | None) -> None:
    quantity, event, triggers = _ALARM_OF[name]
    kinds = _kinds(value)
    if quantity and kinds & _FAULT:
        frame.faults.append(quantity)
        return
    if kinds & triggers:
        frame.events.append(event)
    if name == "vaping_index_alarm" and kinds & _MASKED:
        frame.events.append("vendor_interference")
    if type(value) is dict:
        for inner in (value, *value.values()):
            if type(inner) is dict:
                frame.raw = {**measured(inner, units), **frame.raw}


def _kinds(alarm: object) -> set[object]:
    """Type of an alarm, as number or words; without a type, the names of its members."""
    kind = alarm.get("type") if type(alarm) is dict else alarm
    word = _word(kind)
    if word is not None:
        return {word}
    return {_word(name) for name in alarm} if type(alarm) is dict else set()


def _word(value: object) -> object:
    """Return a whole number as such, words in lower case with spaces, None for anything else."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is str:
        return _CAMEL.sub("_", value).replace("_", " ").lower()
    return value if type(value) is int else None


def _flat(decoded: dict[str, Any]) -> dict[str, Any]:
    """Members of a decoded object; ``{"value": x, "unit": u}`` counts as text with a unit."""
    flat: dict[str, Any] = {}
    for name, value in decoded.items():
        if type(value) is dict and "value" in value:
            unit = text_of(value.get("unit"))
            plain = value["value"]
            flat[name] = f"{plain} {unit}" if unit and plain is not None else plain
        else:
            flat[name] = value
    return flat


def _counts(frame: Frame, members: dict[str, Any]) -> None:
    def up_to(size: str) -> float | None:
        value = members.get(f"{size}_number_concentration")
        return number(value.get("value") if type(value) is dict else value)

    below = {quantity: up_to(size) for size, quantity in _UP_TO.items()}
    frame.raw.update(counts_above(up_to("pm10"), below))
