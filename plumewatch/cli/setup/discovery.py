"""Find the sensors that publish to a broker: listen for a while, and decode like the service."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import statistics
import time
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.decoders import find_decoder
from ingest.decoders.native import describe_misnamed
from ingest.decoding import Context, States
from ingest.errors import DecodeError, Reason
from ingest.intake import decode_message, find_candidates, find_likely_decoders
from ingest.integrity import UnlikelyValues
from ingest.mapping import draft
from ingest.mapping.examples import find_missing
from ingest.mapping.frames import propose
from ingest.mapping.suggest import DEVICE_HAS_ONE
from ingest.mqtt.connection import make_client, open_connection
from ingest.topics import TopicFilter, matches_topic
from ingest.validation import Message, parse_number
from plumewatch.check.machine import compute_offset
from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import build_routes
from plumewatch.config.load import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from zoneinfo import ZoneInfo

    import aiomqtt

    from ingest.decoders import Routes
    from ingest.mqtt.connection import BrokerSettings
    from storage.reading import Reading

_MAX_MESSAGES: Final = 50_000
_MAX_BYTES: Final = 200_000_000
_SAMPLES: Final = 20
_SHORTEST_BURST_S: Final = 0.25
_LONGEST_BURST_S: Final = 0.9
_OURS: Final = "plumewatch/canary/"
_NODE: Final = 2
"""Level of a Home Assistant discovery topic that names the device."""
_DRAFT: Final[Mapping[str, Any]] = {
    "site": "draft",
    "room": [{"id": "draft", "name": "draft", "building": "draft"}],
    "sensor": [{"id": "draft", "room": "draft"}],
}


@dataclass(slots=True)
class DiscoveredSensor:
    """A sensor that publishes.

    - `valid`: its quantities that had a valid value.
    - `times`: times of its live readings, Unix seconds.
    - `has_own_alarm`: whether the device sent its own vape alarm.
    - `unlikely`: quantities whose values are unlikely in the expected unit.
    - `misnamed`: a description of the keys that the native format ignores.
    - `offsets_s`: how far its clock was ahead, for each reading.
    """

    id: str
    decoder: str
    topics: set[str] = field(default_factory=set)
    quantities: set[str] = field(default_factory=set)
    valid: set[str] = field(default_factory=set)
    has_time: bool = False
    has_own_alarm: bool = False
    times: list[float] = field(default_factory=list)
    unlikely: tuple[str, ...] = ()
    misnamed: str = ""
    offsets_s: list[float] = field(default_factory=list)

    @property
    def clock_offset_s(self) -> float:
        """How far its clock is ahead, in seconds; 0 without time stamps."""
        return statistics.median(self.offsets_s or [0.0])

    @property
    def interval_s(self) -> float | None:
        """Seconds between reports (of one or more messages); None if there were too few."""
        times = sorted(set(self.times))
        if len(times) < 2:
            return None
        mean_s = (times[-1] - times[0]) / (len(times) - 1)
        burst_s = min(max(_SHORTEST_BURST_S, 0.1 * mean_s), _LONGEST_BURST_S)
        reports = times[:1]
        reports += [b for a, b in pairwise(times) if b - a > burst_s]
        gaps = [b - a for a, b in pairwise(reports)]
        return statistics.median(gaps) if gaps else None

    @property
    def missing_data(self) -> list[str]:
        """What a sensor needs (particles or a gas, and time) that none of the readings contain."""
        return find_missing(self.quantities, has_time=self.has_time)

    @property
    def messages_per_report(self) -> float:
        """Number of messages per report."""
        times = sorted(self.times)
        if self.interval_s is None:
            return 1.0
        return max(1.0, (len(times) - 1) * self.interval_s / (times[-1] - times[0]))


@dataclass(slots=True)
class Discovery:
    """Everything that publishes to the broker.

    - `columns`: columns of CSV, or the layout of frames, by topic filter.
    - `mappings`: proposed mappings, as TOML.
    - `unread`: why each unreadable topic can't be decoded, by topic.
    - `unlabeled`: why a person must name a topic's columns or layout first, by topic.
    - `base`: the existing configuration; topics that it reads need no route or mapping.
    - `levels`: by topic filter, the levels that distinguish devices whose names are equal.
    - `shared`: topics of different devices that are still read as one sensor.
    """

    columns: Mapping[str, str]
    sensors: dict[str, DiscoveredSensor] = field(default_factory=dict)
    routes: list[dict[str, str]] = field(default_factory=list)
    mappings: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    unlabeled: dict[str, str] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)
    levels: dict[str, Collection[int]] = field(default_factory=dict)
    shared: Collection[str] = ()


def _make_client(settings: BrokerSettings) -> aiomqtt.Client:
    # a fixed client id would disconnect another setup that is listening
    return make_client(settings, f"{settings.client_id}-setup-{secrets.token_hex(4)}", clean=True)


async def check_connection(settings: BrokerSettings) -> None:
    """Connect once; raises `BrokerError`."""
    async with open_connection(_make_client(settings), settings):
        pass


async def listen(
    settings: BrokerSettings,
    seconds: float,
    on_message: Callable[[int, float], None] = lambda _n, _s: None,
) -> list[Message]:
    """Subscribe to everything for `seconds`, with limited memory; raises `BrokerError`."""
    found: list[Message] = []
    largest, held = Context().limits.description_bytes, 0
    client = _make_client(settings)
    began = time.monotonic()
    async with open_connection(client, settings):
        await client.subscribe("#", qos=0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for got in client.messages:
                    payload = got.payload if isinstance(got.payload, bytes) else b""
                    topic = str(got.topic)
                    if (
                        topic.isprintable()
                        and len(payload) <= largest
                        and not topic.startswith(_OURS)
                    ):
                        found.append(Message(topic, payload, time.time(), retained=got.retain))
                        held += len(payload)
                    on_message(len(found), time.monotonic() - began)
                    if len(found) >= _MAX_MESSAGES or held >= _MAX_BYTES:
                        break
    return found


def discover(
    messages: Sequence[Message],
    zone: ZoneInfo,
    base: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Discovery:
    """Return the sensors in messages, and the routes and mappings that `base` is missing.

    `columns`: columns of CSV, or the layout of frames, by topic filter.
    """
    context = Context(zone=zone)
    unknown: dict[str, list[bytes]] = {}
    for message in messages:
        try:
            decode_message(message, context)
        except DecodeError as error:
            if error.reason is Reason.UNKNOWN_TOPIC and message.payload:
                unknown.setdefault(message.topic, []).append(message.payload)
    newest = max((m.received for m in messages), default=0.0)
    base = base or {**_DRAFT, "timezone": zone.key}
    levels: dict[str, Collection[int]] = {}
    for _ in range(2):
        found = Discovery(columns or {}, base=base, levels=levels.copy())
        for topic in sorted(unknown, key=lambda topic: topic not in levels):
            _propose(found, topic, unknown[topic][:_SAMPLES], newest, Context(zone=zone))
        found.shared = levels = _find_shared(found, unknown, newest, context)
        if not levels:
            break
    _collect(found, messages, _build_routes(found), Context(zone=zone))
    return found


def _find_shared(
    found: Discovery, unknown: Mapping[str, Sequence[bytes]], received: float, context: Context
) -> dict[str, Collection[int]]:
    """Return the topics of different devices that are read as one sensor, and how they differ.

    Such topics carry the same particle or VOC quantity. The values are the levels that differ.
    """
    order = _build_routes(found)
    topics: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for topic, samples in unknown.items():
        with contextlib.suppress(DecodeError):
            for reading in _read_alone(Message(topic, samples[-1], received), order, context):
                for quantity in DEVICE_HAS_ONE.intersection(reading.values):
                    topics[reading.sensor, quantity].append(topic)
    shared: dict[str, Collection[int]] = {}
    for group in topics.values():
        levels = zip(*(topic.split("/") for topic in group), strict=False)
        differ = {place for place, words in enumerate(levels) if len(set(words)) > 1}
        if len(group) > 1:
            shared |= {topic: differ.union(shared.get(topic, ())) for topic in group}
    return shared


def _read_alone(message: Message, order: Routes, context: Context) -> list[Reading]:
    """Return the readings in a message, decoded as if it were the only one received."""
    states = States()
    readings = decode_message(message, replace(context, states=states), "", order)
    return [*readings, *states.joiner.close(context.limits)]


def _propose(
    found: Discovery, topic: str, samples: list[bytes], received: float, context: Context
) -> None:
    message = Message(topic, samples[-1], received)
    columns = next((c for form, c in found.columns.items() if matches_topic(form, topic)), "")
    is_read = False
    with contextlib.suppress(DecodeError):
        decode_message(message, replace(context, states=States()), "", _build_routes(found))
        is_read = True
    trusted = [one for one in found.base.get("mapping", ()) if _matches(one, topic)]
    shared = [one for one in map(_parse_mapping, found.mappings) if _matches(one, topic)]
    if is_read and not shared and not trusted:
        return  # a route or format of the existing configuration reads it
    likely = find_likely_decoders(message, replace(context, states=States()))
    named = [name for name in likely if name != "generic"]
    if len(named) == 1 and not columns and not is_read:
        found.routes.append({"topic": topic, "decoder": named[0]})
        return
    try:
        at, zone = float(round(received)), context.zone
        text = propose(topic, samples, received=at, zone=zone, columns=columns, alone=False)
        places = next((k for form, k in found.levels.items() if matches_topic(form, topic)), ())
        if places and not trusted:
            text = draft.add_levels(text, topic, places)
            found.levels[TopicFilter(_parse_mapping(text)["topic"]).pattern] = places
        if is_read:
            if _is_already_read(found, text, context, trusted=not shared):
                return  # the mapping of another device or value reads it
            text = draft.fix_topic(text, topic)
        _build_routes(replace(found, mappings=[*found.mappings, text]))
    except (draft.SuggestError, ConfigError, DecodeError) as error:
        if not is_read:
            found.unread[topic] = str(error).partition("\n")[0]
            if (
                isinstance(error, draft.ColumnsError)
                and parse_number(samples[-1].decode("latin1")) is None
            ):
                found.unlabeled[topic] = str(error)
        return
    found.mappings.append(text)


def _parse_mapping(text: str) -> dict[str, Any]:
    mapping: dict[str, Any] = tomllib.loads(text)["mapping"][0]
    return mapping


def _matches(mapping: Mapping[str, Any], topic: str) -> bool:
    return TopicFilter(mapping["topic"]).match(topic) is not None


def _is_already_read(found: Discovery, text: str, context: Context, *, trusted: bool) -> bool:
    """Return whether the known mappings already read every value that mapping `text` would read.

    With `trusted`, a person wrote the mapping. That person may have corrected units that the
    proposal only guesses. A trusted mapping that reads more than the proposal is accepted.
    """
    own = _parse_mapping(text)["example"][0]
    usual = {q for q, _, why in draft.find_guessed_units(text) if why.startswith(draft.USUAL_UNIT)}
    payload = own["payload"].encode() if "payload" in own else bytes.fromhex(own["payload_hex"])
    message = Message(own["topic"], payload, own["received"])
    readings = _read_alone(message, _build_routes(found), context)
    values = next((r.values for r in readings if r.sensor == own["sensor"]), {})
    wanted = own.get("values", {})
    if trusted and values.keys() - wanted.keys():
        wanted = {key: value for key, value in wanted.items() if key in values}
    return all(
        key in values and (math.isclose(values[key], value) or (trusted and key in usual))
        for key, value in wanted.items()
    )


def _build_routes(found: Discovery) -> Routes:
    base = found.base
    tree = {**base, "route": [*base.get("route", ()), *found.routes]}
    tree["mapping"] = list(base.get("mapping", ()))
    for text in found.mappings:
        tree["mapping"] += tomllib.loads(text)["mapping"]
    return build_routes(parse(tree, base=Path()))


def _collect(
    found: Discovery, messages: Sequence[Message], order: Routes, context: Context
) -> None:
    unlikely = UnlikelyValues()

    def note(reading: Reading, topic: str, *, live: bool) -> None:
        unlikely.add(reading.sensor, reading.values)
        decoder = next(iter(order.find_decoders(topic)), None)
        new = DiscoveredSensor(reading.sensor, decoder.name if decoder else "")
        known = found.sensors.setdefault(reading.sensor, new)
        known.topics.add(topic)
        known.quantities |= {*reading.values, *reading.faults}
        known.valid |= {*reading.values}
        known.has_own_alarm |= "vendor_vape" in reading.events
        known.has_time |= not {"no_time", "time_replaced"} & set(reading.flags)
        if live and reading.values:
            known.times.append(reading.time)
        if live and "no_time" not in reading.flags:
            known.offsets_s.append(compute_offset(reading))

    topic, joined = "", context.states.joiner.topics
    joined_under: defaultdict[str, set[str]] = defaultdict(set)
    for message in messages:
        try:
            reader = find_candidates(message.topic, "", order)[0]
            for reading in decode_message(message, context, "", order):
                note(reading, joined.get(reading.sensor, message.topic), live=not message.retained)
                if misnamed := describe_misnamed(message, reader):
                    found.sensors[reading.sensor].misnamed = misnamed
        except DecodeError:
            continue
        topic = message.topic
        # a joined value becomes part of a reading later, under another topic
        last = next(reversed(joined), "")
        joined_under[last].add(topic if joined.get(last) == topic else "")
    for reading in context.states.joiner.close(context.limits):
        note(reading, joined[reading.sensor], live=True)
    for sensor in found.sensors.values():
        sensor.topics |= joined_under[sensor.id] - {""}
        sensor.unlikely = unlikely.list_quantities(sensor.id, least=1)
    _adopt(found, {message.topic for message in messages})


def _adopt(found: Discovery, topics: set[str]) -> None:
    """Add to each sensor the other topics with its name at the same level, and discovery topics."""
    sensors = list(found.sensors.values())
    by_name = {sensor.id.lower(): sensor for sensor in sensors}
    places = {one.id: {find_level(one.id, topic) for topic in one.topics} for one in sensors}
    for topic in topics.difference(*(one.topics for one in sensors)):
        for name in set(topic.lower().split("/")) & by_name.keys():
            sensor = by_name[name]
            decoder = find_decoder(topic)
            announces = decoder is not None and decoder.name == "ha_discovery"
            wanted = {_NODE} if announces else places[sensor.id]
            if find_level(sensor.id, topic) in wanted:
                sensor.topics.add(topic)


def find_level(sensor: str, topic: str) -> int | None:
    """Return the index of the last topic level that is the device's name, or None."""
    levels = [level.lower() for level in topic.split("/")]
    return max((k for k, level in enumerate(levels) if level == sensor.lower()), default=None)
