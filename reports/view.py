"""What PDF and HTML show: words and formatted numbers, ready for the templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reports.drawing import svg
from reports.tables import VERSION
from reports.text import duration, median_basis, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from reports.facts import Facts
    from reports.figures import Figure
    from reports.summary import Grid, Summary

PRINTED: Final = {
    "incidents": (
        *("id", "opened_local", "building", "room", "kind", "severity", "outcome", "false_cause"),
        *("acknowledge_s", "arrive_s", "notices", "responder_role", "action", "case_number"),
        *("suppressed_by",),
    ),
    "response": (
        *("by", "value", "incidents", "notified", "unacknowledged", "acknowledged_within_5_min"),
        *("detect_median_s", "notify_median_s", "acknowledge_median_s", "acknowledge_p90_s"),
        *("arrive_median_s", "resolve_median_s", "escalated", "missed"),
    ),
    "sensors": (
        *("sensor", "building", "room", "online_days", "availability", "completeness"),
        *("incidents", "confirmed", "false_alarms", "false_alarms_per_week", "offline_incidents"),
        *("tamper_incidents", "fault_incidents"),
    ),
}
"""Columns of each table that fit a page; CSV, XLSX, JSON and Parquet have all."""

_TILES: Final = (
    *("incidents_air", "confirmed_rate", "false_alarms_per_sensor_week", "time_to_acknowledge"),
    *("acknowledged_in_5_min", "notices_per_duty_hour", "availability", "completeness"),
)
_ON_FIRST_PAGE: Final = ("weeks", "days", "hour_by_weekday")
_ONLY_DRAWN: Final = ("hour_by_weekday", "period_by_room", "rooms")
"""Tables shown as a picture only; every number is in it."""
_IN_DETAIL: Final = ("rooms", "period_by_room", "change")
_OF_CODES: Final = ("kinds", "false_causes", "actions")
"""Tables whose rows are codes, such as ``false_alarm``."""
_LIMITS: Final = (
    "A sensor alert does not prove that anybody vaped, and does not identify anybody.",
    "Confirmed and false alarm are reports of staff. Days without school and tests do not count.",
    "A change after a date does not prove its cause: terms, weather and sensors change as well.",
)


def summary_view(made: Summary) -> dict[str, Any]:
    """Return the content of a summary for the templates."""
    rows = {figure.key: _row(figure) for figure in made.figures}
    tiles = [
        row
        | {"rest": "; ".join(filter(None, (row["rest"], row["was"] and f"before {row['was']}")))}
        for row in (rows[key] for key in _TILES)
    ]
    pictures = {
        key: {"key": key, "title": _title(made, key), "svg": svg(drawing)}
        for key, drawing in made.drawings.items()
    }
    return {
        **_head(made.facts, "summary", "Summary"),
        "sentences": list(_sentences(made)),
        "tiles": tiles,
        "first": [pictures[key] for key in _ON_FIRST_PAGE if key in pictures],
        "detail": [pictures[key] for key in _IN_DETAIL if key in pictures],
        "figures": list(rows.values()),
        "before": _before_name(made.facts),
        "grids": [_grid(grid) for key, grid in made.grids.items() if key not in _ONLY_DRAWN],
        "limits": [*filter(None, [made.facts.missing()]), *_LIMITS],
    }


def table_view(facts: Facts, name: str, about: str, frame: pl.DataFrame) -> dict[str, Any]:
    """Return the content of a table for the templates."""
    columns = PRINTED[name]
    return {
        **_head(facts, name, name.capitalize()),
        "about": f"{_capitalized(about)}.",
        "count": frame.height,
        "columns": [column.removesuffix("_s").replace("_", " ") for column in columns],
        "rows": [
            [_cell(name, value) for name, value in row.items()]
            for row in frame.select(columns).iter_rows(named=True)
        ],
    }


def _head(facts: Facts, name: str, title: str) -> dict[str, Any]:
    calendar = facts.calendar
    last = calendar.local(facts.end - 1e-3)
    return {
        "schema": f"plumewatch.{name}/{VERSION}",
        "title": title,
        "school": shown(facts.school),
        "place": shown(facts.place),
        "from": f"{calendar.local(facts.start):%-d %B %Y}",
        "to": f"{last:%-d %B %Y}{', so far' if facts.end > facts.now else ''}",
        "period": _capitalized(shown(facts.period.title)) if facts.period else "",
        "made": calendar.local(facts.now).isoformat(sep=" ", timespec="minutes"),
        "zone": calendar.zone.key,
    }


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "—"
    if unit == "s":
        return duration(value)
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _row(figure: Figure) -> dict[str, str]:
    """Return a figure, its basis and its value in the period before, in words."""
    values = figure.values
    was = _number(values["period_before"], figure.unit) if "period_before" in values else ""
    value, basis = _number(figure.main, figure.unit), ""
    if "median" in values:
        basis = median_basis(values)
    elif "dispersion" in values:
        value, basis = f"× {value}", _change_basis(values)
    elif "of" in values:
        basis = _rate_basis(figure)
    return {"label": figure.label, "value": value, "rest": basis, "was": was}


def _rate_basis(figure: Figure) -> str:
    values = figure.values
    if not values["of"]:
        return "no data to divide by"
    separator = "of" if figure.unit == "share" else "/"
    basis = f"{_number(values['part'])} {separator} {_number(values['of'])}"
    low, high = values.get("low"), values.get("high")
    if low is not None and high is not None:
        basis += f"; 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
    return basis


def _change_basis(values: dict[str, float | None]) -> str:
    if values["value"] is None:
        return "no data on one side"
    return (
        f"95 % interval {values['low']:.2f} to {values['high']:.2f}; before"
        f" {_number(values['before'])} a day on {values['before_days']:.0f} days, after"
        f" {_number(values['after'])} on {values['after_days']:.0f}"
    )


def _before_name(facts: Facts) -> str:
    """Name the period before, and the part of it that is on record; empty without."""
    before = facts.before
    if before is None or before.period is None:
        return ""
    local = before.calendar.local(before.start)
    part = "" if local.date() == before.period.first else f", from {local:%-d %B %Y} on"
    return f"{shown(before.period.title)}{part}"


def _title(made: Summary, key: str) -> str:
    if key in made.grids:
        grid = made.grids[key]
        return f"{grid.title}. {grid.about}" if grid.about else grid.title
    return f"Vaping and smoke per school day since {made.intervention:%-d %B %Y}, against before"


def _sentences(made: Summary) -> Iterator[str]:
    """Yield the main findings as sentences."""
    figures = {figure.key: figure.values for figure in made.figures}

    def value(key: str, measure: str = "value") -> float:
        return figures[key].get(measure) or 0.0

    air, rest = value("incidents_air"), value("incidents") - value("incidents_air")
    on = value("school_days")
    days = "one school day" if on == 1 else f"{on:.0f} school days"
    others = "one other" if rest == 1 else f"{rest:,.0f} others"
    yield f"On {days} there were {air:,.0f} incidents of vaping or smoke and {others}."
    yield (
        f"Staff confirmed {value('confirmed'):,.0f} of the {value('confirmed_rate', 'of'):,.0f}"
        f" that they judged; {value('unknown'):,.0f} have no feedback."
    )
    if notified := value("time_to_acknowledge", "notified"):
        yield (
            f"Of {notified:,.0f} with a notice delivered,"
            f" {value('acknowledged_in_5_min', 'part'):,.0f} were acknowledged within five minutes"
            f" and {value('time_to_acknowledge', 'unacknowledged'):,.0f} never."
        )
    yield from _against_before(made)
    rooms = [(name, n) for name, (n, *_) in made.grids["rooms"].rows if n is not None]
    if rooms:
        named = ", ".join(f"{shown(name)} ({n:.0f})" for name, n in rooms[:3])
        yield f"Most in: {named}."


def _against_before(made: Summary) -> Iterator[str]:
    """Yield the comparison with the period before, and how certain a change is."""
    facts = made.facts
    if facts.period is None:
        return
    if facts.before is None:
        earlier = facts.calendar.times.before(facts.period)
        if earlier is not None:
            yield f"Nothing of {shown(earlier.title)} is on record to compare with."
        return
    figures = {figure.key: figure.values for figure in made.figures}
    change, name = figures["change_from_before"], _before_name(facts)
    days = change["before_days"] or 0.0
    air = figures["incidents_air"]["period_before"] or 0.0
    yield f"In {name}, there were {air:,.0f} of vaping or smoke on {days:.0f} school days."
    low, high = change["low"], change["high"]
    if change["value"] is not None and low is not None and high is not None:
        chance = "; that may be chance" if low <= 1.0 <= high else ""
        yield (
            f"Per school day, that is now {change['value']:.2f} times as many (95 % interval"
            f" {low:.2f} to {high:.2f}{chance})."
        )


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "title": grid.title,
        "about": grid.about,
        "columns": [grid.head, *(name.replace("_", " ") for name, _ in grid.columns)],
        "rows": [
            [
                shown(name.replace("_", " ") if grid.key in _OF_CODES else name),
                *(
                    grid.notes.get((name, column)) or _number(value, unit)
                    for (column, unit), value in zip(grid.columns, values, strict=True)
                ),
            ]
            for name, values in grid.rows
        ],
    }


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_local"):  # 2026-11-02T11:05:03.250-05:00
        return str(value)[:19].replace("T", " ")
    if name.endswith("_s"):
        return duration(value)
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return shown(str(value))
