"""*Now*: whether everything is all right, and where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards import panels, queries
from dashboards.frame import frame, incident_link, page_link, room_link
from dashboards.morning import VISITS
from reports.guidelines import CO2

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import statetimeline, table
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

OPEN: Final = f'time > now() - 7d AND {queries.PLACE} AND "open" = 1 AND {queries.NO_TEST}'
"""Open incidents; none stays open for a week."""
_SENSORS: Final = queries.select(
    queries.last("online"), queries.HEALTH, queries.LAST_DAY, "building", "floor", "room", "sensor"
)
_AIR: Final = {
    "PM2.5": "pm25",
    "CO2": "co2",
    "TVOC": "tvoc_ppb",
    "VOC": "voc_index",
    "Humidity": "rh",
    "Temp.": "temp",
}
_BANDS: Final = {"co2": panels.bands_of(CO2)}
"""Published values for PM2.5 are for the mean of a day, and color no reading."""


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        panels.number(
            "Incidents open now",
            "Incidents that are not resolved, without tests.",
            queries.single('sum("open")', queries.INCIDENT, OPEN),
            bands=[(1, panels.VERMILLION)],
        ),
        panels.number(
            "Not acknowledged",
            "Open incidents that staff were notified of and nobody has acknowledged.",
            queries.single(
                'sum("open")', queries.INCIDENT, f'{OPEN} AND "paged" = 1 AND "acknowledged" = 0'
            ),
            bands=[(1, panels.VERMILLION)],
        ),
        panels.number(
            "Sensors silent",
            "Registered sensors that were not alive at the last check (every five minutes).",
            queries.single('count("online") - sum("online")', f"({_SENSORS})", ""),
            bands=[(1, panels.ORANGE)],
            empty="no sensor known",
        ),
        panels.number(
            "Tampering",
            "Sensors with an active report of tampering.",
            queries.single('sum("tamper")', queries.newest("tamper", queries.HEALTH), ""),
            bands=[(1, panels.ORANGE)],
        ),
        panels.number(
            "Highest PM2.5 now",
            "Highest of the newest readings of all rooms.",
            queries.single(
                'max("pm25")',
                queries.newest("pm25", queries.READINGS, "room", queries.LAST_QUARTER),
                "",
            ),
            unit=panels.unit_of("pm25"),
            decimals=0,
            empty="no reading",
            width=8,
        ),
    ]
    air = [
        panels.chart(
            "PM2.5 by room",
            "Highest value of each interval, so that a short plume is not averaged away; on a"
            " logarithmic axis, since a plume is a hundred times clean air.",
            queries.over_time('max("pm25")', queries.READINGS, "room"),
            unit=panels.unit_of("pm25"),
            least="30s",
            low=1,
            logarithmic=True,
        ),
        panels.chart(
            "Events by kind",
            "Events of the detectors, whether or not they alerted anybody.",
            queries.over_time(
                'count("confidence")',
                queries.EVENT,
                "kind",
                where=f'{queries.IN_TIME} AND "withdrawn" = 0',
            ),
            colors=panels.KIND_COLORS,
            empty="no events in this time",
            stacked=True,
            least="10m",
            low=0,
            counted="events",
        ),
    ]
    return frame(
        settings,
        "plumewatch-now",
        "Plumewatch: now",
        "Rooms by building and floor: their state, open incidents, and the air right now.",
        [
            ("At a glance", numbers),
            ("Rooms", [_rooms(settings), _open(settings), room_states()]),
            ("The last hours", air),
        ],
        since="now-6h",
        refresh="10s",
    )


def room_states(height: int = 8) -> statetimeline.Panel:
    """Make the timeline of the worst condition of the sensors of each room."""
    words: panels.Words = {
        "0": ("OK", panels.GREEN),
        **{
            str(len(VISITS) - number): (name, color)
            for number, (_, name, _, color) in enumerate(VISITS)
        },
    }
    return panels.states(
        "Worst condition by room",
        "Of the sensors of each room, at each check, every five minutes; a gap is a time in which"
        " the service did not run. Incidents are marked.",
        queries.over_time('max("urgency")', queries.HEALTH, "room"),
        words=words,
        empty="no check of the sensors in this time: does the service run?",
        height=height,
    )


def _rooms(settings: DashboardSettings) -> table.Panel:
    ok = ("OK", panels.TRANSPARENT)
    return panels.grid(
        "Rooms",
        "One row per room: open incidents, whether all its sensors are alive, and the newest"
        " reading of the last 15 minutes. Click a room for its history.",
        queries.rows(
            {name: f'last("{key}")' for name, key in _AIR.items()},
            queries.READINGS,
            "room",
            where=queries.LAST_QUARTER,
        ),
        queries.rows({"incidents": 'sum("open")'}, queries.INCIDENT, "room", where=OPEN),
        queries.rows(
            {"sensors": 'min("online")'}, f"({_SENSORS})", "building", "floor", "room", where=""
        ),  # of silent rooms, too
        steps=[panels.joined("room"), *panels.ordered("building", "floor", "room")],
        columns=[
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column(
                "incidents",
                90,
                words={
                    "0": ok,
                    "1": ("1 open", panels.VERMILLION),
                    "2": ("2 open", panels.VERMILLION),
                    None: ok,
                },
            ),
            panels.Column(
                "sensors",
                80,
                words={
                    "1": ("alive", panels.TRANSPARENT),
                    "0": ("silent", panels.ORANGE),
                    None: ("unknown", panels.GREY),
                },
            ),
            *(
                panels.Column(name, 85, unit=panels.unit_of(key), decimals=0, bands=_BANDS.get(key))
                for name, key in _AIR.items()
            ),
            panels.Column("building", 110, link=page_link(settings, "Staff page", "/")),
            panels.Column("floor", 80),
        ],
        empty="no reading in the last 15 minutes",
        height=10,
    )


def _open(settings: DashboardSettings) -> table.Panel:
    return panels.grid(
        "Open incidents",
        "Whether somebody has acknowledged them. Click an incident to acknowledge it.",
        queries.rows('"id", "room", "kind", "status"', queries.INCIDENT, where=OPEN),
        columns=[
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column(
                "status",
                150,
                words={
                    "open": ("open", panels.VERMILLION),
                    "notified": ("staff notified", panels.VERMILLION),
                    "acknowledged": ("acknowledged", panels.BLUE),
                },
            ),
            panels.Column("id", 115, link=incident_link(settings)),
            panels.Column("kind", 110),
        ],
        empty="no open incident",
        height=6,
    )
