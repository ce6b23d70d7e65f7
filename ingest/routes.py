"""Which decoders may read a topic, the order in which they are asked, and what they read.

1. The decoder that the registry names for the sensor whose topic it is. A topic is a sensor's if
   one of its levels, or several in a row joined by ``:``, is the sensor's id or alias. A decoder
   with topics of its own takes them, and topics that no decoder of the table claims; a mapping
   takes topics of its filter only.
2. Routes of the configuration, the first that matches.
3. Mappings, in the order of the configuration. One whose conditions do not hold passes the message
   on.
4. The table of decoders, the first that matches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingest.decoders import DECODERS, find
from ingest.decoding import States
from ingest.errors import DecodeError, GuardError, MessageRefusedError, Reason
from ingest.topics import topic_matches
from ingest.validation import Message, Readings, check_size, check_topic, fold_id, sensor_id
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ingest.decoding import Context, Decoder

_BY_NAMES: Final = frozenset({"native", "generic", "zigbee2mqtt"})
_MARKS: Final = {"awair": b'"score"'}
"""What a message of a decoder with everyday names has beside them."""
_MAX_LEVELS: Final = 16


class Routes:
    """The order of decoders for every topic: registry, routes, mappings, table."""

    def __init__(
        self,
        routes: Iterable[tuple[str, str]] = (),
        mappings: Iterable[Decoder] = (),
        registry: Registry | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._routes = tuple(routes)
        self._mappings = {mapping.name: mapping for mapping in mappings}
        self._folded: dict[str, Decoder] = {}
        self._joined: dict[str, Decoder] = {}
        sensors = (registry or Registry()).sensors
        other = [(name, sensors[of]) for name, of in (aliases or {}).items() if of in sensors]
        for name, sensor in (*other, *sensors.items()):
            decoder = self.named(sensor.decoder) if sensor.decoder else None
            if decoder is not None:
                self._folded[fold_id(name)] = decoder
                self._joined[name.lower()] = decoder

    def named(self, name: str) -> Decoder | None:
        """Return the decoder or mapping of a name; None if there is none."""
        return DECODERS.get(name) or self._mappings.get(name)

    def of(self, topic: str) -> tuple[Decoder, ...]:
        """Return the decoders that may read a topic, in order."""
        return tuple({decoder.name: decoder for decoder in self._search(topic)}.values())

    def _search(self, topic: str) -> Iterator[Decoder]:
        own = self._of_sensor(topic) if self._folded else None
        if own is not None and self._takes(own, topic):
            yield own
        for pattern, name in self._routes:
            routed = self.named(name)
            if routed is not None and topic_matches(pattern, topic):
                yield routed
                break
        yield from (m for m in self._mappings.values() if _claims(m, topic))
        listed = find(topic)
        if listed is not None:
            yield listed

    def _takes(self, decoder: Decoder, topic: str) -> bool:
        if _claims(decoder, topic):
            return True
        if decoder.name in self._mappings:
            return False
        listed = find(topic)
        return listed is None or (not decoder.topics and listed.name != "ha_discovery")

    def _of_sensor(self, topic: str) -> Decoder | None:
        levels = [_name(level) for level in topic.split("/")]
        for level in levels:
            if level and fold_id(level) in self._folded:
                return self._folded[fold_id(level)]
        if len(levels) > _MAX_LEVELS:
            return None
        for start in range(len(levels)):
            for end in range(start + 2, len(levels) + 1):
                found = self._joined.get(":".join(levels[start:end]).lower())
                if found is not None:
                    return found
        return None


def _claims(decoder: Decoder, topic: str) -> bool:
    return any(topic_matches(pattern, topic) for pattern in decoder.topics)


def _name(level: str) -> str:
    try:
        return sensor_id(level)
    except DecodeError:
        return ""


def decode_message(
    message: Message, context: Context, decoder: str = "", routes: Routes | None = None
) -> Readings:
    """Decode and validate one message without registry; raises `DecodeError`."""
    check_topic(message.topic, context.limits)
    return first_to_read(
        candidates(message.topic, decoder, routes or Routes()), message, context, []
    )


def candidates(topic: str, decoder: str, routes: Routes) -> tuple[Decoder, ...]:
    """Return the decoders to ask, in order; raises `MessageRefusedError` if there is none."""
    if not decoder:
        found = routes.of(topic)
        if not found:
            raise MessageRefusedError(Reason.UNKNOWN_TOPIC, "no decoder for this topic")
        return found
    named = routes.named(decoder)
    if named is None:
        raise MessageRefusedError(Reason.UNKNOWN_TOPIC, f"no decoder is called {decoder!r}")
    return (named,)


def first_to_read(
    readers: tuple[Decoder, ...], message: Message, context: Context, asked: list[str]
) -> Readings:
    """Ask decoders in order until one reads the message; add their names to `asked`."""
    last = readers[-1]
    for decoder in readers:
        asked.append(decoder.name)
        try:
            if len(message.payload) > context.limits.payload_bytes:
                check_size(message.payload, _most_bytes(decoder, message.topic, context))
            return decoder.decode(message, context)
        except GuardError:
            if decoder is last:
                raise
    return []


def _most_bytes(decoder: Decoder, topic: str, context: Context) -> int:
    limits = context.limits
    described = any(topic_matches(pattern, topic) for pattern in decoder.descriptions)
    return limits.description_bytes if described else limits.payload_bytes


def likely_decoders(message: Message, context: Context) -> tuple[str, ...]:
    """Return the decoders that find the most in a message, as a suggestion for a person."""
    found: dict[str, int] = {}
    for name in DECODERS:
        fresh = replace(context, states=States())
        try:
            readings = decode_message(message, fresh, name)
        except DecodeError:
            continue
        readings += fresh.states.joiner.close(fresh.limits)
        if _MARKS.get(name, b"") in message.payload and any(r.values for r in readings):
            found[name] = sum(len(r.values) + len(r.faults) for r in readings)
    most = max(found.values(), default=0)
    special = tuple(n for n, count in found.items() if count == most and n not in _BY_NAMES)
    return special or (("generic",) if "generic" in found else ())
