"""AirGradient ONE, Open Air and DIY monitors (``airgradient/readings/<serialno>``).

``pm02`` is PM2.5. Counts are per dL. The variants ``Standard`` and ``Compensated`` are not used.
Open Air sends its particle channels under ``channels``; their mean is used. Current firmware
omits invalid values. Old firmware sends ``atmp 0.00, rhum 0``, -1 or -1000 for a dead sensor; these
become faults. If ``bootCount`` or ``boot`` is 0 or lower than before, the device has restarted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Context, check_same_device
from ingest.errors import PayloadError, Reason
from ingest.payloads import load_object
from ingest.validation import Message, Readings, check_values, make_sensor_id, parse_number

if TYPE_CHECKING:
    from collections.abc import Mapping


_KEYS: Final = {
    "pm01": "pm1",
    "pm02": "pm25",
    "pm10": "pm10",
    "rco2": "co2",
    "atmp": "temp",
    "rhum": "rh",
    "tvocIndex": "voc_index",
    "tvocRaw": "voc_raw",
    "noxIndex": "nox_index",
    "wifi": "rssi",
}
_COUNTS: Final = {
    "pm003Count": "n03",
    "pm005Count": "n05",
    "pm01Count": "n10",
    "pm02Count": "n25",
    "pm50Count": "n50",
    "pm10Count": "n100",
}
"""Keys of particle counts per deciliter."""


def _read_values(content: Mapping[str, object]) -> dict[str, object]:
    """Return the values of known keys; a value that is not a number is a fault."""
    raw: dict[str, object] = {
        quantity: parse_number(content[key]) for key, quantity in _KEYS.items() if key in content
    }
    for key, quantity in _COUNTS.items():
        if key in content:
            value = parse_number(content[key])
            raw[quantity] = None if value is None else value / 100
    return raw


def decode(message: Message, context: Context) -> Readings:
    """Decode one message of an AirGradient monitor."""
    content = load_object(message.payload, context.limits)
    sensor = _find_sensor(message.topic, content)
    context.names.check_sender(sensor, message.topic)
    raw = _read_values(content)
    channels = content.get("channels")
    if type(channels) is dict:
        parts = [_read_values(c) for c in channels.values() if type(c) is dict]
        valid = [check_values(part)[0] for part in parts]
        for key in dict.fromkeys(k for part in parts for k in part):
            raw.setdefault(key, _average([values[key] for values in valid if key in values]))
    restarted = _has_restarted(f"airgradient {sensor}", content, context)
    if set(raw) <= {"rssi"} and not restarted:
        raise PayloadError(Reason.NO_MEASUREMENT, "no sensor values in the message")
    if set(raw) <= {"rssi"}:
        raw = {}
    events = ("restart",) if restarted else ()
    return [context.validate(sensor, message, raw, events=events)]


def _find_sensor(topic: str, content: dict[str, Any]) -> str:
    levels = topic.split("/")
    serial = content.get("serialno")
    named = make_sensor_id(serial) if serial is not None else None
    if len(levels) == 3 and levels[0] == "airgradient" and levels[1] == "readings":
        sensor = make_sensor_id(levels[2])
        if named is not None:
            check_same_device(named, sensor)
        return sensor
    if named is not None:
        return named
    for level in levels:
        if level.startswith("airgradient:"):
            return make_sensor_id(level.removeprefix("airgradient:"))
    return make_sensor_id(topic)


def _average(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _has_restarted(key: str, content: dict[str, Any], context: Context) -> bool:
    sent = (parse_number(content.get(k)) for k in ("bootCount", "boot"))
    counts = [v for v in sent if v is not None]
    if not counts:
        return False
    last = context.states.last
    before = last[key]["boot"] if key in last else 0
    last[key] = {"boot": counts[0]}
    return 0 in counts or counts[0] < before
