"""Test two schools whose clocks change on different days: each always uses its own time."""

import tomllib
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from plumewatch.config.load import parse
from plumewatch.config.settings import build_alert_policy, build_school

ZONES = {"boston": "America/New_York", "berlin": "Europe/Berlin"}  # 2026-03-08 and 2026-03-29
SCHOOL = """
[[site]]
id = "{0}"
name = "{0} school"
timezone = "{1}"
[[room]]
id = "{0}-boys"
name = "Boys"
building = "Main"
site = "{0}"
[[sensor]]
id = "{0}-1"
room = "{0}-boys"
[[staff]]
id = "{0}-day"
name = "{0}, by day"
sites = ["{0}"]
quiet_hours = [{{ start = "22:00", end = "06:00" }}]
[[staff]]
id = "{0}-lead"
name = "{0}, always"
sites = ["{0}"]
[[shift]]
id = "{0}-day"
receiver = "hall"
people = ["{0}-day"]
site = "{0}"
start = "07:30"
end = "16:00"
"""
CONFIG = parse(
    tomllib.loads(
        'district = "Two"\ntimezone = "UTC"\n[routing]\nreceiver = "hall"\n'
        '[[receiver]]\nid = "hall"\ncatch_all = ["boston-lead", "berlin-lead"]\n'
        + "".join(SCHOOL.format(*one) for one in ZONES.items())
    ),
    base=None,
)
POLICY = build_alert_policy(CONFIG)
DISTRICT = build_school(CONFIG)
SPRING, AUTUMN = datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)
INSTANTS = st.builds(
    lambda start, seconds: start + timedelta(seconds=seconds),
    st.sampled_from((SPRING, AUTUMN)),
    st.integers(0, 27 * 86_400),
)


def is_between(local, start, end):
    at = local.time().replace(tzinfo=None)
    return start <= at < end if start < end else at >= start or at < end


@given(INSTANTS)
def test_each_school_keeps_to_its_own_clock(moment):
    at = moment.timestamp()
    for site, name in ZONES.items():
        local = moment.astimezone(ZoneInfo(name))
        labels = {"site": f"{site} school", "building": "Main", "kind": "vape"}
        rings = [[c.person for c in ring.people] for ring in POLICY.plan_rings(labels, at)]
        by_day = [[f"{site}-day"]] if is_between(local, time(7, 30), time(16)) else []
        assert rings == [*by_day, [f"{site}-lead"]]

        (quiet,) = POLICY.find_member(f"{site}-day").quiet
        spans = quiet.find_spans(moment, moment)
        is_quiet = any(span.contains(moment) for span in spans)
        assert is_quiet == is_between(local, time(22), time(6))

        calendar = DISTRICT.build_calendars(at - 1.0, at + 1.0)[f"{site} school"]
        assert calendar.to_local(at).replace(tzinfo=None) == local.replace(tzinfo=None)
        assert calendar.find_period(at) == f"{local:%H}:00"
