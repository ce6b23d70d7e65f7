"""Home Assistant discovery: the units of the values on ESPHome's state topics.

``homeassistant/<component>/[<node>/]<object>/config`` carries retained JSON with long or
abbreviated keys. Templates are ignored. `decode` remembers the unit of the state topic for
`ingest.decoders.esphome`; an empty payload removes it. If a unit changes how values that were
already received are read, that is a tamper event.

A sensor's account can write any payload to ``homeassistant/+/<its name>/+/config``. So a unit is
accepted only for the state topic that ESPHome uses with this discovery topic
(``<node>/<component>/<object>/state``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.decoders import esphome
from ingest.errors import PayloadError, Reason
from ingest.names import find_unit
from ingest.payloads import as_text, load_object
from ingest.validation import make_sensor_id

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.validation import Message, Readings


def decode(message: Message, context: Context) -> Readings:
    """Remember the unit of a state topic; return a tamper event if the topic's values change."""
    levels = message.topic.split("/")
    content = load_object(message.payload, context.limits) if message.payload else {}
    state_topic = find_state_topic(content) if content else ""
    if len(levels) != 5 or levels[1] != "sensor":
        return []
    node, name = make_sensor_id(levels[2]), levels[3]
    hints, unit = esphome.find_hints(node, context), ""
    before = hints.get(name)
    if state_topic == f"{levels[2]}/sensor/{name}/state":
        unit = as_text(content.get("unit_of_measurement", content.get("unit_of_meas"))).strip()
    unit = unit if find_unit(unit) else ""
    if before is not None or (unit and len(hints) < esphome.MAX_HINTS):
        hints[name] = unit
    if before is None:
        return []
    known, new = esphome.find_meaning(name, before), esphome.find_meaning(name, unit)
    if known is None or (new is not None and new[:3] == known[:3]):
        return []
    return [context.validate(node, message, {}, events=("tamper",))]


def find_state_topic(content: dict[str, Any]) -> str:
    """Return the state topic of a discovery message, with `~` replaced with the base topic."""
    topic = as_text(content.get("state_topic", content.get("stat_t")))
    if not topic:
        raise PayloadError(Reason.NO_MEASUREMENT, "discovery without a state topic")
    base = as_text(content.get("~"))
    if topic.startswith("~"):
        return base + topic[1:]
    return topic[:-1] + base if topic.endswith("~") else topic
