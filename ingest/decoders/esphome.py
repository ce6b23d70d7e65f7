"""ESPHome firmware: one bare value a topic, joined into readings by a window.

``<node>/sensor/<object>/state`` carries a number as text, ``nan`` or ``None`` for no value (a
fault); ``<node>/binary_sensor/<object>/state`` carries ``ON`` or ``OFF``; ``<node>/status`` is
birth and will. A node prefix of two levels is understood as well.

What an object measures is told by its id (``pm_2_5``, ``bathroom_temperature``), and by the unit
of its Home Assistant discovery message if one was seen before. ESPHome's own names settle two
that are open elsewhere: ``voc`` is Sensirion's VOC index and ``tvoc`` is ppb. A binary sensor
whose id contains ``tamper`` is the tamper contact.

ESPHome retains states by default. What the broker replays at subscription is flagged `retained`
and never alerts; what arrives live is not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ingest.decoders.base import Decoder, availability, decode_text, state_reading
from ingest.decoders.names import quantity_of
from ingest.errors import PayloadError, Reason
from ingest.validation import number, sensor_id

if TYPE_CHECKING:
    from ingest.decoders.base import Context
    from ingest.message import Message
    from storage.reading import Reading

__all__ = ["DECODER", "decode"]

_NO_NODES: Final = frozenset({"homeassistant", "zigbee2mqtt", "frigate", "octoprint"})
"""Programs, not devices, that say they are online in the same way."""
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
    word = availability(text)
    if word is None:
        raise PayloadError(Reason.MALFORMED, "status is neither online nor offline")
    return [state_reading(_node(levels), word, message, context)]


def _value(sensor: str, name: str, text: str, message: Message, context: Context) -> list[Reading]:
    unit = context.states.hints.get(message.topic) or _OWN_UNIT.get(name.rpartition("_")[2])
    meaning = quantity_of(name, unit) or (quantity_of(name) if unit else None)
    if meaning is None:
        return []
    plain = number(text)
    if plain is None:
        raise PayloadError(Reason.WRONG_TYPE, "a sensor's state is no number")
    value = meaning.value(plain) if math.isfinite(plain) else None
    raw: dict[str, object] = {meaning.quantity: value}
    return context.states.joiner.add(sensor, None, message, context.limits, raw)


def _node(levels: list[str]) -> str:
    return sensor_id("/".join(levels))


DECODER: Final = Decoder(
    name="esphome",
    topics=(
        "+/sensor/+/state",
        "+/binary_sensor/+/state",
        "+/status",
        "+/+/sensor/+/state",
        "+/+/binary_sensor/+/state",
    ),
    decode=decode,
    summary="ESPHome firmware with PMSX003, SPS30, SEN5x, SGP4x, ...",
)
