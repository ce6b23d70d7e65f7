"""Who is on duty, as `plumewatch check` sees it."""

from __future__ import annotations

import pytest

from plumewatch.check.people import check_duty
from plumewatch.check.result import State
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.load import load

NOW = 1_788_789_900.0  # Monday, 2026-09-07, 10:05 at the school


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(STARTER)
    return path


def test_gaps_to_come_are_listed(config):
    (found,) = check_duty(load(config), NOW)
    assert (found.part, found.state) == ("duty", State.OK)
    absence = (
        '[[override]]\nshift = "hall-1"\nstart = 2026-09-08T11:00:00\nend = 2026-09-08T12:00:00\n'
        'remove = "monitor-1"\n'
    )
    config.write_text(STARTER + absence)
    (found,) = check_duty(load(config), NOW)
    assert found.state is State.WARNING
    assert found.sentence == (
        "nobody on duty would be notified at 1 time of the next 14 days: Tue 2026-09-08 11:00;"
        " rooms: N2-boys, N2-girls"
    )


def test_quiet_hours_count_and_a_long_list_is_cut(config):
    text = STARTER
    for name in ("monitor-1", "monitor-2"):
        staff = f'[[staff]]\nid = "{name}"\n'
        assert staff in text
        text = text.replace(staff, f'{staff}quiet_hours = [{{ start = "00:00", end = "23:59" }}]\n')
    config.write_text(text)
    (found,) = check_duty(load(config), NOW)
    assert found.state is State.WARNING
    assert found.sentence.count("2026-09-") == 10
    assert ", ...; rooms: " in found.sentence


@pytest.mark.parametrize("role", ["analyst", "helpdesk"])
def test_people_on_duty_who_may_not_respond_are_named(config, role):
    config.write_text(STARTER.replace('id = "monitor-1"', f'id = "monitor-1"\nrole = "{role}"'))
    found, _ = check_duty(load(config), NOW)
    assert (found.part, found.state) == ("duty", State.WARNING)
    assert found.sentence == "monitor-1: on duty, but their role may not respond to incidents"
