"""Home Assistant discovery: the units of the values on ESPHome's state topics.

``homeassistant/<component>/[<node>/]<object>/config`` carries retained JSON with long or
abbreviated keys; an empty payload deletes it. Templates are ignored. `decode` remembers the unit of
the state topic for `ingest.decoders.esphome`. A unit that changes how a known sensor's values are
read is a tamper event.

A sensor's account can write any payload to ``homeassistant/+/<its name>/+/config``. So a unit is
accepted only for the state topic that ESPHome uses with this discovery topic
(``<node>/<component>/<object>/state``). An empty payload removes the unit.
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
    hints, own = context.states.hints, _derive_state_topic(message.topic)
    before = hints.get(own)
    content = load_object(message.payload, context.limits) if message.payload else {}
    unit = ""
    if content and find_state_topic(content) == own:
        unit = as_text(content.get("unit_of_measurement", content.get("unit_of_meas"))).strip()
    unit = unit if find_unit(unit) else ""
    if before is not None or unit:
        hints[own] = unit
    # With no unit so far, a retained message is the device's own, received after its first value.
    if before is None or (not before and message.retained):
        return []
    _, component, node, name, _ = message.topic.split("/")
    known = esphome.find_meaning(name, before) if component == "sensor" else None
    new = esphome.find_meaning(name, unit)
    if known is None or (new is not None and new[:3] == known[:3]):
        return []
    return [context.validate(make_sensor_id(node), message, {}, events=("tamper",))]


def find_state_topic(content: dict[str, Any]) -> str:
    """Return the state topic of a discovery message, with `~` replaced with the base topic."""
    topic = as_text(content.get("state_topic", content.get("stat_t")))
    if not topic:
        raise PayloadError(Reason.NO_MEASUREMENT, "discovery without a state topic")
    base = as_text(content.get("~"))
    if topic.startswith("~"):
        return base + topic[1:]
    return topic[:-1] + base if topic.endswith("~") else topic


def _derive_state_topic(topic: str) -> str:
    """Return the ESPHome state topic that a discovery topic describes; empty if it has no node."""
    levels = topic.split("/")
    return f"{levels[2]}/{levels[1]}/{levels[3]}/state" if len(levels) == 5 else ""
