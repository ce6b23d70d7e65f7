"""Panels with the manners that all dashboards share.

Units come from `detection.quantities` and are spelled for Grafana here alone. Colours are those of
Okabe and Ito, which people with any colour vision tell apart (https://jfly.uni-koeln.de/color/);
no state is told by colour alone. Every panel says what it shows, and what it means if it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
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
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from dashboards.queries import DATA_SOURCE
from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.models.dashboard import FieldColorModeId, ValueMapping

    from dashboards.queries import InfluxQl
    from detection.guidelines import Guideline

BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8E8E8E"

_GROUNDS: Final = {
    ORANGE: "#F5C04F",
    VERMILLION: "#B04A00",
    PURPLE: "#8F3F6E",
    SKY: "#8CCBF0",
    GREY: "#C4C4C4",
}
"""Colours behind text: Grafana writes almost black on a light ground and almost white on any other,
and only on these is the contrast 4.5 or more. The worse the darker."""

KIND_COLOURS: Final = {
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

_READABLE: Final = 260
"""Least width of a column of sentences; on a phone it scrolls rather than being a word wide."""

_SPOKEN: Final = {
    "sensor_fault": "sensor fault",
    "false_alarm": "false alarm",
    "nothing_found": "nothing found",
}
"""Stored words of two parts, as people read them."""

_COLOURS: Final = cast("FieldColorModeId", "palette-colorblind")
"""Grafana's own palette for lines whose names are not known beforehand; newer than the SDK."""

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


_SEVERITY: Final = ("transparent", ORANGE, VERMILLION, PURPLE)


def bands_of(guideline: Guideline) -> list[tuple[float, str]]:
    """Values from which a published band begins, and its colour; the lowest is left out."""
    return [(band.start, _SEVERITY[band.severity]) for band in guideline.bands[1:]]


def unit_of(quantity: str) -> str:
    """Grafana's name of the unit of a quantity.

    Examples
    --------
    >>> unit_of("temp"), unit_of("voc_index")
    ('celsius', 'none')
    """
    return _UNITS[QUANTITIES[quantity].unit]


def _bands(steps: Sequence[tuple[float, str]], first: str) -> ThresholdsConfig:
    """Colours from values on; `first` below all of them."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=None, color=first), *(Threshold(v, c) for v, c in steps)])
    )


def _behind_text(steps: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    return [(value, _GROUNDS.get(colour, colour)) for value, colour in steps]


_P = TypeVar("_P", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)


def _begun(
    panel: _P,
    words: tuple[str, str, str],
    queries: Sequence[InfluxQl],
    width: int,
    height: int,
) -> _P:
    """Set what every panel has; words are its title, what it shows, and what empty means."""
    title, about, empty = words
    panel.title(title).description(about).no_value(empty)
    panel.datasource(DATA_SOURCE).targets(_asked(queries))
    panel.span(width).height(height)
    return panel


def _asked(queries: Sequence[InfluxQl]) -> list[Any]:
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        query.ref = ref
    return list(queries)


def chart(
    title: str,
    about: str,
    *queries: InfluxQl,
    unit: str = "none",
    bands: Sequence[tuple[float, str]] = (),
    empty: str = "no readings in this time",
    stacked: bool = False,
    as_bars: bool = False,
    least: str = "",
    low: float | None = None,
    high: float | None = None,
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Lines or bars over time.

    Parameters
    ----------
    title, about : str
        What it shows, and how to read it.
    unit : str
        Grafana's.
    bands : sequence of tuple
        Values from which a band begins, and its colour; drawn as dashed lines.
    empty : str
        What people read if there is nothing.
    least : str
        Shortest interval, such as ``15m``.
    low, high : float, optional
        Ends of the axis.
    width, height : int
        Of 24 columns; in units of the grid.
    """
    panel = (
        _begun(timeseries.Panel(), (title, about, empty), queries, width, height)
        .unit(unit)
        .color_scheme(FieldColor().mode(_COLOURS))
        .line_width(2)
        .span_nulls(3_600_000)
        .show_points(common.VisibilityMode.AUTO)
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if bands:
        panel.thresholds(_bands(bands, "transparent")).thresholds_style(
            GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if as_bars:
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
    return panel


def coloured(panel: _P, colours: Mapping[str, str]) -> _P:
    """Give lines or values of known names their colours, and the names people read."""
    for name, colour in colours.items():
        panel.override_by_name(
            name,
            [
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour}),
                DynamicConfigValue("displayName", _SPOKEN.get(name, name)),
            ],
        )
    return panel


def figure(
    title: str,
    about: str,
    *queries: InfluxQl,
    unit: str = "none",
    decimals: int | None = None,
    bands: Sequence[tuple[float, str]] = (),
    words: Words | None = None,
    empty: str = "0",
    width: int = 4,
    height: int = 4,
) -> stat.Panel:
    """One number, large; with bands its ground is coloured from their values on."""
    panel = (
        _begun(stat.Panel(), (title, about, empty), queries, width, height)
        .unit(unit)
        .color_mode(
            common.BigValueColorMode.BACKGROUND_SOLID if bands else common.BigValueColorMode.NONE
        )
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
        .thresholds(_bands(_behind_text(bands), BLUE))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if words is not None:
        panel.mappings(words.mappings())
    return panel


def bars(
    title: str,
    about: str,
    *queries: InfluxQl,
    unit: str = "none",
    decimals: int | None = None,
    bands: Sequence[tuple[float, str]] = (),
    empty: str = "no readings in this time",
    high: float | None = None,
    values: bool = False,
    width: int = 8,
    height: int = 8,
) -> bargauge.Panel:
    """One bar for each line of the answer, or with `values` for each of its rows."""
    panel = (
        _begun(bargauge.Panel(), (title, about, empty), queries, width, height)
        .unit(unit)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .thresholds(_bands(bands, BLUE))
        .min(0)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if high is not None:
        panel.max(high)
    return panel


def grid(
    title: str,
    about: str,
    *queries: InfluxQl,
    empty: str = "nothing in this time",
    narrowest: int = 70,
    width: int = 24,
    height: int = 8,
) -> table.Panel:
    """Rows and columns; a cell without a value is empty, `empty` is for a table without rows."""
    return (
        _begun(table.Panel(), (title, about, empty), queries, width, height)
        .override_by_regexp(
            ".*",
            [
                DynamicConfigValue("noValue", ""),
                DynamicConfigValue("mappings", _spoken()),
            ],
        )
        .min_width(narrowest)
        .thresholds(_bands((), "transparent"))
        .show_header(True)
    )


def _spoken() -> list[ValueMapping]:
    said = enumerate(_SPOKEN.items())
    return [ValueMap({key: ValueMappingResult(text=text, index=k) for k, (key, text) in said})]


class Words:
    """Texts and colours in place of values.

    Parameters
    ----------
    said : mapping of str to tuple
        Value to text and colour.
    absent : tuple of str and str, optional
        The same for no value.
    """

    def __init__(
        self, said: Mapping[str, tuple[str, str]], absent: tuple[str, str] | None = None
    ) -> None:
        self._said = said
        self._absent = absent

    def mappings(self) -> list[ValueMapping]:
        """Return them as Grafana stores them."""
        found: list[ValueMapping] = [
            ValueMap(
                {
                    value: ValueMappingResult(
                        text=text, color=_GROUNDS.get(colour, colour), index=index
                    )
                    for index, (value, (text, colour)) in enumerate(self._said.items())
                }
            )
        ]
        if self._absent is not None:
            text, colour = self._absent
            result = ValueMappingResult(
                text=text, color=_GROUNDS.get(colour, colour), index=len(self._said)
            )
            options = DashboardSpecialValueMapOptions(SpecialValueMatch.NULL, result)
            found.append(SpecialValueMap(options))
        return found


def column(
    panel: table.Panel,
    name: str,
    *,
    unit: str = "",
    decimals: int | None = None,
    bands: Sequence[tuple[float, str]] = (),
    words: Words | None = None,
    leads_to: DashboardLink | None = None,
    wide: int | None = None,
    wrapped: bool = False,
    regex: bool = False,
) -> table.Panel:
    """Say how a column of a table looks; with bands or words its cells are coloured."""
    said: list[DynamicConfigValue] = []
    if unit:
        said.append(DynamicConfigValue("unit", unit))
    if decimals is not None:
        said.append(DynamicConfigValue("decimals", decimals))
    if bands:
        said.append(
            DynamicConfigValue("thresholds", _bands(_behind_text(bands), "transparent").build())
        )
    if words is not None:
        said.append(DynamicConfigValue("mappings", words.mappings()))
    if bands or words is not None:
        cells = {"type": "color-background", "mode": "basic"}
        said.append(DynamicConfigValue("custom.cellOptions", cells))
    if leads_to is not None:
        said.append(DynamicConfigValue("links", [leads_to.build()]))
    if wide is not None:
        said.append(DynamicConfigValue("custom.width", wide))
    if wrapped:
        said.append(DynamicConfigValue("custom.wrapText", True))
        said.append(DynamicConfigValue("custom.minWidth", _READABLE))
    override = panel.override_by_regexp if regex else panel.override_by_name
    return override(name, said)


def link(title: str, url: str) -> DashboardLink:
    """Make a link from a value; `url` may use Grafana's variables."""
    return DashboardLink(title).url(url).target_blank(False)


def transformed(panel: Any, *steps: tuple[str, Mapping[str, object]]) -> Any:
    """Let Grafana reshape the answer in steps: name of the transformation and its options."""
    return panel.transformations([DataTransformerConfig(name, options=o) for name, o in steps])


def ordered(*names: str) -> list[tuple[str, dict[str, Any]]]:
    """Order rows by these columns, the first above all; Grafana sorts by one column a step."""
    return [("sortBy", {"sort": [{"field": name}]}) for name in reversed(names)]


def only(*names: str, renamed: Mapping[str, str] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Keep these columns, in this order."""
    return [
        ("filterFieldsByName", {"include": {"names": list(names)}}),
        (
            "organize",
            {
                "excludeByName": {},
                "indexByName": {name: index for index, name in enumerate(names)},
                "renameByName": dict(renamed or {}),
            },
        ),
    ]
