"""*Alerts*: whether they are few, right and prompt, and what sets them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import common

from dashboards.frame import frame, room_dashboard
from dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    KIND_COLOURS,
    ORANGE,
    SKY,
    VERMILLION,
    bars,
    chart,
    coloured,
    column,
    figure,
    grid,
    link,
    only,
    transformed,
)
from dashboards.queries import EVENT, HEALTH, IN_TIME, INCIDENT, PIPELINE, PLACE, InfluxQl

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

COUNTED: Final = f'{IN_TIME} AND "test" = 0'
"""Incidents that figures are about: tests are left out."""

_WEEK_S: Final = 604_800


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    by_day = f"time(1d), \"kind\" fill(none) tz('{settings.zone}')"
    numbers = [
        _figure(
            "Incidents",
            "In the time range, on all days, tests left out. Reports leave out days without school"
            " too, here and in the figures beside it.",
            'count("confidence")',
        ),
        _figure(
            "Confirmed",
            "Confirmed, of those that staff confirmed or called a false alarm. Without feedback an"
            " incident counts for neither.",
            'sum("confirmed") / (sum("confirmed") + sum("false_alarm"))',
            unit="percentunit",
            empty="no feedback",
        ),
        _figure(
            "Feedback",
            "Incidents of which staff said whether they were true.",
            '(sum("confirmed") + sum("false_alarm")) / count("confidence")',
            unit="percentunit",
            empty="no incident",
        ),
        _false_alarms(),
        _figure(
            "Told within",
            "From opening an incident to the first notice in somebody's hands; median.",
            'median("notified_s")',
            unit="s",
            decimals=1,
            empty="nobody told",
        ),
        _figure(
            "Not acknowledged",
            "Incidents that staff were told of and nobody took.",
            'count("confidence")',
            more=' AND "paged" = 1 AND "acknowledged" = 0',
            bands=[(1, ORANGE)],
        ),
        _notices(),
        figure(
            "Hours on duty, whole school",
            "Of all persons together, by the shifts, on days with school. The chosen place changes"
            " nothing here.",
            InfluxQl(f'SELECT sum("duty_s") / 3600 FROM {PIPELINE} WHERE $timeFilter'),
            decimals=1,
            empty="not known",
            width=6,
        ),
    ]
    what = [
        coloured(
            chart(
                "Incidents a day, by kind",
                "Days of the school.",
                InfluxQl(
                    f'SELECT count("confidence") FROM {INCIDENT} WHERE {COUNTED} GROUP BY {by_day}',
                    alias="$tag_kind",
                ),
                empty="no incident in this time",
                as_bars=True,
                stacked=True,
                low=0,
            ),
            KIND_COLOURS,
        ),
        coloured(
            chart(
                "Incidents a day, by what staff found",
                "Those without feedback are not shown.",
                InfluxQl(
                    'SELECT sum("confirmed") AS "confirmed", sum("false_alarm") AS "false alarm",'
                    f' sum("nothing_found") AS "nothing found" FROM {INCIDENT} WHERE {COUNTED}'
                    f" GROUP BY time(1d) fill(none) tz('{settings.zone}')",
                    alias="$col",
                ),
                empty="no incident in this time",
                as_bars=True,
                stacked=True,
                low=0,
            ),
            {"confirmed": BLUE, "false alarm": ORANGE, "nothing found": GREY},
        ),
        coloured(
            chart(
                "What is in the air, a day",
                "Events of the detectors by kind: those of which nobody is told too.",
                InfluxQl(
                    f'SELECT count("confidence") FROM {EVENT} WHERE {IN_TIME} AND "withdrawn" = 0'
                    f" GROUP BY {by_day}",
                    alias="$tag_kind",
                ),
                empty="no event in this time",
                as_bars=True,
                stacked=True,
                low=0,
                width=8,
            ),
            KIND_COLOURS,
        ),
        _causes(),
        bars(
            "Incidents by room",
            "In the time range, tests left out.",
            InfluxQl(
                f'SELECT count("confidence") FROM {INCIDENT} WHERE {COUNTED} GROUP BY "room"',
                alias="$tag_room",
            ),
            empty="no incident in this time",
        ),
    ]
    prompt = [
        coloured(
            chart(
                "Time until somebody took it, and was there",
                "From the first notice in somebody's hands to the acknowledgement: median and p90"
                " (nearest rank) of the acknowledged alone; and to the first arrival, median. A day"
                " with one has one time for all. Incidents that nobody took are not in it: see"
                " their number above.",
                InfluxQl(
                    'SELECT median("acknowledged_s") AS "median",'
                    ' percentile("acknowledged_s", 90) AS "p90",'
                    f' median("arrived_s") AS "there" FROM {INCIDENT}'
                    f" WHERE {COUNTED} GROUP BY time(1d) fill(none) tz('{settings.zone}')",
                    alias="$col",
                ),
                unit="s",
                bands=[(300, ORANGE)],
                empty="nobody took one in this time",
                low=0,
                width=8,
            ),
            {"median": BLUE, "p90": VERMILLION, "there": GREEN},
        ).show_points(common.VisibilityMode.ALWAYS),
        coloured(
            chart(
                "Time until it was an alert",
                "From the onset to the opening, and from there to the first notice in somebody's"
                " hands; medians.",
                InfluxQl(
                    'SELECT median("detected_s") AS "to the opening",'
                    f' median("notified_s") AS "to the notice" FROM {INCIDENT}'
                    f" WHERE {COUNTED} GROUP BY time(1d) fill(none) tz('{settings.zone}')",
                    alias="$col",
                ),
                unit="s",
                empty="no incident in this time",
                low=0,
                width=8,
            ),
            {"to the opening": BLUE, "to the notice": SKY},
        ).show_points(common.VisibilityMode.ALWAYS),
        chart(
            "Notices an hour, for each person told",
            "Notices delivered in an hour over the people who got one. ISA-18.2 calls 6 an hour"
            " manageable, 12 the most, and 30 a flood.",
            InfluxQl(
                f'SELECT sum("notices") / max("people") AS "notices" FROM {INCIDENT}'
                f' WHERE {COUNTED} AND "people" > 0 GROUP BY time(1h) fill(none)',
                alias="$col",
            ),
            bands=[(6, SKY), (12, ORANGE), (30, VERMILLION)],
            empty="nobody was told anything",
            as_bars=True,
            low=0,
            width=8,
        ),
    ]
    lists = [
        _list(
            settings,
            "Not told, and why",
            "Incidents that are on record and were kept from people: cooldowns, silences, and what"
            " explained them.",
            f'{IN_TIME} AND "suppressed" = 1',
            ("Time", "id", "room", "kind", "status", "suppressed_by"),
            "nothing was kept back in this time",
            6,
        ),
        _list(
            settings,
            "All incidents",
            "Click one for its page, with the evidence and who did what.",
            IN_TIME,
            ("Time", "id", "room", "kind", "confidence", "status", "verdict", "cause"),
            "no incident in this time",
            9,
        ),
    ]
    return frame(
        settings,
        "plumewatch-alerts",
        "Plumewatch: alerts",
        "Alerts by day and cause, false alarms against the budget, response times, what was kept"
        " back.",
        [
            ("At a glance", numbers),
            ("What sets them off", what),
            ("How prompt", prompt),
            ("One by one", lists),
        ],
        since="now-6d/d",
        refresh="1m",
    )


def _figure(
    title: str,
    about: str,
    what: str,
    *,
    unit: str = "none",
    decimals: int = 0,
    more: str = "",
    bands: list[tuple[float, str]] | None = None,
    empty: str = "0",
) -> object:
    return figure(
        title,
        about,
        InfluxQl(f"SELECT {what} FROM {INCIDENT} WHERE {COUNTED}{more}"),
        unit=unit,
        decimals=decimals,
        bands=bands or (),
        empty=empty,
        width=6,
    )


def _false_alarms() -> object:
    """Divide false alarms by the weeks that sensors were on line: two answers."""
    panel = figure(
        "False a week",
        "False alarms a sensor and week: those that staff called false, over the weeks in which"
        " sensors were on line. The budget of each sensor is on the staff page under Levels.",
        InfluxQl(
            f'SELECT sum("false_alarm") AS "false" FROM {INCIDENT} WHERE {COUNTED}',
            table=True,
        ),
        InfluxQl(
            f'SELECT sum("online_s") / {_WEEK_S} AS "weeks" FROM {HEALTH} WHERE {IN_TIME}',
            table=True,
        ),
        InfluxQl(
            'SELECT mean("budget") AS "budget" FROM (SELECT last("budget") AS "budget"'
            f' FROM {HEALTH} WHERE time > now() - 1d AND {PLACE} GROUP BY "sensor")',
            table=True,
        ),
        decimals=2,
        bands=[(1, ORANGE)],
        empty="no sensor on line",
        width=6,
    )
    quotient = {
        "mode": "binary",
        "alias": "a week",
        "binary": {"left": "false", "operator": "/", "right": "weeks"},
        "replaceFields": False,
    }
    times = {
        **quotient,
        "alias": "times the budget",
        "binary": {"left": "a week", "operator": "/", "right": "budget"},
    }
    transformed(
        panel,
        ("concatenate", {"frameNameMode": "drop"}),
        ("calculateField", quotient),
        ("calculateField", times),
        ("filterFieldsByName", {"include": {"names": ["a week", "times the budget"]}}),
    )
    return coloured(panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME), {"a week": BLUE})


def _notices() -> object:
    """Divide notices delivered by the hours on duty: two answers."""
    panel = figure(
        "Notices a person-hour, whole school",
        "Notices delivered, of incidents in the time range that opened on a day with school, tests"
        " left out, an hour that a person was on duty: as in reports. ISA-18.2 calls 6 manageable."
        " Both are those of the whole school, as people are on duty in more than one building: a"
        " report of a building divides by the hours of its own people.",
        InfluxQl(
            f'SELECT sum("notices") AS "notices" FROM {INCIDENT} WHERE $timeFilter'
            ' AND "test" = 0 AND "school_day" = 1',
            table=True,
        ),
        InfluxQl(
            f'SELECT sum("duty_s") / 3600 AS "hours" FROM {PIPELINE}'
            ' WHERE $timeFilter AND "duty_s" > 0',
            table=True,
        ),
        decimals=2,
        bands=[(6, ORANGE)],
        empty="nobody was on duty by a shift",
        width=6,
    )
    quotient = {
        "mode": "binary",
        "alias": "an hour",
        "binary": {"left": "notices", "operator": "/", "right": "hours"},
        "replaceFields": False,
    }
    return transformed(
        panel,
        ("concatenate", {"frameNameMode": "drop"}),
        ("calculateField", quotient),
        ("filterFieldsByName", {"include": {"names": ["an hour"]}}),
    )


def _causes() -> object:
    panel = bars(
        "Causes of false alarms",
        "As staff said.",
        InfluxQl(
            f'SELECT "cause", "confidence" FROM {INCIDENT} WHERE {COUNTED} AND "false_alarm" = 1',
            table=True,
        ),
        empty="no false alarm in this time",
        values=True,
    )
    by_cause = {
        "fields": {
            "cause": {"operation": "groupby", "aggregations": []},
            "confidence": {"operation": "aggregate", "aggregations": ["count"]},
        }
    }
    return transformed(panel, ("groupBy", by_cause))


def _list(
    settings: DashboardSettings,
    title: str,
    about: str,
    where: str,
    names: tuple[str, ...],
    empty: str,
    height: int,
) -> object:
    chosen = ", ".join(f'"{name}"' for name in names if name != "Time")
    panel = grid(
        title,
        about,
        InfluxQl(f"SELECT {chosen} FROM {INCIDENT} WHERE {where} ORDER BY time DESC", table=True),
        empty=empty,
        height=height,
    )
    for name, wide in (("Time", 165), ("id", 125), ("room", 135), ("kind", 110), ("status", 120)):
        column(panel, name, wide=wide)
    transformed(panel, *only(*names, renamed={"suppressed_by": "kept back by"}))
    column(panel, "kept back by", wrapped=True)
    column(panel, "confidence", unit="percentunit", decimals=0, wide=100)
    column(
        panel,
        "room",
        leads_to=link("History of the room", room_dashboard("${__value.raw:percentencode}")),
    )
    if settings.page_url:
        column(
            panel,
            "id",
            leads_to=link("Incident", "${staff_page}/incidents/${__value.raw:percentencode}"),
        )
    return panel
