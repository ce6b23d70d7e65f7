"""Prepare the content of a PDF: words and formatted numbers for the templates."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from language.messages import _, capitalize, get_language, gettext, mark, ngettext, write_date
from language.plain_text import escape_reversibly
from reports.letter import name_period_before, write_findings, write_notes
from reports.look import SHADES, color_on_white
from reports.rows import name_place
from reports.summary import MAX_DRAWN
from reports.suppress import WITHHELD
from reports.tables import VERSION
from reports.text import ABOUT, LIMITS, format_column, format_period, to_words, translate
from reports.wording import describe_figure
from storage.registry import join_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from reports.facts import Facts
    from reports.summary import Grid, Summary

_TILES: Final = (
    *("incidents_air", "confirmed_rate", "nobody_responded", "time_to_acknowledge"),
    *("responded_in_5_min", "false_alarms_per_sensor_week", "notices_per_duty_hour"),
    *("availability",),
)
_OF_CODES: Final = ("kinds", "false_causes", "actions")
"""Tables whose row names are codes, such as `false_alarm`."""
_CODES: Final = frozenset(
    ("kind", "severity", "state", "outcome", "false_cause", "responder_role", "by", "value")
)
_PLACE: Final = "place"
_PRINTED: Final = {
    "incidents": (
        *("id", "first_evidence_local", _PLACE, "kind", "severity", "state", "outcome"),
        *("false_cause", "acknowledge_s", "arrive_s", "notices", "responder_role"),
    ),
    "response": (
        *("by", "value", "incidents", "notified", "unacknowledged", "responded_within_5_min"),
        *("detect_median_s", "notify_median_s", "acknowledge_median_s", "acknowledge_p90_s"),
        *("arrive_median_s", "resolve_median_s", "escalated"),
    ),
    "sensors": (
        *("sensor", _PLACE, "online_days", "availability", "completeness"),
        *("incidents", "confirmed", "false_alarms", "false_alarms_per_week", "offline_incidents"),
        *("tamper_incidents", "fault_incidents"),
    ),
}
"""Columns of each table that fit on a page; other formats have all columns."""
_HEADS: Final = {
    "id": mark("number"),
    "first_evidence_local": mark("time"),
    "acknowledge_s": mark("respond"),
    "acknowledge_median_s": mark("respond median"),
    "acknowledge_p90_s": mark("respond p90"),
}
"""Headers that differ from the name of the column."""
_NARROW, _WIDE = 5, 31
"""Minimum and maximum column width, in letters."""
_PADDING: Final = 2.0
_FEW: Final = 10
"""Maximum number of days for which there is room for three-letter day names."""
_WIDER: Final = 1.2
"""Width of bold letters, relative to regular ones."""
_WIDTHS: Final = {"id": 1.2, "first_evidence_local": 1.1}
"""Width of letters in columns of digits, relative to others."""


def view_summary(made: Summary) -> dict[str, Any]:
    """Return the content of a summary for the templates."""
    rows = {figure.key: describe_figure(figure) for figure in made.figures}
    tiles = [
        row
        | {
            "rest": "; ".join(
                filter(None, (row["short"], row["was"] and _("before %(value)s", value=row["was"])))
            )
        }
        for row in (rows[key] for key in _TILES)
    ]
    grids = made.grids
    over_time = grids.get("days", grids["weeks"])
    return {
        **_view_head(made.facts, "summary"),
        "sentences": [*write_notes(made), *write_findings(made)],
        "tiles": tiles,
        "first": [_view_over_time(over_time), _view_counts("heat-map", grids["hour_by_weekday"])],
        "detail": [
            _view_counts("bars", grids["rooms"]),
            _view_counts("heat-map", grids["period_by_room"]),
        ],
        "detail_title": _("Detail"),
        "figures_title": _("All key figures"),
        **_view_figures(made.facts, list(rows.values())),
        "grids": [
            _view_grid(grid)
            for key, grid in grids.items()
            if key not in ("hour_by_weekday", "period_by_room", "rooms")
            and (key != "weeks" or len(grid.rows) > 1)
        ],
        "limits": [*filter(None, [made.facts.describe_missing()]), *map(gettext, LIMITS)],
    }


def _view_figures(facts: Facts, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    columns = {"label": _("figure"), "value": _("value")}
    for key, facts_then in (("was", facts.before), ("last_year", facts.year_before)):
        if name := name_period_before(facts_then):
            columns[key] = _("in %(period)s", period=name)
    columns["rest"] = _("basis")
    return {
        "figure_heads": [*columns.values()],
        "figures": [[row[key] for key in columns] for row in rows],
    }


def list_figures(made: Summary) -> tuple[list[str], list[list[Any]]]:
    """Return the headers and rows of all key figures, with unformatted numbers."""
    rows = [
        [
            *(figure.label, figure.main, figure.unit, describe_figure(figure)["rest"]),
            *(figure.values.get(key) for key in ("period_before", "year_before")),
        ]
        for figure in made.figures
    ]
    heads = [_("figure"), _("value"), _("unit"), _("basis"), _("in the previous period")]
    return [*heads, _("a year earlier")], rows


def view_table(facts: Facts, name: str, frame: pl.DataFrame) -> dict[str, Any]:
    """Return the content of a table for the templates."""
    sites = facts.registry.list_sites(with_closed=True) if facts.names_sites else ()
    titles = {site.name: site.title for site in sites}
    made = [_view_column(frame, column, titles) for column in _PRINTED[name]]
    longest = [
        max(
            _WIDER * len(max(head.split(), key=len)),
            _WIDTHS.get(column, 1.0) * max(map(len, cells), default=0),
        )
        for column, (head, cells) in zip(_PRINTED[name], made, strict=True)
    ]
    return {
        **_view_head(facts, name),
        "about": f"{capitalize(gettext(ABOUT[name]))}.",
        "row_count": ngettext("%(n)d row.", "%(n)d rows.", frame.height),
        "other_formats": _("CSV, XLSX and Parquet files have all columns."),
        "count": frame.height,
        "columns": [head for head, _texts in made],
        "widths": [min(max(n, _NARROW), _WIDE) + _PADDING for n in longest],
        "rows": [list(row) for row in zip(*(cells for _head_text, cells in made), strict=True)],
    }


def _view_head(facts: Facts, name: str) -> dict[str, Any]:
    calendar = facts.calendar
    day = write_date(calendar.to_local(facts.end - 1e-3), "date")
    colors = {name: color_on_white(name) for name in ("ink", "fine", "edge", "brand", "ground")}
    return {
        "schema": f"plumewatch.{name}/{VERSION}",
        "title": capitalize(to_words(name)),
        "school": escape_reversibly(facts.school),
        "place": escape_reversibly(facts.place),
        "from": write_date(calendar.to_local(facts.start), "date"),
        "to": _("%(day)s, so far", day=day) if facts.end > facts.now else day,
        "lang": get_language(),
        "look": {**colors, "shades": SHADES},
        "words": {"made": _("created"), "to": _("to"), "none": _("None.")},
        "period": capitalize(escape_reversibly(facts.period.title)) if facts.period else "",
        "made": write_date(calendar.to_local(facts.now), "date and time"),
        "zone": calendar.zone.key,
    }


def _view_over_time(grid: Grid) -> dict[str, Any]:
    """Return a chart of incidents by day or week.

    A day's note is its date; a week's note is its number of school days.
    """
    rows: list[list[Any]] = []
    for name, (school_days, *counts) in grid.rows:
        if grid.key == "weeks":
            label = write_date(date.fromisoformat(f"{name}-1"), "month and day")
            note = f"{school_days or 0:.0f} d"
        else:
            day = date.fromisoformat(name)
            label = write_date(day, "weekday")[: 3 if len(grid.rows) <= _FEW else 2]
            note = f"{day.day}" if school_days else "—"
        rows.append([label, note, *(int(n or 0) for n in counts[:3])])
    columns = [_("vaping"), _("smoke"), _("other")]
    return {"kind": "stacked", "title": _make_title(grid), "columns": columns, "rows": rows}


def _view_counts(kind: str, grid: Grid) -> dict[str, Any]:
    """Return a chart of counts; text replaces unpublished counts."""
    rows = [
        [
            escape_reversibly(name_row(grid, name)),
            *(
                translate_note(grid.notes.get((name, column), "")) if n is None else int(n)
                for (column, _unit), n in zip(grid.columns, values, strict=True)
            ),
        ]
        for name, values in grid.rows[:MAX_DRAWN]
    ]
    columns = [escape_reversibly(format_period(name)) for name, _unit in grid.columns]
    return {"kind": kind, "title": _make_title(grid), "columns": columns, "rows": rows}


def _make_title(grid: Grid) -> str:
    return f"{grid.title}. {grid.about}" if grid.about else grid.title


def _view_grid(grid: Grid) -> dict[str, Any]:
    texts = [
        format_column([values[k] for _name, values in grid.rows], unit)
        for k, (_name, unit) in enumerate(grid.columns)
    ]
    heads = [
        to_words(name) + ("" if unit in ("", "days") else f" ({translate(unit)})")
        for (name, _unit), (unit, _cells) in zip(grid.columns, texts, strict=True)
    ]
    rows = []
    for k, (name, values) in enumerate(grid.rows):
        if grid.key == "days" and not any(values):
            continue
        cells = [
            translate_note(grid.notes.get((name, column), "")) or text[k]
            for (column, _unit), (_head_unit, text) in zip(grid.columns, texts, strict=True)
        ]
        rows.append([escape_reversibly(name_row(grid, name)), *cells])
    return {
        "title": grid.title,
        "about": grid.about,
        "columns": [to_words(grid.head), *heads],
        "rows": rows,
    }


def translate_note(note: str) -> str:
    """Return the text shown instead of a hidden number."""
    return gettext(note) if note == WITHHELD else note


def name_row(grid: Grid, name: str) -> str:
    """Return the name of a row in words: a week or day as a date, a code as words."""
    if grid.key in _OF_CODES:
        return to_words(name)
    if day := find_day(grid, name):
        return write_date(day, "short date" if grid.key == "weeks" else "weekday and date")
    return format_period(name)


def find_day(grid: Grid, name: str) -> date | None:
    """Return the date of a row, or the first day of a week; None if rows are not dates."""
    if grid.key == "weeks":
        return date.fromisoformat(f"{name}-1")
    return date.fromisoformat(name) if grid.key == "days" else None


def _view_column(
    frame: pl.DataFrame, name: str, titles: Mapping[str, str]
) -> tuple[str, list[str]]:
    if name == _PLACE:
        rows = frame.select("room", "floor", "building", "site_name").iter_rows()
        return _("place"), [
            escape_reversibly(name_place(room, join_place(building, titles.get(site, "")), floor))
            for room, floor, building, site in rows
        ]
    values: Sequence[Any] = frame[name].to_list()
    head = gettext(_HEADS.get(name, name.removesuffix("_s").replace("_", " ")))
    if name.endswith("_local"):
        return head, [
            write_date(datetime.fromisoformat(at), "short date and time") for at in values
        ]
    if any(isinstance(value, float) for value in values):
        unit = "s" if name.endswith("_s") else ""
        unit = "share" if name in ("availability", "completeness") else unit
        unit, texts = format_column(values, unit)
        missing = ["" if value is None else text for value, text in zip(values, texts, strict=True)]
        return f"{head} ({translate(unit)})" if unit else head, missing
    if name == "value":
        values = [
            str(value).replace("-", " ") if by == "shift" else value
            for by, value in frame.select("by", "value").iter_rows()
        ]
    texts = ["" if value is None else escape_reversibly(str(value)) for value in values]
    return head, [format_period(to_words(text)) for text in texts] if name in _CODES else texts
