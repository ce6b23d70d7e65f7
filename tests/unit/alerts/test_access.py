"""Test passwords, sessions and limits, without the staff page."""

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from alerts.access import sessions
from alerts.access.limits import AttemptLimit, Limits
from alerts.access.passwords import Hasher, find_fault
from alerts.access.roles import RIGHTS, Right, list_roles_with
from plumewatch.config.sections.staff import StaffConfig

pytestmark = pytest.mark.attack

CHEAP = Hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("seven blue kettles", ""),
        ("käsekuchen mit kirschen", ""),
        ("", "at least 12"),
        ("eleven char", "at least 12"),
        ("x" * 129, "at most 128"),
        ("abababababababab", "different"),
        ("password-1234", "password"),
        ("Ms.Leeson-2026", "leeson"),
        ("lincoln-lincoln", "lincoln"),
        ("  seven blue  ", "at least 12"),
    ],
)
def test_what_is_taken_as_a_password(password, message):
    fault = find_fault(password, ("lee", "Ms. Ms.Leeson", "Lincoln High"))
    assert message in fault
    assert bool(fault) is bool(message)


def test_the_hash_is_argon2id_with_64_mib_and_never_the_password():
    hasher = Hasher()
    kept = hasher.hash("seven blue kettles")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert "kettles" not in kept
    assert hasher.verify(kept, "seven blue kettles")
    assert not hasher.verify(kept, "seven blue kettle")


def test_a_guess_for_nobody_is_computed_as_for_anybody():
    class Spy(PasswordHasher):
        def verify(self, kept, password):
            with pytest.raises(VerifyMismatchError):  # not InvalidHashError, which costs nothing
                super().verify(kept, password)
            raise VerifyMismatchError

    assert not Hasher(Spy(time_cost=1, memory_cost=8, parallelism=1)).verify(None, "seven")


def test_the_same_text_in_another_encoding_is_the_same_password():
    assert CHEAP.verify(CHEAP.hash("caf\u00e9 with twelve"), "cafe\u0301 with twelve")


def test_sessions_are_unguessable_hashed_bound_and_end(tx):
    identity = sessions.start(tx, "lee", 0.0, 100.0)
    assert len(identity) >= 43
    assert b"lee" in tx.serialize()
    assert identity.encode() not in tx.serialize()
    assert sessions.find(tx, identity, 99.0).person == "lee"
    assert sessions.find(tx, identity, 100.0) is None
    assert sessions.find(tx, identity + "x", 1.0) is None
    assert sessions.find(tx, "", 1.0) is None
    assert sessions.make_form_token(identity) != sessions.make_form_token(identity[:-1] + "!")
    assert identity not in sessions.make_form_token(identity)
    sessions.end(tx, identity)
    assert sessions.find(tx, identity, 1.0) is None


def test_sessions_of_one_person_are_bounded_and_over_ones_leave(tx):
    first = sessions.start(tx, "lee", 0.0, 100.0)
    others = sessions.start(tx, "fox", 0.0, 100.0)
    later = [sessions.start(tx, "lee", 1.0 + n, 100.0) for n in range(20)]
    assert sessions.find(tx, first, 30.0) is None
    assert sessions.find(tx, others, 30.0) is not None
    assert sessions.count_by_person(tx, 30.0) == {"lee": 20, "fox": 1}
    assert all(sessions.find(tx, identity, 30.0) for identity in later)
    sessions.start(tx, "fox", 500.0, 100.0)
    assert sessions.count_by_person(tx, 0.0) == {"fox": 1}


def test_all_addresses_together():
    limit = AttemptLimit()
    for n in range(60):
        assert limit.take(f"10.0.0.{n}", [f"a{n}"], 0.0) == 0.0
    assert limit.take("10.9.9.9", ["new"], 1.0) == 59.0


@pytest.mark.attack
def test_wrong_tries_on_an_account_slow_others_down_but_lock_nobody_out():
    limit = AttemptLimit()
    for n in range(10):
        assert limit.take(f"10.0.0.{n}", ["lee"], 0.0) == 0.0
    tries = [limit.take("10.0.0.1", ["lee"], 1.0) for _ in range(3)]
    assert tries == [0.0, 0.0, 60.0]  # two a minute from each address, for password and code
    assert limit.take("10.9.9.9", ["lee"], 3.0) == 0.0
    assert limit.take("10.9.9.9", ["fox"], 4.0) == 0.0
    assert limit.take("10.0.0.1", ["lee"], 62.0) == 0.0


def test_where_somebody_has_signed_in_others_cannot_lock_them_out():
    limit = AttemptLimit()
    assert limit.take("10.0.0.1", ["lee"], 0.0) == 0.0
    limit.record_success("10.0.0.1", "lee")
    for n in range(60):
        limit.take(f"10.1.0.{n}", ["lee"], 1.0)
    for n in range(60):
        limit.take(f"10.2.0.{n}", [f"a{n}"], 1.0)
    assert limit.take("10.0.0.2", ["lee"], 2.0) > 0.0
    assert [limit.take("10.0.0.1", ["lee"], 2.0) for _ in range(6)] == [0.0] * 5 + [60.0]


def test_a_success_forgets_what_was_wrong_of_the_account_alone():
    limit = AttemptLimit()
    for _ in range(4):
        limit.take("10.0.0.1", ["lee"], 0.0)
    limit.take("10.0.0.1", ["fox"], 0.0)
    limit.record_success("10.0.0.1", "fox")
    assert limit.take("10.0.0.1", ["fox"], 0.0) == 0.0
    assert (
        limit.take("10.0.0.1", ["fox"], 0.0) > 0.0
    )  # a correct password does not reset the limit for other accounts


def test_a_clock_that_is_set_back_locks_nobody_out():
    limit, reads = AttemptLimit(), Limits().token_reads
    day = 86_400.0
    for n in range(60):
        limit.take(f"10.0.0.{n}", [f"a{n}"], day)
    for _ in range(5):
        limit.take("10.0.1.1", ["lee"], 2 * day)
    for n in range(1200):
        assert reads.take("token", day + n) == 0.0
    assert limit.take("10.0.2.1", ["fox"], 100.0) == 0.0
    assert [limit.take("10.0.1.1", "", 100.0) for _ in range(6)] == [0.0] * 5 + [60.0]
    assert reads.take("token", 100.0) == 0.0


def test_every_role_a_school_can_write_has_its_rights():
    assert set(RIGHTS) == set(StaffConfig.model_fields["role"].annotation.__args__)
    assert RIGHTS["analyst"] == frozenset({Right.INCIDENTS, Right.SUMMARY, Right.REPORTS})
    assert RIGHTS["helpdesk"] == frozenset({Right.SENSORS})
    assert RIGHTS["admin"] == frozenset(Right)
    assert list_roles_with(Right.ACCOUNTS) == "administrator"
    assert list_roles_with(Right.REPORTS) == "analyst and administrator"
