"""ESPHome firmware: each topic carries a bare value; values close in time form one reading.

- ``<node>/sensor/<object>/state`` carries a number as text; ``nan`` and ``None`` are faults.
- ``<node>/binary_sensor/<object>/state`` carries ``ON`` or ``OFF``.
- ``<node>/status`` carries birth and last will.

The object's id, and the unit in its discovery message, identify the quantity. Unless discovery
gives another unit, ``voc`` is Sensirion's VOC index, ``tvoc`` is in ppb, and ``pm_0_3um`` to
``pm_10_0um`` count particles above that diameter per 0.1 L. ``pmc_0_5`` and similar ids are
ignored, because the id does not show whether particles are counted up to a diameter or above it.
"""

from __future__ import annotations

import math
import re
from typing import Final

from ingest.decoding import Context, make_state_reading
from ingest.errors import PayloadError, Reason
from ingest.names import Meaning, find_conversion, find_quantity
from ingest.payloads import decode_text, parse_state
from ingest.validation import Message, Readings, make_sensor_id, parse_number

_NO_NODES: Final = frozenset({"homeassistant", "zigbee2mqtt", "frigate", "octoprint"})
"""Other programs whose topics look like those of an ESPHome node."""
MAX_HINTS: Final = 64
_PER_DL: Final = "/dL"
_COUNT: Final = re.compile(r"(?:^|_)pm_(0_3|0_5|1_0|2_5|5_0|10_0)um$")
_OWN_UNIT: Final = {"voc": "index", "tvoc": "ppb"}


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
            raise PayloadError(Reason.WRONG_TYPE, "a binary sensor's state must be ON or OFF")
        if text == "OFF" or "tamper" not in name.lower():
            return []
        return context.join(sensor, message, {}, events=("tamper",))
    return _read_value(sensor, name, text, message, context) if component == "sensor" else []


def _read_status(levels: list[str], text: str, message: Message, context: Context) -> Readings:
    if levels and levels[0] in _NO_NODES:
        return []
    return [make_state_reading(_make_id(levels), parse_state(text), message, context)]


def _read_value(sensor: str, name: str, text: str, message: Message, context: Context) -> Readings:
    hints = find_hints(sensor, context)
    hint = hints.get(name)
    meaning = find_meaning(name, hint or "")
    if meaning is None:
        return []
    if hint is None and len(hints) < MAX_HINTS:
        hints[name] = ""
    plain = parse_number(text)
    if plain is None:
        raise PayloadError(Reason.WRONG_TYPE, "a sensor's state is not a number")
    value = meaning.convert(plain) if math.isfinite(plain) else None
    raw: dict[str, object] = {meaning.quantity: value}
    return context.join(sensor, message, raw)


def find_hints(node: str, context: Context) -> dict[str, str]:
    """Return the units of a node's objects from discovery; empty for an object without one."""
    return context.states.units.setdefault(f"esphome {node}", {})


def find_meaning(name: str, hint: str) -> Meaning | None:
    """Return what an object's values mean; `hint` is the unit from discovery, or empty."""
    if name == "voc_raw" and hint in ("", "ticks"):
        return Meaning("voc_raw", 1, 0)
    count = _COUNT.search(name.lower())
    if count is None:
        unit = hint or _OWN_UNIT.get(name.rpartition("_")[2])
        return find_quantity(name, unit) or (find_quantity(name) if unit else None)
    quantity = "n" + count.group(1).replace("_", "")
    factors = find_conversion(quantity, hint or _PER_DL)
    return Meaning(quantity, *factors) if factors else find_quantity(f"pm_{count.group(1)}", hint)


def _make_id(levels: list[str]) -> str:
    return make_sensor_id("/".join(levels))
