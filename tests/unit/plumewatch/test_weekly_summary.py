"""Test the weekly summary: when it is due, its contents, and its delivery."""

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerts import sensor_tests
from plumewatch.config.load import load
from plumewatch.service.data_folder import open_state
from plumewatch.service.jobs import is_due
from plumewatch.weekly_summary import build_weekly_notice, describe_due_tests, send_weekly
from storage.sqlite import transaction
from tests.support.school_year import config_text, fill_health, fill_state, moment
from tests.support.service import Receiver
from tests.support.waiting import eventually

FIRST = date(2026, 9, 14)
ZONE = ZoneInfo("America/New_York")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, "2026-09-21 06:00", False),
        ("2026-09-19 12:00", "2026-09-20 23:59", False),
        ("2026-09-19 12:00", "2026-09-21 05:59", False),
        ("2026-09-19 12:00", "2026-09-21 06:00", True),
        ("2026-09-19 12:00", "2026-09-23 01:00", True),  # the service was down on Monday
        ("2026-09-21 06:00", "2026-09-27 23:00", False),
        ("2026-12-28 06:00", "2027-01-04 06:10", True),
    ],
)
def test_due_once_a_week_from_monday_morning_on(last, now, due):
    assert is_due(last and at(last), at(now), ZONE) == due


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    root = tmp_path_factory.mktemp("weekly")
    more = '[reports]\nweekly_file = "weekly"\n[alerts]\nallow_private_targets = true\n'
    (root / "plumewatch.toml").write_text(config_text(4, more=more), encoding="utf-8")
    data = root / "plumewatch-data"
    data.mkdir()
    fill_state(data / "state.db", FIRST, 14, 4, seed=4, a_day=2.0)
    fill_health(data / "series.db", FIRST, 14, 4, every_s=3600.0)
    return root


def test_the_summary_of_last_week_arrives_with_what_changed(school):
    now = moment(FIRST + timedelta(days=14)) + 6 * 3600
    with Receiver() as receiver:
        (school / "weekly").write_text(receiver.url)
        (school / "weekly").chmod(0o600)
        (done,) = send_weekly(load(school / "plumewatch.toml"), now)
        (push,) = eventually(lambda: receiver.pushes, "the summary")
    assert done.startswith("weekly summary sent to json-")
    assert push["title"] == "Lincoln High: week of September 21, 2026"
    lines = build_weekly_notice(load(school / "plumewatch.toml"), now)[0].text.splitlines()
    assert push["message"].splitlines()[:5] == lines[:5]
    heads = ["Rooms with the most vaping and smoke:", "To do:", "Nobody responded:"]
    rooms = lines[lines.index(heads[0]) + 1 :]
    assert re.fullmatch(r"- Restroom \d, floor \d, (North|South): \d+ \(\d+ before\)", rooms[0])
    assert lines[lines.index(heads[1]) + 1].startswith("- Never tested: ")
    found = [line for line in lines[: lines.index("")] if line]
    assert len(found) == 5, "five plain sentences"
    assert re.match(r"\d+ incidents on 5 school days: ", found[0])
    assert "in the week of September 14" in found[1]
    assert re.search(r"; nobody responded to \d+\.$", found[3])
    assert re.match(
        r"Busiest times for vaping and smoke: [MTWF]\w+day \d+–\d+ [AP]M \(\d+ alerts\)", found[4]
    )
    missed = lines[lines.index(heads[2]) + 1 :]
    missed = missed[: missed.index("")]
    assert len(missed) == int(found[3].rpartition(" ")[2][:-1])
    line = r"- Restroom \d, floor \d, (North|South): \w{3}, Sep \d+, \d+:\d\d [AP]M, [a-z ]+"
    assert all(re.fullmatch(line, each) for each in missed)


def test_the_summary_asks_for_yearly_tests_until_they_are_done(school):
    config = load(school / "plumewatch.toml")
    now = moment(FIRST + timedelta(days=14))
    sensors = {sensor.id: sensor.room for sensor in config.sensor}
    names = {room.id: room.full_name for room in config.registry().rooms.values()}
    tested = [s for s, room in sensors.items() if room == config.room[0].id]

    def keep(at):
        one = {"right": True}
        result = {"room": config.room[0].id, "who": "fm", "steps": [{"start": at}]}
        result["sensors"] = [{"sensor": sensor, **one} for sensor in tested]
        with open_state(school / "plumewatch-data/state.db") as db, transaction(db) as tx:
            sensor_tests.add_result(tx, result)

    keep(now - 366 * 86_400)
    said = describe_due_tests(config, now, config.registry())
    assert f"The yearly test is due: {names[config.room[0].id]}." in said
    keep(now - 86_400)
    assert "yearly" not in describe_due_tests(config, now, config.registry())
