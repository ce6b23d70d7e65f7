"""*Morning*: what needs a visit today, rooms that do not clear, and what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders.common import ReduceDataOptions

from dashboards import panels, queries
from dashboards.frame import docs_link, frame, incident_link, page_link, room_link, room_of_row

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, table
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

VISITS: Final = (
    ("tampered", "tampered with", "Look at it", panels.VERMILLION),
    ("silent", "silent", "Check power", panels.VERMILLION),
    ("never_heard", "never heard of", "Install it", panels.ORANGE),
    ("faulty", "faulty", "Clean, restart", panels.ORANGE),
    ("low_battery", "low battery", "Replace battery", panels.ORANGE),
    ("drifting", "drifting", "Clean inlet", panels.SKY),
)
"""Condition, its name, what to do and its color, the most urgent first."""
CONDITION_WORDS: Final[panels.Words] = {
    "ok": ("OK", panels.TRANSPARENT),
    **{condition: (name, color) for condition, name, _, color in VISITS},
}
_TO_DO: Final[panels.Words] = {
    condition: (action, panels.TRANSPARENT) for condition, _, action, _ in VISITS
}
_FADED: Final = f'{queries.PLACE} AND "withdrawn" = 0 AND "fine_half_s" > 0'
_SLOWER: Final = 1.5
"""Times its own month from which a room does not clear."""


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    newest = queries.newest_of(("urgency", "changed"), "sensor")
    numbers = [
        panels.number(
            "Sensors that need a visit",
            "Registered sensors that are tampered with, silent, faulty, low on battery, drifting or"
            " never heard of, at the last check.",
            queries.single('count("urgency")', newest, '"urgency" > 0'),
            bands=[(1, panels.ORANGE)],
            width=6,
        ),
        panels.number(
            "Changes since yesterday",
            "Sensors whose condition changed in the last 24 hours, counted once a change.",
            queries.single('sum("changed")', queries.HEALTH, queries.LAST_DAY),
            width=6,
        ),
        panels.number(
            "Incidents since yesterday",
            "Incidents of the last 24 hours, without tests.",
            queries.single(
                'count("confidence")', queries.INCIDENT, f"{queries.LAST_DAY} AND {queries.NO_TEST}"
            ),
            width=6,
        ),
        _last_check(),
    ]
    return frame(
        settings,
        "plumewatch-morning",
        "Plumewatch: morning",
        "What needs a visit today, in which room, since when and what to do; rooms that do not"
        " clear their air; what changed since yesterday.",
        [
            ("Today", [*numbers, _visits(settings)]),
            ("Rooms that do not clear their air", [_plumes(), _co2()]),
            ("Since yesterday", [_changes(settings), _incidents(settings)]),
        ],
        since="now-24h",
        refresh="5m",
    )


def _last_check() -> stat.Panel:
    """Make the time of the newest record; a selector alone keeps the time of its row."""
    made = panels.number(
        "Last check of the sensors",
        "Every five minutes. If it is long ago, the service does not run or cannot write, and this"
        " page is out of date.",
        queries.rows('last("online")', queries.HEALTH, where=queries.LAST_DAY),
        unit="dateTimeFromNow",
        empty="no check in the last 24 hours: does the service run?",
        width=6,
    )
    newest = ReduceDataOptions().calcs(["lastNotNull"]).fields("/^Time$/").values(False)
    return made.reduce_options(newest)


def _visits(settings: DashboardSettings) -> table.Panel:
    fields = ("urgency", "condition", "condition_since", "room_name", "fault", "last_seen")
    newest = queries.newest_of(fields, "floor", "room", "sensor")
    what = {
        "urgency": '"urgency"',
        "name": '"room_name"',
        "condition": '"condition"',
        "since": '"condition_since" * 1000',
        "what to do": '"condition"',
        "detail": '"fault"',
        "last reading": '"last_seen" * 1000',
    }
    guide = docs_link(settings, "What to do", "facilities.html#${__value.raw}")
    return panels.grid(
        "What needs a visit",
        "The most urgent first: tampered with, silent, never heard of, faulty, low battery,"
        " drifting. A sensor has the most urgent that applies. Click the room for its history, the"
        " sensor for its page, and what to do for the instructions.",
        queries.rows(what, newest, "floor", "room", "sensor", where='"urgency" > 0'),
        steps=[("sortBy", {"sort": [{"field": "urgency", "desc": True}]})],
        columns=[
            panels.Column("name", 240, title="room name", link=room_of_row()),
            panels.Column("condition", 120, words=CONDITION_WORDS),
            panels.Column("what to do", 130, words=_TO_DO, link=guide),
            panels.Column("since", 130, unit="dateTimeFromNow"),
            panels.Column(
                "sensor", 140, link=page_link(settings, "Sensor health", "/sensor-health")
            ),
            panels.Column("last reading", 150, unit="dateTimeFromNow"),
            panels.Column("detail", wraps=True),
            panels.Column("room", 240, link=_room_page(settings) or room_link()),
        ],
        empty="no sensor needs a visit; see beside it when they were last checked",
        height=9,
    )


def _room_page(settings: DashboardSettings) -> panels.Link | None:
    return page_link(settings, "Room on the staff page", "/rooms/${__value.raw:percentencode}")


def _plumes() -> table.Panel:
    def half_life(days: int, name: str) -> queries.InfluxQl:
        what = {name: 'median("fine_half_s")', f"plumes, {name}": 'count("fine_half_s")'}
        where = f"time > now() - {days}d AND {_FADED}"
        return queries.rows(what, queries.EVENT, "room", where=where)

    return panels.grid(
        "How fast plumes clear",
        "Against the room's own month: median time from the peak until the rise in fine particles"
        " fell by half, of the last 7 days and of the last 30. From"
        f" {_SLOWER:g} times its own month on, look at the fan.",
        half_life(7, "week"),
        half_life(30, "month"),
        steps=_compared("week", "month"),
        columns=[
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("week", 90, unit="s", decimals=0),
            panels.Column("month", 90, unit="s", decimals=0),
            _of_its_month(),
            panels.Column("plumes, week", 110),
        ],
        empty="no plume faded in the last 30 days",
        width=12,
    )


def _compared(now: str, usual: str) -> list[panels.Step]:
    """Divide one figure of each room by its usual one, highest first."""
    return [
        panels.joined("room"),
        panels.divided(now, usual, "of its month"),
        ("sortBy", {"sort": [{"field": "of its month", "desc": True}]}),
    ]


def _of_its_month() -> panels.Column:
    return panels.Column(
        "of its month",
        110,
        unit="suffix: times",
        decimals=1,
        bands=[(_SLOWER, panels.ORANGE)],
        words={None: ("", panels.TRANSPARENT)},
    )


def _co2() -> table.Panel:
    def lowest(days: int) -> str:
        where = f"time > now() - {days}d AND {queries.PLACE}"
        found = queries.select({"low": 'min("co2_min")'}, queries.AVERAGES, where)
        return f'({found} GROUP BY time(1d), "room")'

    return panels.grid(
        "Lowest CO2 of a day",
        "An empty room that is ventilated falls to outdoor air, about 430 ppm, overnight. One whose"
        " lowest value stays far above its own month does not clear. How fast CO2 falls is not"
        " recorded.",
        queries.rows(
            {"last day": 'min("co2_min")'}, queries.AVERAGES, "room", where=queries.LAST_DAY
        ),
        queries.rows({"usual": 'median("low")'}, lowest(30), "room", where=""),
        steps=_compared("last day", "usual"),
        columns=[
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("last day", 100, unit="ppm", decimals=0),
            panels.Column("usual", 100, unit="ppm", decimals=0),
            _of_its_month(),
        ],
        empty="no sensor here reports CO2",
        width=12,
    )


def _changes(settings: DashboardSettings) -> table.Panel:
    fields = ("room_name", "floor", "room", "sensor", "condition_before", "condition", "fault")
    return panels.grid(
        "Sensors whose condition changed",
        "Newest first: what each was before and is now, at the check that saw it.",
        queries.listed(fields, queries.HEALTH, f'{queries.IN_TIME} AND "changed" = 1'),
        columns=[
            panels.Column("Time", 165),
            panels.Column("room_name", 240, title="room name", link=room_of_row()),
            panels.Column("sensor", 140),
            panels.Column("condition_before", 120, title="before", words=CONDITION_WORDS),
            panels.Column("condition", 120, title="now", words=CONDITION_WORDS),
            panels.Column("fault", title="detail", wraps=True),
            panels.Column("room", 240, link=_room_page(settings) or room_link()),
        ],
        empty="no sensor changed in this time",
        height=7,
    )


def _incidents(settings: DashboardSettings) -> table.Panel:
    fields = ("id", "room", "kind", "status", "verdict")
    return panels.grid(
        "Incidents",
        "Of this time, newest first, without tests. Click one for its page.",
        queries.listed(fields, queries.INCIDENT, queries.COUNTED),
        columns=[
            panels.Column("Time", 165),
            panels.Column("id", 115, link=incident_link(settings)),
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("kind", 100),
            panels.Column("status", 110),
            panels.Column("verdict", 120),
        ],
        empty="no incident in this time",
        height=7,
    )
