"""The key figures of a summary, each with what it rests on and what it was in the period before."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from reports import kpis
from reports.school import days_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from reports.facts import Facts
    from reports.kpis import BeforeAfter, Rate, Response, Times
    from reports.rows import IncidentRow


class Figure(NamedTuple):
    """One key figure.

    Attributes
    ----------
    values : dict of str to float or None
        By measure; ``"value"`` first. ``"period_before"`` is the main one in the period before.
    """

    @property
    def main(self) -> float | None:
        """What is shown first."""
        return self.values["median" if "median" in self.values else "value"]

    key: str
    label: str
    unit: str
    values: dict[str, float | None]


def change_at(facts: Facts, day: date) -> BeforeAfter:
    """Compare the whole school days before a day with those from it on."""
    counts = dict(zip(facts.whole_days(), _daily(facts, facts.air), strict=True))
    return kpis.before_after(
        [n for each, n in counts.items() if each < day],
        [n for each, n in counts.items() if each >= day],
    )


def figures(facts: Facts, change: BeforeAfter | None = None) -> Iterable[Figure]:
    """Yield all key figures, beside those of the period before if that is on record.

    Parameters
    ----------
    change : BeforeAfter, optional
        At a day of intervention.
    """
    if facts.before is None:
        yield from _figures(facts, len(facts.air), change)
    else:
        yield from _compared(facts, facts.before, change)


def _compared(facts: Facts, before: Facts, change: BeforeAfter | None) -> Iterable[Figure]:
    """Set beside each figure what it was in the period before."""
    air, earlier = facts.air, before.air
    then = {figure.key: figure.main for figure in _figures(before, len(earlier), None)}
    for figure in _figures(facts, len(air), change):
        was = then.get(figure.key)
        more: dict[str, float | None] = {} if was is None else {"period_before": was}
        yield figure._replace(values=figure.values | more)
    found = kpis.before_after(_daily(before, earlier), _daily(facts, air))
    title = "Vaping and smoke a school day, as a multiple of the period before"
    yield _change_figure("change_from_before", title, found)


def _daily(facts: Facts, rows: Iterable[IncidentRow]) -> list[int]:
    """Count incidents on each whole school day."""
    counts = Counter(facts.calendar.local(row.opened_at).date() for row in rows)
    return [counts[day] for day in facts.whole_days()]


def _figures(facts: Facts, air: int, change: BeforeAfter | None) -> Iterable[Figure]:
    found = facts.kpis
    days = sum(
        day in facts.calendar.school_days
        for day in days_of(facts.start, facts.end, facts.calendar.zone)
    )
    outcome, response, load, sensors = found.outcome, found.response, found.load, found.sensors

    def count(key: str, label: str, value: float) -> Figure:
        return Figure(key, label, "", {"value": float(value)})

    yield count("school_days", "School days in the window", days)
    yield count("incidents", "Incidents", outcome.incidents)
    yield count("incidents_air", "Vaping and smoke", air)
    yield count("tests_left_out", "Tests left out", found.tests)
    yield count("off_days_left_out", "Left out as on days without school", found.off_days)
    yield count("confirmed", "Confirmed", outcome.confirmed)
    yield count("false_alarms", "False alarms", outcome.false)
    yield count("nothing_found", "Nothing found", outcome.nothing_found)
    yield count("unknown", "Unknown, as nobody said", outcome.unknown)
    yield count("withdrawn", "Taken back by the detector", outcome.withdrawn)
    yield count("suppressed", "Kept from being told", outcome.suppressed)
    yield _share("confirmed_rate", "Confirmed, of confirmed and false", outcome.confirmed_rate)
    yield _share("feedback_rate", "With a yes or no by staff, of all", outcome.feedback_rate)
    yield _ratio(
        "false_alarms_per_sensor_week",
        "False alarms a sensor and week online",
        "1/week",
        outcome.false_per_sensor_week,
    )
    yield from times_of_response(response)
    yield _share("escalated", "Reached the second step of escalation", response.escalated)
    yield _share("missed", "Not acknowledged before escalation ended", response.missed)
    yield count("notices", "Notices delivered", load.notices)
    yield count("notices_undelivered", "Notices not delivered", load.undelivered)
    yield _ratio(
        "notices_per_duty_hour", "Notices a person and hour on duty", "1/h", load.per_duty_hour
    )
    yield _ratio("duplicates", "Repeated notices an incident", "", load.duplicates)
    budget = load.budget
    yield count("hours_with_notices", "Hours of a person with a notice", budget.hours)
    yield count("hours_over_12", "of them with more than 12", budget.over)
    yield count("hours_of_flood", "of them with 30 or more", budget.flood)
    yield count("worst_hour", "Most notices to one person in an hour", budget.worst)
    yield count("sensors", "Sensors", sensors.sensors)
    yield _ratio(
        "availability", "Sensor-minutes online, of expected", "share", sensors.availability
    )
    yield _ratio("completeness", "Readings received, of sent", "share", sensors.completeness)
    yield _times("offline_detect", "From last word to the offline notice", sensors.offline_detect)
    if facts.staged:
        yield _share(
            "detection_rate",
            "Staged tests that were found",
            kpis.detection_rate(facts.staged, facts.incidents),
        )
    if change is not None:
        title = "Vaping and smoke a school day, after as a multiple of before"
        yield _change_figure("change", title, change)


def times_of_response(response: Response) -> Iterable[Figure]:
    """Yield how long things took, and what share was acknowledged in time."""
    acked = response.acknowledge
    yield _times("time_to_detect", "From first evidence to the incident", response.detect)
    yield _times("time_to_notify", "From incident to first notice", response.notify)
    acknowledge = _times(
        "time_to_acknowledge", "From first notice to acknowledgement", acked.acknowledged
    )
    acknowledge.values.update(
        notified=float(acked.notified),
        unacknowledged=float(acked.unacknowledged),
        median_all=acked.median_all_s,
        p90_all=acked.p90_all_s,
    )
    yield acknowledge
    yield _share("acknowledged_in_5_min", "Acknowledged in 5 minutes", acked.within_5_min)
    yield _times("time_to_arrive", "From first notice to arrival", response.arrive)
    yield _times("time_to_resolve", "From incident to its end", response.resolve)


def _change_figure(key: str, label: str, change: BeforeAfter) -> Figure:
    values = {
        "value": change.change,
        "low": change.low,
        "high": change.high,
        "before": change.before.value,
        "before_days": change.before.whole,
        "after": change.after.value,
        "after_days": change.after.whole,
        "dispersion": change.dispersion,
    }
    return Figure(key, label, "", values)


def _share(key: str, label: str, rate: Rate) -> Figure:
    low, high = rate.interval() or (None, None)
    values = {"value": rate.value, "part": rate.part, "of": rate.whole, "low": low, "high": high}
    return Figure(key, label, "share", values)


def _ratio(key: str, label: str, unit: str, rate: Rate) -> Figure:
    """Return a ratio without an interval; a share of what is measured, not sampled, has none."""
    return Figure(key, label, unit, {"value": rate.value, "part": rate.part, "of": rate.whole})


def _times(key: str, label: str, times: Times) -> Figure:
    values = {
        "median": times.median_s,
        "p90": times.p90_s,
        "mean": times.mean_s,
        "n": float(times.n),
    }
    return Figure(key, label, "s", values)
