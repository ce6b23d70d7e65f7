"""SenseCAP: the measurement's number is in the topic, value and time (ms) in the payload.

``/device_sensor_data/<organisation>/<EUI>/<channel>/<reserved>/<measurement>``; numbers may be
texts. Measurements of one moment are joined.
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

_MEASUREMENTS: Final = {
    "4097": ("temp", 1.0),
    "4098": ("rh", 1.0),
    "4099": ("light", 1.0),
    "4100": ("co2", 1.0),
    "4101": ("pressure", 0.01),
}


def decode(message: Message, context: Context) -> list[Reading]:
    """Decode one measurement."""
    levels = message.topic.strip("/").split("/")
    content = load_object(message.payload, context.limits)
    if len(levels) != 6 or levels[0] != "device_sensor_data":
        raise PayloadError(Reason.UNKNOWN_TOPIC, "the topic names neither sensor nor measurement")
    entry = _MEASUREMENTS.get(levels[5])
    if entry is None:
        return []
    quantity, scale = entry
    plain = number(content.get("value"))
    return context.states.joiner.add(
        sensor_id(levels[2]).lower(),
        stamp_of(content.get("timestamp"), message),
        message,
        context.limits,
        {quantity: None if plain is None else plain * scale},
    )


DECODER: Final = Decoder(
    name="sensecap",
    topics=("/device_sensor_data/+/+/+/+/+", "device_sensor_data/+/+/+/+/+"),
    decode=decode,
    summary="Seeed SenseCAP sensors",
)
