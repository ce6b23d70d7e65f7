"""The store of readings that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plumewatch.config.secrets import read_secret
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from storage.timeseries import Series

_MARGIN_S: Final = 86_400.0
"""Readings are deleted by whole quarters of an hour, also while they are being copied."""


def influx_settings(
    config: PlumewatchConfig, username: str = "", secret: str | None = None
) -> InfluxSettings | None:
    """Return how to reach the InfluxDB; None for the embedded SQLite.

    With a `secret` its own is not read. Raises `ConfigError` if it cannot be read.
    """
    influx = config.timeseries
    if not influx.url:
        return None
    if secret is None:
        token = read_secret(config, "timeseries.token")
        username, secret = influx.username, "" if token is None else token.reveal()
    return InfluxSettings(
        influx.url.rstrip("/"),
        influx.database,
        org=influx.org,
        username=username,
        secret=secret,
        ca_file=influx.ca_file,
    )


def retention_of(config: PlumewatchConfig) -> Retention:
    """Return how long each resolution is kept."""
    kept = config.timeseries
    return Retention(kept.raw_days, kept.minute_days, kept.quarter_hour_days)


def series_kept_from(config: PlumewatchConfig, now: float) -> float:
    """Return the Unix seconds before which readings may be deleted from the series at `now`."""
    return now - config.timeseries.raw_days * 86_400 + _MARGIN_S


def series_of(config: PlumewatchConfig, paths: DataPaths) -> Series:
    """Return the store, not yet open; raises as `influx_settings`."""
    settings = influx_settings(config)
    if settings is None:
        return SqliteSeries(paths.series, retention_of(config))
    return InfluxSeries(settings, config.registry(), paths.influx, retention_of(config))
