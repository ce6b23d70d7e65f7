"""Verkada sensors: the alert webhook, and rows of the sensor data API.

An alert about ``vape_index`` or ``tamper`` that is still active becomes `vendor_vape` or `tamper`;
its most extreme value is the value of its quantity. An alert that ended (``end_time``) gives the
value at its end, without event. Rows are lists of objects with Unix seconds; ``tvoc`` is ppb.
``pm_1_0_0`` could be PM1 or PM10 and is ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Decoder, dict_of, load_json, stamp_of, text_of
from ingest.errors import PayloadError, Reason
from ingest.validation import build_reading, sensor_id

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

_KEYS: Final = {
    "pm_2_5": "pm25",
    "pm_4_0": "pm4",
    "tvoc": "tvoc_ppb",
    "vape_index": "vape_index",
    "humidity": "rh",
    "temperature": "temp",
    "calibrated_temperature": "temp",
    "co2": "co2",
}
_EVENTS: Final = {"vape_index": "vendor_vape", "tamper": "tamper"}
_MAX_ROWS: Final = 1_000


def decode(message: Message, context: Context) -> list[Reading]:
    """Decode a webhook call or rows of data."""
    content = load_json(message.payload, context.limits)
    if type(content) is list:
        return _rows(content, message, context)
    if type(content) is not dict:
        raise PayloadError(Reason.WRONG_TYPE, "neither an alert nor rows of data")
    data = dict_of(content.get("data"))
    if content.get("webhook_type") != "sensor_alert":
        raise PayloadError(Reason.NO_MEASUREMENT, "no sensor alert")
    what = text_of(data.get("reading"))
    active = data.get("end_time") is None
    quantity = _KEYS.get(what)
    raw = {quantity: data.get("most_extreme_value")} if quantity else {}
    named = data.get("device_serial", data.get("device_id"))
    event = _EVENTS.get(what)
    return [
        build_reading(
            sensor_id(named if named is not None else message.topic),
            stamp_of(data.get("start_time" if active else "end_time"), message),
            message,
            context.limits,
            raw,
            events=(event,) if event and active else (),
        )
    ]


def _rows(rows: list[Any], message: Message, context: Context) -> list[Reading]:
    if len(rows) > _MAX_ROWS:
        raise PayloadError(Reason.TOO_MANY_KEYS, f"{len(rows)} rows in one message")
    readings: list[Reading] = []
    for row in map(dict_of, rows):
        raw = {q: row[key] for key, q in _KEYS.items() if key in row}
        tamper = row.get("tamper")
        events = ("tamper",) if tamper is True or tamper == 1 else ()
        if raw or events:
            readings.append(
                build_reading(
                    sensor_id(row.get("device_serial", message.topic)),
                    stamp_of(row.get("_time", row.get("time")), message),
                    message,
                    context.limits,
                    raw,
                    events=events,
                )
            )
    if not readings:
        raise PayloadError(Reason.NO_MEASUREMENT, "no row with a measurement")
    return readings


DECODER: Final = Decoder(
    name="verkada",
    topics=(),
    decode=decode,
    summary="Verkada SV series: alert webhook and data rows",
)
