from __future__ import annotations

import copy
import math
import re
import tomllib
from datetime import UTC, date, datetime
from datetime import time as dtime
from pathlib import Path

import pytest

import sensor_sim.scenarios.scenario as scenario_module
from sensor_sim.errors import ScenarioError
from sensor_sim.faults.at_sensor import Covered, Unplugged
from sensor_sim.faults.attacks import ATTACKS
from sensor_sim.faults.on_wire import GatewayOutage, Spoof
from sensor_sim.scenarios.scenario import load_scenario, parse_scenario
from sensor_sim.wire import ENCODERS

START = datetime(2026, 9, 14, tzinfo=UTC).timestamp()

WIRES_IN_ORDER = (
    "native",
    "tasmota",
    "esphome",
    "airgradient",
    "zigbee2mqtt",
    "chirpstack",
    "tts",
    "meraki",
)

GOOD = """
name = "Lincoln Middle School"
timezone = "America/New_York"
activity = "demo"

[bells]
first = "08:10"
last = "15:00"
lunch = ["11:30", "12:15"]
sports_days = ["mon", "fri"]

[rates]
vaping = 2.0
nuisances = 0.5

[[buildings]]
id = "main"
[[buildings.floors]]
id = "2"
[[buildings.floors.rooms]]
id = "main-2-boys"
volume_m3 = 35
devices = [
  { id = "main-2-boys-a", model = "sen55", wire = "tasmota", interval_s = 10 },
  { id = "main-2-boys-b", model = "gs601" },
]
[[buildings.floors.rooms]]
id = "main-2-staff"
use = "staff"
devices = [ { id = "main-2-staff-a", model = "pms5003" } ]
"""

ROOM = """
[[buildings]]
id = "b"
[[buildings.floors]]
id = "1"
[[buildings.floors.rooms]]
id = "r"
devices = [ {{ id = "s", model = "sen55" {device} }} ]
{room}
{more}
"""


def small(*, device="", room="", more=""):
    return ROOM.format(device=device, room=room, more=more)


def attack(kind, more=""):
    return small(more=f'[[attacks]]\nkind = "{kind}"\n{more}')


def faults_of(text):
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, START)
    return {f.path: f for f in caught.value.faults}


def test_a_good_file():
    scenario = parse_scenario(GOOD, START)
    school = scenario.school
    assert school.name == "Lincoln Middle School"
    assert school.utc_offset_s == -4 * 3600
    assert [r.id for r in school.restrooms] == ["main-2-boys", "main-2-staff"]
    assert [(d.id, d.model, d.wire, d.interval_s) for d in school.devices] == [
        ("main-2-boys-a", "sen55", "tasmota", 10),
        ("main-2-boys-b", "gs601", "chirpstack", 600),
        ("main-2-staff-a", "pms5003", "native", 1),
    ]
    assert school.restrooms[0].volume_m3 == 35
    assert school.restrooms[1].use == "staff"
    assert school.bells.first == pytest.approx(8 + 10 / 60)
    assert school.bells.sports_days == (0, 4)
    assert (scenario.vape_rate, scenario.nuisance_rate, scenario.activity) == (2.0, 0.5, "demo")


def test_winter_has_another_offset():
    winter = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert parse_scenario(GOOD, winter).school.utc_offset_s == -5 * 3600


def test_all_faults_at_once_each_with_path_value_and_what_is_allowed():
    faults = faults_of(
        """
name = ""
timezone = "Mars/Olympus"
extra = 1
activity = "wild"
[bells]
first = "25:00"
lunch = ["12:00", "11:00"]
sports_days = ["tue", "someday"]
[rates]
vaping = -1
[[buildings]]
id = "main building"
[[buildings.floors]]
id = "2"
[[buildings.floors.rooms]]
id = "r1"
volume_m3 = 3
use = "kitchen"
devices = [
  { id = "a", model = "sen56", interval_s = 0 },
  { id = "a", model = "gs601", wire = "tasmota" },
  { model = "sen55" },
]
[[buildings.floors.rooms]]
id = "r1"
devices = []
[[attacks]]
kind = "covered"
sensor = "b"
start = -3
end = "noon"
[[attacks]]
kind = "nuke"
[[attacks]]
sensor = "a"
"""
    )
    room = "buildings[0].floors[0].rooms"
    assert set(faults) == {
        "name",
        "timezone",
        "extra",
        "activity",
        "bells.first",
        "bells.lunch[1]",
        "bells.sports_days[1]",
        "rates.vaping",
        "buildings[0].id",
        f"{room}[0].volume_m3",
        f"{room}[0].use",
        f"{room}[0].devices[0].model",
        f"{room}[0].devices[0].interval_s",
        f"{room}[0].devices[1].id",
        f"{room}[0].devices[1].wire",
        f"{room}[0].devices[2].id",
        f"{room}[1].id",
        f"{room}[1].devices",
        "attacks[0].sensor",
        "attacks[0].start",
        "attacks[0].end",
        "attacks[1].kind",
        "attacks[2].kind",
    }
    assert (faults[f"{room}[0].volume_m3"].value, faults[f"{room}[0].volume_m3"].allowed) == (
        "3",
        "10 to 200, cubic metres",
    )
    assert "did you mean sen55" in faults[f"{room}[0].devices[0].model"].allowed
    assert "chirpstack" in faults[f"{room}[0].devices[1].wire"].allowed
    assert faults["extra"].value == "unknown key"
    assert faults[f"{room}[0].devices[2].id"].value == "missing"
    assert "garbage" in faults["attacks[1].kind"].allowed
    for fault in faults.values():
        assert fault.allowed
        assert "\n" not in str(fault)


def test_the_error_text_lists_them_all_with_the_file():
    with pytest.raises(ScenarioError, match=r"^school\.toml: 2 faults\n  name: '' ") as caught:
        parse_scenario('name = ""', START, source="school.toml")
    assert str(caught.value).count("\n") == 2


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("x =", "file"),
        ("[" * 5000, "file"),
        ("", "buildings"),
        ("buildings = 3", "buildings"),
        ("buildings = [3]", "buildings[0]"),
        (
            small(device=", interval_s = 1.5"),
            "buildings[0].floors[0].rooms[0].devices[0].interval_s",
        ),
        (
            small(device=", interval_s = 3601"),
            "buildings[0].floors[0].rooms[0].devices[0].interval_s",
        ),
        (small(room="volume_m3 = nan"), "buildings[0].floors[0].rooms[0].volume_m3"),
        (small(room='use = "Student"'), "buildings[0].floors[0].rooms[0].use"),
        (small(more="[bells]\nlast = 7"), "bells.last"),
        (small(more="[rates]\nhair_spray = 2"), "rates.hair_spray"),
        (attack("covered", 'sensor = "s"\nstart = 10\nend = 10'), "attacks[0].end"),
        (attack("covered", 'sensor = "s"\nstart = 10'), "attacks[0].end"),
        (attack("unplugged", 'sensor = "t"\nstart = 10'), "attacks[0].sensor"),
        (attack("replay", 'sensor = "s"\nstart = 1\nend = 9\nat = 8'), "attacks[0].at"),
        (attack("flood", "start = 1\nrate_hz = 0"), "attacks[0].rate_hz"),
        (attack("garbage", 'sensor = "s"\nstart = inf'), "attacks[0].start"),
        (attack("blown_at", 'sensor = "s"\nstart = true'), "attacks[0].start"),
        (attack("spoof", 'sensor = "s"\nstart = 2020-01-01'), "attacks[0].start"),
        (
            attack("gateway_outage", 'sensors = ["s", "t"]\nstart = 1\nend = 2'),
            "attacks[0].sensors[1]",
        ),
        (
            attack("clock_jump", 'sensor = "s"\nstart = 2001-01-01T00:00:00Z\nend = 5'),
            "attacks[0].start",
        ),
    ],
)
def test_one_fault_is_found_where_it_is(text, path):
    assert path in faults_of(text)
    assert len(faults_of(text)) == 1


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_attack_can_be_written_and_becomes_one(kind):
    more = {
        "covered": 'sensor = "s"\nstart = 5\nend = 60',
        "blown_at": 'sensor = "s"\nstart = 5',
        "unplugged": 'sensor = "s"\nstart = 5',
        "ripped_off": 'sensor = "s"\nstart = 5',
        "clock_jump": 'sensor = "s"\nstart = 5\nend = 60\noffset_s = -30',
        "gateway_outage": "start = 5\nend = 60",
        "replay": 'sensor = "s"\nstart = 5\nend = 60\nat = 60',
        "spoof": 'sensor = "s"\nstart = 5',
        "flood": "start = 5",
        "garbage": 'sensor = "s"\nstart = 5',
    }[kind]
    scenario = parse_scenario(attack(kind, more), START)
    both = (*scenario.trace_attacks(START, 7), *scenario.message_attacks(START, 7))
    (made,) = both
    assert type(made) is ATTACKS[kind]
    assert made.start == START + 5


def test_times_of_attacks_are_seconds_or_moments():
    text = small(
        more="""
[[attacks]]
kind = "covered"
sensor = "s"
start = 90.5
end = 2026-09-14T02:00:00-04:00
[[attacks]]
kind = "unplugged"
sensor = "s"
start = 2026-09-14T01:00:00
"""
    )
    covered, unplugged = parse_scenario(text, START).trace_attacks(START, 3)
    assert isinstance(covered, Covered)
    assert isinstance(unplugged, Unplugged)
    assert (covered.start, covered.end, covered.seed) == (START + 90.5, START + 6 * 3600, 3)
    assert unplugged.start == START + 3600


def test_local_times_are_in_the_schools_zone():
    more = 'timezone = "America/New_York"\n' + small(
        more='[[attacks]]\nkind = "blown_at"\nsensor = "s"\nstart = 2026-09-14T09:00:00'
    )
    (blown,) = parse_scenario(more, START).trace_attacks(START, 1)
    assert blown.start == datetime(2026, 9, 14, 13, tzinfo=UTC).timestamp()


def test_attacks_on_the_wire_move_with_the_wire_and_speak_the_victims_format():
    text = attack("spoof", 'sensor = "s"\nstart = 5')
    text += '\n[[attacks]]\nkind = "gateway_outage"\nstart = 1\nend = 2\n'
    spoof, outage = parse_scenario(text, START).message_attacks(START, 1, offset_s=1000.0)
    assert isinstance(spoof, Spoof)
    assert isinstance(outage, GatewayOutage)
    assert (spoof.start, outage.end) == (START + 1005, START + 1002)
    assert (spoof.wire, spoof.model) == ("native", "sen55")


def test_files(tmp_path):
    good = tmp_path / "school.toml"
    good.write_text(GOOD)
    assert load_scenario(good, START).school.name == "Lincoln Middle School"
    with pytest.raises(ScenarioError, match="no such file"):
        load_scenario(tmp_path / "none.toml", START)
    with pytest.raises(ScenarioError, match="is a directory"):
        load_scenario(tmp_path, START)
    good.write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"byte 0 .*UTF-8"):
        load_scenario(good, START)


def test_the_page_about_scenarios_is_true():
    page = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    scenario = parse_scenario(example, START)
    assert len(scenario.attacks) == 2
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == ["wire", *WIRES_IN_ORDER, "kind", *ATTACKS]
    assert set(WIRES_IN_ORDER) == set(ENCODERS)
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(
            example.replace("America/New_York", "Mars/Olympus").replace("= 35 ", "= 3 "),
            START,
            source="lincoln.toml",
        )
    assert f"```\n{caught.value}\n```" in page


def places(value, path=()):
    """All places of a nested value, containers too."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, child in children:
            yield from (
                places(child, (*path, key)) if isinstance(child, dict | list) else [(*path, key)]
            )


def replaced(value, path, new):
    copied = copy.deepcopy(value)
    here = copied
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = new
    return copied


WEIRD = (
    None,
    True,
    -1,
    0,
    10**400,
    math.nan,
    -math.inf,
    "",
    "x" * 10_000,
    "\x00",
    "é/#+",
    [],
    [[]],
    [None],
    {},
    {"id": 3},
    {"kind": []},
    [{"kind": "covered"}],
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59),  # noqa: DTZ001 - a local time is what is tried
    date(2026, 9, 14),
    dtime(8, 30),
)


def faults_or_school(raw):
    try:
        scenario = scenario_module._checked(raw, START, "x")
    except ScenarioError as error:
        return error.faults
    scenario.trace_attacks(START, 1)
    scenario.message_attacks(START, 1)
    return scenario.school


@pytest.mark.parametrize("weird", WEIRD, ids=lambda v: repr(v)[:30])
def test_any_value_anywhere_gives_a_school_or_a_list_of_faults(weird):
    covered = '[[attacks]]\nkind = "covered"\nsensor = "main-2-boys-a"\nstart = 5\nend = 60\n'
    outage = '[[attacks]]\nkind = "gateway_outage"\nsensors = ["main-2-boys-a"]\nstart = 1\nend = 2'
    raw = tomllib.loads(GOOD + covered + outage)
    assert faults_or_school(raw).devices
    for path in places(raw):
        found = faults_or_school(replaced(raw, path, weird))
        if isinstance(found, tuple):
            assert found
            assert all(f.path and f.allowed and len(str(f)) < 1000 for f in found)
        else:
            assert found.devices
