"""Key figures of alerting, computed here and nowhere else.

Pure functions over `reports.rows`. Reports, pages and dashboards show what these return. Every
figure brings the count it rests on; a ratio without a denominator is None, never 0. Test alarms and
days without school are left out by `chosen` before anything is counted, and their number is kept.

Notices nobody acknowledged have no time to acknowledgement. They are never dropped: they are
counted beside the times, they are in the denominator of the rate within five minutes, and
`Acknowledgement.median_all_s` and `p90_all_s` rank them after every acknowledged one.

Alarms an hour and person: ANSI/ISA-18.2 counts the operator's alarms over a period against bands;
here the period is a clock hour and the bands are six, twelve and thirty.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from reports.rows import CONFIRMED, FALSE, NOTHING, TEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date, tzinfo

    from reports.rows import DutySpan, IncidentRow, NoticeRow, SensorDay, StagedTest

ACKNOWLEDGED_WITHIN_S: Final = 300.0
STAGED_S: Final = 300.0
"""Longest time from a staged test to its first evidence."""
STAGED_EARLY_S: Final = 60.0
"""How much earlier than a staged test its first evidence may be: people write whole minutes."""
FINE_PER_HOUR, CEILING_PER_HOUR, FLOOD_PER_HOUR = 6, 12, 30
_Z95: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Rate:
    """A ratio with what it rests on."""

    part: float
    whole: float

    @property
    def value(self) -> float | None:
        """The ratio; None if there is nothing to divide by."""
        return self.part / self.whole if self.whole else None

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of a share of counts (Wilson 1927, score interval).

        Examples
        --------
        >>> [round(bound, 3) for bound in Rate(8, 10).interval()]
        [0.49, 0.943]
        """
        if not self.whole:
            return None
        n, share, z2 = self.whole, self.part / self.whole, _Z95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        low = middle - half if self.part else 0.0
        return low, middle + half if self.part < self.whole else 1.0


@dataclass(frozen=True, slots=True)
class Times:
    """Spans of time in seconds: how many, mean, median and 90th percentile; None without any."""

    n: int
    mean_s: float | None
    median_s: float | None
    p90_s: float | None


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the quantile of ascending values, linear between neighbours (Hyndman & Fan type 7).

    Parameters
    ----------
    ordered : sequence of float
        Ascending; may end in infinities.
    share : float
        0 to 1.

    Returns
    -------
    float or None
        None without values, or where it falls among the infinite ones.

    Examples
    --------
    >>> quantile([10.0, 20.0, 40.0], 0.5), quantile([10.0, 20.0, 40.0], 0.9)
    (20.0, 36.0)
    >>> quantile([10.0, float("inf")], 0.5) is None
    True
    """
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    found, rest = ordered[low], place - low
    if rest and math.isfinite(found):
        found += rest * (ordered[low + 1] - found)
    return found if math.isfinite(found) else None


def times(spans: Iterable[float]) -> Times:
    """Sum up spans of time, seconds."""
    ordered = sorted(spans)
    mean = math.fsum(ordered) / len(ordered) if ordered else None
    return Times(len(ordered), mean, quantile(ordered, 0.5), quantile(ordered, 0.9))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What figures are computed over, and how much was left out.

    Attributes
    ----------
    tests, off_days : int
        Incidents left out as tests, and as opened on a day without school.
    """

    incidents: tuple[IncidentRow, ...]
    notices: tuple[NoticeRow, ...]
    sensor_days: tuple[SensorDay, ...] = ()
    tests: int = 0
    off_days: int = 0


def chosen(
    incidents: Iterable[IncidentRow],
    notices: Iterable[NoticeRow],
    sensor_days: Iterable[SensorDay],
    school_days: Collection[date] | None,
    zone: tzinfo,
) -> Chosen:
    """Leave out tests, and all that was on a day without school.

    Parameters
    ----------
    school_days : collection of date or None
        Days with school; None counts every day.
    zone : tzinfo
        The school's.
    """
    kept: list[IncidentRow] = []
    tests = off_days = 0
    for row in incidents:
        if row.verdict == TEST:
            tests += 1
        elif school_days is not None and _day(row.opened_at, zone) not in school_days:
            off_days += 1
        else:
            kept.append(row)
    ids = {row.id for row in kept}
    return Chosen(
        tuple(kept),
        tuple(n for n in notices if n.incident in ids),
        tuple(s for s in sensor_days if school_days is None or s.day in school_days),
        tests,
        off_days,
    )


def _day(moment: float, zone: tzinfo) -> date:
    return datetime.fromtimestamp(moment, zone).date()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Times from the first notice delivered to the first acknowledgement.

    Attributes
    ----------
    acknowledged : Times
        Of those acknowledged. One that was acknowledged on the page while its first notice was
        still under way counts as 0.
    notified, unacknowledged : int
        Incidents somebody was told of, and those among them nobody acknowledged.
    within_5_min : Rate
        Acknowledged within five minutes, of all notified.
    median_all_s, p90_all_s : float or None
        Over all notified, the unacknowledged ranked last; None where the quantile falls among them.
    """

    acknowledged: Times
    notified: int
    unacknowledged: int
    within_5_min: Rate
    median_all_s: float | None
    p90_all_s: float | None


@dataclass(frozen=True, slots=True)
class Response:
    """How fast things went.

    Attributes
    ----------
    detect, notify, arrive, resolve : Times
        From first evidence to opening; from opening to the first notice delivered; from that to
        the first arrival; from opening to closing.
    escalated : Rate
        Incidents that reached step 2 of their escalation or beyond, of all.
    missed : Rate
        Incidents nobody acknowledged before the last step of their escalation was due, of those
        that have one.
    """

    detect: Times
    notify: Times
    acknowledge: Acknowledgement
    arrive: Times
    resolve: Times
    escalated: Rate
    missed: Rate


def response(incidents: Sequence[IncidentRow], now: float = math.inf) -> Response:
    """Compute times of response.

    Parameters
    ----------
    incidents : sequence of IncidentRow
        From `chosen`.
    now : float
        An escalation that ends later is not judged yet, Unix seconds.
    """
    told = [(row, row.notified_at) for row in incidents if row.notified_at is not None]
    waits = [
        math.inf if row.acknowledged_at is None else max(0.0, row.acknowledged_at - at)
        for row, at in told
    ]
    waits.sort()
    acked = [wait for wait in waits if math.isfinite(wait)]
    quick = sum(wait <= ACKNOWLEDGED_WITHIN_S for wait in acked)
    ended = [(row, row.chain_end_at) for row in incidents if row.chain_end_at is not None]
    judged = [
        row.acknowledged_at is None or row.acknowledged_at > end
        for row, end in ended
        if end <= now or row.acknowledged_at is not None
    ]
    return Response(
        detect=times(row.opened_at - row.first_evidence_at for row in incidents),
        notify=times(at - row.opened_at for row, at in told),
        acknowledge=Acknowledgement(
            acknowledged=times(acked),
            notified=len(told),
            unacknowledged=len(waits) - len(acked),
            within_5_min=Rate(quick, len(told)),
            median_all_s=quantile(waits, 0.5),
            p90_all_s=quantile(waits, 0.9),
        ),
        arrive=times(row.arrived_at - at for row, at in told if row.arrived_at is not None),
        resolve=times(r.closed_at - r.opened_at for r in incidents if r.closed_at is not None),
        escalated=Rate(sum(row.level >= 2 for row in incidents), len(incidents)),
        missed=Rate(sum(judged), len(judged)),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What incidents turned out to be.

    Attributes
    ----------
    incidents, confirmed, false, nothing_found, unknown : int
        The last four sum to the first; unknown is without feedback.
    confirmed_rate : Rate
        Confirmed, of confirmed and false.
    feedback_rate : Rate
        Confirmed and false, of all.
    withdrawn, suppressed : int
        Taken back by the detector; kept from being told.
    causes : mapping of str to int
        False alarms by cause, most first.
    false_per_sensor_week : Rate
        False alarms times seven, of sensor-days online.
    """

    incidents: int
    confirmed: int
    false: int
    nothing_found: int
    unknown: int
    confirmed_rate: Rate
    feedback_rate: Rate
    withdrawn: int
    suppressed: int
    causes: Mapping[str, int]
    false_per_sensor_week: Rate


def outcome(incidents: Sequence[IncidentRow], sensor_days: Iterable[SensorDay]) -> Outcome:
    """Compute what incidents turned out to be, and false alarms for the time sensors were online.

    Parameters
    ----------
    incidents : sequence of IncidentRow
        From `chosen`.
    sensor_days : iterable of SensorDay
        Of the same days and places.
    """
    said = Counter(row.verdict for row in incidents)
    confirmed, false, nothing = said[CONFIRMED], said[FALSE], said[NOTHING]
    causes = Counter(row.cause or "other" for row in incidents if row.verdict == FALSE)
    online_days = math.fsum(day.online_s for day in sensor_days) / 86_400.0
    return Outcome(
        incidents=len(incidents),
        confirmed=confirmed,
        false=false,
        nothing_found=nothing,
        unknown=len(incidents) - confirmed - false - nothing,
        confirmed_rate=Rate(confirmed, confirmed + false),
        feedback_rate=Rate(confirmed + false, len(incidents)),
        withdrawn=sum(row.withdrawn for row in incidents),
        suppressed=sum(bool(row.suppressed_by) for row in incidents),
        causes=dict(sorted(causes.items(), key=lambda found: (-found[1], found[0]))),
        false_per_sensor_week=Rate(7.0 * false, online_days),
    )


@dataclass(frozen=True, slots=True)
class AlarmBudget:
    """Clock hours of persons by the notices that were delivered to them.

    Attributes
    ----------
    hours : int
        Hours in which a person got at least one.
    fine, busy, over, flood : int
        Hours with at most 6, more than 6 up to 12, more than 12, and among those 30 or more.
    worst : int
        Most in one hour to one person.
    """

    hours: int
    fine: int
    busy: int
    over: int
    flood: int
    worst: int


def alarm_budget(notices: Iterable[NoticeRow]) -> AlarmBudget:
    """Count delivered notices by person and clock hour (UTC) against the bands."""
    hourly = Counter(
        (notice.person, notice.delivered_at // 3600)
        for notice in notices
        if notice.delivered_at is not None
    )
    counts = hourly.values()
    return AlarmBudget(
        hours=len(hourly),
        fine=sum(n <= FINE_PER_HOUR for n in counts),
        busy=sum(FINE_PER_HOUR < n <= CEILING_PER_HOUR for n in counts),
        over=sum(n > CEILING_PER_HOUR for n in counts),
        flood=sum(n >= FLOOD_PER_HOUR for n in counts),
        worst=max(counts, default=0),
    )


@dataclass(frozen=True, slots=True)
class Load:
    """What staff were sent.

    Attributes
    ----------
    notices, undelivered : int
        Delivered, and not.
    per_duty_hour : Rate
        Delivered, of person-hours on duty.
    duplicates : Rate
        Notices delivered to a person who had one of the same incident for the same reason, of
        incidents.
    """

    notices: int
    undelivered: int
    per_duty_hour: Rate
    duplicates: Rate
    budget: AlarmBudget


def load(
    incidents: Sequence[IncidentRow],
    notices: Sequence[NoticeRow],
    duty: Iterable[DutySpan],
    recorded_from: float,
) -> Load:
    """Compute the load of notices.

    Parameters
    ----------
    incidents, notices : sequence of rows
        From `chosen`.
    duty : iterable of DutySpan
        Overlapping spans of one person count once.
    recorded_from : float
        Since when there is a record of notices, Unix seconds; hours before are not counted.
    """
    sent = [notice for notice in notices if notice.delivered_at is not None]
    once = {(notice.incident, notice.person, notice.reason) for notice in sent}
    return Load(
        notices=len(sent),
        undelivered=len(notices) - len(sent),
        per_duty_hour=Rate(len(sent), duty_hours(duty, recorded_from)),
        duplicates=Rate(len(sent) - len(once), len(incidents)),
        budget=alarm_budget(sent),
    )


def duty_hours(duty: Iterable[DutySpan], since: float = -math.inf) -> float:
    """Add up the hours of persons on duty since a moment.

    What one person has twice at once counts once.
    """
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
    """How sensors were.

    Attributes
    ----------
    sensors : int
        With at least one day.
    availability : Rate
        Minutes online, of minutes expected.
    completeness : Rate
        Readings received, of received and missing.
    offline_detect : Times
        From a sensor's last word to the incident that says so.
    """

    sensors: int
    online_days: float
    availability: Rate
    completeness: Rate
    offline_detect: Times


def sensor_time(days: Sequence[SensorDay], incidents: Iterable[IncidentRow] = ()) -> SensorTime:
    """Compute uptime and completeness.

    Parameters
    ----------
    incidents : iterable of IncidentRow
        Those of kind ``"offline"`` give the delay until an outage is seen.
    """
    online = math.fsum(day.online_s for day in days)
    received = sum(day.received for day in days)
    return SensorTime(
        sensors=len({day.sensor for day in days}),
        online_days=online / 86_400.0,
        availability=Rate(online / 60.0, math.fsum(day.expected_s for day in days) / 60.0),
        completeness=Rate(received, received + sum(day.missing for day in days)),
        offline_detect=times(
            row.opened_at - row.first_evidence_at for row in incidents if row.kind == "offline"
        ),
    )


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """Incidents a school day before and after a date, and how sure the change is.

    Attributes
    ----------
    before, after : Rate
        Incidents, of school days.
    change : float or None
        Rate after, as a multiple of the rate before.
    low, high : float or None
        95 % interval of `change`.
    dispersion : float
        Variance of the daily counts as a multiple of a Poisson's, at least 1.
    """

    before: Rate
    after: Rate
    change: float | None = None
    low: float | None = None
    high: float | None = None
    dispersion: float = field(default=1.0)


def before_after(before: Sequence[int], after: Sequence[int]) -> BeforeAfter:
    """Compare daily counts before and after an intervention.

    Quasi-Poisson (McCullagh & Nelder 1989, section 6.2): the log of the ratio of the rates is
    normal with variance ``dispersion (1 / n before + 1 / n after)``; the dispersion is Pearson's
    chi-square over both periods by its degrees of freedom. We never take it below 1, and add one
    half to both counts where one is zero. A difference is no proof of its cause.

    Parameters
    ----------
    before, after : sequence of int
        Incidents of each school day.
    """
    rates = Rate(sum(before), len(before)), Rate(sum(after), len(after))
    if not before or not after or not any((*before, *after)):
        return BeforeAfter(*rates)
    chi2 = 0.0
    for counts in (before, after):
        mean = sum(counts) / len(counts)
        chi2 += sum((n - mean) ** 2 / mean for n in counts) if mean else 0.0
    freedom = len(before) + len(after) - 2
    dispersion = max(1.0, chi2 / freedom) if freedom > 0 else 1.0
    half = 0.0 if all(rate.part for rate in rates) else 0.5
    n_before, n_after = rates[0].part + half, rates[1].part + half
    change = (n_after / len(after)) / (n_before / len(before))
    spread = math.exp(_Z95 * math.sqrt(dispersion * (1 / n_before + 1 / n_after)))
    return BeforeAfter(*rates, change, change / spread, change * spread, dispersion)


def detection_rate(tests: Iterable[StagedTest], incidents: Iterable[IncidentRow]) -> Rate:
    """Staged tests that were found, of all: the only way to know what is missed.

    Found is an incident of vaping in the room whose first evidence is from `STAGED_EARLY_S` before
    the test to `STAGED_S` after it, tests and days without school included. One incident finds one
    test.

    Parameters
    ----------
    incidents : iterable of IncidentRow
        Of the same time.
    """
    vaping: defaultdict[str, list[float]] = defaultdict(list)
    for row in incidents:
        if row.kind == "vape":
            vaping[row.room_id].append(row.first_evidence_at)
    found = total = 0
    for test in sorted(tests, key=lambda each: each.at):
        total += 1
        near = [at for at in vaping[test.room_id] if -STAGED_EARLY_S <= at - test.at <= STAGED_S]
        if near:
            found += 1
            vaping[test.room_id].remove(min(near))
    return Rate(found, total)


@dataclass(frozen=True, slots=True)
class Kpis:
    """All key figures of a window."""

    tests: int
    off_days: int
    outcome: Outcome
    response: Response
    load: Load
    sensors: SensorTime


def kpis(
    selection: Chosen,
    duty: Iterable[DutySpan],
    now: float = math.inf,
    recorded_from: float = -math.inf,
) -> Kpis:
    """Compute all key figures.

    Parameters
    ----------
    duty : iterable of DutySpan
        Of the same window.
    now : float
        See `response`.
    recorded_from : float
        See `load`.
    """
    incidents, notices, days = selection.incidents, selection.notices, selection.sensor_days
    return Kpis(
        tests=selection.tests,
        off_days=selection.off_days,
        outcome=outcome(incidents, days),
        response=response(incidents, now),
        load=load(incidents, notices, duty, recorded_from),
        sensors=sensor_time(days, incidents),
    )
