from __future__ import annotations

import copy
import pickle

import pytest

from alerts.errors import SecretError
from alerts.policy import PAGED, AlertPolicy, StaffMember
from alerts.secrets import Secret, find_channel, load_secret, make_target_id
from detection.events import EventKind


def first(policy, kind):
    """Return who is notified first."""
    return [c.person for c in policy.plan_rings({"kind": kind}, 0.0)[0].people]


def test_without_a_reachable_facilities_team_everyone_reachable_is_notified():
    target = (Secret("json://a.example/"),)
    staff = (
        StaffMember("a", "A", "staff", target),
        StaffMember("b", "B", "facilities"),
        StaffMember("c", "C", "staff"),
    )
    policy = AlertPolicy(staff=staff)
    assert first(policy, "vape") == ["a"]
    assert first(policy, "tamper") == ["a"]
    assert EventKind.STEAM not in PAGED
    assert AlertPolicy().plan_rings({"kind": "vape"}, 0.0) == ()


def test_without_routes_of_its_own_a_school_notifies_by_role():
    target = (Secret("json://a.example/"),)
    roles = {"a": "staff", "b": "facilities", "c": "staff", "d": "admin"}
    policy = AlertPolicy(staff=tuple(StaffMember(i, i, role, target) for i, role in roles.items()))
    assert first(policy, "vape") == first(policy, "smoke") == ["a", "c"]
    assert first(policy, "tamper") == first(policy, "offline") == ["b"]
    assert first(policy, "sensor_fault") == first(policy, "ambient") == ["b"]


def test_targets_are_found_by_id_and_by_person():
    one, two = Secret("json://a.example/1"), Secret("json://a.example/2")
    policy = AlertPolicy(staff=(StaffMember("a", "A", targets=(one, two)),))
    assert policy.find_target("a", make_target_id(two)) == two
    assert policy.find_target("b", make_target_id(two)) is None
    assert policy.find_target("a", "json-000000000000") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("json://a.example/1", "json://a.example/2", True),
        ("json://a.example/1", "json://b.example/1", False),
        ("json://u:p@a.example/1", "json://a.example/1", True),
        ("json://a.example:1/", "json://a.example:2/", False),
        ("mailtos://a:b@x.example?from=a", "mailtos://a:b@x.example?from=b", True),
        ("mailtos://a:b@x.example", "mailtos://a:b@x.example?smtp=y.example", False),
        ("mailtos://a:b@x.example?smtp=z", "mailtos://a:b@x.example?to=c;SM%54P=y", False),
        (
            "webpush://?endpoint=https://a.example/1",
            "webpush://?endpoint=https://a.example/2",
            True,
        ),
        (
            "webpush://?endpoint=https://a.example/1",
            "webpush://?endpoint=https://b.example/1",
            False,
        ),
        ("tgram://1:a/2", "tgram://9:b/3", True),
        ("tgram://1:a/2", "slack://1/2/3", False),
        ("workflows://a.example/1/2", "workflows://b.example/1/2", False),
    ],
)
def test_channels_are_providers(one, other, same):
    assert (find_channel(Secret(one)) == find_channel(Secret(other))) is same


def test_a_secret_shows_nowhere():
    secret = Secret("swordfish")
    member = StaffMember("a", "A", targets=(secret,))
    shown = [repr(secret), str(secret), f"{secret:>30}", repr(member), repr([secret])]
    assert all("swordfish" not in text for text in shown)
    for leave in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(secret)
    assert secret.matches("swordfish")
    assert not secret.matches("swordfisH")
    assert "swordfish" not in secret.compute_fingerprint()


def test_secret_from_a_file(tmp_path):
    path = tmp_path / "token"
    with pytest.raises(SecretError, match=f"^x: cannot read {path}: No such file or directory$"):
        load_secret("x", path)
    path.write_text("swordfish\n")
    assert load_secret("x", path) == Secret("swordfish")
    path.write_text("one\ntwo\n")
    with pytest.raises(SecretError, match="has 2 lines; it must have one"):
        load_secret("x", path)
    path.write_text(" \n")
    with pytest.raises(SecretError, match="is empty"):
        load_secret("x", path)
