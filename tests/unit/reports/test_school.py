"""Test school days, lessons and hours on duty from the configuration."""

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from plumewatch.config.load import load
from plumewatch.config.settings import build_school
from reports.kpis import compute_load as load_of
from reports.kpis import sum_duty_hours
from reports.school import Place, PlaceError, School
from storage.registry import Registry, Room, Sensor
from tests.support.config_entries import shift
from tests.support.school_year import ZONE, config_text, moment

BELLS = """
[[bells]]
id = "usual"
days = ["mon", "tue", "wed", "thu", "fri"]
periods = [
  {name = "1", start = "08:00", end = "08:50"},
  {name = "2", start = "08:55", end = "09:45"},
]
[[holiday]]
name = "Fall break"
first = 2026-10-29
last = 2026-10-30
"""
SHIFTS = shift("morning", ["ap", "dean"], start="07:30", end="09:30") + shift(
    "hall", ["dean"], periods=["2"]
)
START, END = moment(date(2026, 10, 26)), moment(date(2026, 11, 9))


def config_of(tmp_path, more):
    path = tmp_path / "plumewatch.toml"
    path.write_text(config_text(1) + more)
    return load(path)


def at(day, hour, minute=0):
    return datetime(2026, *day, hour, minute, tzinfo=ZONE).astimezone(UTC).timestamp()


def test_without_bells_school_is_on_weekdays_that_are_no_holidays(tmp_path):
    holidays = BELLS.partition("[[holiday]]")
    calendar = build_school(config_of(tmp_path, "[[holiday]]" + holidays[2])).build_calendar(
        START, END
    )
    assert len(calendar.school_days) == 8
    assert date(2026, 10, 29) not in calendar.school_days
    assert calendar.find_period(at((10, 27), 8, 10)) == "08:00"


def test_with_bells_school_is_when_they_ring(tmp_path):
    calendar = build_school(config_of(tmp_path, BELLS)).build_calendar(START, END)
    assert len(calendar.school_days) == 8
    assert len(calendar.lessons) == 16
    for moment_, period in (
        (at((10, 27), 7, 59), "between"),
        (at((10, 27), 8), "1"),
        (at((10, 27), 8, 50), "between"),
        (at((10, 27), 8, 55), "2"),
        (at((11, 2), 9, 44), "2"),  # after the clocks were set back
        (at((10, 29), 8, 10), "between"),
        (at((10, 31), 8, 10), "between"),
    ):
        assert calendar.find_period(moment_) == period


def test_a_window_without_school_has_the_periods_of_every_other(tmp_path):
    school = build_school(config_of(tmp_path, BELLS))
    weekend = school.build_calendar(at((10, 31), 0), at((11, 2), 0))
    assert weekend.find_period(at((10, 31), 8, 10)) == "between"
    assert weekend.list_periods(at((10, 31), 0), at((11, 2), 0), ()) == ["between"]


def test_hours_on_duty_are_those_of_the_shifts_once_a_person(tmp_path):
    config = config_of(tmp_path, BELLS + SHIFTS)
    duty = list(build_school(config).list_duty(START, END))
    assert {span.person for span in duty} == {"ap", "dean"}
    # 8 school days: ap 7:30-9:30, dean the same and to 9:45 in period 2
    assert load_of([], [], duty, START).per_duty_hour.whole == pytest.approx(8 * (2.0 + 2.25))


def test_hours_on_duty_of_pieces_are_those_of_the_whole(tmp_path):
    config = config_of(tmp_path, BELLS + SHIFTS)
    school = build_school(config)
    whole = sum_duty_hours(school.list_duty(START, END))
    edges = [START, *(START + k * 31_000.7 for k in range(1, 39)), END]
    pieces = [sum_duty_hours(school.list_duty(*ends)) for ends in pairwise(edges)]
    assert sum(pieces) == pytest.approx(whole)
    assert 0.0 in pieces
    noon = at((10, 26), 8, 30)  # ap and dean are on duty, dean in two shifts
    assert sum_duty_hours(school.list_duty(noon, noon + 60.0)) == pytest.approx(2 / 60)


def test_hours_on_duty_of_a_place_are_those_of_its_zones(tmp_path):
    more = """
[[zone]]
id = "n1"
building = "North"
floor = "1"
[[zone]]
id = "s1"
building = "South"
floor = "2"
"""
    shifts = SHIFTS.replace('people = ["ap", "dean"]', 'people = ["ap"]\nzones = ["n1"]')
    config = config_of(tmp_path, BELLS + more + shifts)

    def shifts_of(place):
        found = build_school(config).list_duty(START, END, [place])
        return {span.shift for span in found}

    duty = {
        place.building: shifts_of(place)
        for place in (Place(), Place(building="North"), Place(building="South"))
    }
    assert duty == {"": {"morning", "hall"}, "North": {"morning", "hall"}, "South": {"hall"}}


ROOMS = [
    Room("a", "Boys", "1", "Main", "North"),
    Room("b", "Boys", "1", "Gym", "North"),
    Room("c", "Boys", "1", "Annex", "South"),
]
DISTRICT = School(
    "District", ZoneInfo("UTC"), Registry.build(ROOMS, [Sensor(f"s-{r.id}", r.id) for r in ROOMS])
)


def test_a_place_has_its_rooms_and_sensors_alone():
    assert list(DISTRICT.select_place(Place("North")).registry.rooms) == ["a", "b"]
    assert list(DISTRICT.select_place(Place("North", "Gym")).registry.sensors) == ["s-b"]
    assert len(DISTRICT.select_place(Place()).registry.rooms) == 3


@pytest.mark.parametrize("building", ["zzz", "Annex"])
def test_a_building_that_the_school_does_not_have_names_only_its_own(building):
    with pytest.raises(PlaceError, match=f"no building '{building}'; choose from 'Gym', 'Main'$"):
        DISTRICT.select_place(Place("North", building))
