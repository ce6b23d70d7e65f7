"""The intake: decide the outcome of each message.

Every message gets exactly one outcome, and is then acknowledged:

- accepted: its readings must be journaled. There are none if a decoder only buffers the message.
- duplicate: all its readings were accepted before.
- rejected: a dead letter records the reason.
- flooded: dropped, because its sender sends far too many messages (`ingest.integrity`).

`Intake` never sleeps, logs, reads a clock or touches the network. `Intake.on_message` never raises:
if a decoder fails, the message is rejected (`decoder_failed`).

Readings from unregistered sensors are stored with the flag `unknown_sensor` and never cause alerts;
their sensors are listed in `Intake.quarantine`. Messages on topics without a decoder are rejected,
and the topics are listed in `Intake.unmatched`. Both lists are bounded.

Values in a join window (`ingest.decoding`) become a reading when a later message, `Intake.on_time`
or `Intake.flush` closes the window. A crash loses the values in an open window.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from ingest.copies import RecentReadings
from ingest.decoders import DECODERS, Routes
from ingest.decoding import Bounded, Context, States
from ingest.errors import DecodeError, GuardError, MessageRefusedError, Reason, to_one_line
from ingest.integrity import FINDINGS, Floods, Integrity, ReadingCounts
from ingest.topics import matches_topic
from ingest.validation import Message, SensorNames, check_size, check_topic, is_usable
from storage.journal import DeadLetter
from storage.registry import Quarantined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detection.events import Detail
    from ingest.decoding import Decoder
    from ingest.validation import Readings
    from storage.reading import Reading


class OutcomeKind(StrEnum):
    """Outcome of a message; every message has exactly one."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    FLOODED = "flooded"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one message.

    `decoder`: name of the decoder, or empty if the message did not reach one.
    `readings`: must be in the journal before the message is acknowledged; empty unless accepted.
    Some may come from other sensors, if this message closed their join windows. Some may be
    `Doubtful`; the writer skips those that the journal already has.
    `dead_letter`: set if and only if the message was rejected.
    """

    kind: OutcomeKind
    decoder: str = ""
    readings: tuple[Reading, ...] = ()
    dead_letter: DeadLetter | None = None


_LEFT_OUT: Final = Outcome(OutcomeKind.FLOODED)
_KEPT_BYTES: Final = 4_096
"""How much of a payload is kept in a dead letter, the quarantine, and the unmatched topics."""


def make_rejection(message: Message, reason: Reason, detail: str, decoder: str) -> Outcome:
    """Reject a message with a dead letter."""
    letter = DeadLetter(
        received=message.received,
        topic=to_one_line(message.topic, _TOPIC_KEPT),
        reason=reason.value,
        detail=to_one_line(detail),
        decoder=decoder,
        size=len(message.payload),
        payload=message.payload[:_KEPT_BYTES],
    )
    return Outcome(OutcomeKind.REJECTED, decoder, (), letter)


@dataclass(frozen=True, slots=True)
class IntakeConfig:
    """Settings of the intake.

    `aliases`: maps the name that a device reports to the id of its registered sensor.
    `routes`: pairs of topic filter and decoder, for formats whose topic the user chooses. Filters
    are as in `Decoder.topics`. Decoders are tried in the order described in `ingest.decoders`.
    `mappings`: compiled mappings (`ingest.mapping`), in the order of the configuration.
    `dedupe_window`: number of readings that `RecentReadings` remembers for each sensor.
    """

    context: Context = field(default_factory=Context)
    aliases: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[tuple[str, str], ...] = ()
    mappings: tuple[Decoder, ...] = ()
    dedupe_window: int = 256


_NO_MESSAGE: Final = Message("", b"", 0.0)
_TOPIC_KEPT: Final = 256
_LISTED: Final = 1_000
"""Maximum length of `Intake.quarantine` and of `Intake.unmatched`."""


class Intake:
    """Decode, validate, resolve, deduplicate and count messages."""

    def __init__(
        self,
        config: IntakeConfig | None = None,
        on_fault: Callable[[Detail], None] = lambda _what: None,
    ) -> None:
        self.config = config or IntakeConfig()
        self.counters: Counter[tuple[str, str, str]] = Counter()
        self.quarantine: Bounded[Quarantined] = Bounded(_LISTED)
        self.unmatched: Bounded[Quarantined] = Bounded(_LISTED)
        self.reading_counts = ReadingCounts()
        self._integrity = Integrity(on_fault)
        self._before: tuple[Reading, ...] = ()
        self._live = False
        self._clock_step = 0.0
        context = self.config.context
        skew = context.limits.max_skew_s
        self._recent = RecentReadings(self.config.dedupe_window, max_skew_s=skew)
        sensors = self._registered = context.registry.sensors
        names = context.states.names = SensorNames(sensors, self.config.aliases)
        self._names, self._resolve = names.exact, names.find
        self._find_in_topic = names.find_in_topic
        self._context = context if context.names.exact else replace(context, names=names)
        self._floods = Floods()
        self._topic_of: dict[str, str] = {}
        self._sensor_of: dict[str, str | None] = {}
        self._routes = Routes(self.config.routes, self.config.mappings, context.registry, names)
        self._find_decoders = lru_cache(maxsize=8_192)(self._routes.find_decoders)

    def restore(self, readings: Iterable[Reading], *, counted: bool = True) -> None:
        """Load the newest readings of the journal, oldest first.

        `counted`: whether `reading_counts` already includes them.
        """
        tail = list(readings)
        self._recent.restore(tail)
        tail = [reading for reading in tail if self._is_counted(reading)]
        self._floods.restore(tail)
        missing = self._integrity.restore(tail)
        if not counted:
            for reading in tail:
                self.reading_counts.add(reading)
            for sensor, n in missing.items():
                self.reading_counts.add_missing(sensor, n)

    def snapshot(self) -> bytes:
        """Return the state, for an intake with the same configuration to resume.

        It does not include counts, findings, `quarantine` or `unmatched`.
        """
        states = self.config.context.states.snapshot()
        return msgspec.msgpack.encode((states, self._recent.snapshot()))

    def resume(self, snapshot: bytes) -> None:
        """Restore the state that `snapshot` returned; raises `msgspec.MsgspecError`."""
        states, recent = msgspec.msgpack.decode(snapshot, type=tuple[bytes, bytes])
        self.config.context.states.restore(states)
        self._recent.resume(recent)

    def find_decoders(self, topic: str) -> tuple[Decoder, ...]:
        """Return the decoders to try for a topic, in order."""
        if not is_usable(topic, self.config.context.limits):
            return ()
        return self._find_decoders(topic)

    def on_new_session(self) -> None:
        """Forget packet ids, because the broker has started a new session."""
        self._recent.on_new_session()

    def on_message(
        self,
        message: Message,
        decoder: str = "",
        permits: Callable[[str, str | None], bool] | None = None,
    ) -> Outcome:
        """Decide the outcome of a message; never raises.

        `decoder`: the only decoder to try, instead of those for the topic.
        `permits`: takes the reported and the registered name (None if unregistered), and returns
        whether the sender is allowed to report for that sensor. If `permits` is given, the message
        comes directly from the sender, so it is live.
        """
        self._on_arrival(message)
        self._live = message.live or permits is not None
        if message.left_out:
            self._on_flood(self.find_sender(message.topic), message.received)
            self.counters[_LEFT_OUT.kind, "", ""] += 1
            return _LEFT_OUT
        readers = () if decoder else self.find_decoders(message.topic)
        read_by: list[str] = []
        try:
            context = self._context if permits is None else self.config.context
            if not readers:
                check_topic(message.topic, context.limits)
                readers = find_candidates(message.topic, decoder, self._routes)
            readings = read_first(readers, message, context, read_by)
            if permits is not None:
                self._check_sender(readings, permits)
        except DecodeError as error:
            return self._reject_unread(message, error, read_by, decoder)
        except Exception as error:  # noqa: BLE001 - one bad message never stops the others
            detail = f"{type(error).__name__}: {error}"
            name = read_by[-1] if read_by else decoder
            return self._reject(message, Reason.DECODER_FAILED, detail, name)
        return self._accept(message, read_by[-1], readings)

    def _accept(self, message: Message, decoder: str, readings: Sequence[Reading]) -> Outcome:
        """Return the outcome of a message from which `decoder` read these readings."""
        admitted = readings
        if message.live:
            admitted = self._drop_floods(readings, message)
        fresh = self._find_new(admitted, message, decoder)
        if fresh and message.waited:
            admitted = fresh = tuple(self._drop_floods(fresh, message))
        if self._before and fresh:
            fresh = (*self._take_before(), *fresh)
        kind = OutcomeKind.ACCEPTED
        if readings and not fresh:
            kind = OutcomeKind.DUPLICATE if admitted else OutcomeKind.FLOODED
        self.counters[kind, "", decoder] += 1
        return Outcome(kind, decoder, fresh)

    def _on_arrival(self, message: Message) -> None:
        if message.clock_step:  # close join windows, which would end at the wrong time
            self._before += self.flush()
            self._clock_step += message.clock_step
        if message.packet:
            self._recent.on_delivery(message.packet, duplicate=message.duplicate)

    def _drop_floods(self, readings: Sequence[Reading], message: Message) -> list[Reading]:
        """Drop and count the readings of a flood; return the rest.

        Unregistered sensors count together if their topics are equal or name the same sensor.
        """
        now = message.received
        admitted: list[Reading] = []
        for reading in readings:
            sensor = self._resolve(reading.sensor)
            if sensor is not None and message.live and reading.received == now:
                self._learn_sender(message.topic, sensor)
            kind = reading.is_timed, reading.seq is not None
            sender = sensor or self.find_sender(message.topic)
            name = sensor or f"/{sender or message.topic}"
            found: Reading | None = reading
            if message.live:
                found = self._floods.on_live(name, kind, reading, now)
            elif not self._floods.admits_waiting(name, now):
                found = None
            if found is not None:
                admitted.append(found)
                continue
            self._clock_step += reading.clock_step
            self._on_flood(sender, now)
        return admitted

    def _on_flood(self, sensor: str | None, now: float) -> None:
        self._integrity.on_flood(sensor, now)
        if sensor is not None and sensor in self._registered:
            self.reading_counts.add_flooded(sensor)

    def _find_new(
        self, readings: Iterable[Reading], message: Message | None = None, decoder: str = ""
    ) -> tuple[Reading, ...]:
        fresh = []
        for reading in readings:
            settled = reading
            if self._names.get(reading.sensor) != reading.sensor:
                settled = self._settle(reading, message, decoder)
            own = message if message and message.received == reading.received else _NO_MESSAGE
            waited = not own.live
            new = self._recent.settle(settled, own.packet, again=own.duplicate, waited=waited)
            if new is None and settled.sensor in self._registered:
                self.reading_counts.add(settled, duplicate=True)
                self._integrity.on_repeated(settled, delivered_again=own.duplicate)
            if new is None:
                continue
            if self._live and new.sensor in self._registered:
                self._integrity.on_live(new)
            elif own.waited and new.sensor in self._registered:
                self._integrity.on_waiting(new)
            if self._clock_step:
                new = msgspec.structs.replace(new, clock_step=self._clock_step)
                self._clock_step = 0.0
            fresh.append(new)
        return tuple(fresh)

    def next_deadline(self) -> float | None:
        """Return when the next join window ends, as a receive time in Unix seconds, or None."""
        return self.config.context.states.joiner.next_deadline()

    def get_waiting_since(self) -> float | None:
        """Return the receive time of the oldest message still in a join window, or None."""
        return self.config.context.states.joiner.get_waiting_since()

    def on_time(self, now: float) -> tuple[Reading, ...]:
        """Return the readings from join windows that have ended by `now`, and new findings."""
        context = self.config.context
        closed: tuple[Reading, ...] = ()
        if (joiner := context.states.joiner).windows:
            admitted: list[Reading] = []
            for reading in joiner.on_time(now, context.limits):
                topic = joiner.topics.get(reading.sensor, "")
                admitted += self._drop_floods([reading], Message(topic, b"", now, live=True))
            closed = self._find_new(admitted)
        return (*self._take_before(), *closed, *self._integrity.take_findings())

    def _take_before(self) -> tuple[Reading, ...]:
        taken, self._before = self._before, ()
        return taken

    def flush(self) -> tuple[Reading, ...]:
        """Close all join windows and return their readings, to be journaled before stopping."""
        context = self.config.context
        return self._find_new(context.states.joiner.close(context.limits))

    def _reject_unread(
        self, message: Message, error: DecodeError, read_by: list[str], decoder: str
    ) -> Outcome:
        """Reject a message that was not decoded.

        List its topic as unmatched if it has no decoder, or if only mappings were tried and the
        message met no mapping's conditions.
        """
        unread = not read_by and error.reason is Reason.UNKNOWN_TOPIC
        if unread or isinstance(error, GuardError):
            self._note(self.unmatched, message.topic, message, "")
        name = read_by[-1] if read_by else decoder
        return self._reject(message, error.reason, error.detail, name)

    def on_stored(self, readings: Iterable[Reading], copies: Iterable[Reading] = ()) -> None:
        """Count readings that are now durable, and `copies` that the journal already had."""
        for reading in readings:
            if self._is_counted(reading):
                self.reading_counts.add(reading)
                if missing := self._integrity.on_reading(reading):
                    self.reading_counts.add_missing(reading.sensor, missing)
        for reading in copies:
            if reading.sensor in self._registered:
                self.reading_counts.add(reading, duplicate=True)

    def _is_counted(self, reading: Reading) -> bool:
        own = reading.sensor in self._registered
        return own and (not reading.events or FINDINGS.isdisjoint(reading.events))

    def find_sender(self, topic: str) -> str | None:
        """Return the sensor that a topic names, or if it names none, the only one it reports for.

        Return None if there is none, or if there are several.
        """
        named = self._find_in_topic(topic) if is_usable(topic, self.config.context.limits) else ()
        if not named:
            return self._sensor_of.get(topic)
        is_one = all(name == named[0] or name.startswith(f"{named[0]}:") for name in named)
        return named[0] if is_one else None

    def _learn_sender(self, topic: str, sensor: str) -> None:
        """Remember the first topic of each sensor, and whether it reports for this sensor only."""
        if self._topic_of.setdefault(sensor, topic) == topic and sensor != (
            self._sensor_of.setdefault(topic, sensor)
        ):
            self._sensor_of[topic] = None

    def _check_sender(
        self, readings: Iterable[Reading], permits: Callable[[str, str | None], bool]
    ) -> None:
        for sensor in {reading.sensor: None for reading in readings}:
            if not permits(sensor, self._resolve(sensor)):
                raise MessageRefusedError(
                    Reason.NOT_ALLOWED, f"the sender isn't allowed to post for sensor {sensor!r}"
                )

    def _settle(self, reading: Reading, message: Message | None, decoder: str) -> Reading:
        """Replace the reported name with the registered one, or quarantine an unknown sensor."""
        known = self._resolve(reading.sensor)
        if known is not None:
            if known == reading.sensor:
                return reading
            return msgspec.structs.replace(reading, sensor=known)
        if message is None or reading.received != message.received:
            topic = self.config.context.states.joiner.topics.get(reading.sensor, "")
            readers = self._routes.find_decoders(topic)
            message = Message(topic, b"", reading.received)
            decoder = readers[0].name if readers else ""
        self._note(self.quarantine, reading.sensor, message, decoder)
        return msgspec.structs.replace(reading, flags=(*reading.flags, "unknown_sensor"))

    def _note(self, seen: Bounded[Quarantined], name: str, message: Message, decoder: str) -> None:
        topic, now = to_one_line(message.topic, _TOPIC_KEPT), message.received
        sample = message.payload[:_KEPT_BYTES]
        entry = seen.get(name)
        if entry is None:
            if seen is self.quarantine:
                self._integrity.on_unregistered(now)
            seen[name] = Quarantined(name, now, now, 1, decoder, topic, sample)
            return
        seen.move_to_end(name)
        if topic:
            entry.topic, entry.decoder, entry.sample = topic, decoder, sample
        entry.last_seen = now
        entry.count += 1

    def _reject(self, message: Message, reason: Reason, detail: str, decoder: str) -> Outcome:
        sensor, now = self.find_sender(message.topic), message.received
        if sensor is not None:
            self._integrity.on_refused(sensor, now)
        name = f"/{sensor or ''}"
        floods = message.live and self._floods.is_flood(name, OutcomeKind.REJECTED, now)
        if message.waited and sensor is not None:
            floods = not self._floods.admits_waiting(sensor, now)
        if floods:
            self._integrity.on_flood(sensor, now)
            self.counters[OutcomeKind.FLOODED.value, "", decoder] += 1
            return Outcome(OutcomeKind.FLOODED, decoder)
        self.counters[OutcomeKind.REJECTED.value, reason.value, decoder] += 1
        return make_rejection(message, reason, detail, decoder)


_BY_NAMES: Final = frozenset({"native", "generic", "zigbee2mqtt"})
_MARKS: Final = {
    "awair": b'"score"',
    "ruuvi": b'"gw_mac"',
    "tasmota": b'"Time"',
    "milesight_gateway": b'EUI"',
}
"""Bytes that a message must contain before these decoders are suggested, because their value names
are common words."""


def decode_message(
    message: Message, context: Context, decoder: str = "", routes: Routes | None = None
) -> Readings:
    """Decode and validate one message; raises `DecodeError`."""
    check_topic(message.topic, context.limits)
    return read_first(
        find_candidates(message.topic, decoder, routes or Routes()), message, context, []
    )


def find_candidates(topic: str, decoder: str, routes: Routes) -> tuple[Decoder, ...]:
    """Return the decoders to try, in order; raises `MessageRefusedError` if there are none."""
    if not decoder:
        found = routes.find_decoders(topic)
        if not found:
            raise MessageRefusedError(Reason.UNKNOWN_TOPIC, "no decoder for this topic")
        return found
    named = routes.find_by_name(decoder)
    if named is None:
        raise MessageRefusedError(Reason.UNKNOWN_TOPIC, f"there is no decoder {decoder!r}")
    return (named,)


def read_first(
    readers: tuple[Decoder, ...], message: Message, context: Context, read_by: list[str]
) -> Readings:
    """Try decoders in order until one accepts the message; append the names tried to `read_by`."""
    last = readers[-1]
    for decoder in readers:
        read_by.append(decoder.name)
        try:
            if len(message.payload) > context.limits.payload_bytes:
                check_size(message.payload, _find_max_bytes(decoder, message.topic, context))
            return decoder.decode(message, context)
        except GuardError:
            if decoder is last:
                raise
    return []


def _find_max_bytes(decoder: Decoder, topic: str, context: Context) -> int:
    limits = context.limits
    described = any(matches_topic(pattern, topic) for pattern in decoder.descriptions)
    return limits.description_bytes if described else limits.payload_bytes


def find_likely_decoders(message: Message, context: Context) -> tuple[str, ...]:
    """Return the decoders that read the most values from a message, as suggestions for the user."""
    found: dict[str, int] = {}
    for name in DECODERS:
        fresh = replace(context, states=States())
        try:
            readings = decode_message(message, fresh, name)
        except DecodeError:
            continue
        readings += fresh.states.joiner.close(fresh.limits)
        if _MARKS.get(name, b"") in message.payload and any(r.has_sensor_data for r in readings):
            found[name] = sum(len(r.values) + len(r.faults) for r in readings)
    most = max(found.values(), default=0)
    special = tuple(n for n, count in found.items() if count == most and n not in _BY_NAMES)
    return special or (("generic",) if "generic" in found else ())
