"""Questions to the series, in InfluxQL, as Grafana sends them.

Every question names its measurement by retention policy alone, so the database is that of the data
source. Places come from template variables, always in Grafana's format ``:regex``, which escapes
whatever stands in a variable, slashes too: text from the address of a page can neither end the
pattern nor the statement. Measurements, fields and keys are those of `storage.timeseries.records`.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from storage.timeseries.line_protocol import READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import QUARTER_HOUR

DATA_SOURCE_UID: Final = "plumewatch-series"
DATA_SOURCE: Final = DataSourceRef(type_val="influxdb", uid=DATA_SOURCE_UID)

PLACE_TAGS: Final = ("site", "building", "floor", "room")
"""Tags that say where, from large to small: each is a variable, chosen within the one before."""

PLACE: Final = " AND ".join(f'"{tag}" =~ /^${{{tag}:regex}}$/' for tag in PLACE_TAGS)
"""Only what the variables choose."""

IN_TIME: Final = f"$timeFilter AND {PLACE}"
"""The same, in the time range of the dashboard."""


def _kept(measurement: str) -> str:
    level = MEASUREMENTS[measurement].kept
    return f'"{level.name}"."{measurement}"' if level else f'"{measurement}"'


READINGS: Final = f'"{READING}"'
AVERAGES: Final = f'"{QUARTER_HOUR.name}"."{QUARTER_HOUR.measurement}"'
DETECTION: Final = _kept("detection")
EVENT: Final = _kept("event")
INCIDENT: Final = _kept("incident")
HEALTH: Final = _kept("sensor_health")
PIPELINE: Final = _kept("pipeline")


class InfluxQl(Builder[Dataquery], Dataquery):
    """One question of a panel.

    Parameters
    ----------
    query : str
        InfluxQL with Grafana's variables.
    alias : str
        Name of a line, such as ``$tag_room``; empty for the name of its column.
    table : bool
        Whether the answer is rows; else lines over time.
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
        """Return it as the InfluxDB data source of Grafana stores it."""
        return {
            "alias": self.alias,
            "datasource": DATA_SOURCE,
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref,
            "resultFormat": "table" if self.table else "time_series",
        }
