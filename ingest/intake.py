"""The intake: one message in, exactly one outcome out.

`Intake` is pure: it never sleeps, logs, reads a clock or touches the network. A message is accepted
(its readings are to be journaled; none if it only adds to what a decoder remembers), a duplicate
(everything it says was accepted before), rejected (a dead letter says why) or flooded (left out, as
its sender sends far too many: `ingest.integrity`). All are acknowledged.
`Intake.on_message` never raises: a decoder that fails is a rejection (`decoder_failed`).

Readings of a sensor that is not in the registry are stored with the flag `unknown_sensor`, never
alerted on, and listed (`Intake.quarantine`); topics of no decoder are rejected and listed
(`Intake.unmatched`). Both lists are bounded.

A join window (`ingest.decoding`) closes with a later message or with `Intake.on_time`; before the
service stops it calls `Intake.flush`. A value in an open window is lost by a crash.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from ingest.copies import RecentReadings
from ingest.decoders import Routes, candidates, first_to_read
from ingest.decoding import Bounded, Context
from ingest.errors import DecodeError, GuardError, MessageRefusedError, Reason, one_line
from ingest.integrity import FINDINGS, Floods, Integrity, ReadingCounts
from ingest.validation import Message, check_topic, fold_id, is_usable
from storage.journal import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detection.events import Detail
    from ingest.decoding import Decoder
    from storage.reading import Reading


class OutcomeKind(StrEnum):
    """How a message ended; every message ends as exactly one of these."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    FLOODED = "flooded"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one message.

    `decoder`: empty if none was reached.
    `readings`: to be journaled before the message is acknowledged, but for `Doubtful` ones that the
    journal has already; empty unless accepted. They may be of other sensors and earlier messages
    too, whose join windows this message closed.
    `dead_letter`: set if and only if rejected.
    """

    kind: OutcomeKind
    decoder: str = ""
    readings: tuple[Reading, ...] = ()
    dead_letter: DeadLetter | None = None


_LEFT_OUT: Final = Outcome(OutcomeKind.FLOODED)


def rejected(
    message: Message, reason: Reason, detail: str, decoder: str, most_bytes: int
) -> Outcome:
    """Return the outcome of a message that is refused; its dead letter has `most_bytes` of it."""
    letter = DeadLetter(
        received=message.received,
        topic=one_line(message.topic, _TOPIC_KEPT),
        reason=reason.value,
        detail=one_line(detail),
        decoder=decoder,
        size=len(message.payload),
        payload=message.payload[:most_bytes],
    )
    return Outcome(OutcomeKind.REJECTED, decoder, (), letter)


@dataclass(slots=True)
class Quarantined:
    """Something seen that nobody registered; `name` is a sensor id or a topic."""

    name: str
    topic: str
    decoder: str
    first_seen: float
    last_seen: float
    count: int
    sample: bytes


@dataclass(frozen=True, slots=True)
class IntakeConfig:
    """Bounds of the intake.

    `aliases`: name under which a device reports to the registered sensor id.
    `routes`: topic filter and decoder, for formats whose topic the user chooses. Filters are as in
    `Decoder.topics`; the order of decoders is that of `ingest.decoders`.
    `mappings`: compiled mappings (`ingest.mapping`), in the order in which they are asked.
    `accept_unknown`: treat unregistered sensors as registered (replay, simulation).
    `quarantine_size`: unknown sensors and unmatched topics listed, each.
    `dead_letter_bytes`, `sample_bytes`: kept of a payload there, and in the quarantine lists.
    """

    context: Context = field(default_factory=Context)
    aliases: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[tuple[str, str], ...] = ()
    mappings: tuple[Decoder, ...] = ()
    accept_unknown: bool = False
    quarantine_size: int = 1_000
    dead_letter_bytes: int = 4_096
    sample_bytes: int = 4_096
    dedupe_window: int = 256


_NO_NEWS: Final = frozenset({"late", "history", "simulated", "unknown_sensor"})
"""Flags of readings that do not say what a sensor runs now."""
_NO_MESSAGE: Final = Message("", b"", 0.0)
_TOPIC_KEPT: Final = 256
_REMEMBERED: Final = 8_192
"""Topics of which is known who reads them; all are forgotten beyond it."""


class FirmwareNews:
    """Lets a version pass once, and again when it changes.

    A format says it with its measurements, in a frame of its own, or in a description that somebody
    else publishes. Described versions wait in `States.firmware` and are reported with a reading of
    the sensor, so that a device that is only described is not taken for one that lives.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    @property
    def known(self) -> Mapping[str, str]:
        """Version that each sensor reported last, by sensor."""
        return self._known

    def restore(self, known: Mapping[str, str]) -> None:
        """Know what each sensor reported last, besides what is known already."""
        self._known = {**known, **self._known}

    def read_tail(self, tail: Iterable[Reading]) -> None:
        """Know what the tail of the journal tells, oldest first."""
        for reading in tail:
            if reading.firmware:
                self._known[reading.sensor] = reading.firmware

    def on_reading(self, reading: Reading, described: str = "") -> Reading:
        """Return a reading with its version if that is news, and without it if not."""
        version = reading.firmware or described
        if not version:
            return reading
        doubtful = reading.flags and not _NO_NEWS.isdisjoint(reading.flags)
        if doubtful or version == self._known.get(reading.sensor):
            version = ""
        else:
            self._known[reading.sensor] = version
        if version == reading.firmware:
            return reading
        return msgspec.structs.replace(reading, firmware=version)


class Intake:
    """Decode, validate, resolve, de-duplicate and count messages."""

    def __init__(
        self,
        config: IntakeConfig | None = None,
        on_fault: Callable[[Detail], None] = lambda _what: None,
    ) -> None:
        self.config = config or IntakeConfig()
        self.counters: Counter[tuple[str, str, str]] = Counter()
        self.quarantine: Bounded[Quarantined] = Bounded(self.config.quarantine_size)
        self.unmatched: Bounded[Quarantined] = Bounded(self.config.quarantine_size)
        self.reading_counts = ReadingCounts()
        self.firmware = FirmwareNews()
        self._integrity = Integrity(on_fault)
        self._before: tuple[Reading, ...] = ()
        self._clock_step = 0.0
        skew = self.config.context.limits.max_skew_s
        self._recent = RecentReadings(self.config.dedupe_window, max_skew_s=skew)
        sensors = self._registered = self.config.context.registry.sensors
        folded = {fold_id(name): name for name in reversed(tuple(sensors))}
        self._names: dict[str, str] = {
            **folded,
            **{fold_id(alias): target for alias, target in self.config.aliases.items()},
            **{name: name for name in sensors},
            **self.config.aliases,
        }
        self._floods = Floods()
        self._topics: dict[str, tuple[Decoder, ...]] = {}
        self._routes = Routes(
            self.config.routes,
            self.config.mappings,
            self.config.context.registry,
            self.config.aliases,
        )

    def restore(self, readings: Iterable[Reading], *, counted: bool = True) -> None:
        """Remember the tail of the journal, oldest first; what is not `counted` yet is counted."""
        tail = list(readings)
        self._recent.restore(tail)
        tail = [reading for reading in tail if self._is_counted(reading)]
        missing = self._integrity.restore(tail)
        if not counted:
            for reading in tail:
                self.reading_counts.add(reading)
            for sensor, n in missing.items():
                self.reading_counts.add_missing(sensor, n)
        self.firmware.read_tail(tail)

    def snapshot(self) -> bytes:
        """Return what an intake of the same configuration needs to continue in mid-stream.

        Counts, findings and the lists of what nobody registered are not part of it.
        """
        states = self.config.context.states.snapshot()
        return msgspec.msgpack.encode((states, self._recent.snapshot()))

    def resume(self, snapshot: bytes) -> None:
        """Continue from what `snapshot` returned; raises `msgspec.MsgspecError`."""
        states, recent = msgspec.msgpack.decode(snapshot, type=tuple[bytes, bytes])
        self.config.context.states.restore(states)
        self._recent.resume(recent)

    def readers(self, topic: str) -> tuple[Decoder, ...]:
        """Return the decoders that may read a topic, in order."""
        if not is_usable(topic, self.config.context.limits):
            return ()
        if len(self._topics) >= _REMEMBERED:
            self._topics.clear()
        found = self._topics[topic] = self._routes.of(topic)
        return found

    def newest(self, sensor: str) -> float:
        """Return the newest time stamp of a sensor's readings, -inf if there is none."""
        return self._recent.newest(sensor)

    def on_new_session(self) -> None:
        """Forget packet ids: the broker has begun a session, and numbers anew."""
        self._recent.on_new_session()

    def on_message(
        self,
        message: Message,
        decoder: str = "",
        permits: Callable[[str, str | None], bool] | None = None,
    ) -> Outcome:
        """Return what becomes of a message; never raises."""
        self._on_arrival(message)
        if message.left_out:
            self._on_flood(self._named_in(message.topic), message.received)
            self.counters[_LEFT_OUT.kind, "", ""] += 1
            return _LEFT_OUT
        readers = self._topics.get(message.topic)
        if readers is None:
            readers = self.readers(message.topic)
        asked: list[str] = []
        try:
            readings = self._decode(message, readers, decoder, asked)
            if permits is not None:
                self._check_sender(readings, permits)
        except DecodeError as error:
            return self._unread(message, error, asked, decoder)
        except Exception as error:  # noqa: BLE001 - one bad message never stops the others
            detail = f"{type(error).__name__}: {error}"
            name = asked[-1] if asked else decoder
            return self._reject(message, Reason.DECODER_FAILED, detail, name)
        name = asked[-1]
        return self._accept(message, name, readings)

    def _accept(self, message: Message, decoder: str, readings: Sequence[Reading]) -> Outcome:
        """Return the outcome of a message with these readings."""
        admitted = readings
        if message.live:
            admitted = self._without_flood(readings, message.received)
        fresh = self._fresh(admitted, message, decoder)
        if self._before and fresh:
            fresh = (*self._take_before(), *fresh)
        kind = OutcomeKind.ACCEPTED
        if readings and not fresh:
            kind = OutcomeKind.DUPLICATE if admitted else OutcomeKind.FLOODED
        self.counters[kind, "", decoder] += 1
        return Outcome(kind, decoder, fresh)

    def _on_arrival(self, message: Message) -> None:
        if message.clock_step:  # join windows would end at another time
            self._before += self.flush()
            self._clock_step += message.clock_step
        if message.packet:
            self._recent.on_delivery(message.packet, duplicate=message.duplicate)

    def _without_flood(self, readings: Sequence[Reading], now: float) -> list[Reading]:
        """Return the readings that are read of those whose sender may flood."""
        admitted: list[Reading] = []
        for reading in readings:
            sensor = self._resolve(reading.sensor)
            kind = reading.is_timed, reading.seq is not None
            found = self._floods.on_live(sensor or reading.sensor, kind, reading, now)
            if found is not None:
                admitted.append(found)
                continue
            self._on_flood(sensor, now)
        return admitted

    def _on_flood(self, sensor: str | None, now: float) -> None:
        self._integrity.on_flood(sensor, now)
        if sensor is not None and sensor in self._registered:
            self.reading_counts.add_flooded(sensor)

    def _decode(
        self, message: Message, readers: tuple[Decoder, ...], decoder: str, asked: list[str]
    ) -> list[Reading]:
        context = self.config.context
        if decoder or not readers:
            check_topic(message.topic, context.limits)
            readers = candidates(message.topic, decoder, self._routes)
        return first_to_read(readers, message, context, asked)

    def _fresh(
        self, readings: Iterable[Reading], message: Message | None = None, decoder: str = ""
    ) -> tuple[Reading, ...]:
        states = self.config.context.states
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
            if new is not None and (new.firmware or states.firmware):
                topic = message.topic if message else ""
                new = self.firmware.on_reading(new, states.described(reading.sensor, topic))
            if new is None:
                continue
            if self._clock_step:
                new = msgspec.structs.replace(new, clock_step=self._clock_step)
                self._clock_step = 0.0
            fresh.append(new)
        return tuple(fresh)

    def next_deadline(self) -> float | None:
        """When `on_time` has something to do, Unix seconds of receive time; None if never."""
        return self.config.context.states.joiner.next_deadline()

    def waiting_since(self) -> float | None:
        """Receive time since when messages wait in a join window, unacknowledged; None if none."""
        joiner = self.config.context.states.joiner
        return joiner.waiting_since() if joiner.windows else None

    def on_time(self, now: float) -> tuple[Reading, ...]:
        """Return readings whose join window is over, and what was found."""
        context = self.config.context
        closed: tuple[Reading, ...] = ()
        if (joiner := context.states.joiner).windows:
            closed = self._fresh(joiner.on_time(now, context.limits))
        return (*self._take_before(), *closed, *self._integrity.take_findings())

    def _take_before(self) -> tuple[Reading, ...]:
        taken, self._before = self._before, ()
        return taken

    def flush(self) -> tuple[Reading, ...]:
        """Return the readings of all open join windows, to be journaled before stopping."""
        context = self.config.context
        return self._fresh(context.states.joiner.close(context.limits))

    def _unread(
        self, message: Message, error: DecodeError, asked: list[str], decoder: str
    ) -> Outcome:
        """Reject what no decoder reads, and list its topic if none was even asked."""
        unread = not asked and error.reason is Reason.UNKNOWN_TOPIC
        if unread or isinstance(error, GuardError):
            self._note(self.unmatched, message.topic, message, "")
        name = asked[-1] if asked else decoder
        return self._reject(message, error.reason, error.detail, name)

    def on_stored(self, readings: Iterable[Reading], copies: Iterable[Reading] = ()) -> None:
        """Count readings that are durable, and `copies` of such that the journal had already."""
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

    def _named_in(self, topic: str) -> str | None:
        levels = topic.split("/", 16)
        return next((known for level in levels if (known := self._names.get(level))), None)

    def _resolve(self, sensor: str) -> str | None:
        known = self._names.get(sensor)
        return known if known is not None else self._names.get(fold_id(sensor))

    def _check_sender(
        self, readings: Iterable[Reading], permits: Callable[[str, str | None], bool]
    ) -> None:
        for sensor in {reading.sensor: None for reading in readings}:
            if not permits(sensor, self._resolve(sensor)):
                raise MessageRefusedError(
                    Reason.NOT_ALLOWED, f"the sender may not post for sensor {sensor!r}"
                )

    def _settle(self, reading: Reading, message: Message | None, decoder: str) -> Reading:
        """Name the reading as the registry does, or quarantine its sensor."""
        known = self._resolve(reading.sensor)
        if known is not None:
            if known == reading.sensor:
                return reading
            return msgspec.structs.replace(reading, sensor=known)
        if self.config.accept_unknown:
            return reading
        if message is None or reading.received != message.received:
            topic = self.config.context.states.joiner.topics.get(reading.sensor, "")
            readers = self._routes.of(topic)
            message = Message(topic, b"", reading.received)
            decoder = readers[0].name if readers else ""
        self._note(self.quarantine, reading.sensor, message, decoder)
        return msgspec.structs.replace(reading, flags=(*reading.flags, "unknown_sensor"))

    def _note(self, seen: Bounded[Quarantined], name: str, message: Message, decoder: str) -> None:
        topic, now = one_line(message.topic, _TOPIC_KEPT), message.received
        sample = message.payload[: self.config.sample_bytes]
        entry = seen.get(name)
        if entry is None:
            if seen is self.quarantine:
                self._integrity.on_unregistered(now)
            seen[name] = Quarantined(name, topic, decoder, now, now, 1, sample)
            return
        seen.move_to_end(name)
        if topic:
            entry.topic, entry.decoder, entry.sample = topic, decoder, sample
        entry.last_seen = now
        entry.count += 1

    def _reject(self, message: Message, reason: Reason, detail: str, decoder: str) -> Outcome:
        sensor, now = self._named_in(message.topic), message.received
        if sensor is not None:
            self._integrity.on_refused(sensor, now)
        name = f"/{sensor or ''}"
        if message.live and self._floods.is_flood(name, OutcomeKind.REJECTED, now):
            self._integrity.on_flood(sensor, now)
            self.counters[OutcomeKind.FLOODED.value, "", decoder] += 1
            return Outcome(OutcomeKind.FLOODED, decoder)
        self.counters[OutcomeKind.REJECTED.value, reason.value, decoder] += 1
        return rejected(message, reason, detail, decoder, self.config.dead_letter_bytes)
