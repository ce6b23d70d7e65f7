"""Build the settings of ingest: mappings, topics, senders and polled sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from ingest.decoders import DECODERS, Routes, list_filters
from ingest.decoding import Context
from ingest.http.poll import PolledSensor
from ingest.http.sources import HttpSource
from ingest.intake import IntakeConfig
from ingest.mapping.decoder import PREFIX, compile_mapping
from ingest.mapping.examples import find_failures
from ingest.topics import TopicFilter
from ingest.validation import SensorNames, fold_id
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.secrets import SecretReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alerts.secrets import Secret
    from ingest.decoding import Decoder
    from plumewatch.config.model import PlumewatchConfig

SHORTEST_SECRET: Final = 16
"""Minimum length of a token or signing secret."""


def compile_mappings(config: PlumewatchConfig) -> tuple[Decoder, ...]:
    """Compile the mappings; raises `ConfigError` with every example that fails."""
    decoders = tuple(map(compile_mapping, config.mapping))
    faults = [
        ConfigFault(
            f"mapping.{i}.example.{k}",
            failure,
            f"mapping {mapping.name!r} and its example must agree: correct one of them",
        )
        for i, (mapping, decoder) in enumerate(zip(config.mapping, decoders, strict=True))
        for k, failure in find_failures(decoder, mapping.example, config.get_zone())
    ]
    if faults:
        raise ConfigError(faults, config.tree)
    return decoders


def _list_routes(config: PlumewatchConfig) -> tuple[tuple[str, str], ...]:
    return tuple((route.topic, route.decoder) for route in config.route)


def _map_aliases(config: PlumewatchConfig) -> dict[str, str]:
    return {alias: sensor.id for sensor in config.sensor for alias in sensor.aliases}


def build_routes(config: PlumewatchConfig) -> Routes:
    """Build the routes, which choose a topic's decoders; raises like `compile_mappings`."""
    registry = config.build_registry()
    names = SensorNames(registry.sensors, _map_aliases(config))
    return Routes(_list_routes(config), compile_mappings(config), registry, names)


def find_sensor_zones(config: PlumewatchConfig) -> dict[str, ZoneInfo]:
    """Find the time zones of sensors outside the main zone, by folded id and alias."""
    sites = {room.id: config.get_zone(room.site) for room in config.room if config.sites}
    main = config.get_zone()
    zones: dict[str, ZoneInfo] = {}
    for sensor in config.sensor:
        zone = ZoneInfo(sensor.timezone) if sensor.timezone else sites.get(sensor.room, main)
        if zone != main:
            zones |= {fold_id(name): zone for name in (sensor.id, *sensor.aliases)}
    return zones


def build_intake_config(config: PlumewatchConfig, *, dedupe_window: int) -> IntakeConfig:
    """Build the configuration of the intake; raises like `compile_mappings`."""
    return IntakeConfig(
        context=Context(
            zone=config.get_zone(),
            registry=config.build_registry(),
            zones=find_sensor_zones(config),
        ),
        aliases=_map_aliases(config),
        routes=_list_routes(config),
        mappings=compile_mappings(config),
        dedupe_window=dedupe_window,
    )


def list_topic_filters(config: PlumewatchConfig, mappings: tuple[Decoder, ...]) -> tuple[str, ...]:
    """List the MQTT topic filters to subscribe to."""
    more = [pattern for mapping in mappings for pattern in mapping.topics]
    more += [route.topic for route in config.route]
    return list_filters(tuple(config.ingest.decoders), (*more, *config.ingest.topics))


def read_http_sources(config: PlumewatchConfig) -> tuple[HttpSource, ...]:
    """Read the senders of HTTP ingest; `ConfigError` lists every unusable secret."""
    reader = SecretReader(config)
    sources = tuple(_read_source(i, config, reader) for i in range(len(config.ingest.source)))
    reader.faults += _find_shared_secrets(sources)
    reader.check()
    return sources


def read_polled_sensors(config: PlumewatchConfig) -> tuple[PolledSensor, ...]:
    """Read the sensors that are polled over HTTP; raises like `read_http_sources`."""
    reader = SecretReader(config)
    decoders = {sensor.id: sensor.decoder for sensor in config.build_registry().sensors.values()}
    polls = tuple(
        PolledSensor(
            sensor=poll.sensor,
            decoder=decoders[poll.sensor],
            topic=_find_topic(decoders[poll.sensor], config),
            url=poll.url,
            every_s=poll.every_s,
            user=poll.user,
            header=poll.header,
            secret=reader.read(f"ingest.poll.{i}.password"),
            ca_file=poll.ca_file,
        )
        for i, poll in enumerate(config.ingest.poll)
        if poll.sensor in decoders
    )
    reader.check()
    return polls


def _read_source(index: int, config: PlumewatchConfig, reader: SecretReader) -> HttpSource:
    source, path = config.ingest.source[index], f"ingest.source.{index}"
    own = [sensor.id for sensor in config.sensor if sensor.decoder == source.decoder]
    return HttpSource(
        name=source.name,
        decoder=source.decoder,
        sensors=frozenset(source.sensors or own),
        token=_read_long_secret(f"{path}.token", reader),
        signature=_read_long_secret(f"{path}.signature", reader),
        accepts_unregistered=not source.sensors,
        rate_per_s=source.rate_per_s,
        topic=_find_topic(source.decoder, config),
    )


def _find_topic(decoder: str, config: PlumewatchConfig) -> str:
    for mapping in config.mapping:
        if decoder == PREFIX + mapping.name:
            return TopicFilter(mapping.topic).pattern
    return next(iter(DECODERS[decoder].topics), "+")


def _read_long_secret(path: str, reader: SecretReader) -> Secret | None:
    secret = reader.read(path)
    length = SHORTEST_SECRET if secret is None else len(secret.reveal())
    if length < SHORTEST_SECRET:
        allowed = f"at least {SHORTEST_SECRET} random characters, as `openssl rand -hex 24` gives"
        reader.faults.append(ConfigFault(f"{path}_file", f"{length} characters", allowed))
    return secret


def _find_shared_secrets(sources: Sequence[HttpSource]) -> Iterator[ConfigFault]:
    seen: dict[str, int] = {}
    for i, source in enumerate(sources):
        for secret in filter(None, (source.token, source.signature)):
            first = seen.setdefault(secret.reveal(), i)
            if first != i:
                allowed = f"must differ from the secret of ingest.source.{first}"
                yield ConfigFault(f"ingest.source.{i}", "a secret", allowed)
