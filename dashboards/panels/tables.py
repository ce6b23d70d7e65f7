"""Tables, links from their cells, and the transformations that Grafana makes of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    ValueMap,
    ValueMappingResult,
)

from dashboards.panels.charts import described
from dashboards.panels.looks import LABELS, TRANSPARENT, behind_text, mappings, thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.builders.dashboard import DashboardLink

    from dashboards.panels.looks import Bands, Words
    from dashboards.queries import InfluxQl

_READABLE: Final = 260
"""Least width of a column of sentences; on a phone it scrolls rather than being a word wide."""
Step = tuple[str, Mapping[str, object]]
"""Name and options of a transformation that Grafana makes of an answer."""


class Column(NamedTuple):
    """One column of a table; a `title` replaces the name, one that begins with ``^`` is a pattern.

    Bands or words color the cells; a column that wraps holds sentences.
    """

    name: str
    width: int | None = None
    title: str = ""
    unit: str = ""
    decimals: int | None = None
    bands: Bands | None = None
    words: Words | None = None
    link: DashboardLink | None = None
    wraps: bool = False

    def override(self) -> list[DynamicConfigValue]:
        """Return what Grafana overrides for this column."""
        found: dict[str, Any] = {}
        if self.unit:
            found["unit"] = self.unit
        if self.decimals is not None:
            found["decimals"] = self.decimals
        if self.bands:
            found["thresholds"] = thresholds(behind_text(self.bands), TRANSPARENT).build()
        if self.words is not None:
            found["mappings"] = mappings(self.words)
        if self.bands or self.words is not None:
            found["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
        if self.link is not None:
            found["links"] = [self.link.build()]
        if self.width is not None:
            found["custom.width"] = self.width
        if self.wraps:
            found["custom.wrapText"] = True
            if self.width is None:
                found["custom.minWidth"] = _READABLE
            found.setdefault("custom.cellOptions", {"type": "auto", "wrapText": True})  # before 12
        return [DynamicConfigValue(key, value) for key, value in found.items()]


def grid(
    title: str,
    about: str,
    *queries: InfluxQl,
    columns: Sequence[Column],
    steps: Sequence[Step] = (),
    empty: str = "nothing in this time",
    narrowest: int = 70,
    tall: bool = False,
    width: int = 24,
    height: int = 8,
) -> table.Panel:
    """Make a table of columns in this order, after transformations.

    A cell without a value is empty; `empty` is for a table without rows. If a column is a pattern,
    all columns stay as they are. `tall` rows have room for names: Grafana measures ids.
    """
    labels = {key: ValueMappingResult(text=t, index=k) for k, (key, t) in enumerate(LABELS.items())}
    panel = (
        described(table.Panel(), (title, about, empty), queries, (width, height))
        .override_by_regexp(
            ".*",
            [
                DynamicConfigValue("noValue", ""),
                DynamicConfigValue("mappings", [ValueMap(labels)]),
            ],
        )
        .min_width(narrowest)
        .thresholds(thresholds([], TRANSPARENT))
        .show_header(True)
    )
    if tall:
        panel.cell_height(TableCellHeight.LG)
    has_pattern = any(column.name.startswith("^") for column in columns)
    transformed(panel, *steps, *(() if has_pattern else _only(columns)))
    for column in columns:
        is_pattern = column.name.startswith("^")
        override = panel.override_by_regexp if is_pattern else panel.override_by_name
        if properties := column.override():
            override(column.title or column.name, properties)
    return panel


def _only(columns: Sequence[Column]) -> list[Step]:
    names = [column.name for column in columns]
    order = {
        "excludeByName": {},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": {column.name: column.title for column in columns if column.title},
    }
    return [("filterFieldsByName", {"include": {"names": names}}), ("organize", order)]


def transformed(panel: Any, *steps: Step) -> Any:
    """Let Grafana transform the answer in steps."""
    return panel.transformations([DataTransformerConfig(name, options=o) for name, o in steps])


def joined(by: str) -> Step:
    """Join answers by a column."""
    return ("joinByField", {"byField": by, "mode": "outer"})


def ordered(*names: str) -> list[Step]:
    """Order rows by columns, the first above all; Grafana sorts by one column a step."""
    return [("sortBy", {"sort": [{"field": name}]}) for name in reversed(names)]


def grouped(by: Sequence[str], field: str, calculation: str) -> Step:
    """Group rows by columns and aggregate a field."""
    fields: dict[str, Any] = {name: {"operation": "groupby", "aggregations": []} for name in by}
    fields[field] = {"operation": "aggregate", "aggregations": [calculation]}
    return ("groupBy", {"fields": fields})


def divided(first: str, second: str, alias: str) -> Step:
    """Divide one column by another."""
    return (
        "calculateField",
        {
            "mode": "binary",
            "alias": alias,
            "binary": {"left": first, "operator": "/", "right": second},
            "replaceFields": False,
        },
    )
