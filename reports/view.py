"""What PDF and HTML show: the same words and numbers, ready to be set."""

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
"""Columns of each table that fit a page; the files for machines have all."""

_TILES: Final = (
    "incidents_air",
    "confirmed_rate",
    "false_alarms_per_sensor_week",
    "time_to_acknowledge",
    "acknowledged_in_5_min",
    "notices_per_duty_hour",
    "availability",
    "completeness",
)
_ON_FIRST_PAGE: Final = ("weeks", "days", "hour_by_weekday")
_DRAWN_WHOLE: Final = frozenset({"hour_by_weekday", "period_by_room", "rooms"})
"""What is shown as a picture alone; every number is in it."""
_IN_DETAIL: Final = ("rooms", "period_by_room", "change")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "—"
    if unit == "s":
        return duration(value)
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _said(figure: Figure) -> tuple[str, str]:
    """Figure and what it rests on, in words."""
    values = figure.values
    if "median" in values:
        return duration(values["median"]), median_basis(values)
    value = _number(values["value"], figure.unit)
    if "dispersion" in values:
        return f"× {value}", _change_said(values)
    if "of" not in values:
        return value, ""
    rest = f"{_number(values['part'], '')} of {_number(values['of'], '')}"
    if not values["of"]:
        rest = "nothing to set it against"
    elif figure.unit != "share":
        rest = rest.replace(" of ", " / ")
    elif values.get("low") is not None and values.get("high") is not None:
        low, high = (100 * (values[key] or 0.0) for key in ("low", "high"))
        rest += f"; 95 % interval {low:.0f} to {high:.0f} %"
    return value, rest


def _was(figure: Figure) -> str:
    """Say what a figure was in the period before; empty if that is not known."""
    if "period_before" not in figure.values:
        return ""
    return _number(figure.values["period_before"], figure.unit)


def _before_name(facts: Facts) -> str:
    """Name the period before, and the part of it that is on record; empty without."""
    before = facts.before
    if before is None or before.period is None:
        return ""
    local = before.calendar.local(before.start)
    part = "" if local.date() == before.period.first else f", from {local:%-d %B %Y} on"
    return f"{shown(before.period.title)}{part}"


def _change_said(values: dict[str, float | None]) -> str:
    if values["value"] is None:
        return "nothing to compare on one side"
    return (
        f"95 % interval {values['low']:.2f} to {values['high']:.2f}; before"
        f" {_number(values['before'], '')} a day on {values['before_days']:.0f} days, after"
        f" {_number(values['after'], '')} on {values['after_days']:.0f}"
    )


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
        "period": _capital(shown(facts.period.title)) if facts.period else "",
        "made": calendar.local(facts.now).isoformat(sep=" ", timespec="minutes"),
        "zone": calendar.zone.key,
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def summary_view(made: Summary) -> dict[str, Any]:
    """Return what the documents of a summary show."""
    figures = {figure.key: figure for figure in made.figures}
    tiles = []
    for key in _TILES:
        value, rest = _said(figures[key])
        if was := _was(figures[key]):
            rest += f"{'; ' if rest else ''}before {was}"
        tiles.append({"label": figures[key].label, "value": value, "rest": rest})
    rows = []
    for figure in made.figures:
        value, rest = _said(figure)
        rows.append({"label": figure.label, "value": value, "rest": rest, "was": _was(figure)})
    pictures = {
        key: {"title": _title(made, key), "svg": svg(drawing)}
        for key, drawing in made.drawings.items()
    }
    return {
        **_head(made.facts, "summary", "Summary"),
        "sentences": _sentences(made),
        "tiles": tiles,
        "first": [{"key": k, **pictures[k]} for k in _ON_FIRST_PAGE if k in pictures],
        "detail": [{"key": k, **pictures[k]} for k in _IN_DETAIL if k in pictures],
        "figures": rows,
        "before": _before_name(made.facts),
        "grids": [_grid(grid) for key, grid in made.grids.items() if key not in _DRAWN_WHOLE],
        "limits": [*filter(None, [made.facts.missing()]), *_LIMITS],
    }


_OF_CODES: Final = frozenset({"kinds", "false_causes", "actions"})
"""Tables whose rows are words of ours."""

_LIMITS: Final = (
    "A sensor alert is no proof that anybody vaped, and says nothing about who.",
    "Confirmed and false are what staff reported. Days without school and tests are left out.",
    "A change after a date is no proof of its cause: terms, weather and sensors change as well.",
)


def _title(made: Summary, key: str) -> str:
    if key in made.grids:
        grid = made.grids[key]
        return f"{grid.title}. {grid.about}" if grid.about else grid.title
    return f"Vaping and smoke a school day since {made.intervention:%-d %B %Y}, against before"


def _sentences(made: Summary) -> list[str]:
    """Say what happened as one would tell a colleague."""
    figures = {figure.key: figure.values for figure in made.figures}

    def value(key: str, measure: str = "value") -> float:
        return figures[key].get(measure) or 0.0

    air, rest = value("incidents_air"), value("incidents") - value("incidents_air")
    on = value("school_days")
    days = "one school day" if on == 1 else f"{on:.0f} school days"
    others = "one other" if rest == 1 else f"{rest:,.0f} others"
    found = [f"On {days} there were {air:,.0f} incidents of vaping or smoke and {others}."]
    judged = value("confirmed_rate", "of")
    found.append(
        f"Staff confirmed {value('confirmed'):,.0f} of {judged:,.0f} they gave a yes or no to;"
        f" of {value('unknown'):,.0f} nobody said."
    )
    notified = value("time_to_acknowledge", "notified")
    if notified:
        found.append(
            f"Of {notified:,.0f} they were told of, {value('acknowledged_in_5_min', 'part'):,.0f}"
            " were acknowledged within five minutes and"
            f" {value('time_to_acknowledge', 'unacknowledged'):,.0f} never."
        )
    found += _against_before(made)
    rooms = [(name, n) for name, (n, *_) in made.grids["rooms"].rows if n is not None]
    if rooms:
        named = ", ".join(f"{shown(name)} ({n:.0f})" for name, n in rooms[:3])
        found.append(f"Most in: {named}.")
    return found


def _against_before(made: Summary) -> Iterator[str]:
    """Say how it was in the period before, and how sure a change is."""
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
        sure = "; that may be chance" if low <= 1.0 <= high else ""
        yield (
            f"A school day, that is now {change['value']:.2f} times as many (95 % interval"
            f" {low:.2f} to {high:.2f}{sure})."
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


def table_view(facts: Facts, name: str, about: str, frame: pl.DataFrame) -> dict[str, Any]:
    """Return what the documents of a table show."""
    columns = PRINTED[name]
    return {
        **_head(facts, name, name.capitalize()),
        "about": f"{about[0].upper()}{about[1:]}.",
        "count": frame.height,
        "columns": [column.removesuffix("_s").replace("_", " ") for column in columns],
        "rows": [
            [_printed(name, value) for name, value in row.items()]
            for row in frame.select(columns).iter_rows(named=True)
        ],
    }


def _printed(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_local"):
        return _clock(value)
    return duration(value) if name.endswith("_s") else _cell(value)


def _clock(stamp: str) -> str:
    """Day and time for people, of a moment with milliseconds and an offset.

    Examples
    --------
    >>> _clock("2026-11-02T11:05:03.250-05:00")
    '2026-11-02 11:05:03'
    """
    return stamp[:19].replace("T", " ")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return shown(str(value))
