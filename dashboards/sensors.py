"""*Sensor health*: which sensors are reliable, and which need a visit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards import panels, queries
from dashboards.frame import frame, room_link

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, stat, table
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

_ONLINE: Final = 'sum("online_s") / sum("period_s")'
_RECEIVED: Final = 'sum("received") / sum("expected")'
_NO_FIRMWARE: Final = "no sensor here reports its firmware"


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        _number("Alive", "Registered sensors that are alive.", "online", 'sum("online")'),
        _number(
            "Faulty",
            "Sensors with an active fault.",
            "faults",
            'count("faults")',
            '"faults" > 0',
            [(1, panels.ORANGE)],
        ),
        _number(
            "Tampered with",
            "Sensors with active tampering.",
            "tamper",
            'sum("tamper")',
            bands=[(1, panels.ORANGE)],
        ),
        _share("Time online", "Share of the time range in which sensors were alive.", _ONLINE),
        _share(
            "Readings received",
            "Received / expected readings, by the intervals of the sensors.",
            _RECEIVED,
        ),
    ]
    gaps = [
        panels.chart(
            "Time online by sensor",
            "Share of each interval in which a sensor was alive; a gap below 100 % is an outage.",
            queries.over_time({"online": _ONLINE}, queries.HEALTH, "sensor"),
            unit="percentunit",
            least="5m",
            low=0,
            high=1,
        ),
        panels.chart(
            "Missing readings",
            "By the sequence numbers of the sensors.",
            queries.over_time('sum("missing")', queries.HEALTH, "sensor"),
            stacked=True,
            least="5m",
            low=0,
            counted="readings",
        ),
        panels.bars(
            "Readings received, by sensor",
            "Received / expected readings, by the interval of the sensor, in the time range.",
            queries.by_tag(_RECEIVED, queries.HEALTH, "sensor"),
            unit="percentunit",
            decimals=0,
            high=1,
        ),
        panels.chart(
            "Battery",
            "Of sensors that have one.",
            queries.over_time('min("battery")', queries.READINGS, "sensor"),
            unit=panels.unit_of("battery"),
            bands=[(20, panels.TRANSPARENT)],
            empty="no sensor here has a battery",
            least="15m",
            low=0,
            high=100,
            width=8,
        ),
        panels.chart(
            "Signal strength",
            "Of sensors that report it; below -85 dBm readings get lost.",
            queries.over_time('mean("rssi")', queries.READINGS, "sensor"),
            unit=panels.unit_of("rssi"),
            empty="no sensor here reports it",
            least="15m",
            width=8,
        ),
    ]
    drift = panels.chart(
        "Drift: the cleanest air of each day",
        "Lowest PM2.5 of each day by sensor. All rooms of a school breathe the same outdoor air at"
        " night: a sensor that moves away from the others is dusty or worn.",
        queries.over_time(
            'min("pm25_min")',
            queries.AVERAGES,
            "sensor",
            where=f"time > now() - 30d AND {queries.PLACE}",
            every="1d",
            zone=settings.zone,
        ),
        unit=panels.unit_of("pm25"),
        low=0,
        width=24,
    ).time_from("30d")
    return frame(
        settings,
        "plumewatch-sensors",
        "Plumewatch: sensor health",
        "Last seen, gaps, battery, drift, firmware; frozen, dusty and tampered sensors.",
        [
            ("At a glance", numbers),
            ("Sensors", [_sensors()]),
            ("Gaps, power and signal", gaps),
            ("Drift, faults and tampering", [drift, _faults()]),
            ("Firmware", [_firmware(), _versions()]),
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
    bands: panels.Bands | None = None,
) -> stat.Panel:
    """Make one number over the newest record of every sensor."""
    newest = queries.newest(field, queries.HEALTH)
    return panels.number(title, about, queries.single(what, newest, where), bands=bands)


def _share(title: str, about: str, what: str) -> stat.Panel:
    return panels.number(
        title,
        about,
        queries.single(what, queries.HEALTH),
        unit="percentunit",
        decimals=1,
        empty="unknown",
        width=6,
    )


def _sensors() -> table.Panel:
    states: panels.Words = {
        "alive": ("alive", panels.TRANSPARENT),
        "silent": ("silent", panels.ORANGE),
        "offline": ("offline", panels.VERMILLION),
        "never heard": ("never seen", panels.GREY),
    }
    return panels.grid(
        "Sensors",
        "State at the last check, every five minutes; readings are those of the time range.",
        queries.rows(
            {
                "state": 'last("state")',
                "last seen": 'last("last_seen") * 1000',
                "fault": 'last("fault")',
                "tamper": 'last("tamper")',
            },
            queries.HEALTH,
            "room",
            "sensor",
            where=queries.LAST_DAY,
        ),
        queries.rows(
            {"received": _RECEIVED, "missing": 'sum("missing")'}, queries.HEALTH, "sensor"
        ),
        queries.rows(
            {"battery": 'last("battery")', "signal": 'last("rssi")'},
            queries.READINGS,
            "sensor",
            where=queries.LAST_DAY,
        ),
        steps=[panels.joined("sensor")],
        columns=[
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("sensor", 135),
            panels.Column("state", 95, words=states),
            panels.Column("last seen", 150, unit="dateTimeFromNow"),
            panels.Column("battery", 75, unit=panels.unit_of("battery"), decimals=0),
            panels.Column("signal", 80, unit=panels.unit_of("rssi"), decimals=0),
            panels.Column("received", 85, unit="percentunit", decimals=0),
            panels.Column("missing", 80),
            panels.Column(
                "tamper",
                95,
                words={"0": ("no", panels.TRANSPARENT), "1": ("tampered", panels.ORANGE)},
            ),
            panels.Column("fault", wraps=True),
        ],
        empty="no sensor known",
        height=10,
    )


def _faults() -> table.Panel:
    kinds = ("sensor_fault", "tamper", "offline", "firmware")
    which = " OR ".join(f"\"kind\" = '{kind}'" for kind in kinds)
    return panels.grid(
        "Faults, outages, tampering, new firmware",
        "Frozen, missing, saturated, noisy, dusty, covered or blown at; tampering; outages;"
        " firmware that changed.",
        queries.listed(
            ("room", "sensor", "kind", "detail", "phase", "duration_s"),
            queries.EVENT,
            f"{queries.IN_TIME} AND ({which})",
        ),
        columns=[
            panels.Column("Time", 165),
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("sensor", 130),
            panels.Column("kind", 110),
            panels.Column("detail", wraps=True),
            panels.Column("phase", 80),
            panels.Column("duration_s", 90, title="duration", unit="s", decimals=0),
        ],
        empty="none in this time",
    )


def _firmware() -> table.Panel:
    return panels.grid(
        "Firmware by sensor",
        "The version that each sensor reports, since when, and the one before; a sensor that"
        " differs runs another version than most of its model.",
        queries.rows(
            {
                "firmware": 'last("firmware")',
                "of its model": 'last("firmware_differs")',
                "since": 'last("firmware_since") * 1000',
                "before": 'last("firmware_before")',
            },
            queries.HEALTH,
            "room",
            "sensor",
            "model",
            where=queries.LAST_DAY,
        ),
        columns=[
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("sensor", 125),
            panels.Column("model", 90),
            panels.Column("firmware", 90),
            panels.Column(
                "of its model",
                105,
                words={"0": ("as others", panels.TRANSPARENT), "1": ("differs", panels.ORANGE)},
            ),
            panels.Column("since", 165, unit="dateTimeAsIso"),
            panels.Column("before", 90),
        ],
        empty=_NO_FIRMWARE,
        width=16,
        height=9,
    )


def _versions() -> bargauge.Panel:
    panel = panels.bars(
        "Sensors by version",
        "How many sensors run each version.",
        queries.rows(
            queries.last("firmware", "online"), queries.HEALTH, "sensor", where=queries.LAST_DAY
        ),
        empty=_NO_FIRMWARE,
        values=True,
    )
    panels.transformed(panel, panels.grouped(["firmware"], "online", "count"))
    return panel
