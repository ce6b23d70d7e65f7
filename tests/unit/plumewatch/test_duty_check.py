"""Test how `plumewatch check` evaluates who is on duty."""

from __future__ import annotations

from pathlib import Path

import pytest

from plumewatch.check.people import check_duty
from plumewatch.check.result import State
from plumewatch.config.load import load

SCHOOL = (Path(__file__).parents[3] / "plumewatch/cli/school.toml").read_text()
NOW = 1_788_789_900.0  # Monday, 2026-09-07, 14:05 at the school


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(SCHOOL)
    return path


def test_gaps_to_come_are_listed(config):
    (found,) = check_duty(load(config), NOW)
    assert (found.part, found.state) == ("duty", State.OK)
    absence = "".join(
        f'[[override]]\nshift = "{shift}"\nremove = "{person}"\n'
        "start = 2026-09-08T11:00:00\nend = 2026-09-08T11:45:00\n"
        for shift, person in (("hall-north-1", "monitor-north"), ("hall-gym", "monitor-gym"))
    )
    config.write_text(SCHOOL + absence)
    (found,) = check_duty(load(config), NOW)
    assert found.state is State.WARNING
    assert found.sentence == (
        "in the next 14 days, nobody on duty would be notified in 1 class period (Tue,"
        " Sep 8, 11:00 AM); rooms: gym-locker, gym-staff, n1-boys, n1-girls, n2-boys, n2-girls"
    )


def test_quiet_hours_count_and_a_long_list_is_cut(config):
    text = SCHOOL
    for name in ("monitor-north", "monitor-gym"):
        staff = f'[[staff]]\nid = "{name}"\n'
        assert staff in text
        text = text.replace(staff, f'{staff}quiet_hours = [{{ start = "00:00", end = "23:59" }}]\n')
    config.write_text(text)
    (found,) = check_duty(load(config), NOW)
    assert found.state is State.WARNING
    assert found.sentence.count(" Sep ") == 10
    assert "; ...); rooms: " in found.sentence


@pytest.mark.parametrize("role", ["analyst", "helpdesk"])
def test_people_on_duty_who_may_not_respond_are_named(config, role):
    name = 'name = "Hall monitor, North"\nrole = '
    config.write_text(SCHOOL.replace(f'{name}"staff"', f'{name}"{role}"'))
    found, _ = check_duty(load(config), NOW)
    assert (found.part, found.state) == ("duty", State.WARNING)
    assert (
        found.sentence == "monitor-north: on duty, but without permission to respond to incidents"
    )
