"""*Sensor health*: which sensors are reliable, and which need a visit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards.frame import frame, room_link
from dashboards.panels import (
    GREY,
    ORANGE,
    TRANSPARENT,
    VERMILLION,
    Column,
    bars,
    chart,
    grid,
    grouped,
    joined,
    number,
    transformed,
    unit_of,
)
from dashboards.queries import (
    AVERAGES,
    EVENT,
    HEALTH,
    IN_TIME,
    LAST_DAY,
    PLACE,
    READINGS,
    by_tag,
    last,
    listed,
    over_time,
    rows,
    select,
    single,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, stat, table
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings
    from dashboards.panels import Bands, Words

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
            [(1, ORANGE)],
        ),
        _number(
            "Tampered with",
            "Sensors with active tampering.",
            "tamper",
            'sum("tamper")',
            bands=[(1, ORANGE)],
        ),
        _share("Time online", "Share of the time range in which sensors were alive.", _ONLINE),
        _share(
            "Readings received",
            "Received / expected readings, by the intervals of the sensors.",
            _RECEIVED,
        ),
    ]
    gaps = [
        chart(
            "Time online by sensor",
            "Share of each interval in which a sensor was alive; a gap below 100 % is an outage.",
            over_time({"online": _ONLINE}, HEALTH, "sensor"),
            unit="percentunit",
            least="5m",
            low=0,
            high=1,
        ),
        chart(
            "Missing readings",
            "By the sequence numbers of the sensors.",
            over_time('sum("missing")', HEALTH, "sensor"),
            stacked=True,
            least="5m",
            low=0,
        ),
        bars(
            "Readings received, by sensor",
            "Received / expected readings, by the interval of the sensor, in the time range.",
            by_tag(_RECEIVED, HEALTH, "sensor"),
            unit="percentunit",
            decimals=0,
            high=1,
        ),
        chart(
            "Battery",
            "Of sensors that have one.",
            over_time('min("battery")', READINGS, "sensor"),
            unit=unit_of("battery"),
            bands=[(20, TRANSPARENT)],
            empty="no sensor here has a battery",
            least="15m",
            low=0,
            high=100,
            width=8,
        ),
        chart(
            "Signal strength",
            "Of sensors that report it; below -85 dBm readings get lost.",
            over_time('mean("rssi")', READINGS, "sensor"),
            unit=unit_of("rssi"),
            empty="no sensor here reports it",
            least="15m",
            width=8,
        ),
    ]
    drift = chart(
        "Drift: the cleanest air of each day",
        "Lowest PM2.5 of each day by sensor. All rooms of a school breathe the same outdoor air at"
        " night: a sensor that moves away from the others is dusty or worn.",
        over_time(
            'min("pm25_min")',
            AVERAGES,
            "sensor",
            where=f"time > now() - 30d AND {PLACE}",
            every="1d",
            zone=settings.zone,
        ),
        unit=unit_of("pm25"),
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
    title: str, about: str, field: str, what: str, where: str = "", bands: Bands | None = None
) -> stat.Panel:
    """Make one number over the newest record of every sensor."""
    newest = select(last(field), HEALTH, LAST_DAY, "sensor")
    return number(title, about, single(what, f"({newest})", where), bands=bands)


def _share(title: str, about: str, what: str) -> stat.Panel:
    return number(
        title,
        about,
        single(what, HEALTH),
        unit="percentunit",
        decimals=1,
        empty="unknown",
        width=6,
    )


def _sensors() -> table.Panel:
    states: Words = {
        "alive": ("alive", TRANSPARENT),
        "silent": ("silent", ORANGE),
        "offline": ("offline", VERMILLION),
        "never heard": ("never seen", GREY),
    }
    return grid(
        "Sensors",
        "State at the last check, every five minutes; readings are those of the time range.",
        rows(
            {
                "state": 'last("state")',
                "last seen": 'last("last_seen") * 1000',
                "fault": 'last("fault")',
                "tamper": 'last("tamper")',
            },
            HEALTH,
            "room",
            "sensor",
            where=LAST_DAY,
        ),
        rows({"received": _RECEIVED, "missing": 'sum("missing")'}, HEALTH, "sensor"),
        rows(
            {"battery": 'last("battery")', "signal": 'last("rssi")'},
            READINGS,
            "sensor",
            where=LAST_DAY,
        ),
        steps=[joined("sensor")],
        columns=[
            Column("room", 125, link=room_link()),
            Column("sensor", 135),
            Column("state", 95, words=states),
            Column("last seen", 130, unit="dateTimeFromNow"),
            Column("battery", 75, unit=unit_of("battery"), decimals=0),
            Column("signal", 80, unit=unit_of("rssi"), decimals=0),
            Column("received", 85, unit="percentunit", decimals=0),
            Column("missing", 80),
            Column("tamper", 95, words={"0": ("no", TRANSPARENT), "1": ("tampered", ORANGE)}),
            Column("fault", wraps=True),
        ],
        empty="no sensor known",
        height=10,
    )


def _faults() -> table.Panel:
    kinds = ("sensor_fault", "tamper", "offline", "firmware")
    which = " OR ".join(f"\"kind\" = '{kind}'" for kind in kinds)
    return grid(
        "Faults, outages, tampering, new firmware",
        "Frozen, missing, saturated, noisy, dusty, covered or blown at; tampering; outages;"
        " firmware that changed.",
        listed(
            ("room", "sensor", "kind", "detail", "phase", "duration_s"),
            EVENT,
            f"{IN_TIME} AND ({which})",
        ),
        columns=[
            Column("Time", 165),
            Column("room", 115),
            Column("sensor", 130),
            Column("kind", 110),
            Column("detail", wraps=True),
            Column("phase", 80),
            Column("duration_s", 90, title="duration", unit="s", decimals=0),
        ],
        empty="none in this time",
    )


def _firmware() -> table.Panel:
    return grid(
        "Firmware by sensor",
        "The version that each sensor reports, since when, and the one before; a sensor that"
        " differs runs another version than most of its model.",
        rows(
            {
                "firmware": 'last("firmware")',
                "of its model": 'last("firmware_differs")',
                "since": 'last("firmware_since") * 1000',
                "before": 'last("firmware_before")',
            },
            HEALTH,
            "room",
            "sensor",
            "model",
            where=LAST_DAY,
        ),
        columns=[
            Column("room", 125),
            Column("sensor", 125),
            Column("model", 125),
            Column("firmware"),
            Column(
                "of its model",
                105,
                words={"0": ("as others", TRANSPARENT), "1": ("differs", ORANGE)},
            ),
            Column("since", 165, unit="dateTimeAsIso"),
            Column("before"),
        ],
        empty=_NO_FIRMWARE,
        width=16,
        height=9,
    )


def _versions() -> bargauge.Panel:
    panel = bars(
        "Sensors by version",
        "How many sensors run each version.",
        rows(last("firmware", "online"), HEALTH, "sensor", where=LAST_DAY),
        empty=_NO_FIRMWARE,
        values=True,
    )
    transformed(panel, grouped(["firmware"], "online", "count"))
    return panel
