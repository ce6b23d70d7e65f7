"""The definitions of dashboards, ``boards/*.toml``: rows of panels, and what each panel asks.

The key of a panel that is a kind of `dashboards.panels` has its title; `ask` has its statements in
InfluxQL, or `figure` a key figure of `reports.figures`. The other keys are arguments of that kind,
over the ``default`` of the row and that of the dashboard for the kind; ``"auto"`` leaves one out.
``shared.toml`` has words, links and columns by name.

A name in braces, in any text, is one of `dashboards.queries.FRAGMENTS`, of the panel's own `fill`,
or follows from its `quantities`: ``quantity`` is the first, ``basis`` the source of its guideline.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dashboards import queries
from dashboards.frame import TAG, Mark, frame, link_to
from dashboards.lines import dashed
from dashboards.panels import charts, looks, tables
from dashboards.queries import InfluxQl
from detection.quantities import QUANTITIES
from reports.figures import COVERAGE, GUIDELINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

    Given = Mapping[str, Any]

_FOLDER: Final = Path(__file__).with_name("boards")
_GUIDELINES: Final = {guideline.quantity: guideline for guideline in GUIDELINES}
_KINDS: Final[Mapping[str, Callable[..., Any]]] = {
    "number": charts.number,
    "chart": charts.chart,
    "bars": charts.bars,
    "states": charts.states,
    "counts": charts.counts,
    "grid": tables.grid,
    "note": charts.note,
}
_STEPS: Final[Mapping[str, Callable[..., Any]]] = {
    "joined": tables.joined,
    "divided": tables.divided,
    "grouped": tables.grouped,
    "ordered": tables.ordered,
}
_QUOTIENT: Final = (
    ("concatenate", {"frameNameMode": "drop"}),
    ("divided", "a", "b", "quotient"),
    ("filterFieldsByName", {"include": {"names": ["quotient"]}}),
)
"""Of a key figure of two answers."""


def read(name: str) -> dict[str, Any]:
    """Return a file of definitions."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


SHARED: Final = read("shared")


def build(name: str, settings: DashboardSettings) -> Dashboard:
    """Make a dashboard of its definition."""
    board = read(name)
    rows, marks, defaults = board.pop("row"), board.pop("mark", ()), board.pop("default", {})
    words = {
        **queries.FRAGMENTS,
        "zone": settings.zone,
        "whole": settings.whole,
        "slots": f"{COVERAGE * 96:.0f}",
        **{name: f"{{{name}}}" for name in ("page", "docs")},  # for `link_to`
    }
    made = frame(
        settings,
        f"{TAG}-{name}",
        f"Plumewatch: {board.pop('title')}",
        rows=[
            (
                row["title"],
                [
                    _panel(settings, words, defaults, row.get("default", {}), given)
                    for given in row["panel"]
                ],
            )
            for row in rows
        ],
        **board,
    )
    for mark in marks:
        made.annotation(Mark(**{**_filled(mark, words), "color": _color(mark["color"])}))
    return made


def _panel(
    settings: DashboardSettings, words: Given, defaults: Given, of_row: Given, given: Given
) -> Any:
    (kind,) = given.keys() & _KINDS.keys()
    merged = {**defaults.get(kind, {}), **of_row, **given}
    own = {**words, **merged.pop("fill", {}), **_of_quantities(merged.pop("quantities", ()))}
    wanted = {key: _filled(value, own) for key, value in merged.items() if value != "auto"}
    title, about, asked = wanted.pop(kind), wanted.pop("about"), _queries(kind, wanted)
    has_dashes = wanted.pop("dashed", False)
    steps = () if kind == "grid" else _steps(wanted.pop("steps", ()))
    made = _KINDS[kind](title, about, *asked, **_arguments(settings, wanted))
    if transformations := [*steps]:
        tables.transformed(made, *transformations)
    return dashed(made, re.findall(r' AS "([^"]+)"', asked[0].query)) if has_dashes else made


def _of_quantities(keys: Iterable[str]) -> dict[str, str]:
    if not keys:
        return {}
    labels = {key: QUANTITIES[key].label for key in keys}
    quantity = next(iter(labels))
    guideline = _GUIDELINES.get(quantity)
    none = "There is no published value for it in this unit."
    return {
        "quantity": quantity,
        "labels": ", ".join(labels.values()),
        "means": ", ".join(f'mean("{key}") AS "{label}"' for key, label in labels.items()),
        "basis": guideline.basis if guideline else none,
    }


def _filled(given: Any, words: Given) -> Any:
    if isinstance(given, str):
        return queries.filled(given, words)
    if isinstance(given, list):
        return [_filled(one, words) for one in given]
    if isinstance(given, dict):
        return {key: _filled(value, words) for key, value in given.items()}
    return given


def _queries(kind: str, given: dict[str, Any]) -> list[InfluxQl]:
    """Take what a panel asks; lines over time are named by the tag that they are grouped by."""
    found: list[InfluxQl] = []
    if figure := given.pop("figure", ""):
        found = queries.key_figure(figure, whole_school=given.pop("whole_school", False))
        if len(found) > 1:
            given.setdefault("steps", _QUOTIENT)
    asked = given.pop("ask", [])
    is_table = kind in {"grid", "counts"} or bool(found or given.keys() & {"of_row", "values"})
    for query in [asked] if isinstance(asked, str) else asked:
        alias = ""
        if kind != "number" and not is_table:
            tag = re.search(r'"(\w+)"', query.rpartition("GROUP BY ")[2])
            several = query.partition(" FROM ")[0].count(" AS ") > 1
            alias = f"$tag_{tag[1]}" if tag else "$col"
            alias += " $col" if tag and several else ""
        found.append(InfluxQl(query, alias=alias, table=is_table))
    return found


def _arguments(settings: DashboardSettings, given: Given) -> dict[str, Any]:
    """Return arguments of a panel or a column, in which names have become what they name."""
    resolved: Mapping[str, Callable[[Any], Any]] = {
        "unit": lambda unit: looks.unit_of(unit) if unit in QUANTITIES else unit,
        "bands": lambda bands: [*_bands(bands)],
        "words": _words,
        "colors": lambda colors: (
            looks.KIND_COLORS if colors == "kinds" else {k: _color(c) for k, c in colors.items()}
        ),
        "link": lambda link: _link(settings, link),
        "steps": lambda steps: [*_steps(steps)],
        "columns": lambda columns: [_column(settings, one) for one in columns],
    }
    return {key: resolved[key](v) if key in resolved else v for key, v in given.items()}


def _link(settings: DashboardSettings, given: Any) -> Any:
    title, url, *instead = SHARED["links"][given] if isinstance(given, str) else given
    found = link_to(settings, title, url)
    return _link(settings, instead[0]) if found is None and instead else found


def _color(name: str) -> str:
    return looks.COLORS.get(name, name)


def _bands(given: Iterable[Any]) -> Iterator[tuple[float, str]]:
    for one in given:
        if isinstance(one, str):
            yield from looks.bands_of(_GUIDELINES[one])
        else:
            yield one[0], _color(one[1])


def _words(given: Any) -> looks.Words:
    found = SHARED["words"][given] if isinstance(given, str) else given
    return {None if key == "none" else key: (t, _color(c)) for key, (t, c) in found.items()}


def _column(settings: DashboardSettings, given: Any) -> tables.Column:
    own = {"name": given} if isinstance(given, str) else given
    merged = SHARED["columns"].get(own["name"], {}) | own
    return tables.Column(
        **_arguments(settings, {key: v for key, v in merged.items() if v != "auto"})
    )


def _steps(given: Iterable[Any]) -> Iterator[tables.Step]:
    for name, *arguments in given:
        made = _STEPS[name](*arguments) if name in _STEPS else (name, *arguments)
        yield from made if isinstance(made, list) else (made,)
