"""What PDF and HTML show: words and formatted numbers, ready for the templates."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

from reports.drawing import svg
from reports.tables import VERSION
from reports.text import column_texts, duration, median_basis, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from reports.facts import Facts
    from reports.figures import Figure
    from reports.periods import Period
    from reports.summary import Grid, Summary

PRINTED: Final = {
    "incidents": (
        *("id", "opened_local", "building", "floor", "room", "kind", "severity", "state"),
        *("outcome", "false_cause", "acknowledge_s", "arrive_s", "notices", "responder_role"),
        *("action", "case_number", "suppressed_by"),
    ),
    "response": (
        *("by", "value", "incidents", "notified", "unacknowledged", "acknowledged_within_5_min"),
        *("detect_median_s", "notify_median_s", "acknowledge_median_s", "acknowledge_p90_s"),
        *("arrive_median_s", "resolve_median_s", "escalated", "missed"),
    ),
    "sensors": (
        *("sensor", "building", "floor", "room", "online_days", "availability", "completeness"),
        *("incidents", "confirmed", "false_alarms", "false_alarms_per_week", "offline_incidents"),
        *("tamper_incidents", "fault_incidents"),
    ),
}
"""Columns of each table that fit a page; CSV, XLSX, JSON and Parquet have all."""

_ROSE: Final = 3
"""Most rooms that are named after an intervention."""
_TILES: Final = (
    *("incidents_air", "confirmed_rate", "nobody_responded", "time_to_acknowledge"),
    *("acknowledged_in_5_min", "false_alarms_per_sensor_week", "notices_per_duty_hour"),
    "availability",
)
_MOST_MOVED: Final = 5
_ON_FIRST_PAGE: Final = ("weeks", "days", "hour_by_weekday")
_ONLY_DRAWN: Final = ("hour_by_weekday", "period_by_room", "rooms")
"""Tables shown as a picture only; every number is in it."""
_IN_DETAIL: Final = ("rooms", "period_by_room", "change")
_SHARES: Final = ("availability", "completeness")
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
        "sentences": list(sentences(made)),
        "tiles": tiles,
        "first": [pictures[key] for key in _ON_FIRST_PAGE if key in pictures],
        "detail": [pictures[key] for key in _IN_DETAIL if key in pictures],
        "figures": list(rows.values()),
        "before": _before_name(made.facts),
        "grids": [_grid(grid) for key, grid in made.grids.items() if key not in _ONLY_DRAWN],
        "limits": [*filter(None, [made.facts.missing()]), *_LIMITS],
    }


def letter(made: Summary, link: str = "") -> tuple[str, str]:
    """Return the title and the text of a summary for an e-mail: findings, and what changed."""
    facts = made.facts
    title = facts.period.title if facts.period else "summary"
    lines = [*sentences(made), "", "What changed:"]
    changed = [
        f"- {row['label']}: {row['value']}, {row['was']} in {_before_name(facts)}"
        for figure in made.figures
        if figure.key in _TILES and (row := _row(figure))["was"] not in ("", row["value"])
    ]
    if facts.before is not None:
        now, was = facts.published.totals, facts.before.published.totals
        moved = [
            (n - b, f"- {shown(room)}: {n} of vaping or smoke, {b} before")
            for room in sorted({*now, *was})
            if (n := now.get(room, 0)) is not None
            and (b := was.get(room, 0)) is not None
            and n != b
        ]
        moved.sort(key=lambda item: -abs(item[0]))
        changed += [line for _, line in moved[:_MOST_MOVED]]
    lines += changed or ["- nothing, or there is nothing to compare with."]
    if link:
        lines += ["", f"Full report: {link}/reports"]
    return f"{shown(facts.school)}: {title}", "\n".join([*lines, "", *_LIMITS])


def figure_table(made: Summary) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows of all key figures, with numbers as numbers."""
    rows = [
        [
            *(figure.label, figure.main, figure.unit, _row(figure)["rest"]),
            figure.values.get("period_before"),
        ]
        for figure in made.figures
    ]
    return ["figure", "value", "unit", "basis", "in the period before"], rows


def table_view(facts: Facts, name: str, about: str, frame: pl.DataFrame) -> dict[str, Any]:
    """Return the content of a table for the templates."""
    made = [_cells(column, frame[column].to_list()) for column in PRINTED[name]]
    return {
        **_head(facts, name, name.capitalize()),
        "about": f"{_capitalized(about)}.",
        "count": frame.height,
        "columns": [head for head, _ in made],
        "rows": [list(row) for row in zip(*(cells for _, cells in made), strict=True)],
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
        f" {values['before']:.2f} a day on {values['before_days']:.0f} days, after"
        f" {values['after']:.2f} on {values['after_days']:.0f}"
    )


def _before_name(facts: Facts) -> str:
    """Name the period before, and the part of it that is on record; empty without."""
    before = facts.before
    if before is None or before.period is None:
        return ""
    local = before.calendar.local(before.start)
    part = "" if local.date() == before.period.first else f", from {local:%-d %B %Y} on"
    return f"{_in_text(before.period)}{part}"


def _in_text(period: Period) -> str:
    """Name a period inside a sentence."""
    article = "" if period.kind in ("month", "term") else "the "
    return f"{article}{shown(period.title)}"


def _title(made: Summary, key: str) -> str:
    if key in made.grids:
        grid = made.grids[key]
        return f"{grid.title}. {grid.about}" if grid.about else grid.title
    return f"Vaping and smoke per school day since {made.intervention:%-d %B %Y}, against before"


def sentences(made: Summary) -> Iterator[str]:
    """Yield the main findings; all numbers of a sentence count the same incidents and days."""
    facts = made.facts
    figures = {figure.key: figure.values for figure in made.figures}

    def value(key: str, measure: str = "value") -> float:
        return figures[key].get(measure) or 0.0

    if facts.covered_from > facts.start:
        yield (
            f"The record begins on {facts.calendar.local(facts.covered_from):%-d %B %Y}; days"
            " before it do not count."
        )
    if facts.sensor_days and figures["availability"]["value"] is not None:
        yield f"Sensors were online for {100 * value('availability'):.1f} % of the time."
    air, rest = value("incidents_air"), value("incidents") - value("incidents_air")
    on = value("school_days")
    days = "one school day" if on == 1 else f"{on:.0f} school days"
    others = "one other" if rest == 1 else f"{rest:,.0f} others"
    yield f"On {days} there were {air:,.0f} incidents of vaping or smoke and {others}."
    yield (
        f"Of these {value('incidents'):,.0f}, staff confirmed {value('confirmed'):,.0f},"
        f" {value('false_alarms'):,.0f} were false alarms, in {value('nothing_found'):,.0f} nothing"
        f" was found, and {value('unknown'):,.0f} have no feedback."
    )
    if notified := value("time_to_acknowledge", "notified"):
        yield (
            f"Of {notified:,.0f} with a notice delivered,"
            f" {value('acknowledged_in_5_min', 'part'):,.0f} were acknowledged within five minutes"
            f" and {value('time_to_acknowledge', 'unacknowledged'):,.0f} never."
        )
    if asked := value("nobody_responded", "of"):
        yield (
            f"Nobody responded to {value('nobody_responded', 'part'):,.0f} of {asked:,.0f} that"
            " needed a responder."
        )
    yield from _against_before(made)
    if made.change is not None:
        start = f"Since {made.intervention:%-d %B %Y}"
        yield from _change(start, figures["change"], "before")
        yield from _displaced(made)
    rooms = [(name, n) for name, (n, *_) in made.grids["rooms"].rows if n is not None]
    if rooms:
        named = ", ".join(f"{shown(name)} ({n:.0f})" for name, n in rooms[:3])
        yield f"Most in: {named}."


def _against_before(made: Summary) -> Iterator[str]:
    """Yield the comparison with the period before."""
    facts = made.facts
    if facts.period is None:
        return
    if facts.before is None:
        earlier = facts.calendar.times.before(facts.period)
        if earlier is not None:
            yield f"Nothing of {_in_text(earlier)} is on record to compare with."
        return
    values = next(f.values for f in made.figures if f.key == "change_from_before")
    yield from _change("Per whole school day", values, f"in {_before_name(facts)}")


def _change(start: str, values: Mapping[str, float | None], before: str) -> Iterator[str]:
    """Yield rates before and after, and how certain their ratio is; none without days on a side."""

    def rate(side: str) -> str:
        count, days = values[f"{side}_count"] or 0.0, values[f"{side}_days"] or 0.0
        each = "" if start.startswith("Per") else " per whole school day"
        return f"{values[side]:.2f}{each} ({count:,.0f} on {days:.0f} days)"

    if not values["before_days"] or not values["after_days"]:
        return
    text = (
        f"{start}, there were {rate('after')} of vaping or smoke, against {rate('before')} {before}"
    )
    low, high = values["low"], values["high"]
    if values["before_count"] and values["after_count"] and low is not None and high is not None:
        chance = "; that may be chance" if low <= 1.0 <= high else ""
        text += (
            f": {values['value']:.2f} times as many (95 % interval {low:.2f} to {high:.2f}{chance})"
        )
    yield f"{text}."


def _displaced(made: Summary) -> Iterator[str]:
    """Yield whether incidents moved to other rooms; none without days on both sides."""
    moved = [values[-1] for _, values in made.grids["displacement"].rows]
    rose = [change for change in moved if change is not None and change > 0]
    fell = [-change for change in moved if change is not None and change < 0]
    if rose or fell:
        yield (
            f"Displacement: {len(rose)} rooms or groups of rooms rose, by {sum(rose):.2f} per"
            f" school day in all, and {len(fell)} fell, by {sum(fell):.2f}."
        )
    if made.moved_to:
        yield f"It rose most in {'; '.join(map(shown, made.moved_to[:_ROSE]))}."


def _grid(grid: Grid) -> dict[str, Any]:
    columns = zip(*(values for _, values in grid.rows), strict=True) if grid.rows else ()
    texts = [
        column_texts(values, unit) for (_, unit), values in zip(grid.columns, columns, strict=False)
    ]
    units = [unit for unit, _ in texts] or [""] * len(grid.columns)
    heads = [
        name.replace("_", " ") + ("" if unit in ("", "days") else f" ({unit})")
        for (name, _), unit in zip(grid.columns, units, strict=True)
    ]
    rows = []
    for k, (name, _) in enumerate(grid.rows):
        cells = [
            grid.notes.get((name, column)) or text[k]
            for (column, _), (_, text) in zip(grid.columns, texts, strict=True)
        ]
        rows.append([shown(_row_name(grid, name)), *cells])
    return {
        "title": grid.title,
        "about": grid.about,
        "columns": [grid.head.replace("_", " "), *heads],
        "rows": rows,
    }


def _row_name(grid: Grid, name: str) -> str:
    if grid.key in _OF_CODES:
        return name.replace("_", " ")
    if grid.key == "weeks":
        return f"{date.fromisoformat(f'{name}-1'):%-d %b %Y}"
    return f"{date.fromisoformat(name):%a %-d %b %Y}" if grid.key == "days" else name


def _cells(name: str, values: Sequence[Any]) -> tuple[str, list[str]]:
    """Return the head and the cells of a column, with one number format."""
    head = name.removesuffix("_s").replace("_", " ")
    if name.endswith("_local"):  # 2026-11-02T11:05:03.250-05:00
        return head, [str(value or "")[:19].replace("T", " ") for value in values]
    if any(isinstance(value, float) for value in values):
        unit = "share" if name in _SHARES else "s" if name.endswith("_s") else ""
        unit, texts = column_texts(values, unit)
        missing = ["" if value is None else text for value, text in zip(values, texts, strict=True)]
        return f"{head} ({unit})" if unit else head, missing
    return head, ["" if value is None else shown(str(value)) for value in values]
