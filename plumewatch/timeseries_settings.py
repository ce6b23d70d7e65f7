"""Which store the configuration names for readings, and whether it would take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumewatch.settings import secret_of
from storage.errors import StorageUnavailableError
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from plumewatch.config import PlumewatchConfig
    from plumewatch.paths import DataPaths
    from storage.timeseries import Series

__all__ = ["influx_settings", "retention_of", "said_of_server", "series_of"]


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
    secret = ""
    if wanted.token_file or wanted.token_env:
        secret = secret_of(
            "timeseries.token", file=wanted.token_file, env=wanted.token_env
        ).reveal()
    return InfluxSettings(
        wanted.url.rstrip("/"),
        wanted.database,
        org=wanted.org,
        username=wanted.username,
        secret=secret,
        ca_file=wanted.ca_file,
    )


def retention_of(config: PlumewatchConfig) -> Retention:
    """How long each resolution is kept."""
    kept = config.timeseries
    return Retention(kept.raw_days, kept.minute_days, kept.quarter_hour_days)


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


def said_of_server(settings: InfluxSettings) -> tuple[bool, str]:
    """Ask the server whether version, database and rights fit; nothing is written.

    Returns
    -------
    tuple of bool and str
        Whether all does, and a sentence.
    """
    http = InfluxHttp(settings)
    try:
        return True, http.greet()
    except StorageUnavailableError as error:
        return False, str(error)
    finally:
        http.close()
