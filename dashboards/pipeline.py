"""*Pipeline*: whether the service keeps up, and whether anything is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.frame import frame
from dashboards.panels import ORANGE, VERMILLION, Words, chart, figure, grid, only, transformed
from dashboards.queries import PIPELINE, InfluxQl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    ready = Words({"1": ("ready", "transparent"), "0": ("not ready", VERMILLION)})
    numbers = [
        figure(
            "Service",
            "Whether every part works, as last written, every minute.",
            InfluxQl(f'SELECT last("ready") FROM {PIPELINE} WHERE time > now() - 10m'),
            words=ready,
            empty="no word for 10 minutes",
        ),
        _newest("Detector behind", "detector_lag_s", "s", [(10, ORANGE), (60, VERMILLION)]),
        _newest("Series behind", "series_lag", "suffix:readings", [(10_000, ORANGE)]),
        _newest("Notices waiting", "outbox", "none", [(10, ORANGE)]),
        _newest("Dead letters kept", "dead_letters", "none"),
        _newest("Sensors alive", "sensors_alive", "none"),
    ]
    flow = [
        _rates(
            "Messages a second",
            "Received from the broker, and what became of them.",
            {
                "received": "messages",
                "accepted": "accepted",
                "refused": "rejected",
                "known already": "duplicates",
            },
        ),
        _rates(
            "Readings a second",
            "Through the detector, and into the series.",
            {"detector": "detected", "series": "stored"},
        ),
        _totals(
            "Lost or refused",
            "Must stay empty: dropped by the broker, refused by the series, deleted before the"
            " series had them, or never sent by the sensor's own numbers.",
            {
                "QoS 0 dropped": "dropped",
                "dropped by the broker": "broker_dropped",
                "refused by the series": "refused",
                "deleted unread": "deleted_unread",
                "never came": "missing",
            },
        ),
        _totals(
            "Alerts and notices",
            "Events, alerts, notices delivered and attempts that failed.",
            {
                "events": "events",
                "alerts": "alerts",
                "delivered": "delivered",
                "failed attempts": "delivery_failures",
            },
        ),
        _totals(
            "Annotations",
            "Incidents written into this Grafana, refused by it for good, attempts that failed,"
            " and what waits; nothing where outbound.grafana is not set.",
            {
                "written": "annotations",
                "refused": "annotations_refused",
                "failed attempts": "annotation_failures",
            },
            {"waiting": "annotations_waiting"},
        ),
    ]
    lags = [
        _levels(
            "Readings and records behind",
            "Readings that detector and series have not seen yet, records that wait.",
            {"detector": "detector_lag", "series": "series_lag", "records": "records_waiting"},
            "none",
        ),
        _levels(
            "Journal and broker",
            "Mean time of a commit to the disk; round trip of a message through the broker.",
            {"commit": "commit_ms", "round trip": "canary_ms"},
            "ms",
        ),
        _levels(
            "Outbox",
            "Age of the oldest notice that waits.",
            {"oldest notice": "outbox_oldest_s"},
            "s",
        ),
        _levels(
            "Dead letters",
            "Refused messages that are kept; the staff page shows each with its reason.",
            {"dead letters": "dead_letters"},
            "none",
        ),
    ]
    failing = grid(
        "What did not work",
        "Minutes in which a part was not ready, and why.",
        InfluxQl(
            f'SELECT "failing", "version" FROM {PIPELINE} WHERE $timeFilter AND "ready" = 0',
            table=True,
        ),
        empty="everything worked in this time",
    )
    transformed(failing, *only("Time", "failing", "version"))
    return frame(
        settings,
        "plumewatch-pipeline",
        "Plumewatch: pipeline",
        "The service itself: rates, lags, journal, dead letters.",
        [
            ("At a glance", numbers),
            ("Flow", flow),
            ("Lags", lags),
            ("Failures", [failing]),
        ],
        since="now-6h",
        refresh="1m",
        places=False,
        incidents=False,
    )


def _newest(title: str, field: str, unit: str, bands: Sequence[tuple[float, str]] = ()) -> object:
    return figure(
        title,
        "As last written, every minute.",
        InfluxQl(f'SELECT last("{field}") FROM {PIPELINE} WHERE time > now() - 10m'),
        unit=unit,
        decimals=0,
        bands=bands,
        empty="no word for 10 minutes",
    )


def _question(what: Mapping[str, str]) -> InfluxQl:
    chosen = ", ".join(f'{expression} AS "{name}"' for name, expression in what.items())
    return InfluxQl(
        f"SELECT {chosen} FROM {PIPELINE} WHERE $timeFilter GROUP BY time($__interval) fill(none)",
        alias="$col",
    )


def _rates(title: str, about: str, fields: Mapping[str, str]) -> object:
    what = {name: f'sum("{field}") / sum("period_s")' for name, field in fields.items()}
    return chart(title, about, _question(what), least="1m", low=0)


def _totals(
    title: str, about: str, fields: Mapping[str, str], highest: Mapping[str, str] = {}
) -> object:
    what = {name: f'sum("{field}")' for name, field in fields.items()}
    what |= {name: f'max("{field}")' for name, field in highest.items()}
    return chart(title, about, _question(what), as_bars=True, least="1m", low=0)


def _levels(title: str, about: str, fields: Mapping[str, str], unit: str) -> object:
    what = {name: f'max("{field}")' for name, field in fields.items()}
    return chart(title, about, _question(what), unit=unit, least="1m", low=0)
