"""Test who is notified, ring by ring: nearest, next nearest, lead, catch-all."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.duty.reasons import write_reason
from alerts.duty.roster import Receiver, Roster, Route, Zone, ZoneMap, parse_matchers
from alerts.duty.shifts import ClockHours, LessonHours, Override, Shift
from alerts.duty.timetable import Bells, Period, Timetable
from alerts.escalation.coverage import Gap, find_coverage_gaps, join_gaps

ZONE = ZoneInfo("America/New_York")
EVERY_DAY = frozenset(range(7))
MORNING = datetime(2026, 9, 7, 14, 5, tzinfo=UTC)  # Monday 10:05
NIGHT = datetime(2026, 9, 8, 3, 0, tzinfo=UTC)

ZONES = ZoneMap(
    (
        Zone("north-1", "North", "1", neighbors=("north-2", "gym")),
        Zone("north-2", "North", "2"),
        Zone("north-3", "North", "3", neighbors=("north-2",)),
        Zone("gym", "Gym"),
        Zone("annex", "Annex"),
    )
)


def shift(person, *zones, receiver="hall"):
    hours = ClockHours(ZONE, 8 * 60, 16 * 60, EVERY_DAY)
    return Shift(f"{person}-shift", receiver, (person,), hours, ZONE, zones)


def roster(*shifts, **more):
    given = {
        "root": Route(
            "hall",
            routes=(
                Route("facilities", parse_matchers('kind="tamper"')),
                Route("nurse", parse_matchers('kind="smoke"'), continues=True),
                Route("hall", parse_matchers('kind="smoke"')),
            ),
        ),
        "receivers": {
            "hall": Receiver("hall", (), {"North": ("lead",)}, ("principal",)),
            "facilities": Receiver("facilities", ("custodian",), {}, ("custodian",)),
            "nurse": Receiver("nurse", ("nurse",), {}, ("nurse",)),
        },
        "shifts": shifts,
        "zones": ZONES,
        "everyone": ("a", "b", "c", "d", "lead", "principal", "custodian", "nurse"),
    }
    return Roster(**{**given, **more})


def notified(found, at=MORNING, **labels):
    given = {"building": "North", "floor": "2", "room": "N2", "kind": "vape", **labels}
    return [(ring.name, [c.person for c in ring.people]) for ring in found.plan_rings(given, at)]


LAST = [("lead", ["lead"]), ("catch_all", ["principal"])]


def test_nearest_then_next_nearest_then_lead_then_catch_all():
    found = roster(
        shift("far", "gym"), shift("here", "north-2"), shift("b", "north-1"), shift("c", "north-3")
    )
    assert notified(found) == [("nearest", ["here"]), ("next_nearest", ["b", "c"]), *LAST]


def test_without_anybody_on_the_floor_the_next_one_is_nearest():
    found = roster(shift("b", "north-1"), shift("far", "gym"))
    assert notified(found) == [("nearest", ["b"]), ("next_nearest", ["far"]), *LAST]


def test_a_person_is_where_nearest_and_in_one_ring():
    found = roster(
        shift("a", "north-1"), shift("a", "north-2"), shift("lead", "north-3"), shift("b", "gym")
    )
    assert notified(found) == [
        ("nearest", ["a"]),
        ("next_nearest", ["lead"]),
        ("catch_all", ["principal"]),
    ]


def test_a_shift_without_zones_is_everywhere():
    assert notified(roster(shift("a"), shift("b", "north-1"))) == [
        ("nearest", ["a"]),
        ("next_nearest", ["b"]),
        *LAST,
    ]


def test_out_of_reach_is_not_near():
    assert notified(roster(shift("a", "annex"))) == LAST
    assert notified(roster(shift("a", "annex")), building="Annex", floor="") == [
        ("nearest", ["a"]),
        ("catch_all", ["principal"]),
    ]


def test_a_zone_of_a_whole_building_has_all_its_floors():
    assert notified(roster(shift("a", "gym")), building="Gym", floor="basement")[0][1] == ["a"]


def test_an_empty_schedule_never_swallows():
    assert notified(roster(shift("a", "north-2")), NIGHT) == LAST
    assert notified(roster()) == LAST
    assert notified(roster(), building="Gym") == [("catch_all", ["principal"])]


def test_device_faults_go_to_facilities_alone():
    assert notified(roster(shift("a", "north-2")), kind="tamper") == [("nearest", ["custodian"])]


def test_several_receivers_are_notified_together():
    assert notified(roster(shift("a", "north-2"), shift("b", "north-1")), kind="smoke") == [
        ("nearest", ["nurse", "a"]),
        ("next_nearest", ["b"]),
        *LAST,
    ]


def test_who_has_no_address_is_passed_over():
    found = roster(
        shift("a", "north-2"),
        shift("b", "north-1"),
        shift("far", "gym"),
        reachable=frozenset({"far", "lead"}),
    )
    assert notified(found) == [("nearest", ["far"]), ("lead", ["lead"])]


def test_if_no_receiver_has_an_address_everyone_with_an_address_is_notified():
    found = roster(reachable=frozenset({"nurse", "custodian"}))
    assert notified(found) == [("everyone", ["custodian", "nurse"])]


def test_the_reason_is_given():
    found = roster(shift("a", "north-2"), shift("b", "north-1"))
    labels = {"building": "North", "floor": "2", "kind": "smoke"}
    people = (c for ring in found.plan_rings(labels, MORNING) for c in ring.people)
    assert [write_reason(c.why) for c in people] == [
        "nurse, always on duty",
        "on shift until 4:00 PM, here",
        "on shift until 4:00 PM, 1 zone away",
        "hall, lead of North",
        "hall, catch-all",
    ]


PEOPLE = st.sampled_from(["a", "b", "c", "lead", "principal", "custodian"])


@given(
    st.lists(st.tuples(PEOPLE, st.lists(st.sampled_from([z.id for z in ZONES.zones]))), max_size=5),
    st.frozensets(PEOPLE),
    st.sampled_from(["vape", "smoke", "tamper", "offline"]),
    st.sampled_from(["1", "2", "3", ""]),
    st.sampled_from(["North", "Gym", "Annex", "Nowhere", ""]),
    st.integers(0, 47),
)
def test_never_nobody_and_nobody_twice(shifts, reachable, kind, floor, building, half_hour):
    found = roster(*(shift(person, *zones) for person, zones in shifts), reachable=reachable)
    at = datetime(2026, 9, 7, half_hour // 2, 30 * (half_hour % 2), tzinfo=UTC)
    rings = notified(found, at, kind=kind, floor=floor, building=building)
    people = [person for _, ring in rings for person in ring]
    assert people
    assert all(ring for _, ring in rings)
    assert len(people) == len(set(people))
    assert not reachable or set(people) <= reachable


# zones


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12))
def test_steps_are_the_same_both_ways_and_never_skip(pairs):
    near = {i: tuple(str(b) for a, b in pairs if a == i) for i in range(8)}
    zones = ZoneMap(tuple(Zone(str(i), "B", str(i), neighbors=near[i]) for i in range(8)))
    steps = {str(i): zones.measure_distances(str(i)) for i in range(8)}
    for one, found in steps.items():
        assert found[one] == 0
        for other, far in found.items():
            assert steps[other][one] == far
            if far:
                assert any(steps[n].get(one) == far - 1 for n, k in steps[other].items() if k == 1)


@pytest.mark.parametrize(
    ("labels", "zone"),
    [
        ({"building": "North", "floor": "2"}, "north-2"),
        ({"building": "North", "floor": "9"}, None),
        ({"building": "Gym", "floor": "2"}, "gym"),
        ({"building": "Gym"}, "gym"),
        ({}, None),
    ],
)
def test_the_zone_of_an_incident(labels, zone):
    assert ZONES.find_zone(labels) == zone


def test_buildings_of_the_same_name_on_two_sites():
    zones = ZoneMap((Zone("e", "Main", site="East"), Zone("w", "Main", site="West")))
    found = [
        zones.find_zone({"building": "Main", "site": site}) for site in ("West", "East", "South")
    ]
    assert found == ["w", "e", None]


# gaps

PERIODS = (Period("1", 8 * 60, 10 * 60), Period("2", 10 * 60, 12 * 60))
TIMETABLE = Timetable(
    ZONE, (Bells("regular", PERIODS, frozenset(range(5))),), frozenset({date(2026, 9, 8)})
)


def lessons(person, periods, *zones, **more):
    hours = LessonHours(TIMETABLE, EVERY_DAY, frozenset(periods))
    return Shift(f"{person}-shift", "hall", (person,), hours, ZONE, zones, **more)


def gaps_of(found, *rooms, days=2):
    incidents = [
        {"building": building, "floor": floor, "room": f"{building}{floor}", "kind": kind}
        for building, floor in rooms
        for kind in ("vape", "voc", "tamper")
    ]
    start = datetime(2026, 9, 7, 4, tzinfo=UTC)
    return [
        (f"{gap.start.astimezone(ZONE):%a %H:%M}-{gap.end.astimezone(ZONE):%H:%M}", gap)
        for gap in find_coverage_gaps(found, incidents, start, start.replace(day=7 + days), {})
    ]


def test_gaps_are_periods_without_anybody_in_reach():
    found = roster(lessons("a", "1", "north-2"), timetables={"": TIMETABLE})
    assert [(when, gap.rooms) for when, gap in gaps_of(found, ("North", "2"), ("Annex", ""))] == [
        ("Mon 08:00-10:00", ("Annex",)),
        ("Mon 10:00-12:00", ("North2", "Annex")),
    ]  # none on Tuesday, a holiday


def test_a_part_of_a_period_is_a_gap_too():
    change = Override(
        "a-shift",
        datetime(2026, 9, 7, 13, tzinfo=UTC),
        datetime(2026, 9, 7, 13, 30, tzinfo=UTC),
        remove="a",
    )
    found = roster(lessons("a", "12", "north-2", overrides=(change,)), timetables={"": TIMETABLE})
    assert [when for when, _ in gaps_of(found, ("North", "2"))] == ["Mon 09:00-09:30"]


def test_somebody_without_an_address_is_as_good_as_nobody():
    found = roster(
        lessons("a", "12", "north-2"),
        timetables={"": TIMETABLE},
        reachable=frozenset({"principal"}),
    )
    (first, _), *_ = gaps_of(found, ("North", "2"))
    assert first == "Mon 08:00-10:00"


def test_gaps_of_adjacent_periods_are_one_for_the_same_rooms_and_people():
    first, second, third = (datetime(2026, 9, 7, hour, tzinfo=UTC) for hour in (12, 13, 14))
    gaps = [
        Gap(start, end, people, rooms)
        for start, end in ((first, second), (second, third))
        for rooms, people in ((("a", "c"), ()), (("b",), ("lee",)))
    ]
    assert join_gaps(gaps) == [
        (first, third, (), ("a", "c")),
        (first, third, ("lee",), ("b",)),
    ]


def test_no_bells_no_gaps():
    assert gaps_of(roster(), ("North", "2")) == []
