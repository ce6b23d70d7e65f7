from __future__ import annotations

import json
from pathlib import Path

import pytest

from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.load import load
from plumewatch.doctor.people import check_duty
from plumewatch.doctor.result import State
from tests.support.command import plumewatch

PAGE = (Path(__file__).parents[3] / "docs/routing.md").read_text(encoding="utf-8")
NOW = 1_788_789_900.0  # Monday, 2026-09-07, 10:05 at the school
SAID = PAGE.split("```text\n")[1].split("```")[0]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(STARTER)
    return path


def ask(config, *labels, at="2026-09-07T10:05", as_json=False):
    words = ("--config", config, "--at", at, *["--json"] * as_json)
    ran = plumewatch("routes", "test", *labels, *words)
    return ran.code, ran.out


def gaps(config, start, days, *words):
    where = ("--config", config, "--from", start, "--days", days)
    ran = plumewatch("routes", "gaps", *where, *words)
    assert ran.code == 0
    return ran.out


def test_who_when_and_why_as_the_page_shows(config):
    code, output = ask(config, "room=N2-boys", "kind=vape")
    assert code == 0
    assert output.splitlines() == SAID.strip().splitlines()


def test_as_json(config):
    code, output = ask(config, "sensor=n2-girls-1", "kind=tamper", "severity=info", as_json=True)
    found = json.loads(output)
    assert code == 0
    assert found["labels"]["room"] == "N2-girls"
    assert (found["at"], found["told"]) == ("2026-09-07T10:05:00-04:00", True)
    assert [r["receiver"] for r in found["receivers"]] == ["facilities"]
    assert found["rings"][0]["people"] == [
        {"person": "facilities", "why": "facilities, always on duty", "quiet": ""}
    ]


def test_at_night_the_lead_is_notified_at_once(config):
    _, output = ask(config, "room=N2-boys", "kind=smoke", at="2026-09-07T23:00")
    assert "1. building lead, at once\n   ap-north" in output


def test_a_kind_that_is_only_recorded(config):
    _, output = ask(config, "room=N2-boys", "kind=steam")
    assert output.endswith("recorded only: nobody is notified of this kind\n")


def test_who_has_no_address_is_named(config):
    text = STARTER.replace("notify = []", 'notify = [{ url_env = "X" }]', 1)
    config.write_text(text)
    _, output = ask(config, "room=N2-boys", "kind=vape")
    assert "1. building lead, at once\n   ap-north" in output
    assert "on duty, but without an address: monitor-1, monitor-2\n" in output


@pytest.mark.parametrize(
    ("labels", "at", "message"),
    [
        (["room=N9", "kind=vape"], "", "room=N9 is not known; allowed: N2-boys, N2-girls"),
        (["room=N2-boys", "kind=vap"], "", "kind=vap is not known; allowed: vape, smoke"),
        (["room=N2-boys"], "", "kind=one of vape"),
        (["kind=vape", "severity=bad"], "", "severity=bad is not known; allowed: info"),
        (["kind=vape", "sensor=x"], "", "sensor=x is not known"),
        (
            ["kind=vape", "colour=red"],
            "",
            "'colour=red' is not a label; write name=value with site",
        ),
        (["vape"], "", "'vape' is not a label"),
        (["kind=vape", "kind=smoke"], "", "kind is given twice"),
        (
            ["kind=vape", "room=N2-boys", "building=Gym"],
            "",
            "building=Gym is wrong: room N2-boys",
        ),
        (["kind=vape"], "tomorrow", "'tomorrow' is none of"),
    ],
)
def test_what_is_refused(config, capsys, labels, at, message):
    assert ask(config, *labels, at=at) == (2, "")
    assert message in capsys.readouterr().err


def test_gaps_of_the_starter_are_none(config):
    assert gaps(config, "2026-11-23", 14) == "0 gaps in 40 periods and 2 rooms\n"


def test_gaps_are_listed_with_who_is_notified_instead(config):
    absence = (
        '[[override]]\nshift = "hall-1"\nstart = 2026-09-08T11:00:00\nend = 2026-09-08T12:00:00\n'
        'remove = "monitor-1"\n'
    )
    config.write_text(STARTER + absence)
    assert gaps(config, "2026-09-08", 1) == (
        "Tue 2026-09-08 11:00-11:45 period lunch, N2-boys: nobody of hall for smoke, vape;"
        " notified instead: building lead (ap-north)\n"
        "Tue 2026-09-08 11:00-11:45 period lunch, N2-girls: nobody of hall for smoke, vape;"
        " notified instead: building lead (ap-north)\n"
        "2 gaps in 5 periods and 2 rooms\n"
    )
    first, _ = map(json.loads, gaps(config, "2026-09-08", 1, "--json").splitlines())
    assert [*first][:4] == ["room", "start", "end", "period"]
    assert (first["start"], first["instead"]) == ("2026-09-08T15:00:00+00:00", ["ap-north"])


def test_without_bells_there_is_nothing_to_look_at(config):
    config.write_text(STARTER[: STARTER.index("# Who is notified of what")])
    assert "no [[bells]]" in gaps(config, "2026-09-08", 1)


def test_a_configuration_with_faults(config, capsys):
    config.write_text("site = 1")
    assert ask(config, "kind=vape")[0] == 2
    assert plumewatch("routes", "gaps", "--config", config).code == 2
    assert "site" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("severity", "times"),
    [("info", [0, 360, 720]), ("warning", [0, 90, 180]), ("critical", [0, 45, 90])],
)
def test_when_follows_from_the_severity(config, severity, times):
    _, output = ask(config, "room=N2-boys", "kind=vape", f"severity={severity}", as_json=True)
    assert [ring["after_s"] for ring in json.loads(output)["rings"]] == times


def test_check_warns_of_gaps_to_come(config):
    (found,) = check_duty(load(config), NOW)
    assert (found.part, found.state) == ("duty", State.OK)
    text = STARTER.replace('people = ["monitor-1"]', 'people = ["monitor-1"]\nlast = 2020-01-01')
    config.write_text(text)
    (found,) = check_duty(load(config), NOW)
    assert found.state is State.WARNING
    assert "in 2 rooms; first" in found.sentence


@pytest.mark.parametrize("role", ["analyst", "helpdesk"])
def test_check_names_people_on_duty_who_may_not_respond(config, role):
    config.write_text(STARTER.replace('id = "monitor-1"', f'id = "monitor-1"\nrole = "{role}"'))
    found, _ = check_duty(load(config), NOW)
    assert (found.part, found.state) == ("duty", State.WARNING)
    assert found.sentence == "monitor-1: on duty, but their role may not respond to incidents"


QUIET = 'quiet_hours = [{{ start = "10:00", end = "12:00", then = "{then}" }}]'


@pytest.mark.parametrize(("then", "message"), [("divert", "skipped"), ("hold", "notified then")])
def test_quiet_hours_count(config, then, message):
    """Monitors have quiet hours: the lead is paged at once, and that is a gap."""
    text = STARTER
    for name in ("monitor-1", "monitor-2"):
        staff = f'[[staff]]\nid = "{name}"\n'
        assert staff in text
        text = text.replace(staff, staff + QUIET.format(then=then) + "\n")
    config.write_text(text)
    _, printed = ask(config, "room=N2-boys", "kind=vape")
    assert f"2 until 11:00, here; quiet hours until Mon 12:00, {message}\n" in printed
    assert "\n3. building lead, at once\n" in printed
    _, critical = ask(config, "room=N2-boys", "kind=smoke", "severity=critical")
    assert "quiet" not in critical
    found = gaps(config, "2026-09-08", 1)
    assert "nobody of hall for vape; in quiet hours: monitor-" in found
