"""The summary: one page for a principal and its tables, from one object, so that they agree.

What each table is called and its columns are in ``grids.toml``.
"""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from language.dates import date_text
from language.messages import _
from reports import kpis
from reports.figures import Figure, change_at, figures
from reports.rows import AIR, CONFIRMED, FALSE, FIXED, NOTHING, State
from reports.school import days_of
from reports.suppress import LEAST, WITHHELD
from reports.tables import COLUMNS, VERSION, frame, grouped, groups
from storage.registry import natural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    import polars as pl

    from reports.facts import Facts
    from reports.kpis import BeforeAfter
    from reports.rows import IncidentRow

    Row = tuple[str, Sequence[float | None]]

_BY_DAY_S: Final = 31.5 * 86_400.0
"""Longest window shown day by day, with an hour for clocks that are set back."""
_TOP: Final = 10
MOST_DRAWN: Final = 30
"""Rooms of a drawing."""
_FOLLOW_UP: Final = ("referral", "nurse", "facilities", "none")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_IN_UNIT: Final = (
    *("value", "mean", "median", "p90", "low", "high", "median_all", "p90_all"),
    "period_before",
)
"""Measures of a figure that are in its unit; the others are counts."""
_GRIDS: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("grids.toml").read_text(encoding="utf-8")
)


class Grid(NamedTuple):
    """One table of the summary; a value is None if unknown or hidden, as `notes` say."""

    key: str
    title: str
    head: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    about: str = ""
    notes: Mapping[tuple[str, str], str] = MappingProxyType({})
    chart: Mapping[str, Any] = MappingProxyType({})

    def cell(self, row: str, column: str, value: float | None) -> int | str:
        """Return a count, or what to show instead."""
        return self.notes.get((row, column), "") if value is None else int(value)


@dataclass(frozen=True)
class Summary:
    """Content of a summary."""

    facts: Facts
    figures: tuple[Figure, ...]
    grids: dict[str, Grid]
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
        names = [column.name for column in COLUMNS["summary"]]
        return frame(COLUMNS["summary"], (dict(zip(names, row, strict=True)) for row in rows))


def summary(facts: Facts, intervention: date | None = None) -> Summary:
    """Make the summary, perhaps around `intervention`; `TooFewError` if a sum reveals a count."""
    facts.published.check()
    grids = {grid.key: grid for grid in _grids(facts)}
    change = None
    if intervention is not None:
        change = change_at(facts, intervention)
        grids["displacement"] = _displacement(facts, intervention)
    return Summary(facts, tuple(figures(facts, change)), grids, change, intervention)


def _grid(
    key: str,
    rows: Iterable[Row],
    *,
    columns: Sequence[str] = (),
    about: str | None = None,
    notes: Mapping[tuple[str, str], str] = MappingProxyType({}),
    **values: object,
) -> Grid:
    """Fill a table of ``grids.toml``; `values` are those of the placeholders in its words."""
    table = _GRIDS[key]
    title, text = table["title"], table.get("about", "")
    return Grid(
        key,
        _(title, **values),
        table["head"],
        tuple(table.get("columns", dict.fromkeys(columns, "")).items()),
        tuple((name, tuple(None if n is None else float(n) for n in row)) for name, row in rows),
        _(text, **values) if about is None else about,
        notes,
        table.get("chart", {}),
    )


def _grids(facts: Facts) -> Iterator[Grid]:
    incidents, found = facts.chosen.incidents, facts.kpis.outcome
    yield _over_time(facts, "weeks", _week)
    if facts.end - facts.start <= _BY_DAY_S:
        yield _over_time(facts, "days", str)
    yield _hours(facts)
    yield _periods(facts)
    yield _rooms(facts)
    yield _grid("kinds", _kinds(incidents))
    if any(row.alarm_of for row in facts.air):
        yield _device_alarms(facts)
    yield _grid("false_causes", _counted(found.causes))
    yield _grid("fixed_causes", _counted(found.fixed_causes))
    actions = Counter(row.action or "not recorded" for row in incidents if row.verdict == CONFIRMED)
    ordered = {name: actions[name] for name in (*_FOLLOW_UP, *actions) if actions[name]}
    yield _grid("actions", _counted(ordered))
    ways = groups(facts)
    for by in ("period", "shift"):
        if by in ways:
            yield _response(facts, f"response_by_{by}", grouped(incidents, ways[by]))
    yield _grid("notices_by_role", _load(facts))
    yield _grid("sensors", _sensors(facts)[:_TOP], n=_TOP)


def _counted(counts: Mapping[str, int]) -> Iterator[Row]:
    return ((name, (n,)) for name, n in counts.items())


def _over_time(facts: Facts, key: str, name_of: Callable[[date], str]) -> Grid:
    days: Counter[str] = Counter()
    for day in days_of(facts.covered_from, facts.end, facts.calendar.zone):
        days[name_of(day)] += day in facts.school_days
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in facts.chosen.incidents:
        span = name_of(facts.calendar_of(row).local(row.opened_at).date())
        kinds[span][row.kind if row.kind in AIR else "other"] += 1
    rows: list[Row] = []
    for span, school in days.items():
        counts = [kinds[span][kind] for kind in (*AIR, "other")]
        each = sum(counts[: len(AIR)]) / school if school else None
        rows.append((span, (school, *counts, sum(counts), each)))
    return _grid(key, rows)


def _week(day: date) -> str:
    year, week, _weekday = day.isocalendar()
    return f"{year}-W{week:02d}"


def _hours(facts: Facts) -> Grid:
    by_period = facts.published.by_period
    local = [facts.calendar_of(row).local(row.opened_at) for row in facts.air if by_period]
    counts = Counter((at.hour, at.weekday()) for at in local)
    hours = sorted({at.hour for at in local})
    span = range(hours[0], hours[-1] + 1) if hours else range(0)
    used = sorted({*range(5), *(at.weekday() for at in local)})
    return _grid(
        "hour_by_weekday",
        ((f"{hour:02d}:00", [counts[hour, day] for day in used]) for hour in span),
        columns=[_DAYS[day] for day in used],
        about="" if by_period else None,
        least=LEAST,
    )


def _periods(facts: Facts) -> Grid:
    found = facts.published
    made = _grid(
        "period_by_room",
        found.cells.items(),
        columns=found.periods,
        notes=found.notes,
        least=LEAST,
    )
    if len(found.cells) > MOST_DRAWN:
        most = _("The %(n)d rooms with most.", n=MOST_DRAWN)
        return made._replace(about=f"{made.about} {most}")
    return made


def _rooms(facts: Facts) -> Grid:
    by_room = grouped(facts.air, lambda row: facts.room_names[row.room_id])
    published, columns = facts.published, _GRIDS["rooms"]["columns"]
    first = list(published.totals)[:_TOP]
    hidden = {room for room in first if published.totals[room] is None}
    rows: list[Row] = [
        (
            room,
            [None] * len(columns)
            if room in hidden
            else _verdicts(by_room[room], CONFIRMED, FALSE, ""),
        )
        for room in first
    ]
    notes = {(room, column): published.notes[room, ""] for room in hidden for column in columns}
    return _grid("rooms", rows, notes=notes, n=_TOP)


def _verdicts(rows: Sequence[IncidentRow], *verdicts: str) -> tuple[int, ...]:
    counts = Counter(row.verdict for row in rows)
    return (len(rows), *(counts[verdict] for verdict in verdicts))


def _kinds(incidents: Iterable[IncidentRow]) -> Iterator[Row]:
    for kind, rows in grouped(incidents, lambda row: row.kind).items():
        counts = (
            sum(bool(row.suppressed_by) for row in rows),
            sum(row.state is State.NOBODY_RESPONDED for row in rows),
        )
        yield kind, (*_verdicts(rows, CONFIRMED, FALSE, NOTHING, FIXED, ""), *counts)


def _device_alarms(facts: Facts) -> Grid:
    """Compare alarms of devices with what was detected here; hidden as its only room is."""
    columns = _GRIDS["device_alarms"]["columns"]
    rows: list[Row] = []
    notes: dict[tuple[str, str], str] = {}
    about = []
    for model in sorted({row.alarm_of for row in facts.air} - {""}):
        alarms = [row for row in facts.air if row.alarm_of == model]
        rooms = {s.room for s in facts.registry.sensors.values() if model in (s.model, s.decoder)}
        rooms |= {row.room_id for row in alarms}
        both = [row for row in alarms if row.is_detected_here]
        here = [row for row in facts.air if row.room_id in rooms and not row.alarm_of]
        totals = [facts.published.totals.get(facts.room_names.get(room, "")) for room in rooms]
        if len(rooms) == 1 and totals == [None]:
            rows.append((model, [None] * len(columns)))
            notes |= dict.fromkeys(((model, column) for column in columns), WITHHELD)
            continue
        counts = (
            *_verdicts(alarms, CONFIRMED, FALSE),
            *_verdicts(both, CONFIRMED),
            *_verdicts(here, CONFIRMED, FALSE),
        )
        rows.append((model, counts))
        about.append(
            _(
                "%(device)s alone: %(alarms)d, %(both)d of them detected here too; only here:"
                " %(here)d.",
                device=model,
                alarms=len(alarms),
                both=len(both),
                here=len(here),
            )
        )
    return _grid("device_alarms", rows, about=" ".join(about), notes=notes)


def _response(facts: Facts, key: str, parts: Mapping[str, Sequence[IncidentRow]]) -> Grid:
    rows: list[Row] = []
    for name in facts.calendar.in_order(parts):
        response = kpis.response(parts[name], facts.now)
        acknowledge = response.acknowledge
        counts = acknowledge.notified, acknowledge.unacknowledged, acknowledge.within_5_min.part
        times = acknowledge.acknowledged
        spans = times.median_s, times.p90_s, acknowledge.median_all_s, response.arrive.median_s
        rows.append((name, (*counts, *spans)))
    made = _grid(key, rows)
    if key == "response_by_shift":
        shift = _("The shift is that of the person notified first.")
        return made._replace(about=f"{made.about} {shift}")
    return made


def _displacement(facts: Facts, intervention: date) -> Grid:
    """Compare each room before and after a date, to see whether incidents moved to others.

    Of whole school days. Rooms with fewer than `LEAST` on either side are one row, so that none
    reveals a small count.
    """
    days = {*facts.whole_days()}
    length = [sum(day < intervention for day in days), sum(day >= intervention for day in days)]
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in facts.air:
        day = facts.calendar_of(row).local(row.opened_at).date()
        if day in days:
            counts[facts.room_names[row.room_id]][day >= intervention] += 1
    totals = facts.published.totals
    alone = [room for room, n in counts.items() if min(n) >= LEAST and totals[room] is not None]
    alone.sort(key=lambda room: sum(counts[room]))
    if len(counts) == len(alone) + 1:
        del alone[:1]  # a single small room would be its own sum
    rest = [n for room, n in counts.items() if room not in alone]
    found = {room: counts[room] for room in alone}
    if rest:
        found["all other rooms"] = [sum(n) for n in zip(*rest, strict=True)]

    def moved(n: Sequence[int]) -> tuple[float | None, ...]:
        before, after = (c / d if d else None for c, d in zip(n, length, strict=True))
        change = None if before is None or after is None else after - before
        return n[0], n[1], before, after, change

    rows = [(room, moved(n)) for room, n in found.items()]
    rows.sort(key=lambda item: (-(item[1][4] or 0.0), natural(item[0])))
    return _grid("displacement", rows, day=date_text(intervention, "date"), least=LEAST)


def _load(facts: Facts) -> Iterator[Row]:
    chosen = facts.chosen
    for role in sorted({*facts.roles.values(), *(notice.role for notice in chosen.notices)}):
        notices = [notice for notice in chosen.notices if notice.role == role]
        duty = [span for span in facts.duty if facts.roles.get(span.person, "left") == role]
        if notices or duty:
            load = kpis.load(chosen.incidents, notices, duty, facts.recorded_from)
            hours, budget = load.per_duty_hour, load.budget
            counts = load.notices, load.undelivered, hours.whole, hours.value
            yield role, (*counts, budget.over, budget.worst)


def _sensors(facts: Facts) -> list[Row]:
    found = []
    for sensor, days in facts.days_of_sensors.items():
        time = kpis.sensor_time(days)
        room = facts.registry.room_of(sensor)
        name = f"{sensor} ({facts.room_names[room.id]})" if room else sensor
        found.append((name, (time.availability.value, time.completeness.value, time.online_days)))
    return sorted(found, key=lambda row: (1.0 if row[1][0] is None else row[1][0], natural(row[0])))
