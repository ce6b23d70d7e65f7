"""*Alerts*: whether they are few, right and prompt, and what causes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import common

from dashboards import panels, queries
from dashboards.frame import frame, incident_link, room_link
from reports.figures import IN_SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.builders import bargauge, histogram, stat, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

_CONCATENATED: Final[panels.Step] = ("concatenate", {"frameNameMode": "drop"})
_NO_INCIDENT: Final = "no incident in this time"


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        panels.number(
            "Incidents",
            "In the time range, on all days, without tests. Reports leave out days without school"
            " too, also in the figures beside it.",
            *queries.key_figure("incidents"),
            decimals=0,
            width=6,
        ),
        panels.number(
            "Confirmed",
            "Confirmed, of the incidents that staff confirmed or called a false alarm. Without"
            " feedback an incident counts for neither.",
            *queries.key_figure("confirmed_rate"),
            unit="percentunit",
            decimals=0,
            empty="no feedback",
            width=6,
        ),
        panels.number(
            "Feedback",
            "Incidents that staff confirmed or called a false alarm, of all.",
            *queries.key_figure("feedback_rate"),
            unit="percentunit",
            decimals=0,
            empty="no incident",
            width=6,
        ),
        _false_alarms(),
        panels.number(
            "Time to notify",
            "From opening an incident to the first notice delivered; median.",
            *queries.key_figure("time_to_notify"),
            unit="s",
            decimals=1,
            empty="nobody notified",
            width=6,
        ),
        _quotient(
            panels.number(
                "Nobody responded",
                "Of the incidents that are over and needed a responder, the share to which nobody"
                " responded: no acknowledgement, and no answer.",
                *queries.key_figure("nobody_responded"),
                unit="percentunit",
                decimals=0,
                bands=[(0.1, panels.ORANGE)],
                empty="none",
                width=6,
            )
        ),
        _notices(),
        panels.number(
            "Hours on duty, whole school",
            "Of all persons together, by the shifts, on school days. The chosen place does not"
            " matter here.",
            queries.single('sum("duty_s") / 3600', queries.PIPELINE, "$timeFilter"),
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
            ("Causes", [*_causes(settings), _by_hour_and_weekday(settings)]),
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
    source: str = queries.INCIDENT,
    tag: str = "",
    *,
    where: str = queries.COUNTED,
    colors: Mapping[str, str],
    stacked: bool = True,
    unit: str = "none",
    bands: panels.Bands | None = None,
    empty: str = _NO_INCIDENT,
    width: int = 8,
) -> timeseries.Panel:
    """Make a chart with one value per local day."""
    return panels.chart(
        title,
        about,
        queries.over_time(what, source, tag, where=where, every="1d", zone=settings.zone),
        unit=unit,
        counted="events" if source == queries.EVENT else "incidents",
        bands=bands,
        colors=colors,
        empty=empty,
        stacked=stacked,
        points=not stacked,
        low=0,
        width=width,
    )


def _causes(settings: DashboardSettings) -> list[timeseries.Panel | bargauge.Panel]:
    false_alarms = panels.bars(
        "Causes of false alarms",
        "By feedback of staff.",
        queries.rows(
            '"cause", "confidence"',
            queries.INCIDENT,
            where=f'{queries.COUNTED} AND "false_alarm" = 1',
        ),
        empty="no false alarm in this time",
        values=True,
    )
    panels.transformed(false_alarms, panels.grouped(["cause"], "confidence", "count"))
    return [
        _by_day(
            settings,
            "Incidents per day, by kind",
            "Days of the school.",
            'count("confidence")',
            tag="kind",
            colors=panels.KIND_COLORS,
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
            colors={
                "confirmed": panels.BLUE,
                "false alarm": panels.ORANGE,
                "nothing found": panels.GREY,
            },
            width=12,
        ),
        _by_day(
            settings,
            "Events per day, by kind",
            "Events of the detectors, also those that notify nobody.",
            'count("confidence")',
            queries.EVENT,
            "kind",
            where=f'{queries.IN_TIME} AND "withdrawn" = 0',
            colors=panels.KIND_COLORS,
            empty="no event in this time",
        ),
        false_alarms,
        panels.bars(
            "Incidents by room",
            "In the time range, without tests.",
            queries.by_tag('count("confidence")', queries.INCIDENT, "room", queries.COUNTED),
            empty=_NO_INCIDENT,
        ),
    ]


def _by_hour_and_weekday(settings: DashboardSettings) -> table.Panel:
    """Make the matrix: each hour of the time range is counted into its weekday and hour."""
    matrix = {"columnField": "hour", "rowField": "day", "valueField": "incidents (sum)"}
    days: panels.Words = {
        str(number): (name, panels.TRANSPARENT)
        for number, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), 1)
    }
    return panels.grid(
        "Incidents by weekday and hour",
        f"Sum over the time range, best over several weeks; hours of {settings.zone}.",
        queries.over_time(
            {"incidents": 'count("confidence")'},
            queries.INCIDENT,
            where=queries.COUNTED,
            every="1h",
            fill="0",
            table=True,
        ),
        steps=[
            (
                "formatTime",
                {
                    "timeField": "Time",
                    "outputFormat": "[day]=E,[hour]=HH",
                    "timezone": settings.zone,
                },
            ),
            ("extractFields", {"source": "Time", "format": "kvp", "replace": False}),
            panels.grouped(["day", "hour"], "incidents", "sum"),
            *panels.ordered("day", "hour"),
            ("groupingToMatrix", {**matrix, "emptyValue": "null"}),
            ("organize", {"renameByName": {"day\\hour": "day"}}),
        ],
        columns=[
            panels.Column(
                r"^\d\d$",
                decimals=0,
                bands=[(1, panels.SKY), (3, panels.ORANGE), (6, panels.VERMILLION)],
            ),
            panels.Column("day", 70, words=days),
        ],
        empty=_NO_INCIDENT,
        narrowest=40,
        height=9,
    )


def _response(settings: DashboardSettings) -> list[timeseries.Panel | histogram.Panel]:
    def median(key: str) -> str:
        return IN_SERIES[key][0].expression

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
            colors={"median": panels.BLUE, "p90": panels.VERMILLION, "arrival": panels.GREEN},
            stacked=False,
            unit="s",
            bands=[(300, panels.ORANGE)],
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
            colors={"to the opening": panels.BLUE, "to the notice": panels.SKY},
            stacked=False,
            unit="s",
        ),
        panels.counts(
            "How long until somebody acknowledged",
            "Incidents by the time from the first notice delivered to the acknowledgement, a bar a"
            " minute; those that nobody acknowledged are not in it.",
            queries.rows(
                '"acknowledged_s"',
                queries.INCIDENT,
                where=f'{queries.COUNTED} AND "acknowledged" = 1',
            ),
            bucket=60,
            unit="s",
            empty="nobody acknowledged one in this time",
            width=8,
        ),
        panels.chart(
            "Notices per hour and person notified",
            "Notices delivered in an hour over the people who got one. ISA-18.2 calls 6 an hour"
            " manageable, 12 the most, and 30 a flood.",
            queries.over_time(
                {"notices": 'sum("notices") / max("people")'},
                queries.INCIDENT,
                where=f'{queries.COUNTED} AND "people" > 0',
                every="1h",
            ),
            bands=[(6, panels.SKY), (12, panels.ORANGE), (30, panels.VERMILLION)],
            empty="no notice in this time",
            counted="notices",
            as_bars=True,
            low=0,
            width=24,
        ),
    ]


def _false_alarms() -> stat.Panel:
    newest = queries.newest("budget", queries.HEALTH)
    panel = panels.number(
        "False alarms per sensor-week",
        "Incidents that staff called a false alarm, over the weeks in which sensors were online."
        " The staff page has the budget of each sensor under Levels.",
        *queries.key_figure("false_alarms_per_sensor_week"),
        queries.rows({"budget": 'mean("budget")'}, newest, where=""),
        decimals=2,
        bands=[(1, panels.ORANGE)],
        empty="no sensor online",
        width=6,
    )
    panels.transformed(
        panel,
        _CONCATENATED,
        panels.divided("a", "b", "a week"),
        panels.divided("a week", "budget", "times the budget"),
        ("filterFieldsByName", {"include": {"names": ["a week", "times the budget"]}}),
    )
    return panels.colored(
        panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME), {"a week": panels.BLUE}
    )


def _notices() -> stat.Panel:
    return _quotient(
        panels.number(
            "Notices per person-hour, whole school",
            "Notices delivered, of incidents in the time range that opened on a school day,"
            " without tests, per hour that a person was on duty: as in reports. ISA-18.2 calls 6"
            " manageable. Both are of the whole school, as people are on duty in more than one"
            " building: a report of a building divides by the hours of its own people.",
            *queries.key_figure("notices_per_duty_hour", whole_school=True),
            decimals=2,
            bands=[(6, panels.ORANGE)],
            empty="nobody was on duty by a shift",
            width=6,
        )
    )


def _quotient(panel: stat.Panel) -> stat.Panel:
    """Divide the first of two answers by the second."""
    panels.transformed(
        panel,
        _CONCATENATED,
        panels.divided("a", "b", "quotient"),
        ("filterFieldsByName", {"include": {"names": ["quotient"]}}),
    )
    return panel


def _lists(settings: DashboardSettings) -> list[table.Panel]:
    columns = {
        column.name: column
        for column in (
            panels.Column("Time", 165),
            panels.Column("id", 125, link=incident_link(settings)),
            panels.Column("room", link=room_link(), wraps=True),
            panels.Column("kind", 110),
            panels.Column("confidence", 100, unit="percentunit", decimals=0),
            panels.Column("status", 120),
            panels.Column("suppressed_by", title="suppressed by", wraps=True),
            panels.Column("verdict", 130),
            panels.Column("cause", 130),
        )
    }
    suppressed = ("id", "room", "kind", "status", "suppressed_by")
    every = ("id", "room", "kind", "confidence", "status", "verdict", "cause")
    return [
        panels.grid(
            "Suppressed incidents",
            "Incidents on record that notified nobody: cooldowns, silences, other explanations.",
            queries.listed(suppressed, queries.INCIDENT, f'{queries.IN_TIME} AND "suppressed" = 1'),
            columns=[columns[name] for name in ("Time", *suppressed)],
            empty="nothing was suppressed in this time",
            height=6,
        ),
        panels.grid(
            "All incidents",
            "Click one for its page, with the evidence and the history.",
            queries.listed(every, queries.INCIDENT),
            columns=[columns[name] for name in ("Time", *every)],
            empty=_NO_INCIDENT,
            height=9,
        ),
    ]
