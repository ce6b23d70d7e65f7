"""Panels with the conventions that all dashboards share, such as a text for an empty one."""

from dashboards.panels.charts import bars, chart, counts, note, number, states
from dashboards.panels.looks import (
    BLUE,
    COLORS,
    GREEN,
    KIND_COLORS,
    ORANGE,
    PURPLE,
    VERMILLION,
    Words,
    bands_of,
    unit_of,
)
from dashboards.panels.tables import (
    Column,
    Step,
    divided,
    grid,
    grouped,
    joined,
    ordered,
    transformed,
)

__all__ = [
    "BLUE",
    "COLORS",
    "GREEN",
    "KIND_COLORS",
    "ORANGE",
    "PURPLE",
    "VERMILLION",
    "Column",
    "Step",
    "Words",
    "bands_of",
    "bars",
    "chart",
    "counts",
    "divided",
    "grid",
    "grouped",
    "joined",
    "note",
    "number",
    "ordered",
    "states",
    "transformed",
    "unit_of",
]
