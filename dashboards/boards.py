"""Build dashboards from their definitions, ``boards/*.toml``: rows of panels with their queries.

A row that is ``folded`` runs no queries until it is opened.

One key of a panel names its kind, such as ``chart`` (`_KINDS`); the value is the panel's title.
`ask` has InfluxQL statements, or `figure` names a key figure of `reports.figures`. All other keys
are arguments of the kind's function. They override the row's ``default``, which overrides the
dashboard's. The value ``"auto"`` removes an argument. ``shared.toml`` has texts, links and columns
by name.

In every text, names in braces are replaced. Their values come from `dashboards.queries.FRAGMENTS`,
or from the panel's `quantities`. Each quantity has its own queries and unit:
``{quantity}`` is its key, ``{mean}`` selects it, and ``{basis}`` is the source of its guideline.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dashboards import panels, queries
from dashboards.lines import style_quantities
from dashboards.queries import DATA_SOURCE, PLACE_TAGS, fill_in, match_place
from detection.quantities import QUANTITIES
from reports.figures import COVERAGE, GUIDELINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dashboards.panels import Json

    Given = Mapping[str, Any]

TAG: Final = "plumewatch"
ROOM_UID: Final = "plumewatch-room"
_FOLDER: Final = Path(__file__).with_name("boards")
_GUIDELINES: Final = {guideline.quantity: guideline for guideline in GUIDELINES}
_KINDS: Final[Mapping[str, Callable[..., Json]]] = {
    "number": panels.make_number,
    "chart": panels.make_chart,
    "bars": panels.make_bars,
    "grid": panels.make_grid,
}
_STEPS: Final[Mapping[str, Callable[..., list[Json]]]] = {
    "joined": panels.join,
    "divided": panels.divide,
    "grouped": panels.group,
    "ordered": panels.sort,
}
_QUOTIENT: Final = (
    ("concatenate", {"frameNameMode": "drop"}),
    ("divided", "a", "b", "quotient"),
    ("filterFieldsByName", {"include": {"names": ["quotient"]}}),
)
"""Steps that divide the results ``a`` and ``b`` of a key figure's two queries."""
_KEPT: Final = "${__url_time_range}&${source:queryparam}"
"""Keeps the time range and data source in links between dashboards."""
_NAME_AND_ID: Final = r"/^(?<text>.*) \| (?<value>.*)$/"
"""Grafana displays the group ``text`` and uses the group ``value``."""
_INCIDENTS: Final = fill_in(
    'SELECT "room" AS "sentence", "kind", "status", "verdict",'
    ' ("onset" + "detected_s" + "resolved_s") * 1000 AS "until" FROM {incident} WHERE {in_time}'
)


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Settings that differ between schools.

    - `page_url`, `docs_url`: without a slash at the end; empty for no links.
    - `names`, `sensors`: names of rooms by id, and ids of sensors, in the order in which their
      lines get colors and dashes.
    - `influxdb3`: whether each database has its own data source, because InfluxDB 3 has no
      retention policies.
    """

    zone: str = "America/New_York"
    page_url: str = "http://127.0.0.1:8420"
    docs_url: str = ""
    sensors: tuple[str, ...] = ()
    influxdb3: bool = False
    names: Mapping[str, str] = field(default_factory=dict)


def read(name: str) -> dict[str, Any]:
    """Read a file of definitions."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


SHARED: Final = read("shared")


def build(name: str, settings: DashboardSettings) -> Json:
    """Make a dashboard from its definition."""
    board = read(name)
    rows, marks, defaults = board.pop("row"), board.pop("mark", ()), board.pop("default", {})
    words = {
        **queries.FRAGMENTS,
        "zone": settings.zone,
        "slots": f"{COVERAGE * 96:.0f}",
        **{name: f"{{{name}}}" for name in ("page", "docs")},  # for `_link`
    }
    made = _frame(settings, name, **board)
    for row in rows:
        is_folded = row.get("folded", False)
        heading = {"type": "row", "title": row["title"], "collapsed": is_folded, "panels": []}
        made["panels"].append(heading | {"gridPos": {"w": 24, "h": 1}})
        made["panels"] += [
            _panel(settings, words, defaults, row.get("default", {}), given)
            for given in row["panel"]
        ]
    _arrange(made["panels"])
    made["annotations"]["list"] += [
        _mark(mark["name"], fill_in(mark["ask"], words), _color(mark["color"])) for mark in marks
    ]
    return made


def _frame(
    settings: DashboardSettings,
    name: str,
    *,
    title: str,
    about: str,
    since: str,
    refresh: str,
    one_room: bool = False,
    incidents: bool = False,
) -> Json:
    """Return a dashboard without panels: its variables, links and time zone.

    - `one_room`: whether it shows a single room.
    - `incidents`: whether charts mark incidents; for a single room, only after someone turns the
      marks on.
    """
    links: list[Json] = [
        {
            "title": "Plumewatch",
            "type": "dashboards",
            "tags": [TAG],
            "icon": "external link",
            "asDropdown": True,
            "includeVars": True,
            "keepTime": True,
        }
    ]
    if settings.page_url:
        room = "/rooms/${room:percentencode}" if one_room else "/"
        page = {"title": "Staff page", "type": "link", "icon": "doc", "targetBlank": True}
        links.append(page | {"url": "${staff_page}" + room})
    source = {
        "type": "datasource",
        "name": queries.SOURCE,
        "label": "Data source",
        "query": "influxdb",
        "current": _selected(queries.DATA_SOURCE_NAME, queries.DATA_SOURCE_UID),
    }
    page_url = {"type": "constant", "name": "staff_page", "query": settings.page_url, "hide": 2}
    chosen = [
        _place(tag, PLACE_TAGS[:number], one=one_room and tag == "room")
        for number, tag in enumerate(PLACE_TAGS)
    ]
    shown = [_mark("Incidents", _INCIDENTS, panels.VERMILLION, is_shown=not one_room)]
    return {
        "uid": f"{TAG}-{name}",
        "title": f"Plumewatch: {title}",
        "description": about,
        "tags": [TAG],
        "timezone": settings.zone,
        "time": {"from": since, "to": "now"},
        "refresh": refresh,
        "graphTooltip": 1,
        "schemaVersion": 41,
        "links": links,
        "templating": {"list": [source, page_url, *chosen]},
        "annotations": {"list": shown if incidents else []},
        "panels": [],
    }


def _selected(text: str, value: str) -> Json:
    return {"selected": True, "text": text, "value": value}


def _place(tag: str, larger: Sequence[str], *, one: bool) -> Json:
    where = f" WHERE {match_place(larger)}" if larger else ""
    query = fill_in("SHOW TAG VALUES FROM {readings} WITH KEY = ") + f'"{tag}"{where}'
    if tag == "room":  # lists the names of rooms with sensor records in the last day
        query = (
            fill_in('SELECT DISTINCT("room_choice") FROM {health} WHERE ')
            + f"{match_place(larger)} AND time > now() - 1d"
        )
    several = {"allValue": ".*", "current": _selected("All", "$__all")}
    return {
        "type": "query",
        "name": tag,
        "label": tag.capitalize(),
        "datasource": DATA_SOURCE,
        "query": query,
        "regex": _NAME_AND_ID if tag == "room" else "",
        "refresh": 2,  # refresh when the time range changes
        "sort": 7,  # naturally, ascending
        "allowCustomValue": False,
        "multi": not one,
        "includeAll": not one,
        **({} if one else several),
    }


def _mark(name: str, ask: str, color: str, *, is_shown: bool = True) -> Json:
    """Return the annotation that marks incidents or detections in charts; people can hide it.

    The InfluxQL returns ``kind``, ``sentence`` and ``until`` (the end in milliseconds), and for
    incidents also ``status`` and ``verdict``.
    """
    return {
        "name": name,
        "datasource": DATA_SOURCE,
        "enable": is_shown,
        "iconColor": color,
        "query": ask,
        "rawQuery": True,
        "titleColumn": "kind",
        "textColumn": "sentence",
        "tagsColumn": "status,verdict",
        "timeEndColumn": "until",
    }


def _arrange(made: Sequence[Json]) -> None:
    """Place panels from left to right; a row is as high as its tallest panel."""
    x = y = tallest = 0
    for panel in made:
        place = panel["gridPos"]
        if x + place["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        place |= {"x": x, "y": y}
        x, tallest = x + place["w"], max(tallest, place["h"])


def build_room_url(room: str) -> str:
    """Return the URL of a room's dashboard; `room` may be a Grafana variable."""
    return f"/d/{ROOM_UID}?var-room={room}"


def build_line_links(settings: DashboardSettings) -> list[Json]:
    """Return the links that Grafana offers on each point of a room's line."""
    room = "${__field.labels.room:percentencode}"
    links: list[Json] = [{"title": "Room history", "url": f"{build_room_url(room)}&{_KEPT}"}]
    if settings.page_url:
        page = f"${{staff_page}}/rooms/{room}"
        links.append({"title": "Staff page", "url": page, "targetBlank": True})
    return links


def _panel(
    settings: DashboardSettings, words: Given, defaults: Given, of_row: Given, given: Given
) -> Json:
    (kind,) = given.keys() & _KINDS.keys()
    merged = {**defaults.get(kind, {}), **of_row, **given}
    own = {**words}
    quantities = {_label(key): key for key in merged.pop("quantities", ())}
    if quantities:
        own |= _of_quantity(*next(iter(quantities.items()))) | {"labels": ", ".join(quantities)}
        merged["ask"] = [
            _fill_in(ask, {**own, **_of_quantity(label, key)})
            for label, key in quantities.items()
            for ask in ([merged["ask"]] if isinstance(merged["ask"], str) else merged["ask"])
        ]
        merged.setdefault("unit", own["quantity"])
    wanted = {key: _fill_in(value, own) for key, value in merged.items() if value != "auto"}
    title, about, asked = wanted.pop(kind), wanted.pop("about"), _queries(kind, wanted)
    made = _KINDS[kind](title, about, *asked, **_arguments(settings, wanted))
    if len(quantities) > 1:
        style_quantities(made, quantities)
    return made


def _label(key: str) -> str:
    quantity = QUANTITIES[key]
    return f"{quantity.label}, {quantity.unit}" if quantity.label == "TVOC" else quantity.label


def _of_quantity(label: str, key: str) -> dict[str, str]:
    guideline = _GUIDELINES.get(key)
    none = "There is no published value for it in this unit."
    return {
        "quantity": key,
        "mean": f'mean("{key}"){" * 1.8 + 32" if key == "temp" else ""} AS "{label}"',
        "basis": guideline.basis if guideline else none,
    }


def _fill_in(given: Any, words: Given) -> Any:
    if isinstance(given, str):
        return fill_in(given, words)
    if isinstance(given, list):
        return [_fill_in(one, words) for one in given]
    if isinstance(given, dict):
        return {key: _fill_in(value, words) for key, value in given.items()}
    return given


def _queries(kind: str, given: dict[str, Any]) -> list[Json]:
    """Build a panel's queries; each series is named after the tag that groups it."""
    found: list[Json] = []
    if figure := given.pop("figure", ""):
        found = queries.query_key_figure(figure)
        if len(found) > 1:
            given.setdefault("steps", _QUOTIENT)
    asked = given.pop("ask", [])
    is_table = kind == "grid" or bool(found or given.keys() & {"column", "values"})
    for query in [asked] if isinstance(asked, str) else asked:
        alias = ""
        if kind != "number" and not is_table:
            tag = re.search(r'"(\w+)"', query.rpartition("GROUP BY ")[2])
            alias = f"$tag_{tag[1]}" if tag else "$col"
            alias += " $col" if tag and " AS " in query.partition(" FROM ")[0] else ""
        found.append(queries.make_query(query, alias=alias, table=is_table))
    return found


def _arguments(settings: DashboardSettings, given: Given) -> dict[str, Any]:
    """Return a panel's or column's arguments with names of units, colors and links resolved."""
    resolved: Mapping[str, Callable[[Any], Any]] = {
        "unit": lambda unit: panels.get_unit(unit) if unit in QUANTITIES else unit,
        "bands": lambda bands: [*_bands(bands)],
        "words": _words,
        "colors": lambda colors: (
            panels.KIND_COLORS if colors == "kinds" else {k: _color(c) for k, c in colors.items()}
        ),
        "link": lambda link: _link(settings, link),
        "steps": lambda steps: [*_steps(steps)],
        "columns": lambda columns: [_column(settings, one) for one in columns],
    }
    return {key: resolved[key](v) if key in resolved else v for key, v in given.items()}


def _link(settings: DashboardSettings, given: Any) -> Json | None:
    """Return a cell's link; None if it needs a staff page or docs URL that is missing."""
    title, url = SHARED["links"][given] if isinstance(given, str) else given
    known = {"{page}": settings.page_url and "${staff_page}", "{docs}": settings.docs_url}
    for name, base in known.items():
        if name in url and not base:
            return None
        url = url.replace(name, base)
    return {"title": title, "url": url.replace("{kept}", _KEPT)}


def _color(name: str) -> str:
    return panels.COLORS.get(name, name)


def _bands(given: Iterable[Any]) -> Iterator[tuple[float, str]]:
    for one in given:
        if isinstance(one, str):
            yield from panels.select_bands(_GUIDELINES[one])
        else:
            yield one[0], _color(one[1])


def _words(given: Any) -> panels.Words:
    found = SHARED["words"][given] if isinstance(given, str) else given
    return {key: (text, _color(color)) for key, (text, color) in found.items()}


def _column(settings: DashboardSettings, given: Any) -> tuple[str, Json]:
    own = {"name": given} if isinstance(given, str) else given
    merged = SHARED["columns"].get(own["name"], {}) | own
    wanted = {key: value for key, value in merged.items() if value != "auto"}
    return panels.make_column(**_arguments(settings, wanted))


def _steps(given: Iterable[Any]) -> Iterator[Json]:
    for name, *arguments in given:
        yield from (_STEPS[name](*arguments) if name in _STEPS else [panels.step(name, *arguments)])
