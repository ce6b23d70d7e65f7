"""A mapping as a row like those of the table of decoders.

Order of a message: topic and size; the form of the payload; the conditions (`when`), of which one
that does not hold raises `GuardError`, so that the next mapping or decoder may read it; the policy
for retained messages and flags; identity, time, fields, events; then `build_reading` of
`ingest.validation` or a join window, as for every other format. What does not parse under the topic
of a mapping with conditions is not of that mapping either. A mapping that is named for a message
(route, HTTP) reads it under any topic; captures are then empty.

A field: a null is a fault (or skipped, `null`); a sentinel (`missing`) is a fault; a text that
carries a unit other than the field's is a fault; what is no number is a fault; outside `range` is a
fault; then the exact conversion to the unit of the table, whose own range is checked by
`build_reading`. Never is anything 0 that was not sent as 0.

A firmware is held to the bounds of `ingest.firmware`, as in every format. A message under the topic
of the mapping that says nothing else describes its sensor; under another (a route, HTTP, whose
senders speak for one sensor each) it is refused like any other that measured nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from ingest.decoding import Decoder, decode_text, gateway_states, load_json, state_reading
from ingest.errors import GuardError, PayloadError, Reason
from ingest.firmware import version_of
from ingest.mapping.schema import MAX_ITEMS, cross_faults
from ingest.mapping.times import read_time
from ingest.mapping.topics import TopicFilter
from ingest.mapping.view import ABSENT, View, frame_of, parse, same, step_through
from ingest.names import conversion, unit_of
from ingest.validation import build_reading, check_size, number, sensor_id, settle_time

if TYPE_CHECKING:
    from datetime import tzinfo

    from ingest.decoding import Context
    from ingest.mapping.schema import (
        AvailabilityConfig,
        FieldConfig,
        MappingConfig,
        TimeConfig,
    )
    from ingest.message import Message
    from ingest.validation import Limits
    from storage.reading import Reading

PREFIX: Final = "mapping:"
"""What the name of a mapping starts with, where decoders are named."""

_MAX_SEQ: Final = 2**63 - 1
_NOTHING: Final = "nothing measured and nothing to report"
_OF_NUMBERS: Final = "0123456789+-.eE"


def compile_mapping(config: MappingConfig) -> Decoder:
    """Return the decoder of a mapping, called ``mapping:<name>``.

    Raises
    ------
    ValueError
        The mapping contradicts itself (`schema.cross_faults`).
    """
    for place, value, allowed in cross_faults(config):
        raise ValueError(f"{place}: {value}: must be {allowed}")
    mapped = _Mapped(config)
    topics = [mapped.topic.pattern]
    if mapped.alive is not None:
        topics.append(mapped.alive.pattern)
    return Decoder(
        name=PREFIX + config.name,
        topics=tuple(topics),
        decode=mapped.decode,
        summary=f"mapping {config.name} of the configuration",
    )


class _Field:
    """One field, with its factors ready."""

    __slots__ = ("_addend", "_config", "_factor", "_unit", "quantity")

    def __init__(self, config: FieldConfig) -> None:
        self._config = config
        self.quantity = config.quantity
        self._unit = unit_of(config.unit)
        factors = conversion(config.quantity, config.unit)
        if factors is None:
            raise ValueError(f"{config.unit!r} is no unit of {config.quantity}")
        self._factor, self._addend = factors

    def value(self, view: View) -> object:
        """Value in the unit of the table; None for a fault; `ABSENT` if there is none.

        Raises
        ------
        PayloadError
            `bad_frame`: the frame ends before the field.
        """
        config = self._config
        if not view.all_hold(config.when):
            return ABSENT
        raw = view.get(config)
        if raw is ABSENT and config.at is not None:
            raise PayloadError(
                Reason.BAD_FRAME, f"the frame ends before {self.quantity} at {config.at.offset}"
            )
        if raw is ABSENT or (raw is None and config.null == "skip"):
            return ABSENT
        if any(same(raw, sentinel) for sentinel in config.missing):
            return None
        plain = self._number(raw)
        if plain is None or not math.isfinite(plain):
            return None
        value = plain * config.scale + config.offset
        if config.range is not None and not config.range[0] <= value <= config.range[1]:
            return None
        return round(value * self._factor + self._addend, 6)

    def _number(self, raw: object) -> float | None:
        values = self._config.values
        if values:
            key = str(raw).lower() if type(raw) is bool else str(raw)
            return values.get(key) if type(raw) in (str, int, bool) and len(key) <= 128 else None
        if type(raw) is str:
            said = raw.strip().lstrip(_OF_NUMBERS)
            if said and unit_of(said) != self._unit:
                return None
        return number(raw)


class _Mapped:
    """A compiled mapping; holds no memory."""

    def __init__(self, config: MappingConfig) -> None:
        self.config = config
        self.topic = TopicFilter(config.topic)
        self.alive = TopicFilter(config.availability.topic) if config.availability else None
        self._fields = [_Field(field) for field in config.field]
        self._gateway = f"{PREFIX}{config.name} "
        self._zone: tzinfo | None = None
        if config.time is not None and config.time.zone not in ("site", "none"):
            self._zone = ZoneInfo(config.time.zone)

    def decode(self, message: Message, context: Context) -> list[Reading]:
        """Decode one message."""
        captures = self.topic.match(message.topic)
        if captures is not None:
            return self._readings(captures, message, context)
        found = self.config.availability
        captures = self.alive.match(message.topic) if self.alive is not None else None
        if captures is not None and found is not None:
            return self._availability(found, captures, message, context)
        return self._readings({}, message, context)

    def _readings(
        self, captures: dict[str, str], message: Message, context: Context
    ) -> list[Reading]:
        config = self.config
        check_size(message.payload, config.max_bytes)
        try:
            content = parse(config.format, message.payload, context.limits)
            frame = self._frame(content, message) if config.each is None else None
        except PayloadError as error:
            if config.when:
                raise GuardError(f"not of mapping {config.name}: {error.detail}") from error
            raise
        view = View(captures, content, frame)
        if not view.all_hold(config.when):
            raise GuardError(f"a condition of mapping {config.name} does not hold")
        if message.retained and config.retained == "drop":
            return []
        if config.each is None:
            return self._of_one(view, message, context)
        return self._of_several(captures, content, message, context)

    def _of_several(
        self, captures: dict[str, str], content: object, message: Message, context: Context
    ) -> list[Reading]:
        """Return readings of the devices in a message; one that is broken does not stop others."""
        found = step_through(content, self.config.each.path if self.config.each else ())
        if type(found) is list:
            items: list[tuple[Any, Any]] = list(enumerate(found))
        elif type(found) is dict:
            items = list(found.items())
        else:
            raise PayloadError(Reason.NO_MEASUREMENT, "no devices where the mapping says")
        if len(items) > MAX_ITEMS:
            raise PayloadError(Reason.TOO_MANY_KEYS, f"more than {MAX_ITEMS} devices")
        readings: list[Reading] = []
        first: PayloadError | None = None
        for key, item in items:
            names = {**captures, "key": str(key)}
            try:
                view = View(names, item, self._frame(item, message), content)
                readings += self._of_one(view, message, context)
            except PayloadError as error:
                first = first or error
        if not readings and first is not None:
            raise first
        return readings

    def _frame(self, content: object, message: Message) -> bytes | None:
        if self.config.binary is not None:
            return frame_of(self.config.binary, content, message.payload)
        return message.payload if self.config.format == "raw" else None

    def _of_one(self, view: View, message: Message, context: Context) -> list[Reading]:
        """Return the readings of one device."""
        flags = self._flags(view)
        if flags is None:
            return []
        sensor = self._sensor(view, context)
        stamp, limits = self._time(view, message, context)
        raw = self._measured(view)
        events, faults = self._events(view)
        firmware = self._firmware(view)
        if not raw and not events and not faults:
            self._describe(sensor, None if flags else firmware, message, context)
            return []
        if self.config.join_s is None:
            return [
                build_reading(
                    sensor,
                    stamp,
                    message,
                    limits,
                    raw,
                    events=events,
                    faults=faults,
                    flags=flags,
                    seq=self._seq(view),
                    firmware=firmware,
                )
            ]
        return context.states.joiner.add(
            sensor,
            stamp,
            message,
            context.limits,
            {**raw, **dict.fromkeys(faults)},
            events=tuple(events),
            flags=tuple(flags),
            firmware=firmware,
            window_s=self.config.join_s,
        )

    def _firmware(self, view: View) -> object:
        """Return what the device calls its firmware, as sent; None if it says nothing of it."""
        config = self.config.firmware
        if config is None or not view.all_hold(config.when):
            return None
        said = view.get(config)
        return None if said is ABSENT else said

    def _describe(self, sensor: str, firmware: object, message: Message, context: Context) -> None:
        """Remember the version of a message that measured nothing.

        Raises
        ------
        PayloadError
            `no_measurement`: it says none either, or may not be believed.
        """
        version = version_of(firmware)
        if version is None:
            raise PayloadError(
                Reason.NO_MEASUREMENT, "nothing measured, and a firmware that is no version"
            )
        if not version or self.topic.match(message.topic) is None:
            raise PayloadError(Reason.NO_MEASUREMENT, _NOTHING)
        context.states.describe(sensor, version)

    def _flags(self, view: View) -> list[str] | None:
        """Quality flags; None if one of them says to ignore the message."""
        held = [flag for flag in self.config.flag if view.holds(flag)]
        return None if any(flag.drop for flag in held) else [flag.flag for flag in held]

    def _sensor(self, view: View, context: Context) -> str:
        """Name of the sensor; it is remembered as heard behind its gateway."""
        sensor = sensor_id(view.name(self.config.sensor))
        if self.config.gateway is not None:
            gateway = sensor_id(view.name(self.config.gateway))
            context.states.child(self._gateway + gateway, sensor)
        return sensor

    def _measured(self, view: View) -> dict[str, object]:
        """Values and faults (None) by quantity; the first field that applies counts."""
        raw: dict[str, object] = {}
        for field in self._fields:
            value = ABSENT if field.quantity in raw else field.value(view)
            if value is not ABSENT:
                raw[field.quantity] = value
        return raw

    def _time(self, view: View, message: Message, context: Context) -> tuple[float | None, Limits]:
        """Return the device's time and the limits it is held to; it is checked here already."""
        time = self.config.time
        if time is None:
            return None, context.limits
        most = min(time.max_skew_s, context.limits.max_skew_s)
        limits = replace(context.limits, max_skew_s=most)
        stamp = self._stamp(time, view, message, context)
        _, flag = settle_time(stamp, message.received, limits)
        return (math.nan if flag == "time_replaced" else stamp), limits

    def _stamp(
        self, time: TimeConfig, view: View, message: Message, context: Context
    ) -> float | None:
        value = view.get(time)
        if value is ABSENT or value is None:
            return None
        zone = {"site": context.zone, "none": None}.get(time.zone, self._zone)
        for form in time.formats:
            stamp = read_time(value, form, message.received, zone)
            if stamp is not None and math.isfinite(stamp):
                return stamp
        return math.nan

    def _events(self, view: View) -> tuple[list[str], list[str]]:
        events: list[str] = []
        faults: list[str] = []
        for entry in self.config.event:
            if view.all_hold(entry.when) and view.holds(entry):
                kind, _, quantity = entry.event.partition(":")
                (faults if quantity else events).append(quantity or kind)
        return events, faults

    def _seq(self, view: View) -> int | None:
        value: Any = view.get(self.config.seq) if self.config.seq is not None else None
        return value if type(value) is int and 0 <= value <= _MAX_SEQ else None

    def _availability(
        self,
        found: AvailabilityConfig,
        captures: dict[str, str],
        message: Message,
        context: Context,
    ) -> list[Reading]:
        value: object = (
            step_through(load_json(message.payload, context.limits), found.path)
            if found.path
            else decode_text(message.payload)
        )
        word = ""
        for name, words in (("online", found.online), ("offline", found.offline)):
            if any(same(value, wanted) for wanted in words):
                word = name
        if not word:
            raise PayloadError(Reason.MALFORMED, "availability is none of the words of the mapping")
        view = View(captures, None)
        if found.scope == "device":
            sensor = sensor_id(view.name(self.config.sensor))
            return [state_reading(sensor, word, message, context)]
        gateway = sensor_id(view.name(self.config.gateway or []))
        return gateway_states(self._gateway + gateway, gateway, word, message, context)
