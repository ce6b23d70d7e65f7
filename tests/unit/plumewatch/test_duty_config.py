"""Test routing and duty in the configuration: all faults at once, each with its path."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from plumewatch.config.faults import ConfigError
from plumewatch.config.load import parse
from tests.support.config_entries import entry

BASE = (
    'site = "Northfield"\ntimezone = "America/New_York"\n'
    + entry("room", id="N2", name="Boys", building="North", floor="2")
    + entry("room", id="G1", name="Locker room", building="Gym")
    + entry("sensor", id="s1", room="N2")
    + entry("sensor", id="s2", room="G1")
    + entry("staff", id="kim", name="Kim")
    + entry("staff", id="lopez", name="Ms Lopez")
    + entry("staff", id="fix", name="Facilities", role="facilities")
)
LATE = 'periods = [{ name = "late", start = "11:00", end = "12:00" }]'
FALL = '[[term]]\nname = "Fall"\nfirst = 2026-08-24\nlast = 2026-12-18\n'
SPRING = '[[term]]\nname = "Spring"\nfirst = 2027-01-05\nlast = 2027-06-11\n'
GOOD = """
[routing]
receiver = "hall"
[[routing.routes]]
matchers = ['kind=~"tamper|offline"']
receiver = "facilities"
[[receiver]]
id = "hall"
leads = { North = ["kim"] }
catch_all = ["kim"]
[[zone]]
id = "north-2"
building = "North"
floor = "2"
next = ["gym"]
[[zone]]
id = "gym"
building = "Gym"
[[bells]]
id = "regular"
days = ["mon", "tue"]
periods = [
  { name = "1", start = "08:00", end = "09:00" },
  { name = "2", start = "09:00", end = "10:00" },
]
[[holiday]]
name = "Labor Day"
first = 2026-09-07
[[shift]]
id = "day"
receiver = "hall"
people = ["lopez"]
zones = ["north-2"]
periods = ["*"]
[[override]]
shift = "day"
start = 2026-09-08T08:00:00
end = 2026-09-08T09:00:00
remove = "lopez"
add = "kim"
"""


def written(text, base=BASE, folder=Path()):
    return parse(tomllib.loads(base + text), base=folder)


def faults(text, **more):
    with pytest.raises(ConfigError) as caught:
        written(text, **more)
    return [f"{fault.path}: {fault.value}: {fault.allowed}" for fault in caught.value.faults]


def changed(*pairs):
    text = GOOD
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_a_valid_configuration_becomes_a_roster():
    roster = written(GOOD).build_roster()
    assert [shift.id for shift in roster.shifts] == ["day"]
    assert roster.receivers["hall"].leads == {"North": ("kim",)}
    assert roster.receivers["facilities"].people == ("fix",)
    (timetable,) = roster.timetables.values()
    assert len(timetable.holidays) == 1


def test_without_routing_each_role_is_a_receiver():
    roster = written("").build_roster()
    assert roster.receivers["staff"].people == ("kim", "lopez")
    assert [node.receiver for node in roster.match_routes({"kind": "tamper"})] == ["facilities"]


def test_a_role_with_shifts_is_notified_by_shift():
    shift = (
        '[[shift]]\nid = "s"\nreceiver = "staff"\npeople = ["kim"]\nstart = "08:00"\nend = "16:00"'
    )
    receiver = written(shift).build_roster().receivers["staff"]
    assert (receiver.people, receiver.catch_all) == ((), ("kim", "lopez"))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('\nreceiver = "hall"\n[[routing', "\n[[routing"), "routing.receiver: missing: must name"),
        (("[routing]", '[routing]\nmatchers = ["kind=vape"]'), "routing.matchers: unknown key"),
        (
            ('receiver = "hall"\n[[routing', 'receiver = "hal"\n[[routing'),
            "'hal': must be the id of a [[receiver]] or a role: facilities, hall, staff",
        ),
        (('receiver = "facilities"', 'receiver = "nurse"'), "routing.routes.0.receiver: 'nurse'"),
        (("'kind=~\"tamper|offline\"'", "'kind=~\"(\"'"), "routing.routes.0.matchers.0: 'kind=~"),
        (("'kind=~\"tamper|offline\"'", "''"), "must have at least one condition"),
        (
            ("'kind=~\"tamper|offline\"'", "'knd=tamper'"),
            "routing.routes.0.matchers.0: 'knd': must",
        ),
        (("'kind=~\"tamper|offline\"'", "'kind=vap'"), 'routing.routes.0: kind="vap" to'),
        (('leads = { North = ["kim"] }', 'leads = { Nort = ["kim"] }'), "receiver.0.leads: 'Nort'"),
        (('catch_all = ["kim"]', ""), "receiver.0.catch_all: nobody: must name at least one"),
        (
            ('catch_all = ["kim"]', 'people = ["kim"]'),
            "receiver.0.people: given together with a [[shift]]",
        ),
        (("[[zone]]", '[[receiver]]\nid = "x"\npeople = ["kim"]\n[[zone]]'), "none leads to it"),
        (("[[zone]]", '[[receiver]]\nid = "x"\n[[zone]]'), "receiver.1.people: nobody"),
        (('next = ["gym"]', 'next = ["gim"]'), "zone.0.next: 'gim': must be the id of another"),
        (('building = "Gym"', 'building = "Gim"'), "zone: room 'G1': must be in a [[zone]]"),
        (('building = "Gym"\n', 'building = "North"\nfloor = "2"\n'), "must not be the same place"),
        (('days = ["mon", "tue"]', 'days = ["mon"]\ndates = [2026-09-09]'), "both or neither"),
        (
            ('start = "08:00", end = "09:00"', 'start = "09:00", end = "09:00"'),
            "start before it ends",
        ),
        (
            ('end = "10:00"', 'end = "24:01"'),
            "bells.0.periods.1.end: '24:01': must be a time from 00:00 to 24:00",
        ),
        (('name = "2"', 'name = "1"'), "bells.0.periods.1.name: '1': must be unique"),
        (
            ("first = 2026-09-07", "first = 2026-09-07\nlast = 2026-09-06"),
            "must not be before first",
        ),
        (("first = 2026-09-07", "first = 2026-09-07\nlast = 2028-09-06"), "at most 366 days"),
        (('receiver = "hall"\npeople', 'receiver = "hal"\npeople'), "shift.0.receiver: 'hal'"),
        (('people = ["lopez"]', "people = []"), "shift.0.people: nobody: must name at least one"),
        (
            ('zones = ["north-2"]', 'zones = ["north"]'),
            "shift.0.zones: 'north': must be the id of a",
        ),
        (('periods = ["*"]', 'periods = ["1", "9"]'), "shift.0.periods: '9': must be a period"),
        (('periods = ["*"]', ""), "shift.0: no hours: must have either periods, or start and"),
        (
            ('periods = ["*"]', 'periods = ["*"]\nstart = "08:00"\nend = "09:00"'),
            "shift.0: periods, and start or end: must have either periods, or start and end",
        ),
        (('periods = ["*"]', 'start = "08:00"'), "shift.0: one of start and end: both"),
        (('periods = ["*"]', 'periods = ["*"]\non_holidays = true'), "shift.0.on_holidays"),
        (
            ('shift = "day"', 'shift = "dya"'),
            "override.0.shift: 'dya': must be the id of a [[shift]]",
        ),
        (('add = "kim"', 'add = "lopez"'), "must be someone other than remove"),
        (
            ('remove = "lopez"\nadd = "kim"', 'remove = "kim"'),
            "override.0.remove: 'kim': must be in the shift: lopez",
        ),
        (('remove = "lopez"\nadd = "kim"', ""), "override.0: neither add nor remove"),
        (("end = 2026-09-08T09:00:00", "end = 2026-09-08T08:00:00"), "override.0.end"),
        (("end = 2026-09-08T09:00:00", "end = 2026-09-08T07:30:00-07:00"), None),
        (('periods = ["*"]', 'start = "08:00"\nend = "10:00"'), None),
        (
            (
                "[[holiday]]",
                f'[[bells]]\nid = "half"\ndates = [2026-09-09]\n{LATE}\n[[holiday]]',
            ),
            None,
        ),
        (
            (
                "[[holiday]]",
                f'[[bells]]\nid = "half"\ndays = ["tue"]\n{LATE.replace("late", "2")}\n[[holiday]]',
            ),
            "is also on tue in [[bells]] regular",
        ),
        (("[[holiday]]", f"{FALL}{SPRING}[[holiday]]"), None),
        (
            ("[[holiday]]", f"{FALL}{SPRING.replace('Spring', 'Fall')}[[holiday]]"),
            "term.1.name: 'Fall': must differ from [[term]] number 1: name",
        ),
        (
            ("[[holiday]]", f"{FALL}{SPRING.replace('2027-01-05', '2026-12-18')}[[holiday]]"),
            "term.1: 2026-12-18 to 2027-06-11: must not overlap [[term]] Fall",
        ),
        (
            ("[[holiday]]", f"{FALL.replace('2026-12-18', '2026-08-01')}[[holiday]]"),
            "term.0.last: 2026-08-01: must not be before first, 2026-08-24",
        ),
    ],
)
def test_one_fault(change, fault):
    text = changed(change)
    if fault is None:
        written(text)
    else:
        found = faults(text)
        assert any(fault in line for line in found), found


@pytest.mark.parametrize(
    "matcher",
    [
        "sensor=s2",
        "room=G1",
        "room_type=restroom",
        "site=Northfield",
        "severity=critical",
        'building=""',
    ],
)
def test_routes_by_every_label_are_reachable(matcher):
    written(f"[routing]\nreceiver = \"staff\"\n[[routing.routes]]\nmatchers = ['{matcher}']\n")


def test_an_unknown_time_zone_hides_no_other_fault():
    base = BASE.replace("America/New_York", "Mars/Olympus")
    found = faults(changed(('add = "kim"', 'add = "x"')), base=base)
    assert {line.split(":")[0] for line in found} == {"timezone", "override.0.add"}
