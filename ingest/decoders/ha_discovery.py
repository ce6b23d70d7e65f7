"""Home Assistant discovery: the unit and the firmware behind ESPHome's state topics.

``homeassistant/<component>/[<node>/]<object>/config``, retained JSON with long or abbreviated
keys; an empty payload deletes. Templates are never read. `decode` stores nothing: it remembers the
unit for the state topic (used by `esphome`) and the firmware of the device behind it
(``device.sw_version``, without ESPHome's date of compilation).

A sensor's account may write ``homeassistant/+/<its name>/+/config`` with any payload. Unit and
firmware are therefore used only for the one state topic that ESPHome gives this discovery topic
(``<node>/<component>/<object>/state``), and an empty payload there withdraws them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Context, as_dict, as_text, load_object
from ingest.errors import PayloadError, Reason
from ingest.names import find_unit

if TYPE_CHECKING:
    from ingest.validation import Message, Readings
_COMPILED: Final = re.compile(r"\s*\([^()]*\d\d:\d\d:\d\d[^()]*\)$")
"""The date of compilation behind a version: two boards with the same version differ in it."""


def decode(message: Message, context: Context) -> Readings:
    """Remember unit and firmware of a state topic; no reading."""
    states, own = context.states, _derive_state_topic(message.topic)
    if not message.payload:
        states.withdraw_discovery(own)
        return []
    content = load_object(message.payload, context.limits)
    if find_state_topic(content) != own:
        states.withdraw_discovery(own)
        return []
    device = as_dict(content.get("device", content.get("dev")))
    firmware = as_text(device.get("sw_version", device.get("sw")))[:256]
    states.describe(own, _COMPILED.sub("", firmware))
    unit = as_text(content.get("unit_of_measurement", content.get("unit_of_meas"))).strip()
    if not unit or find_unit(unit) is None:
        states.hints.pop(own, None)
    else:
        states.hints[own] = unit
    return []


def find_state_topic(content: dict[str, Any]) -> str:
    """Return the state topic of a discovery message, with the base topic put in for `~`."""
    topic = as_text(content.get("state_topic", content.get("stat_t")))
    if not topic:
        raise PayloadError(Reason.NO_MEASUREMENT, "discovery without a state topic")
    base = as_text(content.get("~"))
    if topic.startswith("~"):
        return base + topic[1:]
    return topic[:-1] + base if topic.endswith("~") else topic


def _derive_state_topic(topic: str) -> str:
    """Return the ESPHome state topic that a discovery topic describes; empty without a node."""
    levels = topic.split("/")
    return f"{levels[2]}/{levels[1]}/{levels[3]}/state" if len(levels) == 5 else ""
