"""The summary: one page for a principal, and the tables behind it.

PDF, HTML and all tables are written from one object, so that they agree.
"""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from language.dates import date_text
from language.messages import ENGLISH, _, gettext, language
from reports import charts, kpis
from reports.figures import Figure, change_at, figures
from reports.rows import AIR, CONFIRMED, FALSE, FIXED, NOTHING, State
from reports.school import days_of
from reports.suppress import LEAST, WITHHELD
from reports.tables import COLUMNS, VERSION, frame, grouped, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from reports.drawing import Drawing
    from reports.facts import Facts
    from reports.kpis import BeforeAfter
    from reports.rows import IncidentRow

    Rows = tuple[tuple[str, tuple[float | None, ...]], ...]

_BY_DAY_S: Final = 31.5 * 86_400.0
"""Longest window shown day by day, with an hour for clocks that are set back."""
_TOP: Final = 10
_DRAWN: Final = 30
_FOLLOW_UP: Final = ("referral", "nurse", "facilities", "none")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_IN_UNIT: Final = (
    *("value", "mean", "median", "p90", "low", "high", "median_all", "p90_all"),
    "period_before",
)
"""Measures of a figure that are in its unit; the others are counts."""


NAMES: Final = frozenset(
    tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))["names"]
)


def words_of(name: str) -> str:
    """Return a column, a code or a unit of a table in the reader's language.

    A name of the school that is none of `NAMES` stays as it is.
    """
    words = name.replace("_", " ")
    return gettext(words) if words in NAMES and language() != ENGLISH else name


class Grid(NamedTuple):
    """One table of the summary.

    `columns` are name and unit; `head` names the rows; a value is None if it is unknown or hidden,
    and `notes` says by row and column what to show instead.
    """

    key: str
    title: str
    head: str
    columns: tuple[tuple[str, str], ...]
    rows: Rows
    about: str = ""
    notes: Mapping[tuple[str, str], str] = MappingProxyType({})

    def cell(self, row: str, column: str, value: float | None) -> int | str:
        """Return a count, or what to show instead."""
        return self.notes.get((row, column), "") if value is None else int(value)


@dataclass(frozen=True)
class Summary:
    """Content of a summary."""

    facts: Facts
    figures: tuple[Figure, ...]
    grids: dict[str, Grid]
    drawings: dict[str, Drawing]
    change: BeforeAfter | None = None
    intervention: date | None = None
    moved_to: tuple[str, ...] = ()
    """Rooms with more incidents per day from the intervention on, most first."""

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
    """Make the summary; compare school days before and from `intervention` on if it is given.

    Raises `TooFewError` if any sum would reveal a hidden count.
    """
    facts.published.check()
    grids = {grid.key: grid for grid in _grids(facts)}
    change = None if intervention is None else change_at(facts, intervention)
    if intervention is not None:
        grids["displacement"] = _displacement(facts, intervention)
    return Summary(
        facts,
        tuple(figures(facts, change)),
        grids,
        _drawings(grids, change),
        change,
        intervention,
        () if intervention is None else _moved_to(facts, intervention),
    )


def _grids(facts: Facts) -> Iterator[Grid]:
    yield _over_time(facts, "week", _week)
    if facts.end - facts.start <= _BY_DAY_S:
        yield _over_time(facts, "day", str)
    yield _hours(facts)
    yield _periods(facts)
    yield _rooms(facts)
    yield _kinds(facts)
    if any(row.alarm_of for row in facts.air):
        yield _device_alarms(facts)
    causes = facts.kpis.outcome.causes
    yield Grid(
        "false_causes",
        _("Causes of false alarms, by feedback"),
        "cause",
        _columns("false_alarms"),
        _counted(causes),
    )
    yield Grid(
        "fixed_causes",
        _("What was wrong with sensors, by feedback"),
        "cause",
        _columns("fixed"),
        _counted(facts.kpis.outcome.fixed_causes),
    )
    actions = Counter(
        row.action or "not recorded" for row in facts.chosen.incidents if row.verdict == CONFIRMED
    )
    yield Grid(
        "actions",
        _("What followed confirmed incidents"),
        "action",
        _columns("incidents"),
        _counted({name: actions[name] for name in (*_FOLLOW_UP, *actions) if actions[name]}),
        _("Classes reported by staff; none names anybody."),
    )
    ways = groups(facts)
    for by in ("period", "shift"):
        if by in ways:
            yield _response(facts, by, grouped(facts.chosen.incidents, ways[by]))
    yield _load(facts)
    yield _sensors(facts)


def _columns(*names: str) -> tuple[tuple[str, str], ...]:
    """Return columns without a unit."""
    return tuple((name, "") for name in names)


def _counted(counts: Mapping[str, int]) -> Rows:
    return tuple((name, (float(n),)) for name, n in counts.items())


def _over_time(facts: Facts, head: str, name_of: Callable[[date], str]) -> Grid:
    """Count incidents by week or by day."""
    calendar = facts.calendar
    days: Counter[str] = Counter()
    for day in days_of(facts.covered_from, facts.end, calendar.zone):
        days[name_of(day)] += day in facts.school_days
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in facts.chosen.incidents:
        span = name_of(facts.calendar_of(row).local(row.opened_at).date())
        kinds[span][row.kind if row.kind in AIR else "other"] += 1
    found = []
    for span, school in days.items():
        counts = [kinds[span][kind] for kind in (*AIR, "other")]
        each = sum(counts[: len(AIR)]) / school if school else None
        found.append((span, (float(school), *map(float, counts), float(sum(counts)), each)))
    return Grid(
        f"{head}s",
        _("Incidents by week") if head == "week" else _("Incidents by day"),
        head,
        (
            *_columns("school_days", *AIR, "other", "incidents"),
            ("vape_and_smoke_per_school_day", "1/day"),
        ),
        tuple(found),
        _("A short week has fewer school days: compare the rates.") if head == "week" else "",
    )


def _week(day: date) -> str:
    year, week, _weekday = day.isocalendar()
    return f"{year}-W{week:02d}"


def _hours(facts: Facts) -> Grid:
    by_period = facts.published.by_period
    rows = facts.air if by_period else []
    local = [facts.calendar_of(row).local(row.opened_at) for row in rows]
    counts = Counter((at.hour, at.weekday()) for at in local)
    hours = sorted({at.hour for at in local})
    span = range(hours[0], hours[-1] + 1) if hours else range(0)
    used = sorted({*range(5), *(at.weekday() for at in local)})
    hidden = _(
        "Not published: it would reveal counts below %(least)d of a room in a lesson period.",
        least=LEAST,
    )
    return Grid(
        "hour_by_weekday",
        _("Vaping and smoke by hour and weekday"),
        "hour",
        _columns(*(_DAYS[day] for day in used)),
        tuple((f"{hour:02d}:00", tuple(float(counts[hour, day]) for day in used)) for hour in span),
        "" if by_period else hidden,
    )


def _periods(facts: Facts) -> Grid:
    found = facts.published
    return Grid(
        "period_by_room",
        _("Vaping and smoke by room and period"),
        "room",
        _columns(*found.periods),
        tuple(
            (room, tuple(None if n is None else float(n) for n in cells))
            for room, cells in found.cells.items()
        ),
        _(
            "Counts of a room below %(least)d in a period are not published, so that none"
            " identifies a student.",
            least=LEAST,
        )
        + (" " + _("The %(n)d rooms with most.", n=_DRAWN) if len(found.cells) > _DRAWN else ""),
        found.notes,
    )


def _rooms(facts: Facts) -> Grid:
    by_room = grouped(facts.air, lambda row: facts.room_names[row.room_id])
    published = facts.published
    columns = ("incidents", "confirmed", "false_alarms", "unknown")
    first = list(published.totals)[:_TOP]
    hidden = {room for room in first if published.totals[room] is None}
    return Grid(
        "rooms",
        _("Rooms with most vaping and smoke"),
        "room",
        _columns(*columns),
        tuple(
            (
                room,
                (None,) * len(columns)
                if room in hidden
                else _verdicts(by_room[room], (CONFIRMED, FALSE, "")),
            )
            for room in first
        ),
        _("At most %(n)d.", n=_TOP),
        {(room, column): published.notes[room, ""] for room in hidden for column in columns},
    )


def _verdicts(rows: Sequence[IncidentRow], verdicts: Sequence[str]) -> tuple[float, ...]:
    counts = Counter(row.verdict for row in rows)
    return (float(len(rows)), *(float(counts[verdict]) for verdict in verdicts))


def _kinds(facts: Facts) -> Grid:
    return Grid(
        "kinds",
        _("Kinds of incident"),
        "kind",
        _columns(
            *("incidents", "confirmed", "false_alarms", "nothing_found", "fixed", "unknown"),
            *("withdrawn", "suppressed", "nobody_responded"),
        ),
        tuple(
            (
                kind,
                (
                    *_verdicts(rows, (CONFIRMED, FALSE, NOTHING, FIXED, "")),
                    float(sum(row.withdrawn for row in rows)),
                    float(sum(bool(row.suppressed_by) for row in rows)),
                    float(sum(row.state is State.NOBODY_RESPONDED for row in rows)),
                ),
            )
            for kind, rows in grouped(facts.chosen.incidents, lambda row: row.kind).items()
        ),
    )


def _device_alarms(facts: Facts) -> Grid:
    """Compare alarms of devices with what was detected here, in the rooms of each model.

    The row of a model that hangs in one room is hidden if the room's total is.
    """
    columns = (
        *("alarms", "alarms_confirmed", "alarms_false", "both", "both_confirmed"),
        *("only_here", "only_here_confirmed", "only_here_false"),
    )
    rows: list[tuple[str, tuple[float | None, ...]]] = []
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
            rows.append((model, (None,) * len(columns)))
            notes |= dict.fromkeys(((model, column) for column in columns), WITHHELD)
            continue
        counts = (
            *_verdicts(alarms, (CONFIRMED, FALSE)),
            *_verdicts(both, (CONFIRMED,)),
            *_verdicts(here, (CONFIRMED, FALSE)),
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
    return Grid(
        "device_alarms",
        _("Alarms of devices, and what was detected here in the same rooms"),
        "device",
        _columns(*columns),
        tuple(rows),
        " ".join(about),
        notes,
    )


def _response(facts: Facts, by: str, parts: Mapping[str, Sequence[IncidentRow]]) -> Grid:
    found = []
    for name in facts.calendar.in_order(parts):
        response = kpis.response(parts[name], facts.now)
        acknowledge = response.acknowledge
        values = (
            float(acknowledge.notified),
            float(acknowledge.unacknowledged),
            acknowledge.within_5_min.part,
            acknowledge.acknowledged.median_s,
            acknowledge.acknowledged.p90_s,
            acknowledge.median_all_s,
            response.arrive.median_s,
        )
        found.append((name, values))
    return Grid(
        f"response_by_{by}",
        _("Acknowledgement and arrival by shift")
        if by == "shift"
        else _("Acknowledgement and arrival by period"),
        by,
        (
            *_columns("notified", "unacknowledged", "within_5_min"),
            *((name, "s") for name in ("median", "p90", "median_all", "median_arrival")),
        ),
        tuple(found),
        _("Times are over the acknowledged; median all ranks the unacknowledged last.")
        + (" " + _("The shift is that of the person notified first.") if by == "shift" else ""),
    )


def _around(facts: Facts, intervention: date) -> tuple[list[int], dict[str, list[int]]]:
    """Return whole school days before and from a date on, and the incidents of rooms in them."""
    days = {*facts.whole_days()}
    length = [sum(day < intervention for day in days), sum(day >= intervention for day in days)]
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in facts.air:
        day = facts.calendar_of(row).local(row.opened_at).date()
        if day in days:
            counts[facts.room_names[row.room_id]][day >= intervention] += 1
    return length, counts


def _moved_to(facts: Facts, intervention: date) -> tuple[str, ...]:
    """Return the rooms that rose, most first, of those whose total is published.

    Without a number: a room to which incidents moved had few before, which would be revealed.
    """
    length, counts = _around(facts, intervention)
    totals = facts.published.totals
    if not all(length):
        return ()
    change = {room: n[1] / length[1] - n[0] / length[0] for room, n in counts.items()}
    rose = [room for room in change if change[room] > 0 and totals[room] is not None]
    return tuple(sorted(rose, key=lambda room: (-change[room], room)))


def _displacement(facts: Facts, intervention: date) -> Grid:
    """Compare each room before and after a date, to see whether incidents moved to others.

    Rooms with fewer than `LEAST` on either side are one row, so that none reveals a small count.
    """
    length, counts = _around(facts, intervention)
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
        return float(n[0]), float(n[1]), before, after, change

    rows = [(room, moved(n)) for room, n in found.items()]
    return Grid(
        "displacement",
        _(
            "Where vaping and smoke were before and from %(day)s on",
            day=date_text(intervention, "date"),
        ),
        "room",
        (
            *_columns("before", "after"),
            *((f"{name}_per_day", "1/day") for name in ("before", "after", "change")),
        ),
        tuple(sorted(rows, key=lambda item: (-(item[1][4] or 0.0), item[0]))),
        _(
            "Of whole school days. Rooms with fewer than %(least)d before or after are one row.",
            least=LEAST,
        ),
    )


def _load(facts: Facts) -> Grid:
    chosen = facts.chosen
    found = []
    for role in sorted({*facts.roles.values(), *(notice.role for notice in chosen.notices)}):
        notices = [notice for notice in chosen.notices if notice.role == role]
        duty = [span for span in facts.duty if facts.roles.get(span.person, "left") == role]
        load = kpis.load(chosen.incidents, notices, duty, facts.recorded_from)
        if notices or duty:
            values = (
                float(load.notices),
                float(load.undelivered),
                load.per_duty_hour.whole,
                load.per_duty_hour.value,
                float(load.budget.over),
                float(load.budget.worst),
            )
            found.append((role, values))
    return Grid(
        "notices_by_role",
        _("Notices by role"),
        "role",
        (
            *_columns("delivered", "undelivered"),
            ("person_hours_on_duty", "h"),
            ("per_person_hour", "1/h"),
            *_columns("hours_over_12", "worst_hour"),
        ),
        tuple(found),
        _("Nobody can act on more than 12 notices an hour; 30 are a flood."),
    )


def _sensors(facts: Facts) -> Grid:
    days = defaultdict(list)
    for day in facts.chosen.sensor_days:
        days[day.sensor].append(day)
    found = []
    for sensor, own in days.items():
        time = kpis.sensor_time(own)
        room = facts.registry.room_of(sensor)
        name = f"{sensor} ({facts.room_names[room.id]})" if room else sensor
        found.append((name, (time.availability.value, time.completeness.value, time.online_days)))
    found.sort(key=lambda item: (1.0 if item[1][0] is None else item[1][0], item[0]))
    return Grid(
        "sensors",
        _("Sensors with lowest availability"),
        "sensor",
        (("availability", "share"), ("completeness", "share"), ("online_days", "days")),
        tuple(found[:_TOP]),
        _("At most %(n)d; the report of sensors has all.", n=_TOP),
    )


def _drawings(grids: dict[str, Grid], change: BeforeAfter | None) -> dict[str, Drawing]:
    rooms, periods = grids["rooms"], grids["period_by_room"]
    over_time = grids.get("days", grids["weeks"])
    found = {
        over_time.key: _stacked(over_time),
        "hour_by_weekday": _heat(grids["hour_by_weekday"]),
        "period_by_room": _heat(periods._replace(rows=periods.rows[:_DRAWN])),
        "rooms": charts.bars(
            rooms.title,
            [words_of(name) for name, _values in rooms.rows],
            [rooms.cell(name, "incidents", values[0]) for name, values in rooms.rows],
        ),
    }
    if change is not None and change.change and change.low and change.high:
        found["change"] = charts.change(
            _("After as a multiple of before"), change.change, change.low, change.high
        )
    return found


def _stacked(grid: Grid) -> Drawing:
    """Draw incidents by day or week above the day of the month or the number of school days."""
    school_days = [values[0] or 0.0 for _name, values in grid.rows]
    if grid.key == "weeks":
        labels = [
            date_text(date.fromisoformat(f"{name}-1"), "month and day")
            for name, _values in grid.rows
        ]
        notes = [f"{n:.0f} d" for n in school_days]
    else:
        days = [date.fromisoformat(name) for name, _values in grid.rows]
        labels = [date_text(day, "weekday")[: 3 if len(days) <= _TOP else 2] for day in days]
        notes = [f"{day.day}" if n else "—" for day, n in zip(days, school_days, strict=True)]
    parts = [
        (name, [int(values[k] or 0) for _name, values in grid.rows])
        for k, name in enumerate((_("vaping"), _("smoke"), _("other")), start=1)
    ]
    return charts.stacked(grid.title, labels, notes, parts)


def _heat(grid: Grid) -> Drawing:
    names = [name for name, _unit in grid.columns]
    counts = [
        [grid.cell(row, column, n) for column, n in zip(names, values, strict=True)]
        for row, values in grid.rows
    ]
    rows, columns = ([words_of(name) for name, _rest in part] for part in (grid.rows, grid.columns))
    return charts.heat_map(grid.title, rows, columns, counts)
