"""Eclipse Sparkplug B: protobuf metrics. Births name them, and later messages use aliases.

Topics are ``spBv1.0/<group>/<NBIRTH|NDATA|NDEATH|DBIRTH|DDATA|DDEATH|...>/<edge>[/<device>]``. This
module reads the protobuf fields it needs by number. It also reads the JSON that some gateways
publish instead. A birth has names, aliases, engineering units and data types. Data messages may
omit them. If a data message with aliases arrives before the birth, only its named metrics are
decoded, with the flag `waiting`. The last messages of this kind are kept in memory for each device,
and decoded in full once the birth arrives.

Integers are two's complement in unsigned fields. A metric with `is_null` is a fault. Metrics with
`is_historical` become a separate reading with the flag `history`. A death means `offline`, and if
an edge node dies, all devices behind it are offline too.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Context, make_gateway_states, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import Meaning, find_quantity
from ingest.payloads import as_dict, as_list, as_text, load_object
from ingest.validation import WAITING, Limits, Message, Readings, make_sensor_id, parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_MAX_METRICS: Final = 512
_MAX_FIELDS: Final = 1_024
"""Maximum number of fields in one protobuf message."""
_MAX_WAITING: Final = 32
"""Maximum number of messages of a device that are kept until its birth arrives."""
_SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_BIRTHS: Final = frozenset({"NBIRTH", "DBIRTH"})
_DATA: Final = frozenset({"NDATA", "DDATA"})
_DEATHS: Final = frozenset({"NDEATH", "DDEATH"})


@dataclass(slots=True)
class Metric:
    """One metric of a Sparkplug payload; `name` is empty if the message uses aliases."""

    name: str = ""
    alias: int | None = None
    timestamp: int | None = None
    datatype: int | None = None
    historical: bool = False
    null: bool = False
    value: Any = None
    unit: str = ""


@dataclass(slots=True)
class Payload:
    """A Sparkplug payload: time in ms, metrics, and a sequence number from 0 to 255."""

    timestamp: int | None = None
    metrics: list[Metric] = field(default_factory=list)
    seq: int | None = None


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise PayloadError(Reason.MALFORMED, "protobuf is cut off")


def _read_fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    at = count = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire, count = key >> 3, key & 7, count + 1
        if count > _MAX_FIELDS:
            raise PayloadError(Reason.TOO_MANY_KEYS, f"more than {_MAX_FIELDS} protobuf fields")
        if wire == 0:
            value, at = _read_varint(data, at)
            yield number, wire, value
            continue
        if wire == 2:
            length, at = _read_varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise PayloadError(Reason.MALFORMED, f"unknown protobuf wire type {wire}")
        part = data[at : at + length]
        if len(part) < length:
            raise PayloadError(Reason.MALFORMED, "protobuf is cut off")
        at += length
        yield number, wire, part


def parse(data: bytes) -> Payload:
    """Read a Sparkplug B payload."""
    payload = Payload()
    for ident, wire, value in _read_fields(data):
        if ident == 1 and wire == 0:
            payload.timestamp = value
        elif ident == 2 and wire == 2:
            if len(payload.metrics) >= _MAX_METRICS:
                raise PayloadError(Reason.TOO_MANY_KEYS, f"more than {_MAX_METRICS} metrics")
            payload.metrics += _read_template(value)
        elif ident == 3 and wire == 0:
            payload.seq = value
    return payload


def _parse_any(data: bytes, limits: Limits) -> Payload:
    """Read a payload that is protobuf or JSON."""
    return _parse_json(load_object(data, limits)) if data[:1] == b"{" else parse(data)


def _check_count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _parse_json(content: dict[str, Any]) -> Payload:
    """Read a payload in the JSON form of Eclipse Tahu and Ignition."""
    payload = Payload(timestamp=_check_count(content.get("timestamp")))
    for item in map(as_dict, as_list(content.get("metrics"))[:_MAX_METRICS]):
        unit = as_dict(item.get("properties")).get("engUnit")
        alias, at = _check_count(item.get("alias")), _check_count(item.get("timestamp"))
        metric = Metric(as_text(item.get("name")), alias, at)
        metric.historical = item.get("isHistorical", item.get("is_historical")) is True
        metric.value, metric.null = item.get("value"), item.get("value") is None
        metric.unit = as_text(as_dict(unit).get("value", unit))[:32]
        payload.metrics.append(metric)
    return payload


def _decode_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _read_template(data: bytes) -> list[Metric]:
    """Return a metric; for a template, return its metrics, named ``<template>/<metric>``."""
    metric, inner = _read_metric(data)
    parts = [_read_metric(item)[0] for item in inner]
    for part in parts:
        part.name = f"{metric.name}/{part.name}"
    return parts or [metric]


def _read_metric(data: bytes) -> tuple[Metric, list[bytes]]:
    """Return a metric, and if its value is a template, the encoded metrics inside."""
    metric, inner = Metric(), []
    for ident, wire, value in _read_fields(data):
        if (ident, wire) in _METRIC:
            name, read = _METRIC[ident, wire]
            setattr(metric, name, read(value))
        elif (ident, wire) == (18, 2):
            inner = [v for n, w, v in _read_fields(value) if (n, w) == (2, 2)][:_MAX_METRICS]
    metric.value = _make_signed(metric.value, metric.datatype)
    return metric, inner


def _make_signed(value: object, datatype: int | None) -> object:
    """Convert two's complement in an unsigned field to a signed integer, depending on the type."""
    bits = _SIGNED_BITS.get(datatype or 0)
    if not bits or type(value) is not int:
        return value
    low = value & (1 << bits) - 1
    return low - (1 << bits) if low >> bits - 1 else low


def _read_unit(data: bytes) -> str:
    keys: list[str] = []
    texts: list[str] = []
    for ident, wire, value in _read_fields(data):
        if ident == 1 and wire == 2:
            keys.append(_decode_text(value))
        elif ident == 2 and wire == 2:
            inner = [v for n, w, v in _read_fields(value) if n == 8 and w == 2]
            texts.append(_decode_text(inner[0]) if inner else "")
    return dict(zip(keys, texts, strict=False)).get("engUnit", "")[:32]


_METRIC: Final[dict[tuple[int, int], tuple[str, Callable[[Any], object]]]] = {
    (1, 2): ("name", _decode_text),
    (2, 0): ("alias", int),
    (3, 0): ("timestamp", int),
    (4, 0): ("datatype", int),
    (5, 0): ("historical", bool),
    (7, 0): ("null", bool),
    (9, 2): ("unit", _read_unit),
    (10, 0): ("value", int),
    (11, 0): ("value", int),
    (12, 5): ("value", lambda data: round(struct.unpack("<f", data)[0], 4)),
    (13, 1): ("value", lambda data: struct.unpack("<d", data)[0]),
    (14, 0): ("value", bool),
    (15, 2): ("value", _decode_text),
}
"""The attribute of `Metric` and its conversion, by protobuf field number and wire type."""


def decode(message: Message, context: Context) -> Readings:
    """Decode one Sparkplug B message."""
    levels = message.topic.split("/")
    if len(levels) not in (4, 5) or levels[0] != "spBv1.0":
        raise PayloadError(Reason.UNKNOWN_TOPIC, "not a Sparkplug B topic")
    kind = levels[2]
    sensor = make_sensor_id("/".join((levels[1], *levels[3:])))
    node = f"sparkplug {levels[1]}/{levels[3]}"
    if kind not in _BIRTHS | _DATA | _DEATHS:
        return []
    payload = _parse_any(message.payload, context.limits)
    if kind in _DEATHS:
        gateway = node if kind == "NDEATH" else ""
        return make_gateway_states(gateway, sensor, "offline", message, context)
    context.states.remember_child(node, sensor)
    return _read_message(kind, sensor, payload, message, context)


def _read_message(
    kind: str, sensor: str, payload: Payload, message: Message, context: Context
) -> Readings:
    """Read a birth or data message.

    Data that cannot be read without a birth waits for it. A birth also reads the data that waited.
    """
    states = context.states
    if kind in _DATA and f"sparkplug {sensor}" not in states.units:
        if all(metric.name for metric in payload.metrics):
            return _make_readings(sensor, payload, {}, message, context)
        waiting = states.waiting.get(sensor, [])
        states.waiting[sensor] = [*waiting[1 - _MAX_WAITING :], message]
        return _make_readings(sensor, payload, {}, message, context, flags=(WAITING,))
    before = states.units.get(f"sparkplug {sensor}")
    known = _learn_names(kind, sensor, payload, context)
    readings: Readings = []
    if before not in (None, known):  # the meaning of the metrics has changed
        readings.append(context.validate(sensor, message, {}, events=("tamper",)))
    if kind in _BIRTHS:
        for earlier in states.waiting.pop(sensor, []):
            readings += _make_readings(
                sensor, _parse_any(earlier.payload, context.limits), known, earlier, context
            )
    return readings + _make_readings(sensor, payload, known, message, context)


def _learn_names(
    kind: str, sensor: str, payload: Payload, context: Context
) -> dict[str, list[Any]]:
    """Return the name, unit and data type of known metrics, by alias and by ``=<name>``."""
    key = f"sparkplug {sensor}"
    if kind in _BIRTHS:
        known: dict[str, Any] = {}
        for m in payload.metrics:
            if _is_ours(m.name, m.unit):
                known[f"={m.name}"] = [m.name, m.unit, m.datatype]
                if m.alias is not None:
                    known[str(m.alias)] = known[f"={m.name}"]
        context.states.units[key] = known
    return context.states.units.get(key, {})


def _complete_metric(metric: Metric, known: dict[str, list[Any]]) -> None:
    born = known.get(f"={metric.name}" if metric.name else str(metric.alias))
    if born is not None:
        name, unit, *more = born
        metric.name, metric.unit = name, metric.unit or unit
        metric.value = _make_signed(metric.value, metric.datatype or (more[0] if more else None))


def _is_ours(name: str, unit: str) -> bool:
    is_tamper = name.rpartition("/")[2].lower() == "tamper"
    return len(name) <= 128 and (is_tamper or _find_meaning(name, unit) is not None)


def _find_meaning(name: str, unit: str) -> Meaning | None:
    """Find the meaning in the last parts of a name; units (``ug/m3``) contain slashes too."""
    ends = [i + 1 for i, sign in enumerate(name) if sign == "/"][-3:]
    found = (find_quantity(name[end:], unit or None) for end in (*reversed(ends), 0))
    return next((meaning for meaning in found if meaning is not None), None)


def _make_readings(
    sensor: str,
    payload: Payload,
    known: dict[str, list[Any]],
    message: Message,
    context: Context,
    flags: tuple[str, ...] = (),
) -> Readings:
    live: dict[str, object] = {}
    past: dict[int, dict[str, object]] = {}
    events: list[str] = []
    for metric in payload.metrics:
        _complete_metric(metric, known)
        last_word = metric.name.rpartition("/")[2]
        if last_word.lower() == "tamper" and metric.value is True and not metric.historical:
            events.append("tamper")
        meaning = _find_meaning(metric.name, metric.unit)
        if meaning is None or type(metric.value) is bool:
            continue
        value = None if metric.null else parse_number(metric.value)
        plain = value is not None and math.isfinite(value)
        raw = live if not metric.historical else past.setdefault(metric.timestamp or 0, {})
        raw[meaning.quantity] = meaning.convert(value) if value is not None and plain else None
    readings = [
        context.validate(
            sensor, message, raw, when / 1000 if when else math.nan, flags=("history",)
        )
        for when, raw in sorted(past.items())
    ]
    newest = max((m.timestamp or 0 for m in payload.metrics if not m.historical), default=0) or None
    if live or events or not readings:
        stamp = parse_stamp(payload.timestamp or newest, message)
        events = events or ([] if live else ["online"])
        readings.append(context.validate(sensor, message, live, stamp, events=events, flags=flags))
    return readings
