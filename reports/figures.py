"""Tables that reports, staff page and dashboards share: key figures, and guidelines of air.

`reports.kpis` computes key figures from rows, Grafana those of `IN_SERIES` from records of the time
series; a contract test compares both over one data set. Guidelines are published values for
exposure over a day or longer, or for ventilation; none of them is a limit for vaping, and
quantities without a published value have no bands.

Sources
-------
WHO global air quality guidelines (2021): PM2.5 15 µg/m³ over 24 hours. US EPA, National Ambient
Air Quality Standards: PM2.5 35 µg/m³ over 24 hours. Umweltbundesamt, Innenraumlufthygiene-
Kommission: CO2 below 1,000 ppm harmless, above 2,000 ppm unacceptable (2008); TVOC 1, 3 and
10 mg/m³ (2007). US EPA, The Inside Story: relative humidity between 30 and 60 %.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from language.messages import gettext, mark
from reports import kpis
from reports.kpis import Acknowledgment, BeforeAfter, Rate, Times
from reports.school import days_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from reports.facts import Facts
    from reports.kpis import Response

    Value = float | Rate | Times | Acknowledgment | BeforeAfter


class Select(NamedTuple):
    """InfluxQL over one measurement: what to select, and a condition on its fields."""

    measurement: str
    expression: str
    where: str = ""


class KeyFigure(NamedTuple):
    """One key figure; `path` is its attribute in a part of `reports.kpis.Kpis`.

    The unit ``"share"`` is a ratio of counts from 0 to 1, which has an interval; ``"measured"`` is
    one of times or readings, which has none.
    """

    key: str
    label: str
    path: str
    unit: str = ""


class Figure(NamedTuple):
    """A computed figure: its main value first; ``"period_before"`` is that of the period before."""

    key: str
    label: str
    unit: str
    values: dict[str, float | None]

    @property
    def main(self) -> float | None:
        """The value to show first."""
        return self.values["median" if "median" in self.values else "value"]


_TABLES: Final[dict[str, dict[str, list[Any]]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
OUTCOME, RESPONSE, LOAD, SENSORS = (
    tuple(KeyFigure(key, *entry) for key, entry in _TABLES[part].items())
    for part in ("outcome", "response", "load", "sensors")
)
INCIDENTS: Final = KeyFigure("incidents", mark("Incidents"), "incidents")
_DETECTION: Final = KeyFigure("detection_rate", mark("Staged tests detected"), "", "share")

IN_SERIES: Final = {
    key: tuple(Select(*select) for select in selects) for key, selects in _TABLES["series"].items()
}
"""The same figures over the time series, by key; of two answers, the first by the second."""


def figures(facts: Facts, intervention: BeforeAfter | None = None) -> Iterator[Figure]:
    """Yield all key figures, with those of the period before if that is on record."""
    if facts.before is None:
        yield from _figures(facts, intervention)
        return
    before = {figure.key: figure.main for figure in _figures(facts.before)}
    for figure in _figures(facts, intervention):
        if before.get(figure.key) is not None:
            figure.values["period_before"] = before[figure.key]
        yield figure
    yield _computed(
        KeyFigure(
            "change_from_before",
            mark("Vaping and smoke per school day, as a multiple of the period before"),
            "",
        ),
        kpis.before_after(_daily(facts.before), _daily(facts)),
    )


def change_at(facts: Facts, day: date) -> BeforeAfter:
    """Compare the whole school days before a day with those from it on."""
    counts = dict(zip(facts.whole_days(), _daily(facts), strict=True))
    return kpis.before_after(
        [n for each, n in counts.items() if each < day],
        [n for each, n in counts.items() if each >= day],
    )


def response_times(response: Response) -> Iterator[Figure]:
    """Yield the figures of `RESPONSE` that are times."""
    return (figure for figure in computed(RESPONSE, response) if "median" in figure.values)


def _daily(facts: Facts) -> list[int]:
    counts = Counter(facts.calendar_of(row).local(row.opened_at).date() for row in facts.air)
    return [counts[day] for day in facts.whole_days()]


def _figures(facts: Facts, intervention: BeforeAfter | None = None) -> Iterator[Figure]:
    found = facts.kpis
    days = days_of(facts.start, facts.end, facts.calendar.zone)
    counts = (
        ("school_days", mark("School days on record"), len(facts.school_days & {*days})),
        ("incidents", INCIDENTS.label, found.outcome.incidents),
        ("incidents_air", mark("Vaping and smoke"), len(facts.air)),
        ("tests_left_out", mark("Tests, not counted"), found.tests),
        ("off_days_left_out", mark("On days without school, not counted"), found.off_days),
        ("off_record_left_out", mark("On days not on record, not counted"), found.off_record),
    )
    for key, label, count in counts:
        yield _computed(KeyFigure(key, label, ""), count)
    yield from computed(OUTCOME, found.outcome)
    yield from computed(RESPONSE, found.response)
    yield from computed(LOAD, found.load)
    yield from computed(SENSORS, found.sensors)
    if facts.staged:
        yield _computed(_DETECTION, kpis.detection_rate(facts.staged, facts.incidents))
    if intervention is not None:
        label = mark("Vaping and smoke per school day, after as a multiple of before")
        yield _computed(KeyFigure("change", label, ""), intervention)


def computed(table: Iterable[KeyFigure], part: object) -> Iterator[Figure]:
    """Yield the figures of a table from their part of `reports.kpis.Kpis`."""
    return (_computed(figure, attrgetter(figure.path)(part)) for figure in table)


def _computed(figure: KeyFigure, value: Value) -> Figure:
    unit = "share" if figure.unit == "measured" else figure.unit
    values = _values(value)
    if isinstance(value, Rate) and figure.unit == "share":
        values["low"], values["high"] = value.interval() or (None, None)
    return Figure(figure.key, gettext(figure.label), unit, values)


def _values(value: Value) -> dict[str, float | None]:
    if isinstance(value, Rate):
        return {"value": value.value, "part": value.part, "of": value.whole}
    if isinstance(value, Times):
        n = float(value.n)
        return {"median": value.median_s, "p90": value.p90_s, "mean": value.mean_s, "n": n}
    if isinstance(value, Acknowledgment):
        return {
            **_values(value.acknowledged),
            "notified": float(value.notified),
            "unacknowledged": float(value.unacknowledged),
            "median_all": value.median_all_s,
            "p90_all": value.p90_all_s,
        }
    if isinstance(value, BeforeAfter):
        return {
            "value": value.change,
            "low": value.low,
            "high": value.high,
            "before": value.before.value,
            "before_count": value.before.part,
            "before_days": value.before.whole,
            "after": value.after.value,
            "after_count": value.after.part,
            "after_days": value.after.whole,
            "dispersion": value.dispersion,
        }
    return {"value": float(value)}


@dataclass(frozen=True, slots=True)
class Band:
    """What a value from `start` on means; `severity` is from 0, as it should be, to 3, bad."""

    start: int
    severity: int
    words: str = ""


@dataclass(frozen=True, slots=True)
class Guideline:
    """Bands of one quantity, ascending from 0, for averages over `over_s` seconds, if not 0."""

    quantity: str
    bands: tuple[Band, ...]
    basis: str
    over_s: float = 0.0

    def band(self, value: float) -> Band:
        """Band in which a value is.

        >>> PM25_DAY.band(20.0).words, HUMIDITY.band(12.0).words, CO2.band(999.0).severity
        ("above WHO's guideline", 'dry', 0)
        """
        return [self.bands[0], *(band for band in self.bands if band.start <= value)][-1]


DAY_S: Final = 86_400.0
COVERAGE: Final = 0.75
"""Least share of the quarter hours of a day with readings for a mean of the day."""

GUIDELINES: Final = msgspec.toml.decode(
    Path(__file__).with_name("guidelines.toml").read_bytes(),
    type=dict[str, tuple[Guideline, ...]],
)["guideline"]
PM25_DAY, CO2, TVOC, HUMIDITY = GUIDELINES
