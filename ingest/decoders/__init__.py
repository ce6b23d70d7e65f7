"""Payload decoders: one entry a format in ``decoders.toml``.

A format is a table (``ingest/formats/<name>.toml``) where a mapping can say it, else a module here.
A decoder turns one `Message` into readings that are already validated; it raises nothing but
`DecodeError`; what a format must remember lives in `Context.states`. Being in the table *is*
being tested: the contract tests and the fuzz target run over it. See `ingest.decoding` for the row
and `ingest.validation` for the rules that hold for all formats.
"""

from __future__ import annotations

import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.decoders import (
    airgradient,
    esphome,
    generic,
    ha_discovery,
    halo,
    homie,
    influx,
    native,
    qingping,
    ruuvi,
    sensorcommunity,
    shelly,
    sparkplug,
    tasmota,
    zigbee2mqtt,
)
from ingest.decoders.lorawan import decentlab, elsys, milesight, servers
from ingest.decoding import Context, Decoder
from ingest.errors import PayloadError, Reason
from ingest.topics import TopicFilter, covers, topic_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.validation import Message, Readings
FORMATS: Final = Path(__file__).parents[1] / "formats"


def load_format(name: str) -> Decoder:
    """Return the decoder of a format, compiled with its first message.

    A table that is wrong refuses every message and says where; the contract tests send one.
    """
    path = FORMATS / f"{name}.toml"
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    if "summary" not in tree:
        raise ValueError(f"{path.name}: summary: missing")

    @cache
    def compiled() -> Callable[[Message, Context], Readings]:
        from ingest.mapping.decoder import compile_format  # noqa: PLC0415 - loads pydantic

        try:
            return compile_format(name, tree)
        except ValueError as error:
            raise PayloadError(Reason.DECODER_FAILED, f"{path.name}: {error}") from error

    def decode(message: Message, context: Context) -> Readings:
        return compiled()(message, context)

    topics = tuple(TopicFilter(topic).pattern for topic in tree.get("topics", ()))
    return Decoder(name, topics, decode, tree["summary"], over_http=tree.get("over_http", False))


__all__ = ["DECODERS", "HTTP_DECODERS", "Context", "Decoder", "find", "subscriptions"]

_IN_CODE: Final = {
    "native": native.decode,
    "tasmota": tasmota.decode,
    "airgradient": airgradient.decode,
    "chirpstack": servers.chirpstack,
    "tts": servers.tts,
    "zigbee2mqtt": zigbee2mqtt.decode,
    "ruuvi": ruuvi.decode,
    "qingping": qingping.decode,
    "sparkplug": sparkplug.decode,
    "homie": homie.decode,
    "ha_discovery": ha_discovery.decode,
    "shelly": shelly.decode,
    "esphome": esphome.decode,
    "loriot": servers.loriot,
    "milesight_gateway": servers.milesight_gateway,
    "milesight": milesight.decode,
    "decentlab": decentlab.decode,
    "elsys": elsys.decode,
    "influx": influx.decode,
    "sensorcommunity": sensorcommunity.decode,
    "halo": halo.decode,
    "generic": generic.decode,
}


def _listed(name: str, row: dict[str, Any]) -> Decoder:
    """Return the decoder of a row of ``decoders.toml``."""
    if not row:
        return load_format(name)
    topics, described = (tuple(row.get(key, ())) for key in ("topics", "descriptions"))
    over_http = row.get("over_http", False)
    return Decoder(name, topics, _IN_CODE[name], row["summary"], described, over_http)


DECODERS: Final[Mapping[str, Decoder]] = {
    name: _listed(name, row)
    for name, row in tomllib.loads(
        Path(__file__).with_name("decoders.toml").read_text(encoding="utf-8")
    ).items()
}
"""All decoders by name; the order is the order in which topics are tried."""

HTTP_DECODERS: Final = frozenset(name for name, row in DECODERS.items() if row.over_http)
"""Decoders that read one whole message by itself."""


@lru_cache(maxsize=8192)
def find(topic: str) -> Decoder | None:
    """Return the decoder of a topic, None if no pattern of the table matches.

    >>> find("airgradient/readings/84fce612f5b8").name
    'airgradient'
    """
    for decoder in DECODERS.values():
        for pattern in decoder.topics:
            if topic_matches(pattern, topic):
                return decoder
    return None


def subscriptions(names: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """MQTT topic filters that cover the named decoders' topics (all without names) and more.

    A filter with a `#` inside, which MQTT does not know, becomes the filter up to that `#`. A
    filter that another one covers is left out, since a broker may deliver once for each.

    >>> subscriptions(("airgradient",), ("site/#/state", "site/+/sensor/+/state"))
    ('airgradient/readings/+', 'site/#')
    """
    filters: dict[str, None] = {}
    for pattern in (*(p for n in names or tuple(DECODERS) for p in DECODERS[n].topics), *more):
        head, inside, tail = pattern.partition("#")
        filters[head + "#" if inside and tail else pattern] = None
    return tuple(f for f in filters if not any(covers(o, f) for o in filters if o != f))
