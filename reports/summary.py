"""The summary for a principal: its page and tables are made from one object, so they agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from language.messages import _
from reports import kpis
from reports.figures import Figure, compute_figures
from reports.rows import AIR, CONFIRMED, FALSE, FIXED, NOTHING, State
from reports.school import list_days
from reports.schools import SchoolFigures, compare_schools
from reports.suppress import MIN_COUNT
from reports.tables import COLUMNS, VERSION, group_rows, make_frame
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    import polars as pl

    from reports.facts import Facts
    from reports.rows import IncidentRow

    Row = tuple[str, Sequence[float | None]]

_BY_DAY_S: Final = 31.5 * 86_400.0
"""Longest window shown day by day; the half day covers the hour when clocks go back."""
_TOP: Final = 10
"""Maximum number of rooms or sensors in a ranking."""
MAX_DRAWN: Final = 30
"""Maximum number of rooms in a chart."""
_FOLLOW_UP: Final = ("referral", "nurse", "facilities", "none")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_IN_UNIT: Final = ("value", "mean", "median", "p90", "period_before", "year_before")
"""Measures that have the unit of the figure; all others are counts."""
_PER_TIME: Final = {
    **dict.fromkeys(("school_days", *AIR, "other", "incidents"), ""),
    "vape_and_smoke_per_school_day": "1/day",
}
"""Columns of incidents by week, with their units."""
_OF_SCHOOLS: Final = {
    **dict.fromkeys(("alerts", "confirmed", "false_alarms"), ""),
    "responded_within_5_min": "share",
    **dict.fromkeys(("sensors_down", "sensors"), ""),
    **dict.fromkeys(("alerts_per_10", "confirmed_per_10", "false_alarms_per_10"), "1/10 sensors"),
}
"""Columns of the comparison of schools, with their units."""


class Grid(NamedTuple):
    """One table of the summary; a value is None if unknown, or if `notes` replaces it."""

    key: str
    title: str
    head: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    about: str = ""
    notes: Mapping[tuple[str, str], str] = MappingProxyType({})


@dataclass(frozen=True)
class Summary:
    """Content of a summary."""

    facts: Facts
    figures: tuple[Figure, ...]
    grids: dict[str, Grid]

    def to_table(self) -> pl.DataFrame:
        """Return the whole summary as one long table."""
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
        return make_frame(COLUMNS["summary"], (dict(zip(names, row, strict=True)) for row in rows))


def make_summary(facts: Facts) -> Summary:
    """Make a summary from facts."""
    return Summary(
        facts, tuple(compute_figures(facts)), {grid.key: grid for grid in _make_grids(facts)}
    )


def _make_grid(
    key: str,
    title: str,
    head: str,
    columns: Sequence[str] | Mapping[str, str],
    rows: Iterable[Row],
    *,
    about: str = "",
    notes: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Grid:
    """Make a table; `columns` without units are counts."""
    units = columns if isinstance(columns, dict) else dict.fromkeys(columns, "")
    cells = ((name, tuple(None if n is None else float(n) for n in row)) for name, row in rows)
    return Grid(key, title, head, tuple(units.items()), tuple(cells), about, notes)


def _make_grids(facts: Facts) -> Iterator[Grid]:
    incidents, found = facts.counted.incidents, facts.kpis.outcome
    if facts.names_sites:
        compared = compare_schools(facts)
        about = _("Alerts exclude sensor faults. Sensors down were offline the whole last day.")
        yield _compare("schools", _("Schools"), compared, about)
        if facts.before is not None:
            before = [found.before for found in compared if found.before]
            yield _compare("schools_before", _("Schools in the previous period"), before)
    yield _make_grid(
        "weeks",
        _("Incidents by week"),
        "week",
        _PER_TIME,
        _count_over_time(facts, "{:%G-W%V}".format),
        about=_("Short weeks have fewer school days, so compare the rates."),
    )
    if facts.end - facts.start <= _BY_DAY_S:
        columns = [*_PER_TIME][:-1]
        rows = ((day, counts[:-1]) for day, counts in _count_over_time(facts, str))
        yield _make_grid("days", _("Incidents by day"), "day", columns, rows)
    yield _count_by_hour(facts)
    yield _count_by_period(facts)
    yield _rank_rooms(facts)
    yield _make_grid(
        "kinds",
        _("Kinds of incident"),
        "kind",
        (
            *("incidents", "confirmed", "false_alarms", "nothing_found", "fixed", "not_answered"),
            *("suppressed", "nobody_responded"),
        ),
        _count_by_kind(incidents),
    )
    yield _make_grid(
        "false_causes",
        _("Causes of false alarms, by feedback"),
        "cause",
        ["false_alarms"],
        _list_counts(found.causes),
    )
    actions = Counter(row.action or "not recorded" for row in incidents if row.verdict == CONFIRMED)
    ordered = {name: actions[name] for name in (*_FOLLOW_UP, *actions) if actions[name]}
    yield _make_grid(
        "actions",
        _("Follow-up of confirmed incidents"),
        "action",
        ["incidents"],
        _list_counts(ordered),
        about=_("As reported by staff; no names."),
    )
    yield _make_grid(
        "sensors",
        _("Sensors with lowest availability"),
        "sensor",
        {"availability": "share", "completeness": "share", "online_days": "days"},
        _rank_sensors(facts)[:_TOP],
        about=_("Up to %(n)d sensors; the sensors report lists all.", n=_TOP),
    )


def _compare(key: str, title: str, schools: Iterable[SchoolFigures], about: str = "") -> Grid:
    rows = [
        (
            found.site.title,
            (
                *(*found.counts, found.within_5_min.value, found.down, found.sensors),
                *map(found.scale_to_ten, found.counts),
            ),
        )
        for found in schools
    ]
    return _make_grid(key, title, "school", _OF_SCHOOLS, rows, about=about)


def _list_counts(counts: Mapping[str, int]) -> Iterator[Row]:
    return ((name, (n,)) for name, n in counts.items())


def _count_over_time(facts: Facts, name_of: Callable[[date], str]) -> Iterator[Row]:
    days: Counter[str] = Counter()
    for day in list_days(facts.covered_from, facts.end, facts.calendar.zone):
        days[name_of(day)] += day in facts.school_days
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    taught: Counter[str] = Counter()
    for row in facts.counted.incidents:
        span = name_of(facts.find_calendar(row).to_local(row.opened_at).date())
        kinds[span][row.kind if row.kind in AIR else "other"] += 1
        taught[span] += row.kind in AIR and facts.is_school_day(row)
    for span, school in days.items():
        counts = [kinds[span][kind] for kind in (*AIR, "other")]
        each = taught[span] / school if school else None
        yield span, (school, *counts, sum(counts), each)


def _count_by_hour(facts: Facts) -> Grid:
    local = [facts.find_calendar(row).to_local(row.opened_at) for row in facts.air]
    counts = Counter((at.hour, at.weekday()) for at in local)
    hours = sorted({at.hour for at in local})
    span = range(hours[0], hours[-1] + 1) if hours else range(0)
    used = sorted({*range(5), *(at.weekday() for at in local)})
    return _make_grid(
        "hour_by_weekday",
        _("Vaping and smoke by hour and weekday"),
        "hour",
        [_DAYS[day] for day in used],
        ((f"{hour:02d}:00", [counts[hour, day] for day in used]) for hour in span),
    )


def _count_by_period(facts: Facts) -> Grid:
    found = facts.published
    about = _(
        "Counts below %(least)d are not published, because they could identify a student.",
        least=MIN_COUNT,
    )
    if len(found.cells) > MAX_DRAWN:
        about += " " + _("Only the %(n)d rooms with the most are shown.", n=MAX_DRAWN)
    return _make_grid(
        "period_by_room",
        _("Vaping and smoke by room and period"),
        "room",
        found.periods,
        found.cells.items(),
        about=about,
        notes=found.notes,
    )


def _rank_rooms(facts: Facts) -> Grid:
    by_room = group_rows(facts.air, lambda row: facts.room_names[row.room_id])
    return _make_grid(
        "rooms",
        _("Rooms with the most vaping and smoke"),
        "room",
        ("incidents", "confirmed", "false_alarms", "not_answered"),
        (
            (room, _count_verdicts(by_room[room], CONFIRMED, FALSE, ""))
            for room in islice(facts.room_totals, _TOP)
        ),
        about=_("Up to %(n)d rooms.", n=_TOP),
    )


def _count_verdicts(rows: Sequence[IncidentRow], *verdicts: str) -> tuple[int, ...]:
    counts = Counter(row.verdict for row in rows)
    return (len(rows), *(counts[verdict] for verdict in verdicts))


def _count_by_kind(incidents: Iterable[IncidentRow]) -> Iterator[Row]:
    for kind, rows in group_rows(incidents, lambda row: row.kind).items():
        counts = (
            sum(bool(row.suppressed_by) for row in rows),
            sum(row.state is State.NOBODY_RESPONDED for row in rows),
        )
        yield kind, (*_count_verdicts(rows, CONFIRMED, FALSE, NOTHING, FIXED, ""), *counts)


def _rank_sensors(facts: Facts) -> list[Row]:
    found = []
    for sensor, days in facts.days_of_sensors.items():
        time = kpis.compute_sensor_time(days)
        room = facts.registry.find_room(sensor)
        name = f"{sensor} ({facts.room_names[room.id]})" if room else sensor
        found.append((name, (time.availability.value, time.completeness.value, time.online_days)))
    return sorted(
        found, key=lambda row: (1.0 if row[1][0] is None else row[1][0], make_sort_key(row[0]))
    )
