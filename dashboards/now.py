"""*Now*: whether everything is all right, and where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.frame import frame, room_dashboard
from dashboards.panels import (
    BLUE,
    GREY,
    KIND_COLOURS,
    ORANGE,
    VERMILLION,
    Words,
    bands_of,
    chart,
    coloured,
    column,
    figure,
    grid,
    link,
    only,
    ordered,
    transformed,
    unit_of,
)
from dashboards.queries import EVENT, HEALTH, IN_TIME, INCIDENT, PLACE, READINGS, InfluxQl
from detection.guidelines import CO2, PM25_DAY

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

OPEN = f'time > now() - 7d AND {PLACE} AND "open" = 1 AND "test" = 0'
"""Incidents that are not over; none stays open for a week."""

_SENSORS = (
    f'SELECT last("online") AS "online" FROM {HEALTH} WHERE time > now() - 1d AND {PLACE}'
    ' GROUP BY "building", "floor", "room", "sensor"'
)
_AIR = {
    "PM2.5": "pm25",
    "CO2": "co2",
    "TVOC": "tvoc_ppb",
    "VOC": "voc_index",
    "Humidity": "rh",
    "Temp.": "temp",
}


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        figure(
            "Open incidents",
            "Incidents that are not over, tests left out.",
            InfluxQl(f'SELECT sum("open") FROM {INCIDENT} WHERE {OPEN}'),
            bands=[(1, VERMILLION)],
        ),
        figure(
            "Not taken",
            "Open incidents that staff were told of and nobody has acknowledged.",
            InfluxQl(
                f'SELECT sum("open") FROM {INCIDENT} WHERE {OPEN}'
                ' AND "paged" = 1 AND "acknowledged" = 0'
            ),
            bands=[(1, VERMILLION)],
        ),
        figure(
            "Sensors silent",
            "Registered sensors that were not alive when last looked at (every five minutes).",
            InfluxQl(f'SELECT count("online") - sum("online") FROM ({_SENSORS})'),
            bands=[(1, ORANGE)],
            empty="no sensor known",
        ),
        figure(
            "Tampering",
            "Sensors with a report of tampering that stands.",
            InfluxQl(
                'SELECT sum("tamper") FROM (SELECT last("tamper") AS "tamper"'
                f' FROM {HEALTH} WHERE time > now() - 1d AND {PLACE} GROUP BY "sensor")'
            ),
            bands=[(1, ORANGE)],
        ),
        figure(
            "Highest PM2.5 now",
            "Highest of the newest readings of all rooms, coloured as in the table below.",
            InfluxQl(
                'SELECT max("pm25") FROM (SELECT last("pm25") AS "pm25"'
                f' FROM {READINGS} WHERE time > now() - 15m AND {PLACE} GROUP BY "room")'
            ),
            unit=unit_of("pm25"),
            decimals=0,
            bands=bands_of(PM25_DAY),
            empty="no reading",
            width=8,
        ),
    ]
    rooms = [_rooms(settings), _open(settings)]
    air = [
        chart(
            "PM2.5 by room",
            "Highest value of each interval, so that a short plume is not averaged away.",
            InfluxQl(
                f'SELECT max("pm25") FROM {READINGS} WHERE {IN_TIME}'
                ' GROUP BY time($__interval), "room" fill(none)',
                alias="$tag_room",
            ),
            unit=unit_of("pm25"),
            least="30s",
            low=0,
        ),
        coloured(
            chart(
                "What was in the air",
                "Events of the detectors by kind, whether or not they alerted anybody.",
                InfluxQl(
                    f'SELECT count("confidence") FROM {EVENT} WHERE {IN_TIME} AND "withdrawn" = 0'
                    ' GROUP BY time($__interval), "kind" fill(none)',
                    alias="$tag_kind",
                ),
                empty="no events in this time",
                as_bars=True,
                stacked=True,
                least="10m",
                low=0,
            ),
            KIND_COLOURS,
        ),
    ]
    return frame(
        settings,
        "plumewatch-now",
        "Plumewatch: now",
        "Rooms by building and floor: their state, open incidents, and the air right now.",
        [("At a glance", numbers), ("Rooms", rooms), ("The last hours", air)],
        since="now-6h",
        refresh="10s",
    )


def _rooms(settings: DashboardSettings) -> object:
    chosen = ", ".join(f'last("{key}") AS "{name}"' for name, key in _AIR.items())
    panel = grid(
        "Rooms",
        "One row a room: incidents that are open, whether all its sensors are alive, and the newest"
        " reading of the last quarter of an hour. Click a room for its history.",
        InfluxQl(
            f'SELECT {chosen} FROM {READINGS} WHERE time > now() - 15m AND {PLACE} GROUP BY "room"',
            table=True,
        ),
        InfluxQl(
            f'SELECT sum("open") AS "incidents" FROM {INCIDENT} WHERE {OPEN} GROUP BY "room"',
            table=True,
        ),
        InfluxQl(
            f'SELECT min("online") AS "sensors" FROM ({_SENSORS})'
            ' GROUP BY "building", "floor", "room"',  # of silent rooms, too
            table=True,
        ),
        empty="no reading in the last quarter of an hour",
        width=24,
        height=10,
    )
    transformed(
        panel,
        ("joinByField", {"byField": "room", "mode": "outer"}),
        *ordered("building", "floor", "room"),
        *only("building", "floor", "room", "incidents", "sensors", *_AIR),
    )
    for name, wide in (("building", 110), ("floor", 70), ("room", 170), ("incidents", 90)):
        column(panel, name, wide=wide)
    clear = ("clear", "transparent")
    column(
        panel,
        "incidents",
        words=Words({"0": clear, "1": ("1 open", VERMILLION), "2": ("2 open", VERMILLION)}, clear),
    )
    column(
        panel,
        "sensors",
        words=Words({"1": ("alive", "transparent"), "0": ("silent", ORANGE)}, ("unknown", GREY)),
    )
    for name, key in _AIR.items():
        bands = {"pm25": bands_of(PM25_DAY), "co2": bands_of(CO2)}.get(key, [])
        column(panel, name, unit=unit_of(key), decimals=0, bands=bands)
    column(
        panel,
        "room",
        leads_to=link("History of the room", room_dashboard("${__value.raw:percentencode}")),
    )
    if settings.page_url:
        column(panel, "building", leads_to=link("Staff page", "${staff_page}/"))
    return panel


def _open(settings: DashboardSettings) -> object:
    panel = grid(
        "What is going on",
        "Open incidents, and whether somebody took them. Click an incident to acknowledge it.",
        InfluxQl(
            f'SELECT "id", "room", "kind", "status" FROM {INCIDENT} WHERE {OPEN}',
            table=True,
        ),
        empty="no incident is open",
        width=24,
        height=6,
    )
    transformed(panel, *only("id", "room", "kind", "status"))
    for name, wide in (("id", 115), ("room", 120), ("kind", 70)):
        column(panel, name, wide=wide)
    column(
        panel,
        "status",
        words=Words(
            {
                "open": ("open", VERMILLION),
                "notified": ("staff told", VERMILLION),
                "acknowledged": ("taken", BLUE),
            }
        ),
    )
    if settings.page_url:
        column(
            panel,
            "id",
            leads_to=link("Incident", "${staff_page}/incidents/${__value.raw:percentencode}"),
        )
    return panel
