"""What ingest is given from the configuration: mappings, routes, aliases, topics to listen to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.decoders import subscriptions
from ingest.decoding import Context
from ingest.intake import IntakeConfig
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.examples import differences
from ingest.routes import Routes
from plumewatch.config.faults import ConfigError, ConfigFault

if TYPE_CHECKING:
    from ingest.decoding import Decoder
    from plumewatch.config.model import PlumewatchConfig


def mapping_decoders(config: PlumewatchConfig) -> tuple[Decoder, ...]:
    """Compile the mappings and hold each to its own examples.

    Raises
    ------
    ConfigError
        With every example that does not give what it says.
    """
    decoders: list[Decoder] = []
    faults: list[ConfigFault] = []
    for i, mapping in enumerate(config.mapping):
        decoder = compile_mapping(mapping)
        decoders.append(decoder)
        faults += [
            ConfigFault(
                f"mapping.{i}.example.{k}",
                said,
                f"mapping {mapping.name!r} and its example must agree",
            )
            for k, said in differences(decoder, mapping.example, config.zone())
        ]
    if faults:
        raise ConfigError(faults)
    return tuple(decoders)


def _routes(config: PlumewatchConfig) -> tuple[tuple[str, str], ...]:
    return tuple((route.topic, route.decoder) for route in config.route)


def _aliases(config: PlumewatchConfig) -> dict[str, str]:
    return {alias: sensor.id for sensor in config.sensor for alias in sensor.aliases}


def routes(config: PlumewatchConfig) -> Routes:
    """Order of decoders for every topic, as the service has it.

    Raises
    ------
    ConfigError
        As `mapping_decoders`.
    """
    return Routes(_routes(config), mapping_decoders(config), config.registry(), _aliases(config))


def intake_config(config: PlumewatchConfig, *, dedupe_window: int) -> IntakeConfig:
    """Return what the intake is given.

    Raises
    ------
    ConfigError
        As `mapping_decoders`.
    """
    return IntakeConfig(
        context=Context(zone=config.zone(), registry=config.registry()),
        aliases=_aliases(config),
        routes=_routes(config),
        mappings=mapping_decoders(config),
        dedupe_window=dedupe_window,
        elsewhere=config.other_shards,
        takes_strangers=config.accepts_unregistered,
    )


def topic_filters(config: PlumewatchConfig, mappings: tuple[Decoder, ...]) -> tuple[str, ...]:
    """MQTT topic filters to subscribe to: of decoders, mappings, routes, and further ones."""
    own = [pattern for mapping in mappings for pattern in mapping.topics]
    own += [route.topic for route in config.route]
    return subscriptions(tuple(config.ingest.decoders), (*own, *config.ingest.topics))
