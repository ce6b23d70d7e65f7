"""Charts, numbers, bars, states and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

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
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId
from grafana_foundation_sdk.models.text import TextMode

from dashboards.panels.looks import (
    BLUE,
    GREY,
    LABELS,
    PALETTE,
    TRANSPARENT,
    UNIT_TEXTS,
    behind_text,
    mappings,
    thresholds,
)
from dashboards.queries import DATA_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dashboards.panels.looks import Bands, Words
    from dashboards.queries import InfluxQl

_MOST_POINTS: Final = 400
"""Of each line of averages: a server answers half as many in two thirds of the time."""
_NARROW: Final = 8
"""Width of a chart with few lines, whose legend has room for values."""
_P = TypeVar(
    "_P",
    timeseries.Panel,
    stat.Panel,
    bargauge.Panel,
    table.Panel,
    histogram.Panel,
    statetimeline.Panel,
)


def described(
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
    time_from: str = "",
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Make a chart of lines or, also for `stacked`, of bars over time.

    - `bands`: drawn as dashed lines.
    - `colors`: of lines with a known name.
    - `least`: shortest interval, such as ``15m``.
    - `counted`: what values without a unit are, such as ``incidents``.
    - `gap_ms`: longest gap that a line bridges.
    - `time_from`: time range of its own, such as ``30d``.
    """
    is_by_place = any(query.alias in {"$tag_room", "$tag_sensor"} for query in queries)
    panel = (
        described(timeseries.Panel(), (title, about, empty), queries, (width, height))
        .override_by_regexp(".*", [DynamicConfigValue("noValue", "-")])  # of a line in the legend
        .unit(unit)
        .color_scheme(FieldColor().mode(PALETTE))
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
    axis = UNIT_TEXTS.get(unit, counted)
    if bands:
        starts = ", ".join(_start(start, unit) for start, color in bands if color != TRANSPARENT)
        axis = f"{axis} (dashed: {starts})".strip() if starts else axis
        panel.thresholds(thresholds(bands, TRANSPARENT)).thresholds_style(
            GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
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
    if is_by_place and least.endswith("m"):
        panel.max_data_points(_MOST_POINTS)
    wanted: Mapping[Callable[[Any], object], Any] = {
        panel.axis_label: axis or None,
        panel.interval: least or None,
        panel.time_from: time_from or None,
        panel.min: low,
        panel.max: high,
    }
    for setting, value in wanted.items():
        if value is not None:
            setting(value)
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
                DynamicConfigValue("displayName", LABELS.get(name, name)),
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
    colors: Mapping[str, str] | None = None,
    names: bool = False,
    of_row: str = "",
    empty: str = "0",
    width: int = 4,
) -> stat.Panel:
    """Make a panel of one large number, or several with `names`, or a column `of_row`."""
    panel = (
        described(stat.Panel(), (title, about, empty), queries, (width, 4))
        .unit(unit)
        .color_mode(
            common.BigValueColorMode.BACKGROUND_SOLID if bands else common.BigValueColorMode.NONE
        )
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(
            common.BigValueTextMode.VALUE_AND_NAME if names else common.BigValueTextMode.VALUE
        )
        .thresholds(thresholds(behind_text(bands or []), BLUE))
        .reduce_options(
            ReduceDataOptions()
            .calcs(["lastNotNull"])
            .fields(f"/^{of_row}$/" if of_row else "")
            .values(False)
        )
    )
    if decimals is not None:
        panel.decimals(decimals)
    if words is not None:
        panel.mappings(mappings(words))
    return colored(panel, colors or {})


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
    colored_bands = [(at, BLUE if c == TRANSPARENT else c) for at, c in bands or ()]
    panel = (
        described(bargauge.Panel(), (title, about, empty), queries, (width, height))
        .unit(unit)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .name_placement(common.BarGaugeNamePlacement.TOP)
        .sizing(common.BarGaugeSizing.MANUAL)
        .min_viz_height(36)
        .max_viz_height(48)
        .thresholds(thresholds(colored_bands, BLUE))
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
) -> statetimeline.Panel:
    """Make a row of states over time for each line of the answer."""
    return (
        described(statetimeline.Panel(), (title, about, empty), queries, (24, 8))
        .mappings(mappings(words))
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color(GREY))
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.85)
        .fill_opacity(85)
        .interval("5m")
        .max_data_points(_MOST_POINTS)
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
) -> histogram.Panel:
    """Make a histogram of the values, in buckets of a size."""
    return (
        described(histogram.Panel(), (title, about, empty), queries, (width, 8))
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


def note(title: str, markdown: str, *, height: int) -> text.Panel:
    """Make a panel of text."""
    made = text.Panel().title(title).description(title).mode(TextMode.MARKDOWN).content(markdown)
    return made.span(24).height(height)
