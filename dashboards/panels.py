"""Panels with the conventions that all dashboards share.

Units come from `detection.quantities` and are translated for Grafana here only. Colors are those of
Okabe and Ito, distinct with any color vision (https://jfly.uni-koeln.de/color/); no state is shown
by color alone. Every panel describes what it shows, and what an empty one means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from grafana_foundation_sdk.builders import (
    bargauge,
    histogram,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    ScaleDistributionConfig,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.text import TextMode

from dashboards.queries import DATA_SOURCE
from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from grafana_foundation_sdk.models.dashboard import ValueMapping

    from dashboards.queries import InfluxQl
    from reports.guidelines import Guideline

BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8E8E8E"
TRANSPARENT: Final = "transparent"

_GROUNDS: Final = {
    ORANGE: "#F5C04F",
    VERMILLION: "#B04A00",
    PURPLE: "#8F3F6E",
    SKY: "#8CCBF0",
    GREY: "#C4C4C4",
}
"""Colors behind text: Grafana writes almost black on a light ground and almost white on any other,
and only on these is the contrast 4.5 or more. The worse the darker."""

KIND_COLORS: Final = {
    "vape": VERMILLION,
    "smoke": "#000000",
    "spray": PURPLE,
    "steam": SKY,
    "voc": ORANGE,
    "dust": GREY,
    "ambient": GREEN,
    "tamper": BLUE,
    "sensor_fault": YELLOW,
    "offline": "#4D4D4D",
    "integrity": "#6A3D9A",
}
"""Of kinds of event, the same in every chart."""

_NARROW: Final = 8
"""Width of a chart with few lines, whose legend has room for values."""

_READABLE: Final = 260
"""Least width of a column of sentences; on a phone it scrolls rather than being a word wide."""

_LABELS: Final = {
    "sensor_fault": "sensor fault",
    "false_alarm": "false alarm",
    "nothing_found": "nothing found",
}
"""Labels of stored codes with two words."""

_PALETTE: Final = FieldColorModeId.PALETTE_CLASSIC
"""For lines whose names are not known beforehand. Its palette for any color vision is not in every
version, so lines whose names are known get colors of ours."""

_UNITS: Final = {
    "µg/m³": "conμgm3",
    "/cm³": "suffix:/cm³",
    "ppb": "conppb",
    "ppm": "ppm",
    "ticks": "none",
    "%": "percent",
    "°C": "celsius",
    "hPa": "pressurehpa",
    "lx": "lux",
    "dBm": "suffix:dBm",
    "": "none",
}
"""Unit of a quantity to Grafana's name of it."""

_UNIT_TEXTS: Final = {
    **{name: text for text, name in _UNITS.items() if name != "none"},
    "s": "time",
    "ms": "time",
    "percentunit": "share",
}
"""What the axis says of a unit."""

_SEVERITY: Final = (TRANSPARENT, ORANGE, VERMILLION, PURPLE)

Bands = list[tuple[float, str]]
"""Values from which a band begins, and its color."""
Words = Mapping[str | None, tuple[str, str]]
"""Text and color shown in place of a value; None stands for no value."""
Step = tuple[str, Mapping[str, object]]
"""Name and options of a transformation that Grafana makes of an answer."""
Link = DashboardLink
"""A link from a value."""
_P = TypeVar(
    "_P",
    timeseries.Panel,
    stat.Panel,
    bargauge.Panel,
    table.Panel,
    histogram.Panel,
    statetimeline.Panel,
)


def bands_of(guideline: Guideline) -> Bands:
    """Return the bands of a guideline without the lowest."""
    return [(band.start, _SEVERITY[band.severity]) for band in guideline.bands[1:]]


def unit_of(quantity: str) -> str:
    """Return Grafana's name of the unit of a quantity.

    Examples
    --------
    >>> unit_of("temp"), unit_of("voc_index")
    ('celsius', 'none')
    """
    return _UNITS[QUANTITIES[quantity].unit]


def _thresholds(bands: Bands, first: str) -> ThresholdsConfig:
    """Return the colors of bands, with `first` below all of them."""
    steps = [Threshold(value=None, color=first), *(Threshold(v, c) for v, c in bands)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _behind_text(bands: Bands) -> Bands:
    return [(value, _GROUNDS.get(color, color)) for value, color in bands]


def _mappings(words: Words) -> list[ValueMapping]:
    found: list[ValueMapping] = []
    results = {
        value: ValueMappingResult(text=text, color=_GROUNDS.get(color, color), index=index)
        for index, (value, (text, color)) in enumerate(words.items())
    }
    found.append(ValueMap({value: r for value, r in results.items() if value is not None}))
    if None in results:
        options = DashboardSpecialValueMapOptions(SpecialValueMatch.NULL_AND_NAN, results[None])
        found.append(SpecialValueMap(options))
    return found


def _panel(
    panel: _P, text: tuple[str, str, str], queries: Iterable[InfluxQl], size: tuple[int, int]
) -> _P:
    """Set what every panel has: title, description and text if empty, queries, size."""
    title, about, empty = text
    targets = list(queries)
    for ref, query in zip("ABCDEFGH", targets, strict=False):
        query.ref = ref
    panel.title(title).description(about).no_value(empty)
    panel.datasource(DATA_SOURCE).targets(cast("list[Any]", targets))
    return panel.span(size[0]).height(size[1])


def chart(
    title: str,
    about: str,
    *queries: InfluxQl,
    unit: str = "none",
    bands: Bands | None = None,
    colors: Mapping[str, str] | None = None,
    empty: str = "no readings in this time",
    as_bars: bool = False,
    stacked: bool = False,
    points: bool = False,
    least: str = "",
    low: float | None = None,
    high: float | None = None,
    logarithmic: bool = False,
    counted: str = "",
    gap_ms: float = 3_600_000,
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Make a chart of lines or, also for `stacked`, of bars over time.

    - `bands`: drawn as dashed lines.
    - `colors`: of lines with a known name.
    - `least`: shortest interval, such as ``15m``.
    - `low`, `high`: ends of the axis.
    - `counted`: what values without a unit are, such as ``incidents``.
    - `gap_ms`: longest gap that a line bridges.
    - `width`, `height`: of 24 columns; in units of the grid.
    """
    is_by_place = any(query.alias in {"$tag_room", "$tag_sensor"} for query in queries)
    panel = (
        _panel(timeseries.Panel(), (title, about, empty), queries, (width, height))
        .override_by_regexp(".*", [DynamicConfigValue("noValue", "-")])  # of a line in the legend
        .unit(unit)
        .color_scheme(FieldColor().mode(_PALETTE))
        .line_width(2)
        .span_nulls(gap_ms)
        .show_points(common.VisibilityMode.ALWAYS if points else common.VisibilityMode.AUTO)
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([] if is_by_place and width > _NARROW else ["lastNotNull", "max"])
        )
        .tooltip(
            VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    axis = _UNIT_TEXTS.get(unit, counted)
    if bands:
        starts = ", ".join(_start(start, unit) for start, color in bands if color != TRANSPARENT)
        axis = f"{axis} (dashed: {starts})".strip() if starts else axis
        panel.thresholds(_thresholds(bands, TRANSPARENT)).thresholds_style(
            GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if axis:
        panel.axis_label(axis)
    if logarithmic:
        panel.scale_distribution(
            ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        )
    if as_bars or stacked:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(80).line_width(1)
        panel.bar_alignment(common.BarAlignment.AFTER)  # an interval begins at its time stamp
        panel.show_points(common.VisibilityMode.NEVER)
    if stacked:
        panel.stacking(StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        panel.fill_opacity(60)
    if least:
        panel.interval(least)
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    return colored(panel, colors or {})


def _start(value: float, unit: str) -> str:
    return f"{value / 60:g} min" if unit == "s" else f"{value:g}"


def colored(panel: _P, colors: Mapping[str, str]) -> _P:
    """Give lines or values of known names their colors and labels."""
    for name, color in colors.items():
        panel.override_by_name(
            name,
            [
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}),
                DynamicConfigValue("displayName", _LABELS.get(name, name)),
            ],
        )
    return panel


def number(
    title: str,
    about: str,
    *queries: InfluxQl,
    unit: str = "none",
    decimals: int | None = None,
    bands: Bands | None = None,
    words: Words | None = None,
    empty: str = "0",
    width: int = 4,
    height: int = 4,
) -> stat.Panel:
    """Make a panel of one large number; bands color its ground."""
    panel = (
        _panel(stat.Panel(), (title, about, empty), queries, (width, height))
        .unit(unit)
        .color_mode(
            common.BigValueColorMode.BACKGROUND_SOLID if bands else common.BigValueColorMode.NONE
        )
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
        .thresholds(_thresholds(_behind_text(bands or []), BLUE))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if words is not None:
        panel.mappings(_mappings(words))
    return panel


def bars(
    title: str,
    about: str,
    *queries: InfluxQl,
    unit: str = "none",
    decimals: int | None = None,
    bands: Bands | None = None,
    empty: str = "no readings in this time",
    high: float | None = None,
    values: bool = False,
    width: int = 8,
    height: int = 8,
) -> bargauge.Panel:
    """Make one bar per line of the answer, or with `values` per row."""
    panel = (
        _panel(bargauge.Panel(), (title, about, empty), queries, (width, height))
        .unit(unit)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .name_placement(common.BarGaugeNamePlacement.TOP)
        .sizing(common.BarGaugeSizing.MANUAL)
        .min_viz_height(36)
        .max_viz_height(48)
        .thresholds(_thresholds(bands or [], BLUE))
        .min(0)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if high is not None:
        panel.max(high)
    return panel


def states(
    title: str,
    about: str,
    *queries: InfluxQl,
    words: Words,
    empty: str = "nothing in this time",
    least: str = "5m",
    height: int = 8,
) -> statetimeline.Panel:
    """Make a row of states over time for each line of the answer."""
    return (
        _panel(statetimeline.Panel(), (title, about, empty), queries, (24, height))
        .mappings(_mappings(words))
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color(GREY))
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.85)
        .fill_opacity(85)
        .interval(least)
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def counts(
    title: str,
    about: str,
    *queries: InfluxQl,
    bucket: int,
    unit: str,
    empty: str,
    width: int = 12,
    height: int = 8,
) -> histogram.Panel:
    """Make a histogram of the values, in buckets of a size."""
    return (
        _panel(histogram.Panel(), (title, about, empty), queries, (width, height))
        .unit(unit)
        .bucket_size(bucket)
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color(BLUE))
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(False)
        )
    )


def note(title: str, markdown: str, *, width: int = 24, height: int = 4) -> text.Panel:
    """Make a panel of text."""
    made = text.Panel().title(title).description(title).mode(TextMode.MARKDOWN).content(markdown)
    return made.span(width).height(height)


class Column(NamedTuple):
    """One column of a table.

    `title` replaces the name; a name that begins with ``^`` is a pattern. Bands or words color the
    cells; a column that wraps holds sentences.
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
            found["thresholds"] = _thresholds(_behind_text(self.bands), TRANSPARENT).build()
        if self.words is not None:
            found["mappings"] = _mappings(self.words)
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
    width: int = 24,
    height: int = 8,
) -> table.Panel:
    """Make a table of columns in this order, after transformations.

    A cell without a value is empty; `empty` is for a table without rows. If a column is a pattern,
    all columns stay as they are.
    """
    labels = {
        key: ValueMappingResult(text=t, index=k) for k, (key, t) in enumerate(_LABELS.items())
    }
    panel = (
        _panel(table.Panel(), (title, about, empty), queries, (width, height))
        .override_by_regexp(
            ".*",
            [
                DynamicConfigValue("noValue", ""),
                DynamicConfigValue("mappings", [ValueMap(labels)]),
            ],
        )
        .min_width(narrowest)
        .thresholds(_thresholds([], TRANSPARENT))
        .show_header(True)
    )
    has_pattern = any(column.name.startswith("^") for column in columns)
    transformed(panel, *steps, *(() if has_pattern else _only(columns)))
    for column in columns:
        is_pattern = column.name.startswith("^")
        override = panel.override_by_regexp if is_pattern else panel.override_by_name
        if properties := column.override():
            override(column.title or column.name, properties)
    return panel


def _only(columns: Sequence[Column]) -> list[Step]:
    """Keep these columns, in this order."""
    names = [column.name for column in columns]
    order = {
        "excludeByName": {},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": {column.name: column.title for column in columns if column.title},
    }
    return [("filterFieldsByName", {"include": {"names": names}}), ("organize", order)]


def link(title: str, url: str) -> DashboardLink:
    """Make a link from a value; `url` may use Grafana's variables."""
    return DashboardLink(title).url(url).target_blank(False)


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
