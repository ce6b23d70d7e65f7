"""Build Grafana panels as JSON, with the conventions that all dashboards share.

Units come from `detection.quantities`. Colors are from the Okabe-Ito palette, which is safe for
color-blind people (https://jfly.uni-koeln.de/color/). No state is shown by color alone. Every panel
has a text to show when it is empty. Options with Grafana's own default are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Final

from dashboards.queries import DATA_SOURCE
from detection.quantities import QUANTITIES
from reports.text import to_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports.figures import Guideline

Json = dict[str, Any]
Bands = list[tuple[float, str]]
"""Start and color of each band."""
Words = Mapping[str, tuple[str, str]]
"""Text and color to show instead of a value; the key ``"none"`` means no value."""

BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GRAY: Final = "#8E8E8E"
TRANSPARENT: Final = "transparent"
COLORS: Final = {
    "blue": BLUE,
    "sky": SKY,
    "green": GREEN,
    "yellow": YELLOW,
    "orange": ORANGE,
    "vermillion": VERMILLION,
    "purple": PURPLE,
    "gray": GRAY,
}
"""Our color names; all other names are Grafana's."""
_TEXT_BACKGROUNDS: Final = {
    ORANGE: "#F5C04F",
    VERMILLION: "#B04A00",
    PURPLE: "#8F3F6E",
    SKY: "#8CCBF0",
    GRAY: "#C4C4C4",
}
"""Variants of our colors for backgrounds of text. Grafana writes near-black text on light ones and
near-white text on all others, and these variants have a contrast of at least 4.5 with it. Worse
states are darker."""
KIND_COLORS: Final = {
    "vape": VERMILLION,
    "possible": "#F0A58A",
    "smoke": "#000000",
    "spray": PURPLE,
    "steam": SKY,
    "voc": ORANGE,
    "dust": GRAY,
    "ambient": GREEN,
    "tamper": BLUE,
    "sensor_fault": YELLOW,
    "offline": "#4D4D4D",
    "integrity": "#6A3D9A",
    "service": "#8C564B",
}
_LABELS: Final = {code: to_words(code) for code in (*KIND_COLORS, "false_alarm", "nothing_found")}
"""Words for stored codes, as in reports."""
_UNITS: Final = {
    "µg/m³": "conμgm3",
    "/cm³": "suffix:/cm³",
    "ppb": "conppb",
    "ppm": "ppm",
    "ticks": "none",
    "%": "percent",
    "°C": "fahrenheit",
    "hPa": "pressurehpa",
    "lx": "lux",
    "dBm": "suffix:dBm",
    "": "none",
}
"""Grafana's names for our units; queries return temperatures in °F, as pages show them."""
_SEVERITY: Final = (TRANSPARENT, ORANGE, VERMILLION, PURPLE)
_MAX_POINTS: Final = 400
"""Points per line of averages. Halving it reduces the server's query time by only a third."""
_LONGEST_GAP_MS: Final = 3_600_000
"""Longest gap that a line bridges."""
_NARROW: Final = 8
"""Largest width at which the legend of a chart by room or sensor shows values."""
_READABLE: Final = 260
"""Minimum width of a column of sentences; on a phone the table then scrolls."""


def get_unit(quantity: str) -> str:
    """Return Grafana's name for a quantity's unit.

    >>> get_unit("temp"), get_unit("voc_index")
    ('fahrenheit', 'none')
    """
    return _UNITS[QUANTITIES[quantity].unit]


def select_bands(guideline: Guideline) -> Bands:
    """Return the bands of a guideline except the lowest."""
    return [(band.start, _SEVERITY[band.severity]) for band in guideline.bands[1:]]


def _thresholds(bands: Bands, first: str) -> Json:
    """Return Grafana thresholds for bands; `first` is the color below all of them."""
    steps = [{"value": value, "color": color} for value, color in [(None, first), *bands]]
    return {"mode": "absolute", "steps": steps}


def _behind_text(bands: Bands) -> Bands:
    return [(value, _TEXT_BACKGROUNDS.get(color, color)) for value, color in bands]


def _mappings(words: Words) -> list[Json]:
    """Return the texts and colors that replace values."""
    results = {
        value: {"text": text, "color": _TEXT_BACKGROUNDS.get(color, color), "index": index}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    none = results.pop("none", None)
    found: list[Json] = [{"type": "value", "options": results}]
    if none is not None:
        found.append({"type": "special", "options": {"match": "null+nan", "result": none}})
    return found


def override(matcher: str, name: str, **properties: Any) -> Json:
    """Override properties of fields by name or, if `matcher` is ``byRegexp``, by pattern.

    In a property's name, a double underscore stands for a dot.
    """
    given = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": matcher, "options": name}, "properties": given}


def _panel(
    kind: str,
    title: str,
    about: str,
    queries: Sequence[Json],
    options: Json,
    defaults: Json,
    overrides: Sequence[Json] = (),
    *,
    unit: str | None = "none",
    decimals: int | None = None,
    low: float | None = None,
    high: float | None = None,
    empty: str = "No readings in this period",
    steps: Sequence[Json] = (),
    width: int = 8,
    height: int = 8,
) -> Json:
    """Return a panel.

    - `low`, `high`: limits of its axis.
    - `empty`: text to show when there is no value.
    - `steps`: transformations of the queries' results.
    """
    shared = {"unit": unit, "decimals": decimals, "min": low, "max": high, "noValue": empty}
    defaults |= {key: value for key, value in shared.items() if value is not None}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATA_SOURCE,
        "targets": [{**q, "refId": ref} for ref, q in zip(ascii_uppercase, queries, strict=False)],
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": [*overrides]},
        "options": options,
        **({"transformations": [*steps]} if steps else {}),
    }


def _legend(*calcs: str, is_shown: bool = True) -> Json:
    shape = {"displayMode": "list", "placement": "bottom", "showLegend": is_shown}
    return {"calcs": [*calcs], **shape}


def _reduce_options(*, values: bool = False, fields: str = "") -> Json:
    return {"calcs": ["lastNotNull"], "fields": fields, "values": values}


def _colored(colors: Mapping[str, str]) -> list[Json]:
    """Return overrides that give lines or values with known names their colors and labels."""
    return [
        override(
            "byName",
            name,
            color={"mode": "fixed", "fixedColor": color},
            displayName=_LABELS.get(name, name),
        )
        for name, color in colors.items()
    ]


def make_chart(
    title: str,
    about: str,
    *queries: Json,
    bands: Bands | None = None,
    colors: Mapping[str, str] | None = None,
    as_bars: bool = False,
    stacked: bool = False,
    points: bool = False,
    least: str = "",
    logarithmic: bool = False,
    time_from: str = "",
    width: int = 12,
    **shared: Any,
) -> Json:
    """Make a chart over time, of lines or, with `as_bars` or `stacked`, of bars.

    - `bands`: drawn as dashed lines.
    - `colors`: colors of lines by name.
    - `least`: shortest interval, such as ``15m``.
    - `time_from`: the panel's own time range, such as ``30d``.
    - `shared`: as for `_panel`.
    """
    is_by_place = any(query["alias"] in {"$tag_room", "$tag_sensor"} for query in queries)
    calcs = () if is_by_place and width > _NARROW else ("lastNotNull", "max")
    style: Json = {
        "lineWidth": 2,
        "spanNulls": _LONGEST_GAP_MS,
        "showPoints": "always" if points else "auto",
    }
    # Not every Grafana version has the colorblind-safe palette.
    defaults: Json = {"color": {"mode": "palette-classic"}, "custom": style}
    if bands:
        defaults["thresholds"] = _thresholds(bands, TRANSPARENT)
        style["thresholdsStyle"] = {"mode": "dashed"}
    if logarithmic:
        style["scaleDistribution"] = {"type": "log", "log": 10}
    if as_bars or stacked:  # a time stamp marks the start of the interval
        style |= {"drawStyle": "bars", "barAlignment": 1, "showPoints": "never"}
        style |= {"fillOpacity": 60 if stacked else 80, "lineWidth": 1}
    if stacked:
        style["stacking"] = {"mode": "normal", "group": "A"}
        shared["decimals"] = 0  # stacked bars are counts
    options = {"legend": _legend(*calcs), "tooltip": {"mode": "multi", "sort": "desc"}}
    overrides = [override("byRegexp", ".*", noValue="-"), *_colored(colors or {})]  # in the legend
    made = _panel(
        "timeseries", title, about, queries, options, defaults, overrides, width=width, **shared
    )
    if is_by_place and least.endswith("m"):
        made["maxDataPoints"] = _MAX_POINTS
    given = {"interval": least, "timeFrom": time_from}
    return made | {key: value for key, value in given.items() if value}


def make_number(
    title: str,
    about: str,
    *queries: Json,
    bands: Bands | None = None,
    column: str = "",
    empty: str = "0",
    width: int = 4,
    **shared: Any,
) -> Json:
    """Make a panel of one large number, from `column` if there are several."""
    defaults = {"thresholds": _thresholds(_behind_text(bands or []), TRANSPARENT)}
    options = {
        "colorMode": "background_solid" if bands else "none",
        "graphMode": "none",
        "reduceOptions": _reduce_options(fields=f"/^{column}$/" if column else ""),
        "textMode": "value",
    }
    shared |= {"empty": empty, "width": width, "height": 4}
    return _panel("stat", title, about, queries, options, defaults, **shared)


def make_bars(
    title: str,
    about: str,
    *queries: Json,
    bands: Bands | None = None,
    values: bool = False,
    **shared: Any,
) -> Json:
    """Make one bar per series of the result or, with `values`, per row."""
    colored_bands = [(at, BLUE if c == TRANSPARENT else c) for at, c in bands or ()]
    options = {
        "displayMode": "basic",
        "legend": _legend(is_shown=False),
        "minVizHeight": 36,
        "maxVizHeight": 48,
        "namePlacement": "top",
        "orientation": "horizontal",
        "reduceOptions": _reduce_options(values=values),
        "sizing": "manual",
        "valueMode": "text",
    }
    defaults = {"thresholds": _thresholds(colored_bands, BLUE)}
    return _panel("bargauge", title, about, queries, options, defaults, low=0, **shared)


def make_grid(
    title: str,
    about: str,
    *queries: Json,
    columns: Sequence[tuple[str, Json]],
    steps: Sequence[Json] = (),
    narrowest: int = 70,
    width: int = 24,
    **shared: Any,
) -> Json:
    """Make a table of `columns` (made by `make_column`), in this order, after the transformations.

    A cell without a value is empty; `empty` is the text for a table without rows. If a column's
    name is a pattern, no column is removed, moved or renamed.
    """
    labels = {key: {"text": text, "index": k} for k, (key, text) in enumerate(_LABELS.items())}
    every = override("byRegexp", ".*", noValue="", mappings=[{"type": "value", "options": labels}])
    titles = {name: shown["matcher"]["options"] for name, shown in columns}
    defaults = {"custom": {"minWidth": narrowest}, "thresholds": _thresholds([], TRANSPARENT)}
    if not any(name.startswith("^") for name in titles):
        order = {
            "excludeByName": {},
            "indexByName": {name: index for index, name in enumerate(titles)},
            "renameByName": {name: title for name, title in titles.items() if name != title},
        }
        only = {"include": {"names": [*titles]}}
        steps = [*steps, step("filterFieldsByName", only), step("organize", order)]
    overrides = [every, *(shown for _name, shown in columns if shown["properties"])]
    shared |= {"unit": None, "steps": steps, "width": width}
    return _panel("table", title, about, queries, {}, defaults, overrides, **shared)


def make_column(
    name: str,
    width: int | None = None,
    title: str = "",
    unit: str = "",
    decimals: int | None = None,
    bands: Bands | None = None,
    words: Words | None = None,
    link: Json | None = None,
    *,
    wraps: bool = False,
    least: int | None = None,
) -> tuple[str, Json]:
    """Return a column's name and its overrides; a `title` replaces the name.

    A name that begins with ``^`` is a pattern. Bands or words color the cells. A column that
    `wraps` contains sentences. `least` is the minimum width.
    """
    given: Json = {
        "unit": unit or None,
        "decimals": decimals,
        "thresholds": _thresholds(_behind_text(bands), TRANSPARENT) if bands else None,
        "mappings": None if words is None else _mappings(words),
        "custom__cellOptions": None,
        "links": None if link is None else [link],
        "custom__width": width,
        "custom__minWidth": _READABLE if wraps and width is None else least,
    }
    if wraps:
        given["custom__wrapText"] = True
        given["custom__cellOptions"] = {"type": "auto", "wrapText": True}  # before Grafana 12
    if bands or words is not None:
        given["custom__cellOptions"] = {"type": "color-background", "mode": "basic"}
    properties = {key: value for key, value in given.items() if value is not None}
    matcher = "byRegexp" if name.startswith("^") else "byName"
    return name, override(matcher, title or name, **properties)


def step(name: str, options: Json) -> Json:
    """Return a Grafana transformation."""
    return {"id": name, "options": options}


def join(by: str) -> list[Json]:
    """Join query results on a column."""
    return [step("joinByField", {"byField": by, "mode": "outer"})]


def sort(*names: str) -> list[Json]:
    """Sort rows by columns, most significant first; Grafana sorts by one column per step."""
    return [step("sortBy", {"sort": [{"field": name}]}) for name in reversed(names)]


def group(by: Iterable[str], field: str, calculation: str) -> list[Json]:
    """Group rows by columns and aggregate a field."""
    fields: Json = {name: {"operation": "groupby", "aggregations": []} for name in by}
    fields[field] = {"operation": "aggregate", "aggregations": [calculation]}
    return [step("groupBy", {"fields": fields})]


def divide(first: str, second: str, alias: str) -> list[Json]:
    """Divide one column by another."""
    binary = {"left": first, "operator": "/", "right": second}
    options = {"mode": "binary", "alias": alias, "binary": binary, "replaceFields": False}
    return [step("calculateField", options)]
