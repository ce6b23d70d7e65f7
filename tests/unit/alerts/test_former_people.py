"""Test that a reused id inherits nothing from its former owner."""

import json
import time
from functools import partial

import pytest

from alerts.access import api_tokens, own_channels, passwords, sessions
from alerts.access.directory import DirectoryPerson, save_person
from alerts.access.former_people import remove_former
from alerts.access.own_channels import ChannelKind
from alerts.policy import StaffMember
from plumewatch.config.load import load
from plumewatch.service.data_folder import RETENTION_CLOCK
from storage import audit
from storage.journal import read_number, restore_snapshot
from storage.sqlite import transaction
from tests.support.broker import free_port
from tests.support.config_entries import entry, one_room
from tests.support.in_process import running, state_database
from tests.support.waiting import until

pytestmark = pytest.mark.attack

HOUR = 3600.0
NOW = 1_790_000_000.0
ONE_ROOM = one_room("s1") + entry("staff", id="ap", name="AP")
TABLES = (
    *("staff_password", "staff_totp", "staff_recovery", "api_token", "own_channel"),
    *("staff_session", "invite"),
)


def lee(name="Lee", email=""):
    return [StaffMember("lee", name, email=email)]


def give_all(tx, person):
    """Give a person every kind of sign-in and notification data."""
    passwords.store_hash(tx, person, "hash", NOW)
    tx.execute("INSERT INTO staff_totp VALUES (?, 'secret', ?, 0)", (person, NOW))
    api_tokens.make(tx, "screen", person, [api_tokens.Scope.READ], by="ad", days=9, now=NOW)
    own_channels.add(tx, person, ChannelKind.PUSH, ("topic", "", ""), "phone", NOW)
    sessions.start(tx, person, NOW, 9 * 86_400.0)
    tx.execute("INSERT INTO staff_recovery VALUES (?, ?)", (person.encode(), person))
    passwords.make_invite(tx, person, NOW)


def list_left(db, person):
    found = (f"SELECT '{table}' FROM {table} WHERE person = ?1" for table in TABLES)  # noqa: S608
    return db.execute(" UNION ".join(found), (person,)).fetchall()


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        pytest.param([(HOUR, lee())], True, id="the same person"),
        pytest.param([(HOUR, []), (90 * HOUR, [])], False, id="gone"),
        pytest.param([(HOUR, []), (90 * HOUR, lee())], False, id="somebody of that id, days later"),
        pytest.param([(HOUR, []), (2 * HOUR, lee())], True, id="missing for an hour"),
        pytest.param([(HOUR, []), (2 * HOUR, lee("Kim"))], False, id="another, an hour later"),
        pytest.param([(HOUR, lee("Ms. Lee"))], True, id="a corrected name"),
        pytest.param([(HOUR, lee("Ms. Lee", "lee@x.org"))], True, id="a first address"),
        pytest.param([(HOUR, lee("Kim"))], False, id="another, in one edit"),
        pytest.param([(HOUR, lee("Kim", "kim@x.org"))], False, id="another, with an address"),
    ],
)
def test_what_a_person_has_ends_with_their_id(tx, later, is_kept):
    remove_former(tx, lee(), NOW)
    give_all(tx, "lee")
    for after, staff in later:
        remove_former(tx, staff, NOW + after)
    assert bool(list_left(tx, "lee")) is is_kept


@pytest.mark.parametrize(
    ("name", "email", "is_kept"),
    [
        ("Lee-Park", "Lee@x.org", True),
        ("Lee", "lee.park@x.org", True),
        ("Kim", "kim@x.org", False),
    ],
)
def test_an_id_that_passes_on_in_one_change(tx, name, email, is_kept):
    remove_former(tx, lee(email="lee@x.org"), NOW)
    give_all(tx, "lee")
    assert remove_former(tx, lee(name, email), NOW + HOUR) == ["lee"] * (not is_kept)
    assert bool(list_left(tx, "lee")) is is_kept


@pytest.mark.parametrize(
    ("before", "after", "is_kept"),
    [
        ("Jon Rivera", "John Rivera", True),
        ("J. Rivera", "Jo Rivera", True),
        ("Rivera", "RIVERA, J.", True),
        ("Assistant principal", "Asst. principal, North", True),
        ("J. Rivera", "M. Rivera", False),
        ("Assistant principal Smith", "Assistant principal Jones", False),
        ("Custodian 1", "Custodian 2", False),
        ("李明", "王芳", False),
        ("Custodian", "!", False),
    ],
)
def test_without_an_address_a_corrected_name_is_told_from_another(tx, before, after, is_kept):
    remove_former(tx, lee(before), NOW)
    give_all(tx, "lee")
    remove_former(tx, lee(after), NOW + HOUR)
    assert bool(list_left(tx, "lee")) is is_kept


async def test_at_each_start_the_people_of_the_configuration_count(tmp_path):
    path, table = tmp_path / "plumewatch.toml", tmp_path / "people.csv"
    ports = f"[broker]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    path.write_text(ONE_ROOM + ports)
    both = "id,name\nlee,Lee\n"
    for days, people, is_kept in (
        (0, both, True),
        (0.1, None, True),
        (0.2, both, True),
        (1, "id,name\n", True),
        (9, both, False),
    ):
        table.unlink(missing_ok=True)
        if people is not None:
            table.write_text(people)
        at = time.time() + days * 86_400.0
        async with running(load(path), clock=lambda at=at: at) as service:
            with state_database(service) as db, transaction(db) as tx:
                if not days:
                    give_all(tx, "lee")
                    give_all(tx, "ap")
            with state_database(service) as db:
                met = partial(has, db, bool(people) and "lee" in people, is_kept)
                await until(met)
                assert list_left(db, "ap")


PROVIDER = """
[sign_in]
issuer = "https://id.example"
client_id = "us"
client_secret_file = "secret"
groups_claim = "groups"
[[sign_in.group]]
group = "pw"
role = "staff"
[[staff]]
id = "ad"
name = "Admin"
role = "admin"
"""


@pytest.mark.parametrize("ahead_s", [0.0, 100 * 86_400.0])
async def test_who_has_not_signed_in_for_too_long_is_removed(tmp_path, ahead_s):
    path, away, here = tmp_path / "plumewatch.toml", "away@x.org", "here@x.org"
    (tmp_path / "secret").write_text("secret")
    web = f'[web]\nport = {free_port()}\npublic_url = "https://plumewatch.example"\n'
    path.write_text(f"{ONE_ROOM}{PROVIDER}[broker]\nport = {free_port()}\n{web}")
    now, config = time.time(), load(path)
    async with running(config, clock=lambda: now) as service:
        with state_database(service) as db:
            await until(lambda: restore_snapshot(db, RETENTION_CLOCK, read_number))
            with transaction(db) as tx:
                for person, days in ((away, 91), (here, 89)):
                    seen = now - days * 86_400.0
                    save_person(tx, DirectoryPerson(person, person, ("pw",), seen))
                    give_all(tx, person)
    # a clock that is set ahead by mistake removes nobody else
    async with running(config, clock=lambda: now + ahead_s) as service:
        engine = service.alerting.engine
        await until(lambda: engine.policy.find_member(away) is None)
        assert away not in engine.policy.get_roster().everyone
        assert engine.policy.find_member(here)
        with state_database(service) as db:
            assert not list_left(db, away)
            assert list_left(db, here)
            details = [json.loads(entry.detail) for entry in audit.read_entries(db)]
            assert [one["person"] for one in details if one.get("what") == "removed"] == [away]


def has(db, is_seen, is_kept):
    """Return whether Lee's record and the data kept for Lee are as expected."""
    row = db.execute("SELECT gone_since FROM staff_seen WHERE person = 'lee'").fetchone()
    seen = row is not None and row["gone_since"] is None
    return (seen, bool(list_left(db, "lee"))) == (is_seen, is_kept)
