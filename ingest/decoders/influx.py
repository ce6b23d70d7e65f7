"""InfluxDB line protocol: each line is a reading; field names are looked up in `ingest.names`.

The tag ``device``, ``sensor``, ``sensor_id``, ``device_id``, ``id`` or ``host`` names the sensor.
If none of these is present, the topic does. A field ``value`` is treated as a field with the name
of the measurement. The magnitude of a time stamp decides its unit (ns, µs, ms or s). A boolean
field ``tamper`` is the tamper contact.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ingest.decoding import Context, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantities
from ingest.validation import Message, Readings, make_sensor_id

_IDENTITY: Final = ("device", "sensor", "sensor_id", "device_id", "id", "host")
_MAX_LINES: Final = 512
_KEY: Final = r"((?:[^,= \\\n]|\\.)+)"
_TAG: Final = re.compile(r"," + _KEY + "=" + _KEY)
_MEASUREMENT: Final = re.compile(r"((?:[^, \\\n]|\\.)+)")
_FIELD: Final = re.compile(
    _KEY + r'=(?:"((?:[^"\\]|\\.)*)"|([+-]?[0-9.]{1,40}(?:[eE][+-]?\d{1,4})?)([iu]?)'
    r"|(t|T|true|True|TRUE|f|F|false|False|FALSE))"
)
_STAMP: Final = re.compile(r"\s+(-?\d{1,20})\s*$")


class _Point(NamedTuple):
    """One line: measurement, tags, fields (float, bool or text), and the time as sent."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | bool | str]
    timestamp: int | None


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _parse_lines(payload: bytes) -> list[_Point]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error
    lines = [s for s in text.split("\n") if s.strip() and not s.lstrip().startswith("#")]
    if len(lines) > _MAX_LINES:
        raise PayloadError(Reason.TOO_MANY_KEYS, f"{len(lines)} lines in one message")
    return [_parse_line(line.strip()) for line in lines]


def _parse_line(line: str) -> _Point:
    match = _MEASUREMENT.match(line)
    if match is None:
        raise PayloadError(Reason.MALFORMED, "line without a measurement")
    measurement, at = _unescape(match[1]), match.end()
    tags: dict[str, str] = {}
    while tag := _TAG.match(line, at):
        tags[_unescape(tag[1])] = _unescape(tag[2])
        at = tag.end()
    if line[at : at + 1] != " ":
        raise PayloadError(Reason.MALFORMED, "line without fields")
    at += 1
    fields: dict[str, float | bool | str] = {}
    while item := _FIELD.match(line, at):
        fields[_unescape(item[1])] = _parse_value(item)
        at = item.end()
        if line[at : at + 1] != ",":
            break
        at += 1
    stamp = _STAMP.fullmatch(line, at)
    if not fields or (at < len(line) and stamp is None):
        raise PayloadError(Reason.MALFORMED, "invalid line protocol")
    return _Point(measurement, tags, fields, int(stamp[1]) if stamp else None)


def _parse_value(item: re.Match[str]) -> float | bool | str:
    if item[3] is not None:
        try:
            return float(item[3])
        except ValueError as error:
            raise PayloadError(Reason.MALFORMED, "a field is not a number") from error
    if item[5] is not None:
        return item[5][0] in "tT"
    return _unescape(item[2] or "")


def decode(message: Message, context: Context) -> Readings:
    """Decode one message of line protocol."""
    readings: Readings = []
    for point in _parse_lines(message.payload):
        name = next((point.tags[k] for k in _IDENTITY if k in point.tags), message.topic)
        named = point.measurement
        raw = find_quantities(
            {named if k == "value" else k: v for k, v in point.fields.items() if type(v) is not str}
        )
        events = ("tamper",) if point.fields.get("tamper") is True else ()
        if raw or events:
            sensor, stamp = make_sensor_id(name), parse_stamp(point.timestamp, message)
            context.names.check_sender(sensor, message.topic)
            readings.append(context.validate(sensor, message, raw, stamp, events=events))
    if not readings:
        raise PayloadError(Reason.NO_MEASUREMENT, "no field is a known quantity")
    return readings
