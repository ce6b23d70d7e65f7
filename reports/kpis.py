"""Compute all key figures of alerting from `reports.rows`.

Incidents on all days count, except tests and possible vaping. Figures per school day or per hour on
duty count only incidents on school days. Every figure comes with its basis, the count that it is
computed from. A share of fewer than `MIN_INCIDENTS` incidents is None, never 0. So is the rate of
false alarms if there are fewer incidents, or if sensors were online for less than a week in total.
Incidents that nobody acknowledged have no time to acknowledgment; they are counted separately.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reports.rows import CONFIRMED, FALSE, FIXED, HEALTH, NOTHING, POSSIBLE, TEST, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reports.rows import DutySpan, IncidentRow, NoticeRow, SensorDay

ACKNOWLEDGED_WITHIN_S: Final = 300.0
MIN_INCIDENTS: Final = 5
"""Minimum number of incidents for a share, or for the rate of false alarms."""
WEEK_DAYS: Final = 7.0
"""Minimum days online, over all sensors, for the rate of false alarms."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A ratio with its basis."""

    part: float
    whole: float
    is_enough: bool = field(default=True, compare=False)

    @property
    def value(self) -> float | None:
        """The ratio; None if there is too little data or the whole is 0."""
        return self.part / self.whole if self.whole and self.is_enough else None


def make_share(part: float, whole: float) -> Rate:
    """Return a share of incidents; its value is None if there are fewer than `MIN_INCIDENTS`."""
    return Rate(part, whole, whole >= MIN_INCIDENTS)


@dataclass(frozen=True, slots=True)
class Times:
    """Summary of durations, in seconds; its values are None if there are no durations."""

    n: int
    mean_s: float | None
    median_s: float | None
    p90_s: float | None


def compute_quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return a quantile of ascending values, interpolated linearly (Hyndman and Fan, type 7).

    Return None if there are no values.

    >>> compute_quantile([10.0, 20.0, 40.0], 0.5), compute_quantile([10.0, 20.0, 40.0], 0.9)
    (20.0, 36.0)
    """
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def summarize_times(spans: Iterable[float]) -> Times:
    """Summarize durations, seconds."""
    ordered = sorted(spans)
    mean = math.fsum(ordered) / len(ordered) if ordered else None
    return Times(len(ordered), mean, compute_quantile(ordered, 0.5), compute_quantile(ordered, 0.9))


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The rows that figures count, and how many tests and possible-vaping rows were left out."""

    incidents: tuple[IncidentRow, ...]
    notices: tuple[NoticeRow, ...]
    sensor_days: tuple[SensorDay, ...] = ()
    tests: int = 0
    possible: int = 0


def select_counted(
    incidents: Sequence[IncidentRow], notices: Iterable[NoticeRow], sensor_days: Iterable[SensorDay]
) -> CountedRows:
    """Leave out tests and possible vaping."""
    real = [row for row in incidents if row.verdict != TEST]
    counted = tuple(row for row in real if row.kind != POSSIBLE)
    ids = {row.id for row in counted}
    return CountedRows(
        counted,
        tuple(n for n in notices if n.incident in ids),
        tuple(sensor_days),
        len(incidents) - len(real),
        len(real) - len(counted),
    )


@dataclass(frozen=True, slots=True)
class Acknowledgment:
    """Time from the first notice delivered to the first acknowledgment.

    The time is 0 if someone acknowledged on the page before the notice arrived. `notified` excludes
    unacknowledged incidents that are still escalating. Of the notified incidents, `quick` were
    acknowledged within 5 minutes. `within_5_min` is a share that excludes incidents about devices,
    but includes incidents that are still escalating after more than 5 minutes.
    """

    acknowledged: Times
    notified: int
    quick: int
    within_5_min: Rate

    @property
    def unacknowledged(self) -> int:
        """Number of notified incidents that nobody acknowledged."""
        return self.notified - self.acknowledged.n


@dataclass(frozen=True, slots=True)
class Response:
    """Response times.

    `detect` excludes incidents about devices. `arrive` is measured from the first notice delivered,
    `resolve` from the opening. `escalated` incidents reached escalation step 2.
    """

    detect: Times
    notify: Times
    acknowledge: Acknowledgment
    arrive: Times
    resolve: Times
    escalated: Rate


def compute_response(incidents: Sequence[IncidentRow], now: float = math.inf) -> Response:
    """Compute response times; see `Acknowledgment` for incidents still escalating at `now`."""
    notified = [(row, row.notified_at) for row in incidents if row.notified_at is not None]
    due = [(row, at) for row, at in notified if not _is_escalating(row, now)]
    waits = [
        (row.kind, max(0.0, row.acknowledged_at - at))
        for row, at in due
        if row.acknowledged_at is not None
    ]
    quick = [kind for kind, wait in waits if wait <= ACKNOWLEDGED_WITHIN_S]
    return Response(
        detect=summarize_times(
            row.opened_at - row.first_evidence_at for row in incidents if row.kind not in HEALTH
        ),
        notify=summarize_times(at - row.opened_at for row, at in notified),
        acknowledge=Acknowledgment(
            acknowledged=summarize_times(wait for _kind, wait in waits),
            notified=len(due),
            quick=len(quick),
            within_5_min=make_share(
                sum(kind not in HEALTH for kind in quick),
                sum(
                    row.kind not in HEALTH
                    for row, at in notified
                    if now - at > ACKNOWLEDGED_WITHIN_S or not _is_escalating(row, now)
                ),
            ),
        ),
        arrive=summarize_times(
            row.arrived_at - at for row, at in notified if row.arrived_at is not None
        ),
        resolve=summarize_times(
            r.closed_at - r.opened_at for r in incidents if r.closed_at is not None
        ),
        escalated=make_share(sum(row.level >= 2 for row in incidents), len(incidents)),
    )


def _is_escalating(row: IncidentRow, now: float) -> bool:
    """Return whether an incident is unacknowledged and its escalation continues."""
    waits = row.acknowledged_at is None and row.closed_at is None
    return waits and row.chain_end_at is not None and row.chain_end_at > now


@dataclass(frozen=True, slots=True)
class Outcome:
    """Staff verdicts.

    `confirmed`, `false`, `nothing_found`, `fixed` and `unknown` add up to `incidents`. `alerts`
    excludes incidents about devices. `nobody_responded` is the share of ended incidents without any
    response; it excludes suppressed incidents and incidents about devices.
    """

    incidents: int
    alerts: int
    confirmed: int
    false: int
    nothing_found: int
    fixed: int
    unknown: int
    confirmed_rate: Rate
    feedback_rate: Rate
    suppressed: int
    causes: Mapping[str, int]
    false_per_sensor_week: Rate
    nobody_responded: Rate


def count_outcomes(incidents: Sequence[IncidentRow], sensor_days: Iterable[SensorDay]) -> Outcome:
    """Count verdicts, and false alarms over the time that sensors were online."""
    verdicts = Counter(row.verdict for row in incidents)
    confirmed, false, nothing = verdicts[CONFIRMED], verdicts[FALSE], verdicts[NOTHING]
    unknown = len(incidents) - confirmed - false - nothing - verdicts[FIXED]
    online_days = math.fsum(day.online_s for day in sensor_days) / 86_400.0
    is_enough = len(incidents) >= MIN_INCIDENTS and online_days >= WEEK_DAYS
    asked = [
        row
        for row in incidents
        if row.closed_at is not None and row.kind not in HEALTH and not row.suppressed_by
    ]
    return Outcome(
        incidents=len(incidents),
        alerts=sum(row.kind not in HEALTH for row in incidents),
        confirmed=confirmed,
        false=false,
        nothing_found=nothing,
        fixed=verdicts[FIXED],
        unknown=unknown,
        confirmed_rate=make_share(confirmed, confirmed + false),
        feedback_rate=make_share(len(incidents) - unknown, len(incidents)),
        suppressed=sum(bool(row.suppressed_by) for row in incidents),
        causes=_count_causes(incidents),
        false_per_sensor_week=Rate(WEEK_DAYS * false, online_days, is_enough),
        nobody_responded=make_share(
            sum(row.state is State.NOBODY_RESPONDED for row in asked), len(asked)
        ),
    )


def _count_causes(incidents: Sequence[IncidentRow]) -> dict[str, int]:
    causes = Counter(row.cause or "other" for row in incidents if row.verdict == FALSE)
    return dict(sorted(causes.items(), key=lambda found: (-found[1], found[0])))


@dataclass(frozen=True, slots=True)
class Load:
    """Notices delivered; `duplicates` have the person, incident and reason of an earlier one."""

    notices: int
    per_duty_hour: Rate
    duplicates: Rate


def compute_load(
    incidents: Sequence[IncidentRow],
    notices: Sequence[NoticeRow],
    duty: Iterable[DutySpan],
    recorded_from: float,
    is_school_day: Callable[[IncidentRow], bool] = lambda _row: True,
) -> Load:
    """Compute the notice load; hours on duty before `recorded_from` do not count.

    Nobody is on duty on a day without school, so notices on such a day do not count toward notices
    per duty hour.
    """
    on_duty = {row.id for row in incidents if is_school_day(row)}
    sent = [notice for notice in notices if notice.delivered_at is not None]
    once = {(notice.incident, notice.person, notice.reason) for notice in sent}
    return Load(
        notices=len(sent),
        per_duty_hour=Rate(
            sum(notice.incident in on_duty for notice in sent), sum_duty_hours(duty, recorded_from)
        ),
        duplicates=Rate(len(sent) - len(once), len(incidents)),
    )


def sum_duty_hours(duty: Iterable[DutySpan], since: float = -math.inf) -> float:
    """Add up person-hours on duty from `since` on; a person's overlapping spans count once."""
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for span in duty:
        spans[span.person].append((span.start, span.end))
    total = 0.0
    for own in spans.values():
        reached = since
        for start, end in sorted(own):
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
    return total / 3600.0


@dataclass(frozen=True, slots=True)
class SensorTime:
    """Availability of sensors; `offline_detect` is the time until an outage is reported."""

    sensors: int
    online_days: float
    availability: Rate
    completeness: Rate
    offline_detect: Times


def compute_sensor_time(
    days: Sequence[SensorDay], incidents: Iterable[IncidentRow] = ()
) -> SensorTime:
    """Compute availability, completeness, and the time until an outage is reported."""
    online = math.fsum(day.online_s for day in days)
    return SensorTime(
        sensors=len({day.sensor for day in days}),
        online_days=online / 86_400.0,
        availability=Rate(online / 3600.0, math.fsum(day.expected_s for day in days) / 3600.0),
        completeness=Rate(
            sum(day.received for day in days), math.fsum(day.expected for day in days)
        ),
        offline_detect=summarize_times(
            row.opened_at - row.first_evidence_at for row in incidents if row.kind == "offline"
        ),
    )


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """Incidents per school day in the previous period and in this one."""

    before: Rate
    after: Rate

    @property
    def is_clear(self) -> bool:
        """Whether the difference exceeds two standard errors, more than chance usually causes.

        >>> BeforeAfter(Rate(5, 5), Rate(6, 5)).is_clear
        False
        >>> BeforeAfter(Rate(40, 10), Rate(20, 10)).is_clear
        True
        """
        (m, p), (n, q) = ((rate.part, rate.whole) for rate in (self.before, self.after))
        return abs(n * p - m * q) > 2.0 * math.sqrt(n * p**2 + m * q**2)


@dataclass(frozen=True, slots=True)
class Kpis:
    """All key figures of a window."""

    tests: int
    possible: int
    outcome: Outcome
    response: Response
    load: Load
    sensors: SensorTime


def compute_kpis(
    selection: CountedRows,
    duty: Iterable[DutySpan],
    now: float = math.inf,
    recorded_from: float = -math.inf,
    is_school_day: Callable[[IncidentRow], bool] = lambda _row: True,
) -> Kpis:
    """Compute all key figures; `compute_response` and `compute_load` explain the arguments."""
    incidents, notices, days = selection.incidents, selection.notices, selection.sensor_days
    return Kpis(
        tests=selection.tests,
        possible=selection.possible,
        outcome=count_outcomes(incidents, days),
        response=compute_response(incidents, now),
        load=compute_load(incidents, notices, duty, recorded_from, is_school_day),
        sensors=compute_sensor_time(days, incidents),
    )
