"""InfluxQL queries of the panels, as Grafana sends them.

A query names its measurement with its retention policy, so the database is that of the data source.
Places come from template variables, always in Grafana's format ``:regex``, which escapes whatever a
variable holds, slashes too: text from the address of a page can end neither the pattern nor the
statement. Measurements, fields and keys are those of `storage.timeseries.records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from reports.figures import IN_SERIES
from storage.timeseries.line_protocol import READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA_SOURCE_UID: Final = "plumewatch-series"
DATA_SOURCE_NAME: Final = "Plumewatch series"
POLICIES: Final = ("", MINUTE.name, QUARTER_HOUR.name)
"""Of readings, and of what is kept longer."""


def data_source_uid(policy: str) -> str:
    """Return the id of the data source of a database of an InfluxDB 3."""
    return f"{DATA_SOURCE_UID}-{policy}" if policy else DATA_SOURCE_UID


SOURCE: Final = "source"
"""Variable with which people choose the data source, so that files fit any Grafana."""
DATA_SOURCE: Final = DataSourceRef(type_val="influxdb", uid=f"${{{SOURCE}}}")

PLACE_TAGS: Final = ("site", "building", "floor", "room")
"""Tags that name a place, from large to small: each is a variable, chosen within the one before."""


def in_place(tags: Sequence[str]) -> str:
    """Return the condition that these tags are what their variables choose."""
    return " AND ".join(f'"{tag}" =~ /^${{{tag}:regex}}$/' for tag in tags)


PLACE: Final = in_place(PLACE_TAGS)
IN_TIME: Final = f"$timeFilter AND {PLACE}"
"""The chosen places in the time range of the dashboard."""
LAST_DAY: Final = f"time > now() - 1d AND {PLACE}"
LAST_QUARTER: Final = f"time > now() - 15m AND {PLACE}"


def _source(measurement: str) -> str:
    level = MEASUREMENTS[measurement].kept
    return f'"{level.name}"."{measurement}"' if level else f'"{measurement}"'


READINGS: Final = f'"{READING}"'
AVERAGES: Final = f'"{QUARTER_HOUR.name}"."{QUARTER_HOUR.measurement}"'
DETECTION: Final = _source("detection")
EVENT: Final = _source("event")
INCIDENT: Final = _source("incident")
HEALTH: Final = _source("sensor_health")
PIPELINE: Final = _source("pipeline")

NO_TEST: Final = '"test" = 0'
COUNTED: Final = f"{IN_TIME} AND {NO_TEST}"
"""Incidents that figures count: without tests."""


class InfluxQl(Builder[Dataquery], Dataquery):
    """One query of a panel.

    `alias` names a line, such as ``$tag_room``; a `table` is rows, otherwise lines over time.
    """

    def __init__(self, query: str, *, alias: str = "", table: bool = False) -> None:
        self.query = query
        self.alias = alias
        self.table = table
        self.ref = "A"

    def build(self) -> Dataquery:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return it as Grafana's InfluxDB data source stores it."""
        return {
            "alias": self.alias,
            "datasource": DATA_SOURCE,
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref,
            "resultFormat": "table" if self.table else "time_series",
        }


Selected = str | Mapping[str, str]
"""One expression, or expressions by the name of their column."""


def select(what: Selected, source: str, where: str = "", *by: str) -> str:
    """Return a SELECT statement, grouped by tags; `source` may be a statement in parentheses."""
    if not isinstance(what, str):
        what = ", ".join(f'{expression} AS "{name}"' for name, expression in what.items())
    groups = ", ".join(f'"{tag}"' for tag in by)
    condition = f" WHERE {where}" if where else ""
    return f"SELECT {what} FROM {source}{condition}{f' GROUP BY {groups}' if by else ''}"


def last(*fields: str) -> dict[str, str]:
    """Select the newest value of fields under their own names."""
    return {field: f'last("{field}")' for field in fields}


def newest(field: str, source: str, tag: str = "sensor", where: str = LAST_DAY) -> str:
    """Return the newest value of a field per value of a tag, as the source of another query."""
    return f"({select(last(field), source, where, tag)})"


def newest_of(fields: Sequence[str], *by: str) -> str:
    """Return the newest values of fields of sensors, as the source of another query."""
    return f"({select(last(*fields), HEALTH, LAST_DAY, *by)})"


def single(what: Selected, source: str, where: str = IN_TIME) -> InfluxQl:
    """Ask for one number."""
    return InfluxQl(select(what, source, where))


def by_tag(what: str, source: str, tag: str, where: str = IN_TIME) -> InfluxQl:
    """Ask for one number per value of a tag."""
    return InfluxQl(select(what, source, where, tag), alias=f"$tag_{tag}")


def day_means(key: str, coverage: float) -> InfluxQl:
    """Ask for the mean of the last 24 hours by room, of rooms with a share of its quarter hours."""
    slots = over_time({"air": f'mean("{key}")'}, AVERAGES, "room", where=LAST_DAY, every="15m")
    means = select({"air": 'mean("air")', "slots": 'count("air")'}, f"({slots.query})", "", "room")
    return by_tag('mean("air")', f"({means})", "room", f'"slots" >= {coverage * 96:.0f}')


def over_time(
    what: Selected,
    source: str,
    tag: str = "",
    *,
    where: str = IN_TIME,
    every: str = "$__interval",
    fill: str = "none",
    zone: str = "",
    alias: str = "",
    table: bool = False,
) -> InfluxQl:
    """Ask for lines over time, one per value of a tag or one per column; or for a table of them."""
    tags = f', "{tag}"' if tag else ""
    local = f" tz('{zone}')" if zone else ""
    return InfluxQl(
        f"{select(what, source, where)} GROUP BY time({every}){tags} fill({fill}){local}",
        alias="" if table else alias or (f"$tag_{tag}" if tag else "$col"),
        table=table,
    )


def rows(what: Selected, source: str, *by: str, where: str = IN_TIME) -> InfluxQl:
    """Ask for rows of a table."""
    return InfluxQl(select(what, source, where, *by), table=True)


def listed(fields: Sequence[str], source: str, where: str = IN_TIME) -> InfluxQl:
    """Ask for records, newest first."""
    names = ", ".join(f'"{field}"' for field in fields)
    return InfluxQl(f"{select(names, source, where)} ORDER BY time DESC", table=True)


def key_figure(key: str, *, whole_school: bool = False) -> list[InfluxQl]:
    """Ask for a figure of `reports.figures`; of two answers, the first is divided by the second."""
    selects = IN_SERIES[key]
    made = []
    for number, (measurement, expression, condition) in enumerate(selects):
        parts = ["$timeFilter"]
        parts += [PLACE] * (not whole_school)
        parts += [NO_TEST] * (measurement == "incident")
        parts += [condition] * bool(condition)
        what: Selected = expression if len(selects) == 1 else {"ab"[number]: expression}
        query = select(what, _source(measurement), " AND ".join(parts))
        made.append(InfluxQl(query, table=len(selects) > 1))
    return made
