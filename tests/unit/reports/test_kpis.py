"""Test key figures against values computed by hand from the formulas in `docs/reports.md`."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from reports.kpis import (
    BeforeAfter,
    CountedRows,
    Rate,
    compute_kpis,
    compute_quantile,
    compute_response,
    compute_sensor_time,
    count_outcomes,
    select_counted,
)
from reports.kpis import (
    compute_load as load,
)
from reports.rows import DutySpan, IncidentRow, NoticeRow, SensorDay

MONDAY = datetime(2026, 9, 14, 14, 0, tzinfo=UTC).timestamp()


def incident(name="i1", *, opened=MONDAY, **known):
    base = {"kind": "vape", "sensor": "b2", "room": "N2", "first_evidence_at": opened - 8.0}
    return IncidentRow(id=name, opened_at=opened, **{**base, **known})


def notice(name="i1", person="ap", *, at=MONDAY, delivered=True, reason="opened"):
    return NoticeRow(name, person, "staff", "ntfy", reason, at, at if delivered else None)


def sensor_day(sensor="b2", day=date(2026, 9, 14), *, online=86_400.0, received=100, missing=0):
    return SensorDay(sensor, day, online, 86_400.0, received, missing, received + missing)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.9, 9.2), (1.0, 11.0)]
)
def test_quantiles_are_linear_between_neighbors(share, expected):
    # place 0.9 x 4 = 3.6: 6.5 + 0.6 x (11 - 6.5) = 9.2
    assert compute_quantile([1.0, 2.0, 3.0, 6.5, 11.0], share) == pytest.approx(expected)


def test_times_of_one_incident_by_their_definitions():
    row = incident(
        notified_at=MONDAY + 1.0,
        acknowledged_at=MONDAY + 41.0,
        arrived_at=MONDAY + 101.0,
        closed_at=MONDAY + 300.0,
    )
    found = compute_response([row])
    assert found.detect.mean_s == 8.0  # opened - first evidence
    assert found.notify.mean_s == 1.0  # first delivered - opened
    assert found.acknowledge.acknowledged.mean_s == 40.0  # first ack - first notified
    assert found.arrive.mean_s == 100.0  # arrived - notified
    assert found.resolve.mean_s == 300.0  # closed - opened


def test_unacknowledged_are_counted_and_never_dropped():
    acked = [
        incident(f"a{k}", notified_at=MONDAY, acknowledged_at=MONDAY + wait)
        for k, wait in enumerate((30.0, 90.0, 300.0, 301.0))
    ]
    silent = [incident(f"s{k}", notified_at=MONDAY) for k in range(2)]
    never_told = incident("n", acknowledged_at=MONDAY + 5.0)
    device = incident("d", kind="offline", notified_at=MONDAY, acknowledged_at=MONDAY + 4.0)
    found = compute_response([*acked, *silent, never_told, device]).acknowledge
    assert (found.notified, found.acknowledged.n, found.unacknowledged) == (7, 5, 2)
    assert found.acknowledged.mean_s == (30 + 90 + 300 + 301 + 4) / 5
    assert found.within_5_min == Rate(
        3, 6
    )  # 300 s counts, 301 s and unacknowledged ones do not; no device
    assert found.quick == 4


@pytest.mark.parametrize(
    ("known", "notified", "unacknowledged", "after"),
    [
        ({"chain_end_at": MONDAY + 600}, 0, 0, 0),  # people still have time to respond
        ({"chain_end_at": MONDAY + 600, "notified_at": MONDAY - 271}, 0, 0, 1),  # not in 5 minutes
        ({"chain_end_at": MONDAY + 600, "acknowledged_at": MONDAY + 20}, 1, 0, 1),
        ({"chain_end_at": MONDAY + 600, "closed_at": MONDAY + 25}, 1, 1, 1),
        ({"chain_end_at": MONDAY + 30}, 1, 1, 1),
        ({}, 1, 1, 1),
    ],
)
def test_nobody_responded_only_once_the_escalation_is_over(known, notified, unacknowledged, after):
    row = incident(**{"notified_at": MONDAY, **known})
    found = compute_response([row], MONDAY + 30.0)
    assert found.notify.n == 1
    found = found.acknowledge
    assert (found.notified, found.unacknowledged) == (notified, unacknowledged)
    assert found.within_5_min.whole == after


def test_acknowledged_on_the_page_before_the_notice_arrived_counts_as_zero():
    row = incident(notified_at=MONDAY + 3.0, acknowledged_at=MONDAY + 2.0)
    assert compute_response([row]).acknowledge.acknowledged.mean_s == 0.0


def test_an_incident_escalated_from_the_second_step_on():
    rows = [incident(str(level), level=level) for level in range(5)]
    assert compute_response(rows).escalated == Rate(3, 5)


def test_outcomes_sum_and_unknown_is_separate():
    verdicts = ["confirmed"] * 6 + ["false_alarm"] * 2 + ["nothing_found"] + [""] * 3
    rows = [
        incident(str(k), verdict=verdict, cause="spray" if verdict == "false_alarm" else "")
        for k, verdict in enumerate(verdicts)
    ]
    rows[6] = replace(rows[6], cause="steam")
    rows[1] = replace(rows[1], suppressed_by="cooldown")
    found = count_outcomes(rows, [sensor_day(str(k)) for k in range(28)])
    assert (found.confirmed, found.false, found.nothing_found, found.unknown) == (6, 2, 1, 3)
    assert found.incidents == 12
    assert found.confirmed_rate == Rate(6, 8)
    assert found.feedback_rate == Rate(9, 12)  # nothing found is feedback too
    assert found.causes == {"spray": 1, "steam": 1}
    assert found.suppressed == 1
    # 2 false alarms x 7 days / 28 sensor-days
    assert found.false_per_sensor_week.value == 0.5


def test_false_alarms_are_for_the_time_online_not_installed():
    row = incident(verdict="false_alarm", cause="dust")
    half = [sensor_day(str(k), online=43_200.0) for k in range(28)]
    rows = [row, *(incident(str(k)) for k in range(4))]
    # one false alarm x 7 / 14 days online
    assert count_outcomes(rows, half).false_per_sensor_week == Rate(7.0, 14.0)
    assert count_outcomes(rows, half).false_per_sensor_week.value == 0.5
    # too little data: fewer than five incidents, or less than a week
    for few, days in ((rows[:4], half), (rows, half[:13])):
        assert count_outcomes(few, days).false_per_sensor_week.value is None


def test_a_share_of_fewer_than_five_is_no_figure():
    rows = [incident(str(k), verdict="confirmed", notified_at=MONDAY) for k in range(4)]
    few, enough = (
        count_outcomes(found, ()) for found in (rows, [*rows, incident("5", verdict="test")])
    )
    assert few.feedback_rate == Rate(4, 4)
    assert (few.confirmed_rate.value, few.feedback_rate.value) == (None, None)
    assert enough.feedback_rate.value is not None
    assert compute_response(rows).acknowledge.within_5_min.value is None


def test_devices_have_no_time_to_detect():
    rows = [incident("1"), incident("2", kind="offline"), incident("3", kind="sensor_fault")]
    assert compute_response(rows).detect.n == 1
    assert count_outcomes(rows, ()).alerts == 1


def test_tests_are_left_out_and_counted():
    saturday = datetime(2026, 9, 19, 15, 0, tzinfo=UTC).timestamp()
    rows = [incident("1"), incident("2", opened=saturday), incident("3", verdict="test")]
    days = [sensor_day(), sensor_day(day=date(2026, 9, 19))]
    found = select_counted(rows, [notice(row.id) for row in rows], days)
    assert [row.id for row in found.incidents] == ["1", "2"]
    assert [row.incident for row in found.notices] == ["1", "2"]
    assert found.sensor_days == tuple(days)
    assert compute_kpis(found, ()).tests == found.tests == 1


def test_load_for_person_hours_on_duty():
    notices = [
        notice(person="ap"),
        notice(person="dean"),
        notice(person="dean"),  # same person, same reason: a duplicate
        notice(person="dean", reason="recovered"),
        notice(person="vp", delivered=False),
    ]
    duty = [
        DutySpan("ap", MONDAY, MONDAY + 3600),
        DutySpan("ap", MONDAY + 1800, MONDAY + 5400),  # the spans overlap: 1.5 h in total
        DutySpan("dean", MONDAY, MONDAY + 1800),
    ]
    found = load([incident(), incident("i2")], notices, duty, MONDAY)
    assert found.notices == 4
    assert found.per_duty_hour == Rate(4, 2.0)
    assert found.duplicates == Rate(1, 2)
    rows = (incident(),)
    for since, hours in ((MONDAY - 9e6, 2.0), (MONDAY + 2700, 0.75), (math.inf, 0.0)):
        assert load(rows, notices, duty, since).per_duty_hour == Rate(4, hours)
        found = compute_kpis(CountedRows(rows, tuple(notices)), duty, recorded_from=since).load
        assert found.per_duty_hour == Rate(4, hours)
    weekend = load(rows, notices, duty, MONDAY, lambda _row: False)
    assert (weekend.notices, weekend.per_duty_hour) == (4, Rate(0, 2.0))


def test_availability_and_completeness():
    days = [
        sensor_day("b2", online=86_400.0, received=90, missing=10),
        sensor_day("b3", online=43_200.0, received=50, missing=0),
    ]
    gone = incident("o", kind="offline", first_evidence_at=MONDAY - 75.0)
    found = compute_sensor_time(days, [gone, incident()])
    assert found.sensors == 2
    assert found.availability == Rate(24 + 12, 48)
    assert found.completeness == Rate(140, 150)
    assert found.online_days == 1.5
    assert found.offline_detect.mean_s == 75.0


@pytest.mark.parametrize(
    ("before", "after", "is_clear"),
    [
        (Rate(5, 5), Rate(6, 5), False),
        (Rate(40, 10), Rate(20, 10), True),  # the difference is 20; chance explains 15.5
        (Rate(40, 10), Rate(26, 10), False),
        (Rate(40, 10), Rate(20, 5), False),  # the same number per day
        (Rate(0, 5), Rate(0, 5), False),
        (Rate(0, 0), Rate(9, 5), False),
    ],
)
def test_a_change_is_clear_if_it_is_more_than_chance(before, after, is_clear):
    assert BeforeAfter(before, after).is_clear is is_clear
