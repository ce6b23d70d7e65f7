"""Which decoders may read a topic, in the order in which they are asked.

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

from typing import TYPE_CHECKING, Final

from ingest.decoders import DECODERS, find
from ingest.decoding import Decoder, topic_matches
from ingest.errors import DecodeError
from ingest.validation import fold_id, sensor_id
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_REMEMBERED: Final = 8_192
_MAX_LEVELS: Final = 16


class Routes:
    """The order of decoders for every topic; memory is bounded.

    `routes`: topic filter and name of a decoder or mapping.
    `mappings`: compiled mappings.
    `registry`: sensors that name their decoder.
    `aliases`: other names of sensors.
    """

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
        self._known: dict[str, tuple[Decoder, ...]] = {}
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
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = {decoder.name: decoder for decoder in self._search(topic)}
            known = self._known[topic] = tuple(found.values())
        return known

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
