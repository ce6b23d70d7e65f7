"""The summary: what a principal reads on one page, and the tables behind it.

One object, from which PDF, HTML and all tables are written, so that none can say another number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from reports import charts, kpis
from reports.figures import Figure, change_at, figures
from reports.rows import AIR, CONFIRMED, FALSE, NOTHING, place_of
from reports.school import days_of, natural
from reports.suppress import LEAST, SMALL, WITHHELD
from reports.tables import VERSION, Column, frame, grouped, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reports.drawing import Drawing
    from reports.facts import Facts
    from reports.kpis import BeforeAfter
    from reports.rows import IncidentRow

_BY_DAY_S: Final = 31.5 * 86_400.0
"""Longest window whose days are shown one by one, with an hour for clocks that are put back."""
_TOP: Final = 10
_DRAWN: Final = 30

COLUMNS: Final = (
    Column("schema_version", pl.Int64, "version of these columns"),
    Column("section", pl.String, "`figures`, or the table of the summary"),
    Column("item", pl.String, "row of that table"),
    Column("measure", pl.String, "column of that table"),
    Column("value", pl.Float64, "number; empty where there is none, or it is not shown"),
    Column("unit", pl.String, "of the number"),
    Column(
        "note",
        pl.String,
        f"`{SMALL}` where a count is too small to be shown, `{WITHHELD}` where a larger one would"
        " give such a count away",
    ),
)
"""Columns of the summary as one table."""


class Grid(NamedTuple):
    """One table of the summary.

    Attributes
    ----------
    key, title, head : str
        `head` is above the names of the rows.
    rows : tuple of (name, values)
        Values None where not known, or hidden.
    about : str
        A sentence below the title.
    notes : mapping of (str, str) to str
        By row and column, what stands in place of a hidden value.
    """

    key: str
    title: str
    head: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    about: str = ""
    notes: Mapping[tuple[str, str], str] = MappingProxyType({})


@dataclass(frozen=True)
class Summary:
    """Everything a summary says."""

    facts: Facts
    figures: tuple[Figure, ...]
    grids: dict[str, Grid]
    drawings: dict[str, Drawing]
    change: BeforeAfter | None = None
    intervention: date | None = None

    def table(self) -> pl.DataFrame:
        """Return all of it as one long table."""
        rows: list[tuple[Any, ...]] = []
        for figure in self.figures:
            for measure, value in figure.values.items():
                unit = figure.unit if measure in _IN_UNIT else ""
                rows.append((VERSION, "figures", figure.key, measure, value, unit, ""))
        for grid in self.grids.values():
            for name, values in grid.rows:
                for (column, unit), value in zip(grid.columns, values, strict=True):
                    note = grid.notes.get((name, column), "")
                    rows.append((VERSION, grid.key, name, column, value, unit, note))
        columns = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
        return frame(
            COLUMNS,
            {c.name: list(values) for c, values in zip(COLUMNS, columns, strict=True)},
        )


_IN_UNIT: Final = (
    *("value", "mean", "median", "p90", "low", "high", "median_all", "p90_all"),
    "period_before",
)


def summary(facts: Facts, intervention: date | None = None) -> Summary:
    """Make the summary.

    Parameters
    ----------
    intervention : date, optional
        Compare the school days before this day with those from it on.

    Raises
    ------
    TooFewError
        If any sum would give a hidden count away.
    """
    facts.published.check()
    rows = facts.chosen.incidents
    grids = {
        grid.key: grid
        for grid in (
            *_times_of(facts, rows),
            _hours(facts),
            _periods(facts),
            _rooms(facts),
            _kinds(rows),
            _causes(facts),
            _actions(rows),
            *_responses(facts, rows),
            _load(facts),
            _sensors(facts),
        )
    }
    change = None if intervention is None else change_at(facts, intervention)
    return Summary(
        facts,
        tuple(figures(facts, change)),
        grids,
        _drawings(grids, change),
        change,
        intervention,
    )


def _times_of(facts: Facts, rows: Sequence[IncidentRow]) -> Iterable[Grid]:
    yield _over_time(facts, rows, ("weeks", "week"), _week)
    if facts.end - facts.start <= _BY_DAY_S:
        yield _over_time(facts, rows, ("days", "day"), str)


def _over_time(
    facts: Facts,
    rows: Sequence[IncidentRow],
    names: tuple[str, str],
    name_of: Callable[[date], str],
) -> Grid:
    """Count incidents by weeks or days; `names` are those of the grid and of one row of it."""
    calendar = facts.calendar
    days: Counter[str] = Counter()
    for day in days_of(facts.start, facts.end, calendar.zone):
        days[name_of(day)] += day in calendar.school_days
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        span = name_of(calendar.local(row.opened_at).date())
        kinds[span][row.kind if row.kind in AIR else "other"] += 1
    found = []
    for span, school in days.items():
        counts = [kinds[span][kind] for kind in (*AIR, "other")]
        total = sum(counts)
        each = sum(counts[: len(AIR)]) / school if school else None
        found.append((span, (float(school), *map(float, counts), float(total), each)))
    key, head = names
    return Grid(
        key,
        f"Incidents by {head}",
        head,
        (
            ("school_days", ""),
            *((kind, "") for kind in (*AIR, "other")),
            ("incidents", ""),
            ("vape_and_smoke_per_school_day", "1/day"),
        ),
        tuple(found),
        "Beside them the days with school: a short week is no quiet week."
        if head == "week"
        else "",
    )


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _hours(facts: Facts) -> Grid:
    by_period = facts.published.by_period
    local = [facts.calendar.local(row.opened_at) for row in facts.air] if by_period else []
    counts = Counter((at.hour, at.weekday()) for at in local)
    hours = sorted({at.hour for at in local})
    span = range(hours[0], hours[-1] + 1) if hours else range(0)
    used = sorted({*range(5), *(at.weekday() for at in local)})
    return Grid(
        "hour_by_weekday",
        "Vaping and smoke by hour and weekday",
        "hour",
        tuple((_DAYS[day], "") for day in used),
        tuple((f"{hour:02d}:00", tuple(float(counts[hour, day]) for day in used)) for hour in span),
        "" if by_period else _NOT_BY_PERIOD,
    )


_NOT_BY_PERIOD: Final = (
    f"Not shown: counts below {LEAST} of a room in a lesson period could be worked out from it."
)


def _periods(facts: Facts) -> Grid:
    shown = facts.published
    return Grid(
        "period_by_room",
        "Vaping and smoke by room and period",
        "room",
        tuple((period, "") for period in shown.periods),
        tuple(
            (room, tuple(None if n is None else float(n) for n in cells))
            for room, cells in shown.cells.items()
        ),
        f"Counts below {LEAST} are not shown, so that none points at a child."
        + (f" The {_DRAWN} rooms with most." if len(shown.cells) > _DRAWN else ""),
        shown.notes,
    )


def _rooms(facts: Facts) -> Grid:
    groups = grouped(facts.air, lambda row: place_of(row.room, row.building))
    shown = facts.published
    columns = ("incidents", "confirmed", "false_alarms", "unknown")
    first = list(shown.totals)[:_TOP]
    return Grid(
        "rooms",
        "Rooms with most vaping and smoke",
        "room",
        tuple((column, "") for column in columns),
        tuple(
            (
                room,
                (None,) * len(columns)
                if shown.totals[room] is None
                else _verdicts(groups[room], (CONFIRMED, FALSE, "")),
            )
            for room in first
        ),
        f"At most {_TOP}.",
        {
            (room, column): shown.notes[room, ""]
            for room in first
            if shown.totals[room] is None
            for column in columns
        },
    )


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda found: (-found[1], found[0]))


def _verdicts(rows: Sequence[IncidentRow], verdicts: Sequence[str]) -> tuple[float, ...]:
    said = Counter(row.verdict for row in rows)
    return (float(len(rows)), *(float(said[verdict]) for verdict in verdicts))


def _kinds(rows: Sequence[IncidentRow]) -> Grid:
    groups = grouped(rows, lambda row: row.kind)
    return Grid(
        "kinds",
        "Kinds of incident",
        "kind",
        tuple(
            (name, "")
            for name in (
                *("incidents", "confirmed", "false_alarms", "nothing_found", "unknown"),
                *("withdrawn", "suppressed"),
            )
        ),
        tuple(
            (
                kind,
                (
                    *_verdicts(own, (CONFIRMED, FALSE, NOTHING, "")),
                    float(sum(row.withdrawn for row in own)),
                    float(sum(bool(row.suppressed_by) for row in own)),
                ),
            )
            for kind, own in groups.items()
        ),
    )


def _causes(facts: Facts) -> Grid:
    return Grid(
        "false_causes",
        "Causes of false alarms, as staff said",
        "cause",
        (("false_alarms", ""),),
        tuple((cause, (float(n),)) for cause, n in facts.kpis.outcome.causes.items()),
    )


def _actions(rows: Sequence[IncidentRow]) -> Grid:
    said = Counter(row.action or "not said" for row in rows if row.verdict == CONFIRMED)
    return Grid(
        "actions",
        "What followed confirmed incidents",
        "action",
        (("incidents", ""),),
        tuple((action, (float(n),)) for action, n in _most(said)),
        "Classes, as staff said; none names anybody.",
    )


def _responses(facts: Facts, rows: Sequence[IncidentRow]) -> Iterable[Grid]:
    """Yield times of response by lesson period and, where there are any, by shift."""
    ways = groups(facts)
    for by in ("period", "shift"):
        if by in ways:
            yield _response(facts, by, grouped(rows, ways[by]))


def _response(facts: Facts, by: str, parts: Mapping[str, Sequence[IncidentRow]]) -> Grid:
    found = []
    for name, own in sorted(parts.items(), key=lambda item: natural(item[0])):
        times = kpis.response(own, facts.now)
        result = times.acknowledge
        found.append(
            (
                name,
                (
                    float(result.notified),
                    float(result.unacknowledged),
                    result.within_5_min.part,
                    result.acknowledged.median_s,
                    result.acknowledged.p90_s,
                    result.median_all_s,
                    times.arrive.median_s,
                ),
            )
        )
    return Grid(
        f"response_by_{by}",
        f"Acknowledgement and arrival by {by}",
        by,
        (
            ("notified", ""),
            ("unacknowledged", ""),
            ("within_5_min", ""),
            ("median", "s"),
            ("p90", "s"),
            ("median_all", "s"),
            ("median_arrival", "s"),
        ),
        tuple(found),
        "Times are over the acknowledged; median all ranks the unacknowledged last."
        + (" The shift is that of whom was told first." if by == "shift" else ""),
    )


def _load(facts: Facts) -> Grid:
    chosen = facts.chosen
    roles = {*facts.roles.values(), *(notice.role for notice in chosen.notices)}
    found = []
    for role in sorted(roles):
        notices = [notice for notice in chosen.notices if notice.role == role]
        duty = [span for span in facts.duty if facts.roles.get(span.person, "left") == role]
        load = kpis.load(chosen.incidents, notices, duty, facts.recorded_from)
        if notices or duty:
            found.append(
                (
                    role,
                    (
                        float(load.notices),
                        float(load.undelivered),
                        load.per_duty_hour.whole,
                        load.per_duty_hour.value,
                        float(load.budget.over),
                        float(load.budget.worst),
                    ),
                )
            )
    return Grid(
        "notices_by_role",
        "Notices by role",
        "role",
        (
            ("delivered", ""),
            ("undelivered", ""),
            ("person_hours_on_duty", "h"),
            ("per_person_hour", "1/h"),
            ("hours_over_12", ""),
            ("worst_hour", ""),
        ),
        tuple(found),
        "More than 12 notices an hour to one person are too many to act on; 30 are a flood.",
    )


def _sensors(facts: Facts) -> Grid:
    days = defaultdict(list)
    for day in facts.chosen.sensor_days:
        days[day.sensor].append(day)
    found = []
    for sensor, own in days.items():
        time = kpis.sensor_time(own)
        room = facts.registry.room_of(sensor)
        name = f"{sensor} ({room.name})" if room else sensor
        found.append((name, (time.availability.value, time.completeness.value, time.online_days)))
    found.sort(key=lambda item: (1.0 if item[1][0] is None else item[1][0], item[0]))
    return Grid(
        "sensors",
        "Sensors that were away most",
        "sensor",
        (("availability", "share"), ("completeness", "share"), ("online_days", "days")),
        tuple(found[:_TOP]),
        f"At most {_TOP}; all of them are in the report of sensors.",
    )


def _drawings(grids: dict[str, Grid], change: BeforeAfter | None) -> dict[str, Drawing]:
    hours, periods, rooms = (grids[k] for k in ("hour_by_weekday", "period_by_room", "rooms"))
    found = {
        **(_days_drawn(grids["days"]) if "days" in grids else _weeks_drawn(grids["weeks"])),
        "hour_by_weekday": _heat(hours),
        "period_by_room": _heat(periods._replace(rows=periods.rows[:_DRAWN])),
        "rooms": charts.bars(
            rooms.title,
            [name for name, _ in rooms.rows],
            [_count(rooms, name, "incidents", values[0]) for name, values in rooms.rows],
        ),
    }
    if change is not None and change.change and change.low and change.high:
        found["change"] = charts.change(
            "After as a multiple of before", change.change, change.low, change.high
        )
    return found


def _weeks_drawn(grid: Grid) -> dict[str, Drawing]:
    names = [name[-3:] for name, _ in grid.rows]
    notes = [f"{values[0]:.0f} d" for _, values in grid.rows]
    return {grid.key: charts.stacked(grid.title, names, notes, _parts(grid))}


def _days_drawn(grid: Grid) -> dict[str, Drawing]:
    days = [date.fromisoformat(name) for name, _ in grid.rows]
    names = [f"{day:%a}"[: 3 if len(days) <= _TOP else 2] for day in days]
    notes = [
        f"{day.day}" if values[0] else "—" for day, (_, values) in zip(days, grid.rows, strict=True)
    ]
    return {grid.key: charts.stacked(grid.title, names, notes, _parts(grid))}


def _parts(grid: Grid) -> list[tuple[str, list[int]]]:
    return [
        (name, [int(values[k] or 0) for _, values in grid.rows])
        for name, k in (("vaping", 1), ("smoke", 2), ("other", 3))
    ]


def _heat(grid: Grid) -> Drawing:
    names = [name for name, _ in grid.columns]
    counts = [
        [_count(grid, row, column, n) for column, n in zip(names, values, strict=True)]
        for row, values in grid.rows
    ]
    return charts.heat_map(grid.title, [name for name, _ in grid.rows], names, counts)


def _count(grid: Grid, row: str, column: str, value: float | None) -> int | str:
    """Count, or what stands in its place."""
    return grid.notes.get((row, column), "") if value is None else int(value)
