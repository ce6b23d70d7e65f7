"""*Pipeline*: whether the service keeps up, and whether anything is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards import panels, queries
from dashboards.frame import frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.builders import timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

_NEWEST: Final = "time > now() - 10m"
_ABOUT_NEWEST: Final = "As last written, every minute."
_NUMBERS: Final[tuple[tuple[str, str, str, panels.Bands], ...]] = (
    ("Detector lag", "detector_lag_s", "s", [(10, panels.ORANGE), (60, panels.VERMILLION)]),
    ("Series lag", "series_lag", "suffix:readings", [(10_000, panels.ORANGE)]),
    ("Notices waiting", "outbox", "none", [(10, panels.ORANGE)]),
    ("Dead letters kept", "dead_letters", "none", []),
    ("Sensors alive", "sensors_alive", "none", []),
)


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    ready = panels.number(
        "Service",
        "Whether every part works, as last written, every minute.",
        queries.single('last("ready")', queries.PIPELINE, _NEWEST),
        words={"1": ("ready", panels.TRANSPARENT), "0": ("not ready", panels.VERMILLION)},
        empty="no record for 10 minutes",
    )
    numbers = [
        panels.number(
            title,
            _ABOUT_NEWEST,
            queries.single(f'last("{field}")', queries.PIPELINE, _NEWEST),
            unit=unit,
            decimals=0,
            bands=bands,
            empty="no record for 10 minutes",
        )
        for title, field, unit, bands in _NUMBERS
    ]
    flow = [
        _chart(
            "Messages per second",
            "Received from the broker, and their outcome.",
            counted="messages/s",
            what=_rates(
                {
                    "received": "messages",
                    "accepted": "accepted",
                    "rejected": "rejected",
                    "duplicates": "duplicates",
                }
            ),
        ),
        _chart(
            "Readings per second",
            "Through the detector, and into the series.",
            counted="readings/s",
            what=_rates({"detector": "detected", "series": "stored"}),
        ),
        _chart(
            "Lost or rejected",
            "Should stay empty: dropped by the broker, rejected by the series, deleted before the"
            " series had them, or missing by the sequence numbers of the sensor.",
            _aggregates(
                "sum",
                {
                    "QoS 0 dropped": "dropped",
                    "dropped by the broker": "broker_dropped",
                    "rejected by the series": "refused",
                    "deleted unread": "deleted_unread",
                    "missing": "missing",
                },
            ),
            as_bars=True,
        ),
        _chart(
            "Alerts and notices",
            "Events, alerts, notices delivered and failed attempts.",
            _aggregates(
                "sum",
                {
                    "events": "events",
                    "alerts": "alerts",
                    "delivered": "delivered",
                    "failed attempts": "delivery_failures",
                },
            ),
            as_bars=True,
        ),
        _chart(
            "Annotations",
            "Incidents written into this Grafana, rejected by it, failed attempts, and those"
            " waiting; nothing if outbound.grafana is not set.",
            {
                **_aggregates(
                    "sum",
                    {
                        "written": "annotations",
                        "rejected": "annotations_refused",
                        "failed attempts": "annotation_failures",
                    },
                ),
                **_aggregates("max", {"waiting": "annotations_waiting"}),
            },
            as_bars=True,
            width=24,
        ),
    ]
    lags = [
        _chart(
            "Lag in readings and records",
            "Readings that detector and series have not processed yet, records that wait.",
            _aggregates(
                "max",
                {"detector": "detector_lag", "series": "series_lag", "records": "records_waiting"},
            ),
        ),
        _chart(
            "Journal and broker",
            "Mean time of a commit to the disk; round trip of a message through the broker.",
            _aggregates("max", {"commit": "commit_ms", "round trip": "canary_ms"}),
            unit="ms",
        ),
        _chart(
            "Outbox",
            "Age of the oldest notice that waits.",
            _aggregates("max", {"oldest notice": "outbox_oldest_s"}),
            unit="s",
        ),
        _chart(
            "Dead letters",
            "Rejected messages that are kept; the staff page shows each with its reason.",
            _aggregates("max", {"dead letters": "dead_letters"}),
        ),
    ]
    failures = panels.grid(
        "Failures",
        "Minutes in which a part was not ready, and why.",
        queries.rows('"failing", "version"', queries.PIPELINE, where='$timeFilter AND "ready" = 0'),
        columns=[
            panels.Column("Time", 165),
            panels.Column("failing", wraps=True),
            panels.Column("version", 100),
        ],
        empty="no failure in this time",
    )
    return frame(
        settings,
        "plumewatch-pipeline",
        "Plumewatch: pipeline",
        "The service itself: rates, lags, journal, dead letters.",
        [
            ("At a glance", [ready, *numbers]),
            ("Flow", flow),
            ("Lags", lags),
            ("Failures", [failures]),
        ],
        since="now-6h",
        refresh="1m",
        places=False,
        incidents=False,
    )


def _rates(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: f'sum("{field}") / sum("period_s")' for name, field in fields.items()}


def _aggregates(function: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {name: f'{function}("{field}")' for name, field in fields.items()}


def _chart(
    title: str,
    about: str,
    what: Mapping[str, str],
    *,
    unit: str = "none",
    counted: str = "count",
    as_bars: bool = False,
    width: int = 12,
) -> timeseries.Panel:
    return panels.chart(
        title,
        about,
        queries.over_time(what, queries.PIPELINE, where="$timeFilter"),
        unit=unit,
        counted=counted,
        as_bars=as_bars,
        least="1m",
        low=0,
        width=width,
    )
