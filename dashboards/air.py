"""*Air quality*: where and when the air is not good, and whether the ventilation works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards.frame import frame
from dashboards.panels import (
    BLUE,
    SKY,
    bands_of,
    bars,
    chart,
    column,
    grid,
    transformed,
    unit_of,
)
from dashboards.queries import AVERAGES, EVENT, IN_TIME, PLACE, InfluxQl
from detection.guidelines import CO2, HUMIDITY, PM25_DAY, TVOC

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings
    from detection.guidelines import Guideline

_HALF_S_TO_ACH: Final = 2495.3
"""3600 ln 2: seconds to the half, to changes an hour."""


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    day = [
        _day("PM2.5, mean of 24 hours", PM25_DAY, 40),
        _day("CO2, mean of 24 hours", CO2, 2500),
        _day("Humidity, mean of 24 hours", HUMIDITY, 100),
    ]
    over_time = [
        _over_time("PM2.5", "pm25", PM25_DAY),
        _over_time("CO2", "co2", CO2),
        _over_time("TVOC, µg/m³", "tvoc_ugm3", TVOC),
        _over_time("TVOC, ppb", "tvoc_ppb", None),
        _over_time("VOC index", "voc_index", None),
        _over_time("Humidity", "rh", HUMIDITY),
    ]
    hours = [
        _hours(
            settings, "PM2.5 by room and hour of the day", "pm25", [(5, SKY), *bands_of(PM25_DAY)]
        ),
        _hours(settings, "CO2 by room and hour of the day", "co2", [(800, SKY), *bands_of(CO2)]),
    ]
    ventilation = [
        bars(
            "Air changes an hour, at most",
            "By the slowest tenth of plumes: ln 2 over the time in which half of the rise in fine"
            " particles was gone. Mixing and settling speed that up, so the air is changed at most"
            " as often as this says, and with few plumes the bound is loose. Restrooms are usually"
            " designed for 6 to 15: a room below that has a weak fan.",
            InfluxQl(
                'SELECT percentile("ach", 10) FROM'
                f' (SELECT {_HALF_S_TO_ACH} / "fine_half_s" AS "ach" FROM {EVENT} WHERE {IN_TIME}'
                ' AND "withdrawn" = 0 AND "fine_half_s" > 0) GROUP BY "room"',
                alias="$tag_room",
            ),
            decimals=1,
            empty="fewer than five plumes faded in this time",
            width=12,
        ),
        chart(
            "Time until half of a plume was gone",
            "Each plume of the time range; a rise over weeks says that the fan weakens.",
            InfluxQl(
                f'SELECT mean("fine_half_s") FROM {EVENT} WHERE {IN_TIME} AND "withdrawn" = 0'
                ' GROUP BY time($__interval), "room" fill(none)',
                alias="$tag_room",
            ),
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
            ("Over time", over_time),
            ("By hour of the day", hours),
            ("Ventilation", ventilation),
        ],
        since="now-7d",
        refresh="5m",
    )


def _day(title: str, guideline: Guideline, high: float) -> object:
    key = guideline.quantity
    bands = [
        (at, BLUE if colour == "transparent" else colour) for at, colour in bands_of(guideline)
    ]
    return bars(
        title,
        f"Mean of the last 24 hours by room. {guideline.said}",
        InfluxQl(
            f'SELECT mean("{key}") FROM {AVERAGES} WHERE time > now() - 1d AND {PLACE}'
            ' GROUP BY "room"',
            alias="$tag_room",
        ),
        unit=unit_of(key),
        decimals=0,
        bands=bands,
        high=high,
        empty="no sensor reported this",
    )


def _over_time(title: str, key: str, guideline: Guideline | None) -> object:
    said = guideline.said if guideline else "There is no published value for it in this unit."
    return chart(
        title,
        f"Mean of each interval by room. {said}",
        InfluxQl(
            f'SELECT mean("{key}") FROM {AVERAGES} WHERE {IN_TIME}'
            ' GROUP BY time($__interval), "room" fill(none)',
            alias="$tag_room",
        ),
        unit=unit_of(key),
        bands=bands_of(guideline) if guideline else (),
        empty="no sensor reported this",
        least="15m",
        low=0,
    )


def _hours(
    settings: DashboardSettings, title: str, key: str, bands: list[tuple[float, str]]
) -> object:
    panel = grid(
        title,
        f"Mean over the days of the time range; hours of {settings.zone}.",
        InfluxQl(
            f'SELECT mean("{key}") AS "air" FROM {AVERAGES} WHERE {IN_TIME}'
            ' GROUP BY time(1h), "room" fill(none)',
            table=True,
        ),
        empty="no sensor reported this",
        narrowest=40,
        height=9,
    )
    hour = {"timeField": "Time", "outputFormat": "HH", "timezone": settings.zone}
    by_hour = {
        "fields": {
            "Time": {"operation": "groupby", "aggregations": []},
            "room": {"operation": "groupby", "aggregations": []},
            "air": {"operation": "aggregate", "aggregations": ["mean"]},
        }
    }
    matrix = {"columnField": "Time", "rowField": "room", "valueField": "air (mean)"}
    transformed(
        panel,
        ("formatTime", hour),
        ("groupBy", by_hour),
        ("sortBy", {"sort": [{"field": "Time"}]}),
        ("groupingToMatrix", {**matrix, "emptyValue": "null"}),
        ("organize", {"renameByName": {"room\\Time": "room"}}),
    )
    column(panel, r"^\d\d$", decimals=0, bands=bands, regex=True)
    column(panel, "room", wide=120)
    return panel
