"""Payload decoders; each format has an entry in ``decoders.toml``.

If a mapping can describe a format, the format is a table (``ingest/formats/<name>.toml``);
otherwise it is a module here. A decoder turns one `Message` into validated readings and raises only
`DecodeError`. It keeps its state in `Context.states`. The contract tests and the fuzz target cover
all entries. `ingest.decoding.Decoder` describes an entry, and `ingest.validation` the rules for all
formats.

For each topic, these decoders are tried in this order (`Routes`):

1. The decoder that is registered for the topic's sensor. A topic belongs to a sensor if one of its
   levels, or several consecutive levels joined by ``:``, is the sensor's id or alias. If the
   decoder has topics, it reads only these and topics that no decoder in ``decoders.toml`` matches.
   A mapping reads only topics that match its filter.
2. Mappings: first those with a fixed topic, then the others, each in the order of the
   configuration. If the conditions of a mapping do not hold, the next decoder is tried.
3. The first matching route in the configuration.
4. The first matching decoder in ``decoders.toml``.
"""

from __future__ import annotations

import tomllib
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Decoder
from ingest.errors import PayloadError, Reason
from ingest.topics import TopicFilter, covers, matches_topic
from ingest.validation import SensorNames
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ingest.decoding import Context
    from ingest.validation import Message, Readings


FORMATS: Final = Path(__file__).parents[1] / "formats"


def load_format(name: str) -> Decoder:
    """Return the decoder for a table in ``ingest/formats``; compile it at the first message.

    If the table is faulty, every message is rejected with the reason. The contract tests detect
    this.
    """
    path = FORMATS / f"{name}.toml"
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    if "summary" not in tree:
        raise ValueError(f"{path.name}: summary: missing")

    @cache
    def compile_once() -> Callable[[Message, Context], Readings]:
        from ingest.mapping.decoder import compile_format  # noqa: PLC0415 - loads pydantic

        try:
            return compile_format(name, tree)
        except ValueError as error:
            raise PayloadError(Reason.DECODER_FAILED, f"{path.name}: {error}") from error

    def decode(message: Message, context: Context) -> Readings:
        return compile_once()(message, context)

    topics = tuple(TopicFilter(topic).pattern for topic in tree.get("topics", ()))
    return Decoder(
        name, topics, decode, tree["summary"], over_http=tree.get("over_http", not topics)
    )


def _load_row(name: str, row: dict[str, Any]) -> Decoder:
    """Return the decoder for an entry of ``decoders.toml``."""
    if not row:
        return load_format(name)
    topics, described = (tuple(row.get(key, ())) for key in ("topics", "descriptions"))
    over_http = row.get("over_http", not topics)
    module, _, function = row.get("code", name).partition(":")
    decode = getattr(import_module(f"ingest.decoders.{module}"), function or "decode")
    return Decoder(name, topics, decode, row["summary"], described, over_http)


DECODERS: Final[Mapping[str, Decoder]] = {
    name: _load_row(name, row)
    for name, row in tomllib.loads(
        Path(__file__).with_name("decoders.toml").read_text(encoding="utf-8")
    ).items()
}
"""All decoders by name, in the order in which their topics are tried."""

HTTP_DECODERS: Final = frozenset(name for name, row in DECODERS.items() if row.over_http)
"""Names of the decoders that HTTP ingest accepts."""


@lru_cache(maxsize=8192)
def find_decoder(topic: str) -> Decoder | None:
    """Return the first decoder in ``decoders.toml`` that matches a topic, or None.

    >>> find_decoder("airgradient/readings/84fce612f5b8").name
    'airgradient'
    """
    for decoder in DECODERS.values():
        for pattern in decoder.topics:
            if matches_topic(pattern, topic):
                return decoder
    return None


def list_filters(names: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return MQTT filters that cover the topics of decoders (by default all) and `more` topics.

    MQTT does not allow a `#` inside a filter, so such a filter is cut off after the `#`. A filter
    that another one covers is left out, because a broker may deliver a message once per filter.

    >>> list_filters(("airgradient",), ("site/#/state", "site/+/sensor/+/state"))
    ('airgradient/readings/+', 'site/#')
    """
    filters: dict[str, None] = {}
    for pattern in (*(p for n in names or tuple(DECODERS) for p in DECODERS[n].topics), *more):
        head, inside, tail = pattern.partition("#")
        filters[head + "#" if inside and tail else pattern] = None
    return tuple(f for f in filters if not any(covers(o, f) for o in filters if o != f))


class Routes:
    """Find the decoders for a topic in the registry, mappings, routes and ``decoders.toml``."""

    def __init__(
        self,
        routes: Iterable[tuple[str, str]] = (),
        mappings: Iterable[Decoder] = (),
        registry: Registry | None = None,
        names: SensorNames | None = None,
    ) -> None:
        self._routes = tuple(routes)
        ordered = sorted(
            mappings, key=lambda mapping: not {"+", "#"}.isdisjoint("".join(mapping.topics))
        )
        self._mappings = {mapping.name: mapping for mapping in ordered}
        sensors = (registry or Registry()).sensors
        self._names = names or SensorNames(sensors)
        found = {name: self.find_by_name(sensor.decoder) for name, sensor in sensors.items()}
        self._own = {name: decoder for name, decoder in found.items() if decoder is not None}

    def find_by_name(self, name: str) -> Decoder | None:
        """Return the decoder or mapping with this name, or None."""
        return DECODERS.get(name) or self._mappings.get(name)

    def find_decoders(self, topic: str) -> tuple[Decoder, ...]:
        """Return the decoders to try for a topic, in order."""
        return tuple({decoder.name: decoder for decoder in self._search(topic)}.values())

    def _search(self, topic: str) -> Iterator[Decoder]:
        named = self._names.find_in_topic(topic) if self._own else ()
        own = next((self._own[name] for name in named if name in self._own), None)
        if own is not None and self._accepts(own, topic):
            yield own
        yield from (m for m in self._mappings.values() if _matches(m, topic))
        for pattern, name in self._routes:
            routed = self.find_by_name(name)
            if routed is not None and matches_topic(pattern, topic):
                yield routed
                break
        listed = find_decoder(topic)
        if listed is not None:
            yield listed

    def _accepts(self, decoder: Decoder, topic: str) -> bool:
        if _matches(decoder, topic):
            return True
        if decoder.name in self._mappings:
            return False
        listed = find_decoder(topic)
        return listed is None or (not decoder.topics and listed.name != "ha_discovery")


def _matches(decoder: Decoder, topic: str) -> bool:
    return any(matches_topic(pattern, topic) for pattern in decoder.topics)
