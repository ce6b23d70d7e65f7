"""Turn MQTT messages that a bridge wrote to Kafka into rows of a history.

A record's key is the topic, and its value is the payload. Before a record is decoded, `Router`
finds the shards of the sensors that its topic or payload names. `MessageDecoder` is the intake of
one shard, with the same formats and checks as the service. Its state (open join windows, Sparkplug
births, descriptions, duplicates, clocks) passes from one trigger to the next in
`MessageDecoder.snapshot`. So a stream gives the same readings as one service, no matter how it is
divided into triggers. A join window closes when a later message of its shard arrives.

No record can end a stream: keys and values are bytes, and unreadable records are counted and logged
with partition and offset. The records themselves stay in Kafka.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from ingest.decoders import Routes
from ingest.decoding import States
from ingest.intake import Intake, decode_message
from ingest.integrity import FINDINGS
from ingest.topics import matches_topic
from ingest.validation import Message, SensorNames, fold_id
from scale.history import SCHEMA, build_frame, place_reading
from storage.registry import Registry, find_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ingest.intake import IntakeConfig
    from storage.reading import Reading

log = logging.getLogger(__name__)

RECORDS: Final = pl.Schema(
    {
        "key": pl.Binary(),
        "value": pl.Binary(),
        "received": pl.Float64(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
    }
)
"""Columns of records; `received` is in Unix seconds."""
RECORD_ORDER: Final = ("received", "partition", "offset")
MAX_BYTES: Final = 65_536
"""Maximum size in bytes of a rejected value that is kept in a shard's state."""
_TOPICS: Final = 100_000
"""Maximum number of topics in the cache of shards; beyond it, the cache is cleared."""


class Record(NamedTuple):
    """A row of `RECORDS`."""

    key: bytes | None
    value: bytes | None
    received: float
    partition: int
    offset: int


class MessageSource:
    """Everything that workers need to read a Kafka `topic`; the driver sends it to each worker.

    `intake`: builds the intake's configuration.
    """

    def __init__(self, topic: str, intake: Callable[[], IntakeConfig], shards: int) -> None:
        self.topic, self.shards = topic, shards
        self._intake = intake
        self._id = uuid.uuid4().hex

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle to one object per worker, no matter how many tasks contain it."""
        return _find_source, (self._id, self.topic, self._intake, self.shards)

    @cached_property
    def config(self) -> IntakeConfig:
        """The configuration of the intake, built once per worker."""
        config = self._intake()
        names = SensorNames(config.context.registry.sensors, config.aliases)
        return replace(config, context=replace(config.context, names=names))

    @cached_property
    def router(self) -> Router:
        """The router, built once per worker."""
        return Router(self.config, self.shards)

    def make_decoder(self, shard: int, snapshot: bytes = b"") -> MessageDecoder:
        """Make the decoder of a shard; raise `msgspec.MsgspecError` for an unreadable snapshot."""
        registry = self._registries.get(shard, Registry())
        aliases = {a: of for a, of in self.config.aliases.items() if of in registry.sensors}
        context = replace(self.config.context, registry=registry, states=States())
        intake = Intake(replace(self.config, context=context, aliases=aliases))
        if snapshot:
            intake.resume(snapshot)
        find_home = self.router.find_home
        return MessageDecoder(intake, registry, lambda sensor: find_home(sensor) == shard)

    @cached_property
    def _registries(self) -> dict[int, Registry]:
        """Registry of each shard: its sensors and their rooms."""
        whole = self.config.context.registry
        sensors = defaultdict(list)
        for sensor in whole.sensors.values():
            sensors[self.router.find_home(sensor.id)].append(sensor)
        return {
            shard: Registry.build({s.room: whole.rooms[s.room] for s in own}.values(), own)
            for shard, own in sensors.items()
        }


_sources: dict[str, MessageSource] = {}
"""The source that this worker uses, by the source's id."""


def _find_source(
    key: str, topic: str, intake: Callable[[], IntakeConfig], shards: int
) -> MessageSource:
    if key not in _sources:
        _sources.clear()
        _sources[key] = MessageSource(topic, intake, shards)
    return _sources[key]


class Router:
    """Finds the shards of all sensors that a record names.

    If one or more levels of a topic form a sensor's name, the topic's shards are cached. Messages
    about many devices, such as descriptions or the death of a gateway, go to all shards.
    """

    def __init__(self, config: IntakeConfig, shards: int) -> None:
        self._shards = shards
        self._context = replace(config.context, states=States())
        registry = self._context.registry
        self._routes = Routes(config.routes, config.mappings, registry, config.context.names)
        self._homes: dict[str, int] = {}
        self._parents: defaultdict[str, set[int]] = defaultdict(set)
        for name, sensor in (*config.aliases.items(), *((s, s) for s in registry.sensors)):
            room = registry.find_room(sensor)
            if room is None:
                continue
            shard = find_shard(f"{room.site}/{room.building}", shards)
            self._homes[name] = self._homes[fold_id(name)] = shard
            parts = name.split(":")
            for k in range(1, len(parts)):
                self._parents[fold_id(":".join(parts[:k]))].add(shard)
        self._known: dict[bytes, list[int]] = {}

    def find_home(self, sensor: str) -> int:
        """Return the shard of a sensor, or of the registered device that contains it."""
        name = sensor
        while name:
            known = self._homes.get(name, self._homes.get(fold_id(name)))
            if known is not None:
                return known
            name = name.rpartition(":")[0]
        return find_shard(sensor, self._shards)

    def divide(self, records: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        """Divide `RECORDS` by shard, in order; a record may go to several shards."""
        known = self._known
        keys = records["key"].to_list()
        found = [known.get(key) or self._find(*records.row(k)) for k, key in enumerate(keys)]
        rows = [k for k, shards in enumerate(found) for _ in shards]
        shards = pl.Series("shard", [shard for each in found for shard in each], pl.Int32())
        numbered = records[rows].with_columns(shards)
        parts = numbered.partition_by("shard", as_dict=True, include_key=False)
        return ((int(shard), part) for (shard,), part in parts.items())

    def _find(
        self, key: bytes | None, value: bytes | None, received: float, partition: int, _: int
    ) -> list[int]:
        try:
            topic = (key or b"").decode()
        except UnicodeDecodeError:
            topic = ""
        if not topic:
            return [partition % self._shards]
        levels = topic.split("/")
        named = set[int]().union(
            *(self._find_shards_named(n) for n in levels if self._is_registered(n))
        )
        readings = self._peek(Message(topic, value or b"", received))
        if readings is None:
            return sorted(named) or [find_shard(topic, self._shards)]
        if not named and self._is_about_many(topic, readings):
            return [*range(self._shards)]
        sensors = {reading.sensor for reading in readings}
        found = sorted(named.union(*map(self._find_shards_named, sensors)))
        found = found or [find_shard(topic, self._shards)]
        folded = set(map(fold_id, levels))
        composed = all(folded.issuperset(map(fold_id, s.split(":"))) for s in sensors)
        if any(reading.values for reading in readings) and (named or composed):
            if len(self._known) >= _TOPICS:
                self._known.clear()
            self._known[topic.encode()] = found
        return found

    def _is_registered(self, name: str) -> bool:
        return name in self._homes or fold_id(name) in self._homes

    def _find_shards_named(self, sensor: str) -> set[int]:
        """Return the shards of a sensor and of all sensors whose names begin with its name."""
        return {self.find_home(sensor)} | self._parents.get(fold_id(sensor), set())

    def _peek(self, message: Message) -> list[Reading] | None:
        """Decode a message by itself; return None if it is rejected."""
        try:
            readings = decode_message(message, self._context, "", self._routes)
        except Exception:  # noqa: BLE001 - the intake rejects it too, and records why
            return None
        return readings + self._context.states.joiner.close(self._context.limits)

    def _is_about_many(self, topic: str, readings: Sequence[Reading]) -> bool:
        """Return whether a message describes devices or reports that a gateway came or went."""
        if readings:
            return all(r.events in (("offline",), ("online",)) for r in readings)
        return any(
            decoder.name == "ha_discovery"
            or any(matches_topic(pattern, topic) for pattern in decoder.descriptions)
            for decoder in self._routes.find_decoders(topic)
        )


class MessageDecoder:
    """The intake of one shard; `rejected` has the records rejected in the last call, by row."""

    def __init__(self, intake: Intake, registry: Registry, is_own: Callable[[str], bool]) -> None:
        self._intake = intake
        self._registry = registry
        self._is_own = is_own
        self._deadline = intake.next_deadline()
        self.rejected: dict[int, tuple[Record, str]] = {}

    def snapshot(self) -> bytes:
        """Return the state of the intake."""
        return self._intake.snapshot()

    def decode(self, records: pl.DataFrame) -> pl.DataFrame:
        """Decode `RECORDS`, in order, into a frame of `SCHEMA`; join windows may stay open."""
        self.rejected = {}
        found: list[Reading] = []
        offsets: list[int] = []
        for row, fields in enumerate(records.iter_rows()):
            record = Record(*fields)
            closed = [*self._close_windows(record.received)]
            reason, more = self._read(record)
            if reason:
                self.rejected[row] = record, reason
            own = [reading for reading in (*closed, *more) if self._is_own(reading.sensor)]
            found += own
            offsets += [record.offset] * len(own)
        frame = build_frame([place_reading(reading, self._registry) for reading in found])
        position = pl.Series(offsets, dtype=pl.Int64())
        return frame.with_columns(position=position).select(SCHEMA.names())

    def _close_windows(self, now: float) -> Iterator[Reading]:
        """Close the join windows that are over, and return their readings."""
        if self._deadline is None:
            self._deadline = self._intake.next_deadline()
        if self._deadline is not None and self._deadline <= now:
            closed = self._intake.on_time(now)
            self._deadline = self._intake.next_deadline()
            return (reading for reading in closed if FINDINGS.isdisjoint(reading.events))
        return iter(())

    def _read(self, record: Record) -> tuple[str, Sequence[Reading]]:
        if not record.key or record.value is None:
            return f"no {'payload' if record.key else 'topic'}", ()
        try:
            topic = record.key.decode()
        except UnicodeDecodeError:
            return "topic is not UTF-8", ()
        outcome = self._intake.on_message(Message(topic, record.value, record.received))
        reason = "" if outcome.dead_letter is None else str(outcome.dead_letter.reason)
        return reason, outcome.readings


def log_rejected(topic: str, rejected: Iterable[tuple[Record, str]]) -> None:
    """Log rejected records by reason, with partition and offset of each reason's first record."""
    count: Counter[str] = Counter()
    first: dict[str, Record] = {}
    for record, reason in rejected:
        count[reason] += 1
        first.setdefault(reason, record)
    for reason, record in sorted(first.items()):
        place = topic, record.partition, record.offset
        log.warning("rejected: %d %s, first %s-%d at %d", count[reason], reason, *place)
