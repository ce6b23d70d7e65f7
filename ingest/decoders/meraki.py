"""Cisco Meraki MT sensors: one metric a topic with its own time, joined by that time.

``meraki/v1/mt/<network>/ble/<MAC>/<metric>``. TVOC is µg/m³. Noise, indices and scores of the
vendor, power and buttons are understood and not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.decoding import Decoder, load_object, stamp_of
from ingest.errors import PayloadError, Reason
from ingest.validation import number, sensor_id

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

_METRICS: Final = {
    "temperature": ("celsius", "temp"),
    "humidity": ("humidity", "rh"),
    "tvoc": ("tvoc", "tvoc_ugm3"),
    "PM2_5MassConcentration": ("PM2_5MassConcentration", "pm25"),
    "CO2": ("CO2", "co2"),
    "batteryPercentage": ("batteryPercentage", "battery"),
}


def decode(message: Message, context: Context) -> list[Reading]:
    """Decode one metric."""
    levels = message.topic.split("/")
    content = load_object(message.payload, context.limits)
    if len(levels) != 7 or levels[0] != "meraki":
        raise PayloadError(Reason.UNKNOWN_TOPIC, "the topic names neither sensor nor metric")
    entry = _METRICS.get(levels[6])
    if entry is None:
        return []
    key, quantity = entry
    if key in content:
        value = content[key]
    elif quantity == "temp" and "fahrenheit" in content:
        plain = number(content["fahrenheit"])
        value = None if plain is None else round((plain - 32) / 1.8, 4)
    else:
        raise PayloadError(Reason.NO_MEASUREMENT, f"no {key!r} in the message")
    return context.states.joiner.add(
        sensor_id(levels[5]),
        stamp_of(content.get("ts"), message),
        message,
        context.limits,
        {quantity: value},
    )


DECODER: Final = Decoder(
    name="meraki",
    topics=("meraki/v1/mt/+/ble/+/+",),
    decode=decode,
    summary="Cisco Meraki MT air sensors",
)
