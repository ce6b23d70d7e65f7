"""InfluxQL for the panels: measurements, conditions, key figures.

Places come from template variables, always in Grafana's format ``:regex``. It escapes the values,
so text from a page's address cannot end the pattern or the statement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from reports.figures import IN_SERIES
from storage.timeseries.line_protocol import READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA_SOURCE_UID: Final = "plumewatch-series"
DATA_SOURCE_NAME: Final = "Plumewatch series"
POLICIES: Final = ("", MINUTE.name, QUARTER_HOUR.name)
"""Retention policies: raw readings (the default policy), one minute, quarter of an hour."""


def make_source_uid(policy: str) -> str:
    """Return the id of the data source for a policy, which is a database in InfluxDB 3."""
    return f"{DATA_SOURCE_UID}-{policy}" if policy else DATA_SOURCE_UID


SOURCE: Final = "source"
"""Variable that selects the data source, so that the files work in any Grafana."""
DATA_SOURCE: Final = {"type": "influxdb", "uid": f"${{{SOURCE}}}"}

PLACE_TAGS: Final = ("site", "building", "floor", "room")
"""Tags that name a place, from large to small; each variable depends on the one before."""


def match_place(tags: Sequence[str]) -> str:
    """Return the condition that selects the chosen places."""
    return " AND ".join(f'"{tag}" =~ /^${{{tag}:regex}}$/' for tag in tags)


PLACE: Final = match_place(PLACE_TAGS)
IN_TIME: Final = f"$timeFilter AND {PLACE}"
"""Selects the chosen places in the dashboard's time range."""


def _source(measurement: str) -> str:
    return f'"{MEASUREMENTS[measurement].kept.name}"."{measurement}"'


_IN_DETAIL: Final = "${__to} - ${__from} <= 90000000"
_IN_OUTLINE: Final = "${__to} - ${__from} > 90000000"
"""True for a time range of up to 25 hours, and for a longer one; in milliseconds. A query whose
condition is false costs InfluxDB nothing, so a panel sends both queries."""
NO_TEST: Final = '"test" = 0'
FRAGMENTS: Final = {
    "readings": f'"{READING}"',
    "averages": f'"{QUARTER_HOUR.name}"."{QUARTER_HOUR.measurement}"',
    "event": _source("event"),
    "incident": _source("incident"),
    "health": _source("sensor_health"),
    "hours": _source("sensor_hour"),
    "place": PLACE,
    "no_test": NO_TEST,
    "in_time": IN_TIME,
    "in_detail": f"$timeFilter AND {_IN_DETAIL} AND {PLACE}",
    "in_outline": f"$timeFilter AND {_IN_OUTLINE} AND {PLACE}",
    "last_day": f"time > now() - 1d AND {PLACE}",
    "last_quarter": f"time > now() - 15m AND {PLACE}",
    "counted": f"{IN_TIME} AND {NO_TEST}",
    "open": f'time > now() - 7d AND {PLACE} AND "open" = 1 AND {NO_TEST}',
}
"""Measurements and conditions, by their name in the definitions of panels.

``hours`` has hourly sums of ``health``, for long ranges. ``counted`` and ``open`` exclude tests.
``open`` looks back a week, because no incident stays open that long.
"""


def fill_in(text: str, words: Mapping[str, str] = FRAGMENTS) -> str:
    """Fill in names in braces, but not Grafana variables; raise KeyError for an unknown name."""
    return re.sub(r"(?<!\$)\{(\w+)\}", lambda found: words[found[1]], text)


def make_query(query: str, *, alias: str = "", table: bool = False) -> dict[str, Any]:
    """Return one query of a panel; `alias` names its series, such as ``$tag_room``."""
    return {
        "alias": alias,
        "datasource": DATA_SOURCE,
        "query": query,
        "rawQuery": True,
        "resultFormat": "table" if table else "time_series",
    }


def select_detail(query: str) -> str:
    """Return a query without its `_IN_DETAIL` condition; empty if it is for longer time ranges.

    Whether InfluxDB 3 can compare numbers in a condition has not been tested.
    """
    return "" if _IN_OUTLINE in query else query.replace(f" AND {_IN_DETAIL}", "")


def query_key_figure(key: str) -> list[dict[str, Any]]:
    """Return a key figure's queries; with two, the panel divides the first by the second."""
    selects = IN_SERIES[key]
    made = []
    for number, (measurement, expression, condition, least) in enumerate(selects):
        no_test = NO_TEST if measurement == "incident" else ""
        where = " AND ".join(filter(None, ("$timeFilter", PLACE, no_test, condition)))
        name = "" if len(selects) == 1 else f' AS "{"ab"[number]}"'
        query = f"SELECT {expression}{name} FROM {_source(measurement)} WHERE {where}"
        if least is not None:
            found = f'SELECT {expression} AS "found", {least[0]} AS "basis" FROM'
            query = f'SELECT "found"{name} FROM ({found} {_source(measurement)} WHERE {where})'
            query += f' WHERE "basis" >= {least[1]}'
        made.append(make_query(query, table=len(selects) > 1))
    return made
