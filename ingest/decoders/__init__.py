"""Payload decoders: one line a format in the literal table `DECODERS`.

A format is a table (``ingest/formats/<name>.toml``) where a mapping can say it, else a module here.
A decoder turns one `Message` into readings that are already validated; it raises nothing but
`DecodeError`; what a format must remember lives in `Context.states`. Being in the table *is*
being tested: the contract tests and the fuzz target run over it. See `ingest.decoding` for the row
and `ingest.validation` for the rules that hold for all formats.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ingest.decoders import (
    airgradient,
    esphome,
    generic,
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
from ingest.decoders.tables import load_format
from ingest.decoding import Context, Decoder, topic_matches
from ingest.mapping import ha_discovery

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DECODERS", "HTTP_DECODERS", "Context", "Decoder", "find", "subscriptions"]

DECODERS: Final[Mapping[str, Decoder]] = {
    "native": native.DECODER,
    "tasmota": tasmota.DECODER,
    "airgradient": airgradient.DECODER,
    "chirpstack": servers.CHIRPSTACK,
    "tts": servers.TTS,
    "zigbee2mqtt": zigbee2mqtt.DECODER,
    "meraki": load_format("meraki"),
    "axis": load_format("axis"),
    "ruuvi": ruuvi.DECODER,
    "qingping": qingping.DECODER,
    "kaiterra": load_format("kaiterra"),
    "sensecap": load_format("sensecap"),
    "sparkplug": sparkplug.DECODER,
    "homie": homie.DECODER,
    "ha_discovery": ha_discovery.DECODER,
    "shelly": shelly.DECODER,
    "esphome": esphome.DECODER,
    "loriot": servers.LORIOT,
    "milesight_gateway": servers.MILESIGHT_GATEWAY,
    "milesight": milesight.DECODER,
    "decentlab": decentlab.DECODER,
    "elsys": elsys.DECODER,
    "influx": influx.DECODER,
    "sensorcommunity": sensorcommunity.DECODER,
    "purpleair": load_format("purpleair"),
    "awair": load_format("awair"),
    "unifi": load_format("unifi"),
    "verkada": load_format("verkada"),
    "halo": halo.DECODER,
    "generic": generic.DECODER,
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
    return tuple(f for f in filters if not any(_covers(o, f) for o in filters if o != f))


def _covers(wide: str, narrow: str) -> bool:
    """Whether every topic of one MQTT filter is one of another."""
    have = narrow.split("/")
    for place, level in enumerate(wide.split("/")):
        if level == "#":
            return True
        if place >= len(have) or have[place] == "#" or level not in ("+", have[place]):
            return False
    return wide.count("/") == narrow.count("/")
