"""*Alerts*: whether they are few, right and prompt, and what causes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import common

from dashboards.frame import frame, incident_link, room_link
from dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    KIND_COLORS,
    ORANGE,
    SKY,
    VERMILLION,
    Column,
    bars,
    chart,
    colored,
    divided,
    grid,
    grouped,
    number,
    transformed,
)
from dashboards.queries import (
    COUNTED,
    EVENT,
    HEALTH,
    IN_TIME,
    INCIDENT,
    LAST_DAY,
    PIPELINE,
    by_tag,
    key_figure,
    last,
    listed,
    over_time,
    rows,
    select,
    single,
)
from reports.figures import KEY_FIGURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings
    from dashboards.panels import Bands, Step

_CONCATENATED: Final[Step] = ("concatenate", {"frameNameMode": "drop"})
_NO_INCIDENT: Final = "no incident in this time"


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        number(
            "Incidents",
            "In the time range, on all days, without tests. Reports leave out days without school"
            " too, also in the figures beside it.",
            *key_figure("incidents"),
            decimals=0,
            width=6,
        ),
        number(
            "Confirmed",
            "Confirmed, of the incidents that staff confirmed or called a false alarm. Without"
            " feedback an incident counts for neither.",
            *key_figure("confirmed_rate"),
            unit="percentunit",
            decimals=0,
            empty="no feedback",
            width=6,
        ),
        number(
            "Feedback",
            "Incidents that staff confirmed or called a false alarm, of all.",
            *key_figure("feedback_rate"),
            unit="percentunit",
            decimals=0,
            empty="no incident",
            width=6,
        ),
        _false_alarms(),
        number(
            "Time to notify",
            "From opening an incident to the first notice delivered; median.",
            *key_figure("time_to_notify"),
            unit="s",
            decimals=1,
            empty="nobody notified",
            width=6,
        ),
        number(
            "Not acknowledged",
            "Incidents that staff were notified of and nobody acknowledged.",
            single(
                'count("confidence")', INCIDENT, f'{COUNTED} AND "paged" = 1 AND "acknowledged" = 0'
            ),
            decimals=0,
            bands=[(1, ORANGE)],
            width=6,
        ),
        _notices(),
        number(
            "Hours on duty, whole school",
            "Of all persons together, by the shifts, on school days. The chosen place does not"
            " matter here.",
            single('sum("duty_s") / 3600', PIPELINE, "$timeFilter"),
            decimals=1,
            empty="unknown",
            width=6,
        ),
    ]
    return frame(
        settings,
        "plumewatch-alerts",
        "Plumewatch: alerts",
        "Alerts by day and cause, false alarms against the budget, response times, suppressed"
        " incidents.",
        [
            ("At a glance", numbers),
            ("Causes", _causes(settings)),
            ("Response", _response(settings)),
            ("Incidents", _lists(settings)),
        ],
        since="now-6d/d",
        refresh="1m",
    )


def _by_day(
    settings: DashboardSettings,
    title: str,
    about: str,
    what: str | Mapping[str, str],
    source: str = INCIDENT,
    tag: str = "",
    *,
    where: str = COUNTED,
    colors: Mapping[str, str],
    stacked: bool = True,
    unit: str = "none",
    bands: Bands | None = None,
    empty: str = _NO_INCIDENT,
    width: int = 8,
) -> timeseries.Panel:
    """Make a chart with one value per local day."""
    return chart(
        title,
        about,
        over_time(what, source, tag, where=where, every="1d", zone=settings.zone),
        unit=unit,
        bands=bands,
        colors=colors,
        empty=empty,
        stacked=stacked,
        points=not stacked,
        low=0,
        width=width,
    )


def _causes(settings: DashboardSettings) -> list[timeseries.Panel | bargauge.Panel]:
    false_alarms = bars(
        "Causes of false alarms",
        "By feedback of staff.",
        rows('"cause", "confidence"', INCIDENT, where=f'{COUNTED} AND "false_alarm" = 1'),
        empty="no false alarm in this time",
        values=True,
    )
    transformed(false_alarms, grouped(["cause"], "confidence", "count"))
    return [
        _by_day(
            settings,
            "Incidents per day, by kind",
            "Days of the school.",
            'count("confidence")',
            tag="kind",
            colors=KIND_COLORS,
            width=12,
        ),
        _by_day(
            settings,
            "Incidents per day, by feedback",
            "Those without feedback are not shown.",
            {
                "confirmed": 'sum("confirmed")',
                "false alarm": 'sum("false_alarm")',
                "nothing found": 'sum("nothing_found")',
            },
            colors={"confirmed": BLUE, "false alarm": ORANGE, "nothing found": GREY},
            width=12,
        ),
        _by_day(
            settings,
            "Events per day, by kind",
            "Events of the detectors, also those that notify nobody.",
            'count("confidence")',
            EVENT,
            "kind",
            where=f'{IN_TIME} AND "withdrawn" = 0',
            colors=KIND_COLORS,
            empty="no event in this time",
        ),
        false_alarms,
        bars(
            "Incidents by room",
            "In the time range, without tests.",
            by_tag('count("confidence")', INCIDENT, "room", COUNTED),
            empty=_NO_INCIDENT,
        ),
    ]


def _response(settings: DashboardSettings) -> list[timeseries.Panel]:
    def median(key: str) -> str:
        return KEY_FIGURES[key].series[0].expression

    return [
        _by_day(
            settings,
            "Time to acknowledge and to arrive",
            "From the first notice delivered to the acknowledgement: median and p90 (nearest rank)"
            " of the acknowledged only; and to the first arrival, median. A day with one incident"
            " has one time for all. Incidents that nobody acknowledged are not included: see their"
            " number above.",
            {
                "median": median("time_to_acknowledge"),
                "p90": 'percentile("acknowledged_s", 90)',
                "arrival": median("time_to_arrive"),
            },
            colors={"median": BLUE, "p90": VERMILLION, "arrival": GREEN},
            stacked=False,
            unit="s",
            bands=[(300, ORANGE)],
            empty="nobody acknowledged one in this time",
        ),
        _by_day(
            settings,
            "Time to detect and to notify",
            "From the onset to the opening, and from there to the first notice delivered; medians.",
            {
                "to the opening": median("time_to_detect"),
                "to the notice": median("time_to_notify"),
            },
            colors={"to the opening": BLUE, "to the notice": SKY},
            stacked=False,
            unit="s",
        ),
        chart(
            "Notices per hour and person notified",
            "Notices delivered in an hour over the people who got one. ISA-18.2 calls 6 an hour"
            " manageable, 12 the most, and 30 a flood.",
            over_time(
                {"notices": 'sum("notices") / max("people")'},
                INCIDENT,
                where=f'{COUNTED} AND "people" > 0',
                every="1h",
            ),
            bands=[(6, SKY), (12, ORANGE), (30, VERMILLION)],
            empty="no notice in this time",
            as_bars=True,
            low=0,
            width=8,
        ),
    ]


def _false_alarms() -> stat.Panel:
    newest = select(last("budget"), HEALTH, LAST_DAY, "sensor")
    panel = number(
        "False alarms per sensor-week",
        "Incidents that staff called a false alarm, over the weeks in which sensors were online."
        " The staff page has the budget of each sensor under Levels.",
        *key_figure("false_alarms_per_sensor_week"),
        rows({"budget": 'mean("budget")'}, f"({newest})", where=""),
        decimals=2,
        bands=[(1, ORANGE)],
        empty="no sensor online",
        width=6,
    )
    transformed(
        panel,
        _CONCATENATED,
        divided("a", "b", "a week"),
        divided("a week", "budget", "times the budget"),
        ("filterFieldsByName", {"include": {"names": ["a week", "times the budget"]}}),
    )
    return colored(panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME), {"a week": BLUE})


def _notices() -> stat.Panel:
    panel = number(
        "Notices per person-hour, whole school",
        "Notices delivered, of incidents in the time range that opened on a school day, without"
        " tests, per hour that a person was on duty: as in reports. ISA-18.2 calls 6 manageable."
        " Both are of the whole school, as people are on duty in more than one building: a report"
        " of a building divides by the hours of its own people.",
        *key_figure("notices_per_duty_hour", whole_school=True),
        decimals=2,
        bands=[(6, ORANGE)],
        empty="nobody was on duty by a shift",
        width=6,
    )
    transformed(
        panel,
        _CONCATENATED,
        divided("a", "b", "an hour"),
        ("filterFieldsByName", {"include": {"names": ["an hour"]}}),
    )
    return panel


def _lists(settings: DashboardSettings) -> list[table.Panel]:
    columns = {
        column.name: column
        for column in (
            Column("Time", 165),
            Column("id", 125, link=incident_link(settings)),
            Column("room", 135, link=room_link()),
            Column("kind", 110),
            Column("confidence", 100, unit="percentunit", decimals=0),
            Column("status", 120),
            Column("suppressed_by", title="suppressed by", wraps=True),
            Column("verdict"),
            Column("cause"),
        )
    }
    suppressed = ("id", "room", "kind", "status", "suppressed_by")
    every = ("id", "room", "kind", "confidence", "status", "verdict", "cause")
    return [
        grid(
            "Suppressed incidents",
            "Incidents on record that notified nobody: cooldowns, silences, other explanations.",
            listed(suppressed, INCIDENT, f'{IN_TIME} AND "suppressed" = 1'),
            columns=[columns[name] for name in ("Time", *suppressed)],
            empty="nothing was suppressed in this time",
            height=6,
        ),
        grid(
            "All incidents",
            "Click one for its page, with the evidence and the history.",
            listed(every, INCIDENT),
            columns=[columns[name] for name in ("Time", *every)],
            empty=_NO_INCIDENT,
            height=9,
        ),
    ]
