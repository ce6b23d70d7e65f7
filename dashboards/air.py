"""*Air quality*: where and when the air is bad, and whether the ventilation works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards import panels, queries
from dashboards.frame import frame, room_link
from reports.guidelines import CO2, COVERAGE, HUMIDITY, PM25_DAY, TVOC

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings
    from reports.guidelines import Guideline

_HALF_S_TO_ACH: Final = 2495.3
"""3600 ln 2: from half-life in seconds to air changes per hour."""
_NONE: Final = "no sensor reported this"


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    day = [
        _day("PM2.5, mean of 24 hours", PM25_DAY, 40),
        _day("CO2, mean of 24 hours", CO2, 2500),
        _day("Humidity, mean of 24 hours", HUMIDITY, 100),
    ]
    history = [
        _history("PM2.5", "pm25", PM25_DAY),
        _history("CO2", "co2", CO2),
        _history("TVOC, µg/m³", "tvoc_ugm3", TVOC),
        _history("TVOC, ppb", "tvoc_ppb", None),
        _history("VOC index", "voc_index", None),
        _history("Humidity", "rh", HUMIDITY),
    ]
    hours = [
        _hours(
            settings,
            "PM2.5 by hour, of the room's mean",
            "pm25",
            [(1.5, panels.SKY), (2.5, panels.ORANGE)],
            relative=True,
        ),
        _hours(
            settings,
            "CO2 by room and hour of the day",
            "co2",
            [(800, panels.SKY), *panels.bands_of(CO2)],
        ),
    ]
    faded = f'{queries.IN_TIME} AND "withdrawn" = 0'
    changes = queries.select(
        {"ach": f'{_HALF_S_TO_ACH} / "fine_half_s"'},
        queries.EVENT,
        f'{faded} AND "fine_half_s" > 0',
    )
    ventilation = [
        panels.bars(
            "Air changes per hour, at most",
            "By the slowest tenth of plumes: ln 2 over the half-life of the rise in fine particles."
            " Mixing and settling shorten it, so this is an upper bound of the air changes, and a"
            " loose one with few plumes. Restrooms are usually designed for 6 to 15: a room below"
            " that has a weak fan.",
            queries.by_tag('percentile("ach", 10)', f"({changes})", "room", ""),
            decimals=1,
            empty="fewer than five plumes faded in this time",
            width=12,
        ),
        panels.chart(
            "Half-life of plumes",
            "Each plume of the time range; a rise over weeks shows that the fan weakens.",
            queries.over_time('mean("fine_half_s")', queries.EVENT, "room", where=faded),
            unit="s",
            empty="no plume faded in this time",
            least="15m",
            low=0,
        ),
    ]
    return frame(
        settings,
        "plumewatch-air",
        "Plumewatch: air quality",
        "PM2.5, CO2, TVOC and humidity against published values, by room and hour, and how fast"
        " rooms clear. Published values are for days, not for a plume of minutes.",
        [
            ("Today", day),
            ("Over time", history),
            ("By hour of the day", hours),
            ("Ventilation", ventilation),
        ],
        since="now-7d",
        refresh="5m",
    )


def _day(title: str, guideline: Guideline, high: float) -> bargauge.Panel:
    key = guideline.quantity
    return panels.bars(
        title,
        "Mean of the last 24 hours by room, of rooms with readings of at least 18 of them."
        f" {guideline.basis}",
        queries.day_means(key, COVERAGE),
        unit=panels.unit_of(key),
        decimals=0,
        bands=[
            (at, panels.BLUE if color == panels.TRANSPARENT else color)
            for at, color in panels.bands_of(guideline)
        ],
        high=high,
        empty=_NONE,
        height=11,
    )


def _history(title: str, key: str, guideline: Guideline | None) -> timeseries.Panel:
    basis = guideline.basis if guideline else "There is no published value for it in this unit."
    is_momentary = guideline is not None and not guideline.over_s
    return panels.chart(
        title,
        f"Mean of each interval by room. {basis}",
        queries.over_time(f'mean("{key}")', queries.AVERAGES, "room"),
        unit=panels.unit_of(key),
        counted="index",
        bands=panels.bands_of(guideline) if guideline and is_momentary else None,
        empty=_NONE,
        least="15m",
        low=0,
    )


def _hours(
    settings: DashboardSettings,
    title: str,
    key: str,
    bands: panels.Bands,
    *,
    relative: bool = False,
) -> table.Panel:
    """Make the matrix of the hours of a day; a relative one is divided by the room's own mean."""
    value = "of its mean" if relative else "air"
    matrix = {"columnField": "Time", "rowField": "room", "valueField": f"{value} (mean)"}
    asked = [
        queries.over_time(
            {"air": f'mean("{key}")'}, queries.AVERAGES, "room", every="1h", table=True
        )
    ]
    steps: list[panels.Step] = []
    if relative:
        asked.append(queries.rows({"own": f'mean("{key}")'}, queries.AVERAGES, "room"))
        steps = [
            ("joinByField", {"byField": "room", "mode": "inner"}),
            panels.divided("air", "own", value),
        ]
    return panels.grid(
        title,
        "Mean over the days of the time range"
        f"{', over the mean of all its hours' if relative else ''}; hours of {settings.zone}.",
        *asked,
        steps=[
            (
                "formatTime",
                {"timeField": "Time", "outputFormat": "HH", "timezone": settings.zone},
            ),
            ("sortBy", {"sort": [{"field": "Time"}]}),
            *steps,
            panels.grouped(["Time", "room"], value, "mean"),
            ("groupingToMatrix", {**matrix, "emptyValue": "null"}),
            ("organize", {"renameByName": {"room\\Time": "room"}}),
        ],
        columns=[
            panels.Column(r"^\d\d$", 48, decimals=int(relative), bands=bands),
            panels.Column("room", 240, link=room_link()),
        ],
        empty=_NONE,
        narrowest=40,
        height=9,
    )
