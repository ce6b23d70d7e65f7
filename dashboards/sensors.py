"""*Sensor health*: which sensors can be relied on, and which need a visit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.frame import frame, room_dashboard
from dashboards.panels import (
    GREY,
    ORANGE,
    VERMILLION,
    Words,
    bars,
    chart,
    column,
    figure,
    grid,
    link,
    only,
    transformed,
    unit_of,
)
from dashboards.queries import AVERAGES, EVENT, HEALTH, IN_TIME, PLACE, READINGS, InfluxQl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        _number("Alive", "Registered sensors that are alive.", "online", 'sum("online")'),
        _number(
            "Faulty",
            "Sensors with a fault that stands.",
            "faults",
            'count("faults")',
            ' WHERE "faults" > 0',
            [(1, ORANGE)],
        ),
        _number(
            "Tampered with",
            "Sensors with tampering that stands.",
            "tamper",
            'sum("tamper")',
            bands=[(1, ORANGE)],
        ),
        figure(
            "Time on line",
            "Share of the time range in which sensors were alive.",
            InfluxQl(f'SELECT sum("online_s") / sum("period_s") FROM {HEALTH} WHERE {IN_TIME}'),
            unit="percentunit",
            decimals=1,
            empty="nothing known",
            width=6,
        ),
        figure(
            "Readings received",
            "Of those that came and those that the intervals of the sensors had room for.",
            InfluxQl(f'SELECT sum("received") / sum("expected") FROM {HEALTH} WHERE {IN_TIME}'),
            unit="percentunit",
            decimals=1,
            empty="nothing known",
            width=6,
        ),
    ]
    overview = [_table()]
    gaps = [
        chart(
            "Time on line by sensor",
            "Share of each interval in which a sensor was alive; a gap below 100 % is an outage.",
            InfluxQl(
                f'SELECT sum("online_s") / sum("period_s") AS "on line" FROM {HEALTH}'
                f' WHERE {IN_TIME} GROUP BY time($__interval), "sensor" fill(none)',
                alias="$tag_sensor",
            ),
            unit="percentunit",
            least="5m",
            low=0,
            high=1,
        ),
        chart(
            "Readings that never came",
            "By the numbers that sensors give their readings.",
            InfluxQl(
                f'SELECT sum("missing") FROM {HEALTH} WHERE {IN_TIME}'
                ' GROUP BY time($__interval), "sensor" fill(none)',
                alias="$tag_sensor",
            ),
            as_bars=True,
            stacked=True,
            least="5m",
            low=0,
        ),
        bars(
            "Readings received, by sensor",
            "Of those that came and those that its interval had room for, in the time range.",
            InfluxQl(
                f'SELECT sum("received") / sum("expected") FROM {HEALTH} WHERE {IN_TIME}'
                ' GROUP BY "sensor"',
                alias="$tag_sensor",
            ),
            unit="percentunit",
            decimals=0,
            high=1,
            width=8,
        ),
        chart(
            "Battery",
            "Of sensors that have one.",
            InfluxQl(
                f'SELECT min("battery") FROM {READINGS} WHERE {IN_TIME}'
                ' GROUP BY time($__interval), "sensor" fill(none)',
                alias="$tag_sensor",
            ),
            unit=unit_of("battery"),
            bands=[(20, "transparent")],
            empty="no sensor here has a battery",
            least="15m",
            low=0,
            high=100,
            width=8,
        ),
        chart(
            "Signal strength",
            "Of sensors that report it; below -85 dBm readings get lost.",
            InfluxQl(
                f'SELECT mean("rssi") FROM {READINGS} WHERE {IN_TIME}'
                ' GROUP BY time($__interval), "sensor" fill(none)',
                alias="$tag_sensor",
            ),
            unit=unit_of("rssi"),
            empty="no sensor here reports it",
            least="15m",
            width=8,
        ),
    ]
    drift = [
        chart(
            "Drift: the cleanest air of each day",
            "Lowest PM2.5 of each day by sensor. All rooms of a school breathe the same outdoor"
            " air at night: a sensor that moves away from the others is dusty or worn.",
            InfluxQl(
                f'SELECT min("pm25_min") FROM {AVERAGES} WHERE time > now() - 30d AND {PLACE}'
                f" GROUP BY time(1d), \"sensor\" fill(none) tz('{settings.zone}')",
                alias="$tag_sensor",
            ),
            unit=unit_of("pm25"),
            low=0,
            width=24,
        ).time_from("30d"),
        _faults(),
    ]
    versions = [_firmware(), _versions()]
    return frame(
        settings,
        "plumewatch-sensors",
        "Plumewatch: sensor health",
        "Last seen, gaps, battery, drift, firmware; what is frozen, dusty or tampered with.",
        [
            ("At a glance", numbers),
            ("Sensors", overview),
            ("Gaps, power and signal", gaps),
            ("Drift, faults and tampering", drift),
            ("Firmware", versions),
        ],
        since="now-24h",
        refresh="1m",
    )


def _number(
    title: str,
    about: str,
    field: str,
    what: str,
    where: str = "",
    bands: Sequence[tuple[float, str]] = (),
) -> object:
    """One number over the newest word of every sensor."""
    newest = (
        f'SELECT last("{field}") AS "{field}" FROM {HEALTH}'
        f' WHERE time > now() - 1d AND {PLACE} GROUP BY "sensor"'
    )
    return figure(title, about, InfluxQl(f"SELECT {what} FROM ({newest}){where}"), bands=bands)


def _table() -> object:
    panel = grid(
        "Sensors",
        "As last looked at, every five minutes; readings are those of the time range.",
        InfluxQl(
            'SELECT last("state") AS "state", last("last_seen") * 1000 AS "last seen",'
            ' last("fault") AS "fault", last("tamper") AS "tamper"'
            f' FROM {HEALTH} WHERE time > now() - 1d AND {PLACE} GROUP BY "room", "sensor"',
            table=True,
        ),
        InfluxQl(
            'SELECT sum("received") / sum("expected") AS "received", sum("missing") AS "missing"'
            f" FROM {HEALTH} WHERE {IN_TIME}"
            ' GROUP BY "sensor"',
            table=True,
        ),
        InfluxQl(
            'SELECT last("battery") AS "battery", last("rssi") AS "signal"'
            f' FROM {READINGS} WHERE time > now() - 1d AND {PLACE} GROUP BY "sensor"',
            table=True,
        ),
        empty="no sensor known",
        height=10,
    )
    transformed(
        panel,
        ("joinByField", {"byField": "sensor", "mode": "outer"}),
        *only(
            "room",
            "sensor",
            "state",
            "last seen",
            "battery",
            "signal",
            "received",
            "missing",
            "tamper",
            "fault",
        ),
    )
    states = {
        "alive": ("alive", "transparent"),
        "silent": ("silent", ORANGE),
        "offline": ("offline", VERMILLION),
        "never heard": ("never heard", GREY),
    }
    column(panel, "state", words=Words(states))
    column(panel, "tamper", words=Words({"0": ("no", "transparent"), "1": ("tampered", ORANGE)}))
    column(panel, "last seen", unit="dateTimeFromNow", wide=130)
    column(panel, "received", unit="percentunit", decimals=0)
    column(panel, "battery", unit=unit_of("battery"), decimals=0)
    column(panel, "signal", unit=unit_of("rssi"), decimals=0)
    column(panel, "fault", wrapped=True)
    for name, wide in (("room", 125), ("sensor", 135), ("state", 95), ("tamper", 95)):
        column(panel, name, wide=wide)
    for name, wide in (("battery", 75), ("signal", 80), ("received", 85), ("missing", 80)):
        column(panel, name, wide=wide)
    return column(
        panel,
        "room",
        leads_to=link("History of the room", room_dashboard("${__value.raw:percentencode}")),
    )


def _firmware() -> object:
    panel = grid(
        "Firmware by sensor",
        "What each sensor says it runs, since when and after what; a sensor that differs runs"
        " another version than most of its model.",
        InfluxQl(
            'SELECT last("firmware") AS "firmware", last("firmware_differs") AS "of its model",'
            ' last("firmware_since") * 1000 AS "since", last("firmware_before") AS "before"'
            f" FROM {HEALTH} WHERE time > now() - 1d AND {PLACE}"
            ' GROUP BY "room", "sensor", "model"',
            table=True,
        ),
        empty="no sensor here says what it runs",
        width=16,
        height=9,
    )
    transformed(
        panel,
        *only("room", "sensor", "model", "firmware", "of its model", "since", "before"),
    )
    column(
        panel,
        "of its model",
        words=Words({"0": ("as others", "transparent"), "1": ("differs", ORANGE)}),
        wide=105,
    )
    column(panel, "since", unit="dateTimeAsIso", wide=165)
    for name in ("room", "sensor", "model"):
        column(panel, name, wide=125)
    return panel


def _versions() -> object:
    panel = bars(
        "Sensors by version",
        "How many sensors run each version.",
        InfluxQl(
            'SELECT last("firmware") AS "firmware", last("online") AS "online"'
            f' FROM {HEALTH} WHERE time > now() - 1d AND {PLACE} GROUP BY "sensor"',
            table=True,
        ),
        empty="no sensor here says what it runs",
        values=True,
        width=8,
    )
    by_version = {
        "fields": {
            "firmware": {"operation": "groupby", "aggregations": []},
            "online": {"operation": "aggregate", "aggregations": ["count"]},
        }
    }
    return transformed(panel, ("groupBy", by_version))


def _faults() -> object:
    panel = grid(
        "Faults, outages, tampering, new firmware",
        "Frozen, missing, saturated, noisy, dusty, covered or blown at; tampering; outages;"
        " firmware that changed.",
        InfluxQl(
            'SELECT "room", "sensor", "kind", "detail", "phase", "duration_s"'
            f" FROM {EVENT} WHERE {IN_TIME} AND (\"kind\" = 'sensor_fault' OR \"kind\" = 'tamper'"
            " OR \"kind\" = 'offline' OR \"kind\" = 'firmware') ORDER BY time DESC",
            table=True,
        ),
        empty="nothing of this in this time",
    )
    transformed(
        panel,
        *only(
            "Time",
            "room",
            "sensor",
            "kind",
            "detail",
            "phase",
            "duration_s",
            renamed={"duration_s": "duration"},
        ),
    )
    for name, wide in (("Time", 165), ("room", 115), ("sensor", 130), ("kind", 110)):
        column(panel, name, wide=wide)
    for name, wide in (("phase", 80), ("duration", 90)):
        column(panel, name, wide=wide)
    column(panel, "detail", wrapped=True)
    return column(panel, "duration", unit="s", decimals=0)
