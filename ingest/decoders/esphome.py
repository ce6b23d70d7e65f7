"""ESPHome firmware: one bare value a topic, joined into readings by a window.

``<node>/sensor/<object>/state`` carries a number as text, ``nan`` or ``None`` for a fault;
``<node>/binary_sensor/<object>/state`` carries ``ON`` or ``OFF``; ``<node>/status`` is birth and
will. What an object measures follows from its id and the unit of its discovery message. ``voc`` is
Sensirion's VOC index and ``tvoc`` is ppb; ``pm_0_3um`` to ``pm_10_0um`` are particles larger than
that in 0.1 L, unless discovery names another unit. ``pmc_0_5`` and its like are left out: the id
does not tell whether they count up to or above a diameter.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from ingest.decoding import Decoder, decode_text, state_reading, state_word
from ingest.errors import PayloadError, Reason
from ingest.names import Meaning, conversion, quantity_of
from ingest.validation import number, sensor_id

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

_NO_NODES: Final = frozenset({"homeassistant", "zigbee2mqtt", "frigate", "octoprint"})
"""Programs, not devices, that say they are online in the same way."""
_PER_DL: Final = "/dL"
_COUNT: Final = re.compile(r"(?:^|_)pm_(0_3|0_5|1_0|2_5|5_0|10_0)um$")
_OWN_UNIT: Final = {"voc": "index", "tvoc": "ppb"}


def decode(message: Message, context: Context) -> list[Reading]:
    """Decode one ESPHome topic."""
    levels = message.topic.split("/")
    text = decode_text(message.payload)
    if levels[-1] == "status":
        return _status(levels[:-1], text, message, context)
    if len(levels) < 4 or levels[-1] != "state":
        raise PayloadError(Reason.UNKNOWN_TOPIC, "an ESPHome topic ends in /state or /status")
    component, name = levels[-3], levels[-2]
    sensor = _node(levels[:-3])
    if component == "binary_sensor":
        if text not in ("ON", "OFF"):
            raise PayloadError(Reason.WRONG_TYPE, "a binary sensor is ON or OFF")
        if text == "OFF" or "tamper" not in name.lower():
            return []
        return context.states.joiner.add(
            sensor, None, message, context.limits, {}, events=("tamper",)
        )
    return _value(sensor, name, text, message, context) if component == "sensor" else []


def _status(levels: list[str], text: str, message: Message, context: Context) -> list[Reading]:
    if levels and levels[0] in _NO_NODES:
        return []
    return [state_reading(_node(levels), state_word(text), message, context)]


def _value(sensor: str, name: str, text: str, message: Message, context: Context) -> list[Reading]:
    meaning = _meaning(name, context.states.hints.get(message.topic))
    if meaning is None:
        return []
    plain = number(text)
    if plain is None:
        raise PayloadError(Reason.WRONG_TYPE, "a sensor's state is no number")
    value = meaning.value(plain) if math.isfinite(plain) else None
    raw: dict[str, object] = {meaning.quantity: value}
    return context.states.joiner.add(sensor, None, message, context.limits, raw)


def _meaning(name: str, hint: str | None) -> Meaning | None:
    count = _COUNT.search(name.lower())
    if count is None:
        unit = hint or _OWN_UNIT.get(name.rpartition("_")[2])
        return quantity_of(name, unit) or (quantity_of(name) if unit else None)
    quantity = "n" + count.group(1).replace("_", "")
    factors = conversion(quantity, hint or _PER_DL)
    return Meaning(quantity, *factors) if factors else quantity_of(f"pm_{count.group(1)}", hint)


def _node(levels: list[str]) -> str:
    return sensor_id("/".join(levels))


DECODER: Final = Decoder(
    "esphome",
    (
        "+/sensor/+/state",
        "+/binary_sensor/+/state",
        "+/status",
        "+/+/sensor/+/state",
        "+/+/binary_sensor/+/state",
        "+/+/status",
    ),
    decode,
    "ESPHome firmware with PMSX003, SPS30, SEN5x, SGP4x, ...",
)
