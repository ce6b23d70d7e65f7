"""What a silence may be, when it mutes, and that it stays on record."""

from __future__ import annotations

import sqlite3

import pytest

from alerts.errors import SilenceError
from alerts.incidents import silences
from storage.registry import Registry, Room

GOOD = {
    "matchers": ['floor="2"'],
    "owner": "lee",
    "reason": "painting",
    "starts_at": 1000.0,
    "ends_at": 2000.0,
    "now": 900.0,
}
DAY = 86_400.0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"matchers": []}, ["matchers"]),
        ({"matchers": ["floor"]}, ["matchers"]),
        ({"matchers": ['flor="2"']}, ["matchers", "end"]),
        ({"matchers": ['room=~".*"']}, ["matchers"]),
        ({"matchers": ['room="a"'] * 9}, ["matchers"]),
        ({"owner": " "}, ["owner"]),
        ({"reason": ""}, ["reason"]),
        ({"reason": "x" * 201}, ["reason"]),
        ({"ends_at": 1000.0}, ["end"]),
        ({"ends_at": 800.0, "starts_at": 100.0}, ["end"]),
        ({"ends_at": 1000.0 + 14 * DAY + 1}, ["end"]),
        ({"matchers": ['kind="vape"'], "ends_at": 1000.0 + 5 * 3600}, ["end"]),
        ({"matchers": [], "owner": "", "reason": "", "ends_at": 0.0}, None),
    ],
)
def test_faults_are_named_all_at_once(tx, given, named):
    if given.get("ends_at") is None and given.get("matchers") == ['flor="2"']:
        given = {**given, "ends_at": 1000.0 + 5 * 3600}  # and it names no place
    with pytest.raises(SilenceError) as caught:
        silences.add(tx, **{**GOOD, **given})
    found = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert found == (named or ["matchers", "owner", "reason", "end"])
    assert silences.listed(tx, 0.0) == []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ends_at": 1000.0 + 14 * DAY},
        {"matchers": ['kind="offline"'], "ends_at": 1000.0 + 4 * 3600},
        {"matchers": ['kind=~"vape|smoke"', 'room!="n1"', 'floor="2"']},
    ],
)
def test_what_may_be(tx, given):
    made = silences.add(tx, **{**GOOD, **given})
    assert silences.listed(tx, 950.0) == [made]


@pytest.mark.parametrize(
    ("at", "labels", "muted"),
    [
        (999.9, {"floor": "2"}, False),
        (1000.0, {"floor": "2"}, True),
        (1999.9, {"floor": "2"}, True),
        (2000.0, {"floor": "2"}, False),
        (1500.0, {"floor": "3"}, False),
        (1500.0, {}, False),
    ],
)
def test_it_mutes_what_matches_from_start_until_before_its_end(tx, at, labels, muted):
    silences.add(tx, **GOOD)
    assert (silences.muting(tx, labels, at) is not None) is muted


def test_of_several_the_one_that_ends_last_is_named(tx):
    silences.add(tx, **GOOD)
    long = silences.add(tx, **{**GOOD, "ends_at": 5000.0})
    assert silences.muting(tx, {"floor": "2"}, 1500.0) == long


def test_one_that_was_ended_stays_on_record_with_who_did_it(tx):
    made = silences.add(tx, **GOOD)
    ended = silences.end(tx, made.id, "fox", 1200.0)
    assert (ended.ends_at, ended.ended_by, ended.state(1200.0)) == (1200.0, "fox", "expired")
    assert silences.end(tx, made.id, "lee", 1300.0) == ended
    assert silences.muting(tx, {"floor": "2"}, 1250.0) is None
    assert silences.listed(tx, 1200.0 + DAY - 1) == [ended]
    assert silences.listed(tx, 1200.0 + DAY) == []


def test_a_planned_one_that_is_called_off_never_mutes(tx):
    made = silences.add(tx, **GOOD)
    silences.end(tx, made.id, "fox", 950.0)
    assert silences.muting(tx, {"floor": "2"}, 1500.0) is None


def test_many_silences_do_not_slow_down_adding_one(tx):
    def add(site, number=1):
        for _ in range(number):
            silences.add(tx, **{**GOOD, "matchers": [f'room="{site}-1"']}, registry=registry)

    rooms = [Room(f"{s}-{n}", n, "2", "Main", s) for s in ("north", "south") for n in "12"]
    registry = Registry.of(rooms, [])
    add("north", silences.MOST)
    add("south")
    with pytest.raises(SilenceError, match="silences: there are 200 already, at most 200"):
        add("north")
    with pytest.raises(SilenceError, match="silences: there are 200 already, at most 200"):
        silences.add(tx, **GOOD, registry=registry)
    silences.end(tx, 1, "lee", 900.0)
    add("north")


def test_there_are_ten_times_as_many_silences_in_all(tx):
    for _ in range(silences.MOST_IN_ALL):
        tx.execute(
            "INSERT INTO silence (matchers, owner, reason, created_at, starts_at, ends_at)"
            " VALUES ('[\"room=x\"]', 'lee', 'painting', 900, 1000, 2000)"
        )
    with pytest.raises(SilenceError, match="silences: there are 2000 already, at most 2000"):
        silences.add(tx, **GOOD)


def test_there_is_no_such_silence(tx):
    with pytest.raises(SilenceError, match="no silence 7"):
        silences.end(tx, 7, "lee", 0.0)


def test_the_database_wants_an_owner_too(tx):
    with pytest.raises(sqlite3.IntegrityError):
        tx.execute(
            "INSERT INTO silence (matchers, owner, reason, created_at, starts_at, ends_at)"
            " VALUES ('[]', '', 'x', 0, 0, 1)"
        )
