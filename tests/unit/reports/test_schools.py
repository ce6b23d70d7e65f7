"""Test the comparison of a district's schools with each other and with the previous period."""

from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from reports.facts import Facts
from reports.kpis import CONFIRMED, FALSE
from reports.letter import write_letter
from reports.rows import IncidentRow, SensorDay
from reports.school import School
from reports.schools import compare_schools
from reports.summary import make_summary
from storage.registry import Registry, Room, Sensor, Site

DAY = 86_400.0
START = 1_788_652_800.0
SITES = (
    Site("n", "North", "UTC"),
    Site("s", "South", "UTC", date(2026, 9, 1)),
    Site("w", "West", "UTC", date(2020, 9, 1)),
)
REGISTRY = Registry.build(
    [Room(site.id, "Boys", "", "Main", site.name) for site in SITES],
    [Sensor(f"{site.id}-{k}", site.id) for site in SITES for k in range(4)],
    SITES,
)


def period(start, *told, down=()):
    """Return a week with incidents for each (site, verdict, seconds until the answer)."""
    rows = [
        IncidentRow(
            f"{start:.0f}-{k}",
            "vape",
            "n-0",
            "Boys",
            start + DAY,
            start + DAY,
            site=site,
            room_id=site[0].lower(),
            notified_at=start + DAY,
            acknowledged_at=start + DAY + after_s,
            closed_at=start + DAY + 900.0,
            verdict=verdict,
        )
        for k, (site, verdict, after_s) in enumerate(told)
    ]
    end, day = start + 7 * DAY, date(2026, 9, 9)
    days = [SensorDay(f"n-{k}", day, DAY * (k not in down), DAY, 1, 0, 1.0) for k in range(4)]
    school = School("District", ZoneInfo("UTC"), REGISTRY)
    calendar = school.build_calendar(start, end)
    return Facts(
        "District", start, end, end, REGISTRY, calendar, tuple(rows), (), sensor_days=tuple(days)
    )


@pytest.fixture
def facts():
    before = period(START - 7 * DAY, ("North", FALSE, 600), ("South", FALSE, 9), down=(1, 2))
    now = [("North", CONFIRMED, 60), ("North", CONFIRMED, 60), ("North", FALSE, 600)]
    return replace(period(START, *now, down=(3,)), before=before)


def test_every_figure_of_a_school_has_the_period_before(facts):
    north, south = compare_schools(facts)
    assert (north.counts, north.down, north.sensors) == ((3, 2, 1), 1, 4)
    assert (north.before.counts, north.before.down) == ((1, 0, 1), 2)
    assert (north.within_5_min.part, north.before.within_5_min.part) == (2, 0)
    assert (south.site.title, south.counts, south.before.counts) == (
        "South (closed)",
        (0, 0, 0),
        (1, 0, 1),
    )
    unknown = replace(facts, before=replace(facts.before, sensor_days=()))
    assert compare_schools(unknown)[0].before.down is None
    assert compare_schools(replace(facts, before=None)) == []  # one school only


def test_summary_and_mail_show_schools_per_ten_sensors_and_before(facts):
    made = make_summary(facts)
    grids = {key: dict(grid.rows) for key, grid in made.grids.items()}
    columns = [name for name, _unit in made.grids["schools"].columns]
    now, before = (
        dict(zip(columns, grids[key]["North"], strict=True))
        for key in ("schools", "schools_before")
    )
    assert (now["alerts"], now["alerts_per_10"], now["sensors_down"]) == (3.0, 7.5, 1.0)
    assert (before["false_alarms"], before["sensors_down"]) == (1.0, 2.0)
    assert set(grids["schools"]) == {"North", "South (closed)"}
    text = write_letter(made)[1]
    assert "- North: alerts 3 (7.50; 1), confirmed 2 (5; 0), false alarms 1 (2.50; 1)" in text
    assert "sensors down: 1 of 4 (2)" in text
    assert "- South (closed): alerts 0 (—; 1)" in text
