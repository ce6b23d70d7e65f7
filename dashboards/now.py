"""*Now*: whether everything is all right, and where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards.frame import frame, incident_link, page_link, room_link
from dashboards.panels import (
    BLUE,
    GREY,
    KIND_COLORS,
    ORANGE,
    TRANSPARENT,
    VERMILLION,
    Column,
    bands_of,
    chart,
    grid,
    joined,
    number,
    ordered,
    unit_of,
)
from dashboards.queries import (
    EVENT,
    HEALTH,
    IN_TIME,
    INCIDENT,
    LAST_DAY,
    LAST_QUARTER,
    NO_TEST,
    PLACE,
    READINGS,
    last,
    over_time,
    rows,
    select,
    single,
)
from detection.guidelines import CO2, PM25_DAY

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

OPEN: Final = f'time > now() - 7d AND {PLACE} AND "open" = 1 AND {NO_TEST}'
"""Open incidents; none stays open for a week."""
_SENSORS: Final = select(last("online"), HEALTH, LAST_DAY, "building", "floor", "room", "sensor")
_AIR: Final = {
    "PM2.5": "pm25",
    "CO2": "co2",
    "TVOC": "tvoc_ppb",
    "VOC": "voc_index",
    "Humidity": "rh",
    "Temp.": "temp",
}
_BANDS: Final = {"pm25": bands_of(PM25_DAY), "co2": bands_of(CO2)}


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        number(
            "Incidents open now",
            "Incidents that are not resolved, without tests.",
            single('sum("open")', INCIDENT, OPEN),
            bands=[(1, VERMILLION)],
        ),
        number(
            "Not acknowledged",
            "Open incidents that staff were notified of and nobody has acknowledged.",
            single('sum("open")', INCIDENT, f'{OPEN} AND "paged" = 1 AND "acknowledged" = 0'),
            bands=[(1, VERMILLION)],
        ),
        number(
            "Sensors silent",
            "Registered sensors that were not alive at the last check (every five minutes).",
            single('count("online") - sum("online")', f"({_SENSORS})", ""),
            bands=[(1, ORANGE)],
            empty="no sensor known",
        ),
        number(
            "Tampering",
            "Sensors with an active report of tampering.",
            single('sum("tamper")', f"({select(last('tamper'), HEALTH, LAST_DAY, 'sensor')})", ""),
            bands=[(1, ORANGE)],
        ),
        number(
            "Highest PM2.5 now",
            "Highest of the newest readings of all rooms, colored as in the table below.",
            single('max("pm25")', f"({select(last('pm25'), READINGS, LAST_QUARTER, 'room')})", ""),
            unit=unit_of("pm25"),
            decimals=0,
            bands=_BANDS["pm25"],
            empty="no reading",
            width=8,
        ),
    ]
    air = [
        chart(
            "PM2.5 by room",
            "Highest value of each interval, so that a short plume is not averaged away.",
            over_time('max("pm25")', READINGS, "room"),
            unit=unit_of("pm25"),
            least="30s",
            low=0,
        ),
        chart(
            "Events by kind",
            "Events of the detectors, whether or not they alerted anybody.",
            over_time('count("confidence")', EVENT, "kind", where=f'{IN_TIME} AND "withdrawn" = 0'),
            colors=KIND_COLORS,
            empty="no events in this time",
            stacked=True,
            least="10m",
            low=0,
        ),
    ]
    return frame(
        settings,
        "plumewatch-now",
        "Plumewatch: now",
        "Rooms by building and floor: their state, open incidents, and the air right now.",
        [
            ("At a glance", numbers),
            ("Rooms", [_rooms(settings), _open(settings)]),
            ("The last hours", air),
        ],
        since="now-6h",
        refresh="10s",
    )


def _rooms(settings: DashboardSettings) -> table.Panel:
    ok = ("OK", TRANSPARENT)
    return grid(
        "Rooms",
        "One row per room: open incidents, whether all its sensors are alive, and the newest"
        " reading of the last 15 minutes. Click a room for its history.",
        rows(
            {name: f'last("{key}")' for name, key in _AIR.items()},
            READINGS,
            "room",
            where=LAST_QUARTER,
        ),
        rows({"incidents": 'sum("open")'}, INCIDENT, "room", where=OPEN),
        rows(
            {"sensors": 'min("online")'}, f"({_SENSORS})", "building", "floor", "room", where=""
        ),  # of silent rooms, too
        steps=[joined("room"), *ordered("building", "floor", "room")],
        columns=[
            Column("building", 110, link=page_link(settings, "Staff page", "/")),
            Column("floor", 70),
            Column("room", 170, link=room_link()),
            Column(
                "incidents",
                90,
                words={
                    "0": ok,
                    "1": ("1 open", VERMILLION),
                    "2": ("2 open", VERMILLION),
                    None: ok,
                },
            ),
            Column(
                "sensors",
                words={
                    "1": ("alive", TRANSPARENT),
                    "0": ("silent", ORANGE),
                    None: ("unknown", GREY),
                },
            ),
            *(
                Column(name, unit=unit_of(key), decimals=0, bands=_BANDS.get(key))
                for name, key in _AIR.items()
            ),
        ],
        empty="no reading in the last 15 minutes",
        height=10,
    )


def _open(settings: DashboardSettings) -> table.Panel:
    return grid(
        "Open incidents",
        "Whether somebody has acknowledged them. Click an incident to acknowledge it.",
        rows('"id", "room", "kind", "status"', INCIDENT, where=OPEN),
        columns=[
            Column("id", 115, link=incident_link(settings)),
            Column("room", 120),
            Column("kind", 70),
            Column(
                "status",
                words={
                    "open": ("open", VERMILLION),
                    "notified": ("staff notified", VERMILLION),
                    "acknowledged": ("acknowledged", BLUE),
                },
            ),
        ],
        empty="no open incident",
        height=6,
    )
