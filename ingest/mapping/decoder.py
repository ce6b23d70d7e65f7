"""Compile a mapping to a decoder.

A message is read in this order: topic, form of the payload, conditions (`when`), flags, identity,
time, fields, events. Then the values go to `build_reading` or into a join window. If a condition
does not hold, `GuardError` is raised, so that the next mapping or decoder can try the message. The
same happens if the payload does not parse and the mapping has conditions. If a route or an HTTP
source selects the mapping, it reads any topic. If the topic does not match, captures are empty.

A field is a fault if its value is null, a sentinel (`missing`), not a number, text with a different
unit, or outside `range`. A missing value never becomes 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from ingest.decoding import Context, Decoder, Noted
from ingest.errors import GuardError, PayloadError, Reason
from ingest.mapping.schema import FormatConfig, check_field, check_mapping
from ingest.mapping.source import (
    ABSENT,
    View,
    compile_condition,
    compile_conditions,
    compile_source,
    extract_frame,
    follow_path,
    is_same,
    parse,
)
from ingest.mapping.times import read_time
from ingest.names import find_conversion, find_unit, replace_comma, split_unit
from ingest.topics import TopicFilter
from ingest.validation import Readings, make_sensor_id, parse_number, settle_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

    from ingest.mapping.schema import (
        FieldConfig,
        IdentityConfig,
        MappingBody,
        MappingConfig,
        TimeConfig,
    )
    from ingest.validation import Message

PREFIX: Final = "mapping:"
"""Prefix for the name of a mapping when it is used as the name of a decoder."""

_MAX_SEQ: Final = 2**63 - 1


def compile_mapping(config: MappingConfig) -> Decoder:
    """Compile a mapping to the decoder ``mapping:<name>``.

    Raises `ValueError` if the mapping contradicts itself.
    """
    for place, value, allowed in check_mapping(config):
        raise ValueError(f"{place}: {value}: must be {allowed}")
    mapped = _Mapped(PREFIX + config.name, [config.topic], config)
    return Decoder(
        name=PREFIX + config.name,
        topics=mapped.patterns,
        decode=mapped.decode,
        summary=f"mapping {config.name} from the configuration",
    )


def compile_format(name: str, tree: dict[str, Any]) -> Callable[[Message, Context], Readings]:
    """Return the decode function of a built-in format; raises `ValueError` if it is faulty."""
    config = FormatConfig.model_validate(tree)
    mappings = [_Mapped(name, config.topics, body) for body in config.mapping]

    def decode(message: Message, context: Context) -> Readings:
        unreadable: PayloadError | None = None
        for mapped in mappings:
            try:
                return mapped.decode(message, context)
            except GuardError as error:
                if isinstance(error.__cause__, PayloadError):
                    unreadable = error.__cause__
        if unreadable is not None:
            raise unreadable
        if mappings[0].needs_topic and mappings[0].match_topic(message.topic) is None:
            raise PayloadError(Reason.UNKNOWN_TOPIC, f"not a topic of {name}")
        if config.otherwise == "accept":
            return []
        raise PayloadError(Reason.NO_MEASUREMENT, f"not a {name} message with measurements")

    return decode


class _Field:
    def __init__(self, config: FieldConfig, decimal: str) -> None:
        for place, value, allowed in check_field(config.quantity, config):
            raise ValueError(f"{place}: {value}: must be {allowed}")
        self._convert = find_conversion(config.quantity, config.unit) or (1.0, 0.0)
        self._config = config
        self._comma = decimal == ","
        self._unit = find_unit(config.unit)
        self._read = compile_source(config)
        self._when = compile_conditions(config.when)
        self._is_exact = (config.scale, config.offset, *self._convert) == (1, 0, 1, 0)

    def read(self, view: View) -> object:
        """Return the value in the unit of the table, None if it is a fault, or `ABSENT`."""
        if self._when is not None and not self._when(view):
            return ABSENT
        raw = self._read(view)
        config = self._config
        if raw is ABSENT and config.at is not None:
            raise PayloadError(
                Reason.BAD_FRAME, f"the frame ends before {config.quantity} at {config.at.offset}"
            )
        if raw is ABSENT or (config.skip and any(is_same(raw, one) for one in config.skip)):
            return ABSENT
        is_missing = config.missing and any(is_same(raw, sentinel) for sentinel in config.missing)
        plain = None if is_missing else self._parse_number(raw)
        if plain is None or not math.isfinite(plain):
            return plain
        bounds, value = config.range, plain * config.scale + config.offset
        if bounds is not None and not bounds[0] <= value <= bounds[1]:
            return None
        factor, addend = self._convert
        return plain if self._is_exact else round(value * factor + addend, 6)

    def _parse_number(self, raw: object) -> float | None:
        words = self._config.values
        if words:
            key = str(raw).lower() if type(raw) is bool else str(raw)
            return words.get(key) if type(raw) in (str, int, bool) and len(key) <= 128 else None
        if type(raw) is str:
            raw, behind = split_unit(replace_comma(raw) if self._comma else raw)
            if behind and find_unit(behind) != self._unit:
                return None
        return parse_number(raw)


class _Name:
    def __init__(self, parts: Sequence[IdentityConfig]) -> None:
        self._parts = [(part, compile_source(part)) for part in parts]
        self.is_sent = not all(p.topic or p.fixed or p.capture not in (None, "key") for p in parts)

    def find(self, view: View, topic: str) -> str:
        """Return the sensor's name, or an empty string if a part is absent or null.

        Raises `PayloadError` if the name is invalid.
        """
        found: list[str] = []
        for part, read in self._parts:
            value = part.fixed or (topic if part.topic else read(view))
            if value is ABSENT or value is None or value == "":
                return ""
            if type(value) is int and abs(value) < 2**63:
                value = str(value)
            if type(value) is not str:
                break
            found.append(value.lower() if part.lower else value)
        else:
            return make_sensor_id(":".join(found))
        raise PayloadError(Reason.BAD_ID, "no device name where the mapping expects one")


class _Mapped:
    """A compiled mapping. It has no state."""

    def __init__(self, name: str, topics: Sequence[str], config: MappingBody) -> None:
        self._name = name
        self._config = config
        self._topics = [TopicFilter(topic) for topic in topics]
        self.patterns = tuple(topic.pattern for topic in self._topics)
        self.needs_topic = not any(part.topic for part in config.sensor_or)
        self._when = compile_conditions(config.when)
        self._fields = [(field.quantity, _Field(field, config.decimal)) for field in config.field]
        self._names = [_Name(config.sensor), *(_Name([part]) for part in config.sensor_or)]
        times = [config.time] if config.time else []
        self._times = [(t, compile_source(t), _find_zone(t)) for t in (*times, *config.time_or)]
        self._seq = compile_source(config.seq) if config.seq else None
        self._events = [
            (e.event, compile_conditions(e.when), compile_condition(e)) for e in config.event
        ]
        self._flags = [(flag.flag, compile_condition(flag)) for flag in config.flag]
        whole = any(s.path == [] for s in (*config.field, *config.event))
        self._must_nest = config.format == "json" and not whole

    def match_topic(self, topic: str) -> dict[str, str] | None:
        """Return the captures in a topic; None if the topic does not match the filter."""
        for known in self._topics:
            found = known.match(topic)
            if found is not None:
                return found
        return None

    def decode(self, message: Message, context: Context) -> Readings:
        """Decode one message."""
        captures = self.match_topic(message.topic) or {}
        config = self._config
        try:
            content = self._parse(message, context)
            frame = self._extract_frame(content, message) if config.each is None else None
        except PayloadError as error:
            if config.when:
                raise GuardError(f"mapping {self._name} cannot read it: {error.detail}") from error
            raise
        view = View(captures, content, frame)
        if self._when is not None and not self._when(view):
            raise GuardError(f"a condition of mapping {self._name} does not hold")
        if config.each is None:
            return self._read_device(view, message, context)
        return self._read_devices(captures, content, message, context)

    def _read_devices(
        self, captures: dict[str, str], content: object, message: Message, context: Context
    ) -> Readings:
        """Return the readings of all devices in a message, skipping devices that cannot be read."""
        each = self._config.each
        found = follow_path(content, each.path) if each else ABSENT
        if type(found) is list:
            items: list[tuple[Any, Any]] = list(enumerate(found))
        elif type(found) is dict:
            items = list(found.items())
        else:
            raise PayloadError(Reason.NO_MEASUREMENT, "no devices where the mapping expects them")
        if each and len(items) > each.most:
            raise PayloadError(Reason.TOO_MANY_KEYS, f"more than {each.most} devices")
        readings: Readings = []
        first: PayloadError | None = None
        for key, item in items:
            names = {**captures, "key": str(key)}
            try:
                view = View(names, item, self._extract_frame(item, message), content)
                readings += self._read_device(view, message, context)
            except PayloadError as error:
                if first is None or error.reason is not Reason.NO_MEASUREMENT:
                    first = error
        if not readings and first is not None:
            raise first
        return readings

    def _parse(self, message: Message, context: Context) -> object:
        content = parse(self._config.format, message.payload, context.limits)
        if self._must_nest and type(content) not in (dict, list):
            raise PayloadError(Reason.WRONG_TYPE, "neither a JSON object nor a list")
        return content

    def _extract_frame(self, content: object, message: Message) -> bytes | None:
        if self._config.binary is not None:
            return extract_frame(self._config.binary, content, message.payload)
        return message.payload if self._config.format == "raw" else None

    def _read_device(self, view: View, message: Message, context: Context) -> Readings:
        flags = [flag for flag, holds in self._flags if holds(view)]
        sensor = self._find_sensor(view, message.topic, context)
        stamp = self._find_time(view, message, context, sensor)
        raw = self._measure(view)
        events, faults = self._find_events(view)
        if not raw and not events and not faults:
            raise PayloadError(Reason.NO_MEASUREMENT, "nothing measured and nothing to report")
        extra: Noted = {"events": events, "flags": flags}
        is_state = not raw and not faults and {"online", "offline"}.issuperset(events)
        if (seq := self._find_sequence(view)) is not None:
            extra["seq"] = seq
        window_s = self._config.join_s
        if window_s is None:
            return [
                context.validate(
                    sensor, message, raw, stamp, faults=faults, state=is_state, **extra
                )
            ]
        raw |= dict.fromkeys(faults)
        return context.join(sensor, message, raw, stamp, window_s=window_s, **extra)

    def _measure(self, view: View) -> dict[str, object]:
        """Return the value of each quantity, or None for a fault.

        If several fields have the same quantity, the first one that applies counts.
        """
        raw: dict[str, object] = {}
        for quantity, field in self._fields:
            if quantity not in raw and (value := field.read(view)) is not ABSENT:
                raw[quantity] = value
        return raw

    def _find_sensor(self, view: View, topic: str, context: Context) -> str:
        for name in self._names:
            sensor = name.find(view, topic)
            if sensor and name.is_sent:
                context.names.check_sender(sensor, topic)
            if sensor:
                return sensor
        raise PayloadError(Reason.BAD_ID, "no device name where the mapping expects one")

    def _find_time(
        self, view: View, message: Message, context: Context, sensor: str
    ) -> float | None:
        """Return the device's time; None if there is none, NaN if it is unusable.

        Unless values are joined, a time in the future is kept.
        """
        for time, read, own_zone in self._times:
            value = read(view)
            if value is ABSENT or value is None:
                continue
            zone = context.find_zone(sensor) if time.zone == "site" else own_zone
            stamp = math.nan
            for form in time.formats:
                found = read_time(value, form, message.received, zone)
                if found is not None and math.isfinite(found):
                    stamp = found
                    break
            _, flag = settle_time(stamp, message.received, context.limits)
            is_ahead = stamp > message.received and self._config.join_s is None
            return math.nan if flag == "time_replaced" and not is_ahead else stamp
        return None

    def _find_events(self, view: View) -> tuple[list[str], list[str]]:
        events: list[str] = []
        faults: list[str] = []
        for name, when, holds in self._events:
            if (when is None or when(view)) and holds(view):
                kind, _, quantity = name.partition(":")
                (faults if quantity else events).append(quantity or kind)
        return events, faults

    def _find_sequence(self, view: View) -> int | None:
        value = self._seq(view) if self._seq is not None else None
        return value if type(value) is int and 0 <= value <= _MAX_SEQ else None


def _find_zone(time: TimeConfig) -> tzinfo | None:
    return None if time.zone in ("site", "none") else ZoneInfo(time.zone)
