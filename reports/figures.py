"""Key figures and air quality guidelines, shared by reports, the staff page and dashboards.

`reports.kpis` computes key figures from rows. Grafana computes the figures in `IN_SERIES` from
records of the time series. A contract test compares both on the same data. Guidelines are published
values for exposure over a day or longer, or for ventilation. None of them is a limit for vaping.
Quantities without a published value have no bands.

Sources
-------
WHO global air quality guidelines (2021): PM2.5 15 µg/m³ over 24 hours. US EPA, National Ambient
Air Quality Standards: PM2.5 35 µg/m³ over 24 hours. Umweltbundesamt, Innenraumlufthygiene-
Kommission: CO2 below 1,000 ppm harmless, above 2,000 ppm unacceptable (2008); TVOC 1, 3 and
10 mg/m³ (2007). US EPA, The Inside Story: relative humidity between 30% and 60%.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from language.messages import gettext, mark
from reports import kpis
from reports.kpis import MIN_INCIDENTS, Acknowledgment, BeforeAfter, Rate, Times
from reports.rows import CONFIRMED, FALSE, FIXED, HEALTH, NOTHING
from reports.school import list_days

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reports.facts import Facts

    Value = float | Rate | Times | Acknowledgment | BeforeAfter


class Select(NamedTuple):
    """One InfluxQL query: the measurement, what to select from it, and a condition on its fields.

    `least` is an expression and its minimum. If its value is lower, there is no figure.
    """

    measurement: str
    expression: str
    where: str = ""
    least: tuple[str, float] | None = None


class KeyFigure(NamedTuple):
    """One key figure; `path` is its attribute in a part of `reports.kpis.Kpis`.

    The unit ``"share"`` is a ratio from 0 to 1.
    """

    key: str
    label: str
    path: str
    unit: str = ""


class Figure(NamedTuple):
    """A computed figure, with its values in this and other periods.

    The key ``"period_before"`` has the value in the previous period, and ``"year_before"`` the
    value in the same period a year earlier.
    """

    key: str
    label: str
    unit: str
    values: dict[str, float | None]

    @property
    def main(self) -> float | None:
        """The value to show first."""
        return self.values["median" if "median" in self.values else "value"]


OUTCOME: Final = (
    KeyFigure("alerts", "Alerts", "alerts"),
    KeyFigure("confirmed", "Confirmed", "confirmed"),
    KeyFigure("false_alarms", "False alarms", "false"),
    KeyFigure("nothing_found", "Nothing found", "nothing_found"),
    KeyFigure("fixed", "Sensors fixed", "fixed"),
    KeyFigure("not_answered", "Not answered", "unknown"),
    KeyFigure("suppressed", "Suppressed", "suppressed"),
    KeyFigure("nobody_responded", "Nobody responded", "nobody_responded", "share"),
    KeyFigure("confirmed_rate", "Confirmed vs. false alarms", "confirmed_rate", "share"),
    KeyFigure("feedback_rate", "Answered by staff, out of all", "feedback_rate", "share"),
    KeyFigure(
        "false_alarms_per_sensor_week",
        "False alarms per sensor-week online",
        "false_per_sensor_week",
        "1/week",
    ),
)
RESPONSE: Final = (
    KeyFigure("time_to_detect", "From first evidence to incident", "detect", "s"),
    KeyFigure("time_to_notify", "From incident to first notice", "notify", "s"),
    KeyFigure("time_to_acknowledge", "From first notice to response", "acknowledge", "s"),
    KeyFigure(
        "responded_in_5_min", "Responded to within 5 minutes", "acknowledge.within_5_min", "share"
    ),
    KeyFigure("time_to_arrive", "From first notice to arrival", "arrive", "s"),
    KeyFigure("time_to_resolve", "From incident to resolution", "resolve", "s"),
    KeyFigure("escalated", "Escalated to the second step", "escalated", "share"),
)
LOAD: Final = (
    KeyFigure("notices", "Notices delivered", "notices"),
    KeyFigure("notices_per_duty_hour", "Notices per person-hour on duty", "per_duty_hour", "1/h"),
    KeyFigure("duplicates", "Repeated notices per incident", "duplicates"),
)
SENSORS: Final = (
    KeyFigure("sensors", "Sensors", "sensors"),
    KeyFigure("availability", "Sensor-hours online / expected", "availability", "share"),
    KeyFigure("completeness", "Readings received / expected", "completeness", "share"),
    KeyFigure("offline_detect", "From last reading to offline incident", "offline_detect", "s"),
)
INCIDENTS: Final = KeyFigure("incidents", "Incidents", "incidents")

_OF_AIR: Final = " AND ".join(f"\"kind\" <> '{kind}'" for kind in HEALTH)
_NEEDED: Final = f'"open" = 0 AND "suppressed" = 0 AND {_OF_AIR}'
_NO_ANSWER: Final = " AND ".join(
    f'"{field}" = 0'
    for field in ("acknowledged", "confirmed", "false_alarm", "nothing_found", "fixed")
)
_WEEKS: Final = 'sum("online_s") / 604800'
_COUNT: Final = 'count("confidence")'
_ANSWERED: Final = " + ".join(f'sum("{verdict}")' for verdict in (CONFIRMED, FALSE, NOTHING, FIXED))
_JUDGED: Final = f'sum("{CONFIRMED}") + sum("{FALSE}")'
IN_SERIES: Final = {
    "incidents": (Select("incident", _COUNT),),
    "confirmed_rate": (
        Select("incident", f'sum("{CONFIRMED}") / ({_JUDGED})', least=(_JUDGED, MIN_INCIDENTS)),
    ),
    "feedback_rate": (
        Select("incident", f"({_ANSWERED}) / {_COUNT}", least=(_COUNT, MIN_INCIDENTS)),
    ),
    "false_alarms_per_sensor_week": (
        Select("incident", f'sum("{FALSE}")', least=(_COUNT, MIN_INCIDENTS)),
        Select("sensor_health", _WEEKS, least=(_WEEKS, 1)),
    ),
    "nobody_responded": (
        Select("incident", _COUNT, f"{_NEEDED} AND {_NO_ANSWER}"),
        Select("incident", _COUNT, _NEEDED, (_COUNT, MIN_INCIDENTS)),
    ),
    "time_to_detect": (Select("incident", 'median("detected_s")', _OF_AIR),),
    "time_to_notify": (Select("incident", 'median("notified_s")'),),
    "time_to_acknowledge": (Select("incident", 'median("acknowledged_s")'),),
    "time_to_arrive": (Select("incident", 'median("arrived_s")'),),
}
"""Queries for the same figures, by key. A figure with two queries is their quotient."""


def compute_figures(facts: Facts) -> Iterator[Figure]:
    """Yield all key figures, with their values in earlier periods that are on record."""
    earlier = {
        name: {figure.key: figure.main for figure in _compute_own(one)}
        for name, one in (("period_before", facts.before), ("year_before", facts.year_before))
        if one is not None
    }
    for figure in _compute_own(facts):
        for name, values in earlier.items():
            if values.get(figure.key) is not None:
                figure.values[name] = values[figure.key]
        yield figure
    if facts.before is None:
        return
    daily = (
        Rate(sum(each), len(each)) for each in (_count_by_day(facts.before), _count_by_day(facts))
    )
    label = mark("Vaping and smoke per school day")
    yield _compute_one(KeyFigure("per_school_day", label, ""), kpis.BeforeAfter(*daily))


def _count_by_day(facts: Facts) -> list[int]:
    air = filter(facts.is_school_day, facts.air)
    counts = Counter(facts.find_calendar(row).to_local(row.opened_at).date() for row in air)
    return [counts[day] for day in facts.list_whole_days()]


def _compute_own(facts: Facts) -> Iterator[Figure]:
    found = facts.kpis
    days = list_days(facts.start, facts.end, facts.calendar.zone)
    on_record = len(facts.school_days & {*days})
    counts = (
        ("school_days", mark("School days with records, full or partial"), on_record),
        ("incidents", INCIDENTS.label, found.outcome.incidents),
        ("incidents_air", mark("Vaping and smoke"), len(facts.air)),
        ("possible", mark("Possible vaping, not counted as alerts"), found.possible),
        ("tests_left_out", mark("Tests, not counted"), found.tests),
    )
    for key, label, count in counts:
        yield _compute_one(KeyFigure(key, label, ""), count)
    yield from compute_table(OUTCOME, found.outcome)
    yield from compute_table(RESPONSE, found.response)
    yield from compute_table(LOAD, found.load)
    yield from compute_table(SENSORS, found.sensors)


def compute_table(table: Iterable[KeyFigure], part: object) -> Iterator[Figure]:
    """Yield the figures of a table from its part of `reports.kpis.Kpis`."""
    return (_compute_one(figure, attrgetter(figure.path)(part)) for figure in table)


def _compute_one(figure: KeyFigure, value: Value) -> Figure:
    return Figure(figure.key, gettext(figure.label), figure.unit, _list_values(value))


def _list_values(value: Value) -> dict[str, float | None]:
    if isinstance(value, Rate):
        return {"value": value.value, "part": value.part, "of": value.whole}
    if isinstance(value, Times):
        n = float(value.n)
        return {"median": value.median_s, "p90": value.p90_s, "mean": value.mean_s, "n": n}
    if isinstance(value, Acknowledgment):
        return {
            **_list_values(value.acknowledged),
            "notified": float(value.notified),
            "unacknowledged": float(value.unacknowledged),
        }
    if isinstance(value, BeforeAfter):
        return {
            "value": value.after.value,
            "count": value.after.part,
            "days": value.after.whole,
            "period_before": value.before.value,
            "count_before": value.before.part,
            "days_before": value.before.whole,
            "is_clear": float(value.is_clear),
        }
    return {"value": float(value)}


@dataclass(frozen=True, slots=True)
class Band:
    """Meaning of values of `start` or higher; `severity` is 0 (good) to 3 (bad)."""

    start: int
    severity: int
    words: str = ""


@dataclass(frozen=True, slots=True)
class Guideline:
    """Bands of one quantity, ascending from 0, for averages over a day."""

    quantity: str
    bands: tuple[Band, ...]
    basis: str

    def find_band(self, value: float) -> Band:
        """Return the band that contains a value.

        >>> PM25_DAY.find_band(20.0).words, HUMIDITY.find_band(12.0).words
        ("above WHO's guideline", 'dry')
        """
        return [self.bands[0], *(band for band in self.bands if band.start <= value)][-1]


DAY_S: Final = 86_400.0
COVERAGE: Final = 0.75
"""A daily mean needs readings in at least this share of the day's quarter hours."""

PM25_DAY: Final = Guideline(
    "pm25",
    (
        Band(0, 0),
        Band(15, 1, mark("above WHO's guideline")),
        Band(35, 2, mark("above the US standard")),
    ),
    mark("Daily average: WHO guideline 15 µg/m³, US standard 35 µg/m³."),
)
CO2: Final = Guideline(
    "co2",
    (Band(0, 0), Band(1000, 1, mark("stale")), Band(2000, 2, mark("unacceptable"))),
    mark("German Environment Agency: harmless below 1,000 ppm, unacceptable above 2,000 ppm."),
)
TVOC: Final = Guideline(
    "tvoc_ugm3",
    (
        Band(0, 0),
        Band(1000, 1, mark("noticeable")),
        Band(3000, 2, mark("objectionable")),
        Band(10000, 3, mark("unacceptable")),
    ),
    mark(
        "German Environment Agency: noticeable from 1 mg/m³, objectionable from 3, unacceptable"
        " from 10 mg/m³."
    ),
)
HUMIDITY: Final = Guideline(
    "rh",
    (Band(0, 1, mark("dry")), Band(30, 0), Band(60, 1, mark("damp"))),
    mark("US EPA: between 30 and 60 percent; mold grows where it stays higher."),
)
GUIDELINES: Final = (PM25_DAY, CO2, TVOC, HUMIDITY)
