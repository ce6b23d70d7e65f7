"""What a PDF shows: words and formatted numbers, ready for the templates."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

from language.dates import date_text
from language.messages import _, capitalized, gettext, language, mark, ngettext
from language.plain_text import shown
from reports.charts import drawings
from reports.drawing import svg
from reports.look import light
from reports.suppress import WITHHELD
from reports.tables import VERSION
from reports.text import LIMITS, column_texts, duration, median_basis, words_of
from storage.registry import natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from reports.facts import Facts
    from reports.figures import Figure
    from reports.school import Period
    from reports.summary import Grid, Summary
    from reports.tables import Table

_TILES: Final = (
    *("incidents_air", "confirmed_rate", "nobody_responded", "time_to_acknowledge"),
    *("acknowledged_in_5_min", "false_alarms_per_sensor_week", "notices_per_duty_hour"),
    *("availability",),
)
_TITLES: Final = {
    "incidents": mark("Incidents"),
    "response": mark("Response"),
    "sensors": mark("Sensors"),
}
_OF_CODES: Final = ("kinds", "false_causes", "actions")
"""Tables whose rows are codes, such as `false_alarm`."""
_CODES: Final = (
    *("kind", "severity", "state", "outcome", "false_cause", "action", "responder_role"),
    *("by", "value", "suppressed_by"),
)
"""Columns with codes."""
_PRINTED: Final = {
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
"""Columns of each table that fit a page; other files have all."""
_MOST_MOVED: Final = 5


def words() -> dict[str, Any]:
    """Return the words of the templates in the reader's language."""
    colors = {name: light(name) for name in ("ink", "fine", "edge", "brand")}
    return {
        "lang": language(),
        "look": colors,
        "words": {"made": _("made"), "to": _("to"), "none": _("None.")},
    }


def summary_view(made: Summary) -> dict[str, Any]:
    """Return the content of a summary for the templates."""
    rows = {figure.key: _row(figure) for figure in made.figures}
    tiles = [
        row
        | {
            "rest": "; ".join(
                filter(None, (row["rest"], row["was"] and _("before %(value)s", value=row["was"])))
            )
        }
        for row in (rows[key] for key in _TILES)
    ]
    pictures = {
        key: {"title": _title(made.grids[key]), "svg": svg(drawing)}
        for key, drawing in drawings(made.grids).items()
    }
    return {
        **_head(made.facts, "summary", _("Summary")),
        "sentences": list(sentences(made)),
        "tiles": tiles,
        "first": [pictures[key] for key in ("weeks", "days", "hour_by_weekday") if key in pictures],
        "detail": [pictures[key] for key in ("rooms", "period_by_room")],
        "detail_title": _("Detail"),
        "figures_title": _("All key figures"),
        "figure_heads": [_("figure"), _("value"), _("basis")],
        "figures": list(rows.values()),
        "before": (before := _before_name(made.facts)),
        "in_before": _("In %(period)s", period=before) if before else "",
        "in_before_small": _("in %(period)s", period=before) if before else "",
        "grids": [
            _grid(grid)
            for key, grid in made.grids.items()
            if key not in ("hour_by_weekday", "period_by_room", "rooms")
        ],
        "limits": [*filter(None, [made.facts.missing()]), *map(gettext, LIMITS)],
    }


def letter(made: Summary, link: str = "", to_do: Sequence[str] = ()) -> tuple[str, str]:
    """Return title and text of a summary for an e-mail: findings, what to do, what changed."""
    facts = made.facts
    title = facts.period.title if facts.period else _("summary")
    lines = [*sentences(made), *(["", *to_do] if to_do else []), "", _("What changed:")]
    changed = [
        "- "
        + _(
            "%(figure)s: %(value)s, %(before)s in %(period)s",
            figure=row["label"],
            value=row["value"],
            before=row["was"],
            period=_before_name(facts),
        )
        for figure in made.figures
        if figure.key in _TILES and (row := _row(figure))["was"] not in ("", row["value"])
    ]
    if facts.before is not None:
        now, was = facts.published.totals, facts.before.published.totals
        moved = [
            (
                n - b,
                "- "
                + _(
                    "%(room)s: %(n)d of vaping or smoke, %(before)d before",
                    room=shown(room),
                    n=n,
                    before=b,
                ),
            )
            for room in sorted({*now, *was}, key=natural)
            if (n := now.get(room, 0)) is not None
            and (b := was.get(room, 0)) is not None
            and n != b
        ]
        moved.sort(key=lambda item: -abs(item[0]))
        changed += [line for _size, line in moved[:_MOST_MOVED]]
    lines += changed or ["- " + _("nothing, or there is nothing to compare with.")]
    if link:
        lines += ["", _("Full report: %(link)s", link=f"{link}/reports")]
    return f"{shown(facts.school)}: {title}", "\n".join([*lines, "", *map(gettext, LIMITS)])


def figure_table(made: Summary) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows of all key figures, with numbers as numbers."""
    rows = [
        [
            *(figure.label, figure.main, figure.unit, _row(figure)["rest"]),
            figure.values.get("period_before"),
        ]
        for figure in made.figures
    ]
    heads = [_("figure"), _("value"), _("unit"), _("basis"), _("in the period before")]
    return heads, rows


def table_view(facts: Facts, table: Table, frame: pl.DataFrame) -> dict[str, Any]:
    """Return the content of a table for the templates."""
    columns = list(_PRINTED[table.name])
    if facts.names_sites and "building" in columns:
        place = columns.index("building")
        columns = [*columns[:place], "site", *columns[place:]]
    made = [_cells(column, frame[column].to_list()) for column in columns]
    return {
        **_head(facts, table.name, gettext(_TITLES[table.name])),
        "about": f"{capitalized(gettext(table.about))}.",
        "rows_said": ngettext("%(n)d row.", "%(n)d rows.", frame.height),
        "more_said": _("CSV, XLSX and Parquet files have all columns."),
        "count": frame.height,
        "columns": [head for head, _texts in made],
        "rows": [list(row) for row in zip(*(cells for _head_text, cells in made), strict=True)],
    }


def _head(facts: Facts, name: str, title: str) -> dict[str, Any]:
    calendar = facts.calendar
    day = date_text(calendar.local(facts.end - 1e-3), "date")
    return {
        "schema": f"plumewatch.{name}/{VERSION}",
        "title": title,
        "school": shown(facts.school),
        "place": shown(facts.place),
        "from": date_text(calendar.local(facts.start), "date"),
        "to": _("%(day)s, so far", day=day) if facts.end > facts.now else day,
        **words(),
        "period": capitalized(shown(facts.period.title)) if facts.period else "",
        "made": calendar.local(facts.now).isoformat(sep=" ", timespec="minutes"),
        "zone": calendar.zone.key,
    }


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "—"
    if unit == "s":
        return duration(value)
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _row(figure: Figure) -> dict[str, str]:
    values = figure.values
    was = _number(values["period_before"], figure.unit) if "period_before" in values else ""
    value, basis = _number(figure.main, figure.unit), ""
    if "median" in values:
        basis = median_basis(values)
    elif "days" in values:
        basis = _per_day(values)
    elif "of" in values:
        basis = _rate_basis(figure)
    return {"label": figure.label, "value": value, "rest": basis, "was": was}


def _rate_basis(figure: Figure) -> str:
    values = figure.values
    if not values["of"]:
        return _("no data to divide by")
    part, whole = _number(values["part"]), _number(values["of"])
    if figure.unit == "share":
        return _("%(part)s of %(whole)s", part=part, whole=whole)
    return f"{part} / {whole}"


def _before_name(facts: Facts) -> str:
    before = facts.before
    if before is None or before.period is None:
        return ""
    local = before.calendar.local(before.start)
    name = _in_text(before.period)
    if local.date() == before.period.first:
        return name
    return _("%(period)s, from %(day)s on", period=name, day=date_text(local, "date"))


def _in_text(period: Period) -> str:
    title = shown(period.title)
    if period.kind in ("month", "term"):
        return title
    return _("the %(week)s", week=title) if period.kind == "week" else _("the %(year)s", year=title)


def _title(grid: Grid) -> str:
    return f"{grid.title}. {grid.about}" if grid.about else grid.title


def sentences(made: Summary) -> Iterator[str]:
    """Yield the main findings; all numbers of a sentence count the same incidents and days."""
    facts = made.facts
    figures = {figure.key: figure.values for figure in made.figures}

    def value(key: str, measure: str = "value") -> float:
        return figures[key].get(measure) or 0.0

    if facts.covered_from > facts.start:
        day = date_text(facts.calendar.local(facts.covered_from), "date")
        yield _("The record begins on %(day)s; days before it do not count.", day=day)
    if facts.sensor_days and figures["availability"]["value"] is not None:
        yield _(
            "Sensors were online for %(share).1f %% of the time.", share=100 * value("availability")
        )
    counts = {
        "air": value("incidents_air"),
        "incidents": value("incidents"),
        "confirmed": value("confirmed"),
        "false": value("false_alarms"),
        "nothing": value("nothing_found"),
        "unknown": value("unknown"),
        "notified": value("time_to_acknowledge", "notified"),
        "never": value("time_to_acknowledge", "unacknowledged"),
        "soon": value("acknowledged_in_5_min", "part"),
        "part": value("nobody_responded", "part"),
        "whole": value("nobody_responded", "of"),
    }
    said = {name: f"{count:,.0f}" for name, count in counts.items()}
    rest, on = value("incidents") - value("incidents_air"), value("school_days")
    days = _("one school day") if on == 1 else _("%(n).0f school days", n=on)
    others = _("one other") if rest == 1 else _("%(n)s others", n=f"{rest:,.0f}")
    yield _(
        "On %(days)s there were %(air)s incidents of vaping or smoke and %(others)s.",
        days=days,
        air=said["air"],
        others=others,
    )
    yield _(
        "Of these %(incidents)s, staff confirmed %(confirmed)s, %(false)s were false"
        " alarms, in %(nothing)s nothing was found, and %(unknown)s have no feedback.",
        **said,
    )
    if fixed := value("fixed"):
        yield ngettext(
            "In one of them, a sensor was fixed.", "In %(n).0f of them, a sensor was fixed.", fixed
        )
    if value("time_to_acknowledge", "notified"):
        later = value("time_to_acknowledge", "n") - value("acknowledged_in_5_min", "part")
        yield _(
            "Of %(notified)s with a notice delivered, %(soon)s were acknowledged within five"
            " minutes, %(later)s later and %(never)s never.",
            later=f"{later:,.0f}",
            **said,
        )
    if value("nobody_responded", "of"):
        yield _("Nobody responded to %(part)s of %(whole)s that needed a responder.", **said)
    yield from _against_before(made)
    rooms = [(name, n) for name, (n, *_) in made.grids["rooms"].rows if n is not None]
    if rooms:
        named = ", ".join(f"{shown(name)} ({n:.0f})" for name, n in rooms[:3])
        yield _("Most in: %(rooms)s.", rooms=named)


def _against_before(made: Summary) -> Iterator[str]:
    facts = made.facts
    if facts.period is None:
        return
    if facts.before is None:
        earlier = facts.calendar.times.before(facts.period)
        if earlier is not None:
            yield _("Nothing of %(period)s is on record to compare with.", period=_in_text(earlier))
        return
    values = next(f.values for f in made.figures if f.key == "per_school_day")
    if not values["days_before"] or not values["days"]:
        return
    yield _(
        "Vaping and smoke per school day: %(now)s, against %(before)s in %(period)s",
        now=_per_day(values),
        before=_per_day(values, "_before"),
        period=_before_name(facts),
    ) + ("." if values["is_clear"] else _("; too few to call a change."))


def _per_day(values: Mapping[str, float | None], when: str = "") -> str:
    count, days = values[f"count{when}"] or 0.0, values[f"days{when}"] or 0.0
    return _(
        "%(rate)s (%(count)s on %(days)s days)",
        rate=_number(count / days if days else None),
        count=f"{count:,.0f}",
        days=f"{days:.0f}",
    )


def _grid(grid: Grid) -> dict[str, Any]:
    columns = zip(*(values for _name, values in grid.rows), strict=True) if grid.rows else ()
    texts = [
        column_texts(values, unit)
        for (_name, unit), values in zip(grid.columns, columns, strict=False)
    ]
    units = [unit for unit, _cells in texts] or [""] * len(grid.columns)
    heads = [
        words_of(name).replace("_", " ") + ("" if unit in ("", "days") else f" ({words_of(unit)})")
        for (name, _unit), unit in zip(grid.columns, units, strict=True)
    ]
    rows = []
    for k, (name, _values) in enumerate(grid.rows):
        cells = [
            said_note(grid.notes.get((name, column), "")) or text[k]
            for (column, _unit), (_head_unit, text) in zip(grid.columns, texts, strict=True)
        ]
        rows.append([shown(_row_name(grid, name)), *cells])
    return {
        "title": grid.title,
        "about": grid.about,
        "columns": [words_of(grid.head).replace("_", " "), *heads],
        "rows": rows,
    }


def said_note(note: str) -> str:
    """Return what is shown instead of a number that is hidden."""
    return gettext(note) if note == WITHHELD else note


def _row_name(grid: Grid, name: str) -> str:
    if grid.key in _OF_CODES:
        return words_of(name).replace("_", " ")
    if grid.key == "weeks":
        return date_text(date.fromisoformat(f"{name}-1"), "short date")
    if grid.key == "days":
        return date_text(date.fromisoformat(name), "weekday and date")
    return words_of(name)


def _cells(name: str, values: Sequence[Any]) -> tuple[str, list[str]]:
    head = gettext(name.removesuffix("_s").replace("_", " "))
    if name.endswith("_local"):  # 2026-11-02T11:05:03.250-05:00
        return head, [str(value or "")[:19].replace("T", " ") for value in values]
    if any(isinstance(value, float) for value in values):
        unit = (
            "share"
            if name in ("availability", "completeness")
            else "s"
            if name.endswith("_s")
            else ""
        )
        unit, texts = column_texts(values, unit)
        missing = ["" if value is None else text for value, text in zip(values, texts, strict=True)]
        return f"{head} ({words_of(unit)})" if unit else head, missing
    texts = ["" if value is None else shown(str(value)) for value in values]
    return head, [words_of(text) for text in texts] if name in _CODES else texts
