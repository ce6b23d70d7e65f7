"""Which store the configuration names for readings, and whether it would take them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from plumewatch.config.paths import DataPaths
from plumewatch.config.secrets import read_secret
from plumewatch.service.upgrade import refuse_older
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig
    from storage.timeseries import Series

_MARGIN_S: Final = 86_400.0
"""Readings are deleted by whole quarters of an hour, and go on being so while a copy is made."""


def influx_settings(config: PlumewatchConfig) -> InfluxSettings | None:
    """How to reach the InfluxDB; None if the embedded store is used.

    Raises
    ------
    ConfigError
        If the token or password cannot be read.
    """
    wanted = config.timeseries
    if not wanted.url:
        return None
    token = read_secret(config, "timeseries.token")
    return InfluxSettings(
        wanted.url.rstrip("/"),
        wanted.database,
        org=wanted.org,
        username=wanted.username,
        secret="" if token is None else token.reveal(),
        ca_file=wanted.ca_file,
    )


def retention_of(config: PlumewatchConfig) -> Retention:
    """How long each resolution is kept."""
    kept = config.timeseries
    return Retention(kept.raw_days, kept.minute_days, kept.quarter_hour_days)


def series_kept_from(config: PlumewatchConfig, now: float) -> float:
    """Unix seconds; what is older may have been deleted from the series at `now`."""
    return now - config.timeseries.raw_days * 86_400 + _MARGIN_S


def series_of(config: PlumewatchConfig, paths: DataPaths) -> Series:
    """Return the store, not yet open.

    Raises
    ------
    ConfigError
        As `influx_settings`.
    """
    settings = influx_settings(config)
    if settings is None:
        return SqliteSeries(paths.series, retention_of(config))
    return InfluxSeries(settings, config.registry(), paths.influx, retention_of(config))


@contextmanager
def opened_series(config: PlumewatchConfig) -> Iterator[Series]:
    """Open the store of a configuration, and ask whether it fits.

    Raises
    ------
    ConfigError
    StorageError
    """
    config.data_dir.mkdir(parents=True, exist_ok=True)
    paths = DataPaths(config.data_dir)
    for path in (paths.series, paths.influx):
        refuse_older(path)
    series = series_of(config, paths)
    series.open()
    try:
        series.greet()
        yield series
    finally:
        series.close()
