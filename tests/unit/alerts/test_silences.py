"""Test which silences are allowed, when they mute, and that they are recorded."""

from __future__ import annotations

import sqlite3

import pytest

from alerts.errors import SilenceError
from alerts.incidents import silences
from alerts.incidents.repository import find_silence
from storage.registry import Registry, Room, Sensor

GOOD = {
    "labels": {"floor": "2"},
    "owner": "lee",
    "reason": "painting",
    "starts_at": 1000.0,
    "ends_at": 2000.0,
    "now": 900.0,
}
HOUR, DAY = 3600.0, 86_400.0


def faults(tx, **given):
    with pytest.raises(SilenceError) as caught:
        silences.add(tx, **{**GOOD, **given})
    return [line.partition(":")[0] for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"labels": {}}, ["place"]),
        ({"reason": " "}, ["reason"]),
        ({"reason": "x" * 201}, ["reason"]),
        ({"ends_at": 1000.0}, ["end"]),
        ({"ends_at": 800.0, "starts_at": 100.0}, ["end"]),
        ({"ends_at": 1000.0 + 14 * DAY + 1}, ["end"]),
        ({"labels": {"kind": "vape"}, "ends_at": 1000.0 + 4 * HOUR + 1}, ["end"]),
        ({"labels": {}, "reason": "", "ends_at": 0.0}, ["place", "reason", "end"]),
    ],
)
def test_faults_are_named_all_at_once(tx, given, named):
    assert faults(tx, **given) == named
    assert silences.list_recent(tx, 0.0) == []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ends_at": 1000.0 + 14 * DAY},
        {"labels": {"kind": "offline"}, "ends_at": 1000.0 + 4 * HOUR},
    ],
)
def test_what_may_be(tx, given):
    made = silences.add(tx, **{**GOOD, **given})
    assert silences.list_recent(tx, 950.0) == [made]


@pytest.mark.parametrize(
    ("at", "labels", "muted"),
    [
        (999.9, {"floor": "2"}, False),
        (1000.0, {"floor": "2", "kind": "vape"}, True),
        (1999.9, {"floor": "2"}, True),
        (2000.0, {"floor": "2"}, False),
        (1500.0, {"floor": "3"}, False),
        (1500.0, {}, False),
    ],
)
def test_it_mutes_what_has_its_labels_from_start_until_before_its_end(tx, at, labels, muted):
    silences.add(tx, **GOOD)
    assert (find_silence(tx, labels, at) is not None) is muted


def test_one_that_was_ended_stays_on_record_with_who_did_it(tx):
    made = silences.add(tx, **GOOD)
    ended = silences.end(tx, made.id, "fox", 1200.0)
    assert (ended.ends_at, ended.ended_by, ended.find_state(1200.0)) == (1200.0, "fox", "expired")
    assert silences.end(tx, made.id, "lee", 1300.0) == ended
    assert find_silence(tx, {"floor": "2"}, 1250.0) is None
    assert silences.list_recent(tx, 1200.0 + DAY - 1) == [ended]
    assert silences.list_current(tx, 1200.0) == []
    assert silences.list_recent(tx, 1200.0 + DAY) == []


FIVE = Registry.build(
    [Room(f"r{n}", n, "2", "Main", "") for n in "12345"],
    [Sensor(f"s{n}", f"r{n}") for n in "12345"],
)


def rooms(tx, *numbers, admin=False, **given):
    """Silence rooms one after another."""
    for n in numbers:
        changed = {**GOOD, "labels": {"room": f"r{n}"}, **given}
        silences.add(tx, **changed, registry=FIVE, is_admin=admin)


def test_silences_of_rooms_that_add_up_to_the_school_are_for_administrators(tx):
    rooms(tx, 1, 2, 3)
    with pytest.raises(SilenceError, match="place: together with"):
        rooms(tx, 4)
    rooms(tx, 4, starts_at=2000.0, ends_at=3000.0)  # not at the same time
    rooms(tx, 4, admin=True)
    with pytest.raises(SilenceError, match="for more than 4 hours"):
        rooms(tx, 5, admin=True, ends_at=1000.0 + 5 * HOUR)


def test_a_room_may_be_silenced_for_longer_than_the_whole_school(tx):
    silences.add(tx, **{**GOOD, "labels": {"building": "Main"}}, registry=FIVE, is_admin=True)
    rooms(tx, 1, admin=True, ends_at=1000.0 + 3 * DAY)


@pytest.mark.attack
@pytest.mark.parametrize("gap_s", [0.0, -DAY, HOUR - 1])
def test_silences_that_follow_each_other_mute_no_room_for_longer_than_one(tx, gap_s):
    first_end = 1000.0 + 8 * DAY
    rooms(tx, 1, ends_at=first_end)
    start = first_end + gap_s
    for labels in ({"room": "r1"}, {"building": "Main", "kind": "vape"}):
        with pytest.raises(SilenceError, match="14 days without a one-hour break"):
            rooms(tx, 1, admin=True, labels=labels, starts_at=start, ends_at=start + 8 * DAY)
    rooms(tx, 1, starts_at=start, ends_at=1000.0 + 14 * DAY)
    rooms(tx, 2, starts_at=start, ends_at=start + 8 * DAY)
    rooms(tx, 1, starts_at=1000.0 + 14 * DAY + HOUR, ends_at=1000.0 + 28 * DAY)


def test_a_person_may_have_many_silences_but_not_any_number(tx):
    for _ in range(silences.MAX_ACTIVE):
        made = silences.add(tx, **GOOD)
    assert faults(tx) == ["silences"]
    silences.add(tx, **{**GOOD, "owner": "fox"})
    silences.end(tx, made.id, "lee", 900.0)
    silences.add(tx, **GOOD)


def test_the_database_wants_an_owner_too(tx):
    with pytest.raises(sqlite3.IntegrityError):
        tx.execute(
            "INSERT INTO silence (labels, owner, reason, created_at, starts_at, ends_at)"
            " VALUES ('{}', '', 'x', 0, 0, 1)"
        )


@pytest.mark.attack
def test_a_mute_longer_than_allowed_in_a_restored_database_mutes_nothing(tx, engine, make_event):
    tx.execute("INSERT INTO cooldown VALUES ('vape', 'n2-boys', 1e12, 'critical')")
    tx.execute(
        "INSERT INTO silence (labels, owner, reason, created_at, starts_at, ends_at)"
        """ VALUES ('{"room": "n2-boys"}', 'ad', 'x', 0, 0, 1e11)"""
    )
    assert len(engine.on_events(tx, [make_event(1000.0)], 1000.0)) == 1
