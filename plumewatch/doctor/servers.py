"""The servers that readings and incidents are written to: InfluxDB and Grafana."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumewatch.config.settings import grafana_target
from plumewatch.config.timeseries_settings import influx_settings
from plumewatch.doctor.result import fault, ok, warning
from storage.errors import StorageUnavailableError
from storage.registry import Registry
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_setup import server_averages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.doctor.result import CheckResult

_SERIES = "time series"


def check_series(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Ask the InfluxDB, if there is one, for version, permissions and retention; write nothing."""
    del now
    settings = influx_settings(config)
    if settings is None:
        return
    series = InfluxSeries(settings, Registry(), ":memory:")
    try:
        sentence = series.check_connection()
        if series.http.clock_difference():
            yield warning(_SERIES, sentence, "set both clocks by NTP: timedatectl set-ntp true")
        else:
            yield ok(_SERIES, sentence)
        try:
            series.check_set_up()
        except StorageUnavailableError as error:
            yield warning(_SERIES, str(error), "plumewatch storage setup")
        if makers := server_averages(series.http):
            yield warning(
                _SERIES,
                f"{settings.url} still computes averages itself, at great cost: {', '.join(makers)}"
                " of an earlier version",
                "plumewatch storage setup",
            )
    except StorageUnavailableError as error:
        yield fault(
            _SERIES,
            str(error),
            "systemctl status influxdb; timeseries.url, database and token must match it:"
            f" curl -i {settings.url}/ping",
        )
    finally:
        series.close()


def check_grafana(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Ask the Grafana for its annotations, as the service does; write nothing."""
    target = grafana_target(config)
    if target is None:
        return
    from dashboards.grafana import Grafana, Refused, Unreachable  # noqa: PLC0415 - an extra

    server = Grafana(target.url, target.token.reveal())
    try:
        server.check()
        for _ in server.annotate((), now - 1.0, now):
            pass
    except Refused as error:
        yield fault(
            "grafana",
            f"{error}; no incident would be annotated",
            "put a token of a service account with the role Editor into the file or variable of"
            " [outbound.grafana] (Grafana: Administration, Service accounts)",
        )
    except Unreachable as error:
        yield fault(
            "grafana",
            f"{error}; incidents wait for it, alerts do not",
            "start the Grafana, or correct the url in [outbound.grafana]",
        )
    else:
        yield ok("grafana", f"{target.url} accepts the token (nothing was written)")
