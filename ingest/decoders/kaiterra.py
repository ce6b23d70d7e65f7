"""Kaiterra Sensedge (``device/pro/history/<UDID>``): keys with module, unit and calibration.

``km100.rpm25c`` is the calibrated PM2.5 of a module and preferred to ``km100.rpm25``; a module's
climate is preferred to the mainboard's. -45 °C together with 0 % is a sensor that does not answer:
the next one counts, and if there is none both are faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Decoder, load_object, stamp_of
from ingest.validation import build_reading, sensor_id

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

_KEYS: Final = {
    "rpm25c": ("pm25", 0),
    "rpm25": ("pm25", 1),
    "rpm10c": ("pm10", 0),
    "rpm10": ("pm10", 1),
    "rpm1c": ("pm1", 0),
    "rpm1": ("pm1", 1),
    "rco2 (ppm)": ("co2", 0),
    "rtvoc (ppb)": ("tvoc_ppb", 0),
    "rtvoc (ug/m3)": ("tvoc_ugm3", 0),
    "rtemp": ("temp", 0),
    "rhumid": ("rh", 0),
}


def decode(message: Message, context: Context) -> list[Reading]:
    """Decode one message."""
    content = load_object(message.payload, context.limits)
    levels = message.topic.split("/")
    placed = levels[:3] == ["device", "pro", "history"] and len(levels) == 4
    return [
        build_reading(
            sensor_id(levels[3] if placed else message.topic),
            stamp_of(content.get("ts"), message),
            message,
            context.limits,
            _measured(content),
        )
    ]


def _measured(content: dict[str, Any]) -> dict[str, object]:
    best: dict[str, tuple[int, object]] = {}
    for name, value in content.items():
        module, dot, key = name.rpartition(".")
        entry = _KEYS.get(key)
        if entry is None:
            continue
        quantity, rank = entry
        rank += 0 if dot else 10
        if content.get(f"{module}{dot}rtemp") == -45 and content.get(f"{module}{dot}rhumid") == 0:
            rank += 100 if quantity in ("temp", "rh") else 0
        if quantity not in best or rank < best[quantity][0]:
            best[quantity] = (rank, value)
    return {quantity: value for quantity, (_, value) in best.items()}


DECODER: Final = Decoder(
    name="kaiterra",
    topics=("device/pro/history/+",),
    decode=decode,
    summary="Kaiterra Sensedge, second MQTT target",
)
